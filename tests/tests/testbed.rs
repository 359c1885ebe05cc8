//! The test hosts themselves: the properties that every fleet test relies on.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use converge_tests::testbed::{Change, Error, Host, Lifetime, Testbed, or_skip};

/// Makes a copy of this test program the process that is killed.
const VICTIM: &str = "CONVERGE_TESTBED_VICTIM";

fn on_own_host(name: &str, test: impl FnOnce(&Host)) {
    if let Some(testbed) = or_skip(Testbed::up(&[name])) {
        test(&testbed.hosts()[0]);
    }
}

#[expect(clippy::unwrap_used, reason = "a helper of tests")]
fn ssh(host: &Host, line: &str) -> String {
    host.ssh(line).unwrap().ok().unwrap()
}

fn displayed(changes: &[Change]) -> Vec<String> {
    changes.iter().map(Change::to_string).collect()
}

#[test]
fn six_hosts_boot_at_once_without_a_failed_unit() {
    let names = ["web1", "web2", "db1", "h1", "h2", "h3"];
    let Some(testbed) = or_skip(Testbed::up(&names)) else { return };
    let mut identities = BTreeSet::new();
    for host in testbed.hosts() {
        assert_eq!(host.failed_units().unwrap(), Vec::<String>::new(), "{}", host.name());
        assert_eq!(ssh(host, "hostname; whoami; sudo -n whoami"), format!("{}\nadmin\nroot", host.name()));
        assert_eq!(ssh(host, "getent hosts localhost | wc -l"), "1");
        identities.insert(ssh(host, "cat /etc/machine-id"));
        identities.insert(ssh(host, "cat /etc/ssh/ssh_host_*_key.pub"));
    }
    assert_eq!(identities.len(), 2 * names.len(), "every host has a machine id and a host key of its own");
    assert_eq!(testbed.hosts().iter().map(Host::name).collect::<Vec<_>>(), names);
    assert!(matches!(testbed.host("h4"), Err(Error::UnknownHost { .. })));
}

#[test]
fn root_has_no_login() {
    on_own_host("h1", |host| {
        let tried = host.ssh_command().args(["-l", "root", "true"]).output().unwrap();
        assert_eq!(tried.status.code(), Some(255));
        assert!(String::from_utf8_lossy(&tried.stderr).contains("Permission denied"), "{tried:?}");
        assert_eq!(host.exec_root("id -u").unwrap().ok().unwrap(), "0");
    });
}

#[test]
fn a_login_changes_nothing_and_a_change_is_named() {
    on_own_host("h1", |host| {
        let before = host.snapshot().unwrap();
        ssh(host, "sudo -n true; cat /etc/passwd; sudo chmod 644 /etc/passwd; sudo touch /var/log/seen");
        assert_eq!(displayed(&host.changes_since(&before).unwrap()), Vec::<String>::new());
        assert_eq!(host.digest().unwrap(), before.digest());

        ssh(
            host,
            "sudo touch -d @0 /etc/issue; echo hi | sudo tee /etc/motd; sudo rm /etc/issue.net; sudo chmod 600 /etc/fstab",
        );
        ssh(host, "sudo mkdir /opt/shop; sudo chown admin /opt/shop; sudo ln -s /nowhere /opt/shop/current");
        assert_eq!(
            displayed(&host.changes_since(&before).unwrap()),
            [
                "~ /etc (time)",
                "~ /etc/fstab (mode)",
                "~ /etc/issue (time)",
                "- /etc/issue.net",
                "~ /etc/motd (content, time)",
                "~ /opt (time)",
                "+ /opt/shop",
                "+ /opt/shop/current",
            ]
        );
        assert_ne!(host.digest().unwrap(), before.digest());
    });
}

#[test]
fn what_was_removed_and_made_again_the_same_is_no_change() {
    on_own_host("h1", |host| {
        let before = host.snapshot().unwrap().without_times();
        ssh(host, "sudo cp -a /etc/apt /tmp/apt && sudo rm -r /etc/apt && sudo cp -a /tmp/apt /etc/apt");
        let after = host.snapshot().unwrap().without_times();
        assert_eq!(displayed(&after.changes_since(&before)), Vec::<String>::new());

        ssh(host, "sudo rm -r /etc/apt && sudo mkdir /etc/apt");
        let changes = displayed(&host.snapshot().unwrap().without_times().changes_since(&before));
        assert!(changes.contains(&"- /etc/apt/sources.list".to_owned()), "{changes:?}");
        assert!(changes.iter().all(|change| change.starts_with("- /etc/apt/")), "{changes:?}");
    });
}

#[test]
fn a_reboot_and_a_power_cut_come_back_with_their_disk() {
    on_own_host("h1", |host| {
        ssh(host, "echo kept > note && sync");
        let first = host.boot_id().unwrap();
        host.reboot().unwrap();
        let second = host.boot_id().unwrap();
        assert_ne!(first, second);
        assert_eq!(ssh(host, "cat note"), "kept");

        host.cut_power().unwrap();
        assert!(!host.is_running());
        assert_eq!(host.ssh("true").unwrap().status.code(), Some(255));
        assert!(matches!(host.exec_root("true"), Err(Error::Down { .. })));
        host.power_on().unwrap();
        assert_ne!(host.boot_id().unwrap(), second);
        assert_eq!(ssh(host, "cat note"), "kept");
        assert_eq!(host.failed_units().unwrap(), Vec::<String>::new());
    });
}

#[test]
fn a_reset_gives_a_fresh_disk_to_the_same_host() {
    on_own_host("h1", |host| {
        let fresh = host.snapshot().unwrap().without_times();
        let identity = ssh(host, "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub");
        ssh(
            host,
            "echo lost > note; sudo rm -r /usr/share/doc; sudo systemctl disable --now ssh 2>/dev/null",
        );
        host.reset().unwrap();
        assert_eq!(ssh(host, "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub"), identity);
        let now = host.snapshot().unwrap().without_times();
        assert_eq!(displayed(&now.changes_since(&fresh)), Vec::<String>::new());
    });
}

#[test]
fn hosts_reach_the_package_registries() {
    on_own_host("h1", |host| {
        let line = "sudo apt-get update && apt-cache policy nginx";
        assert!(ssh(host, line).contains("Candidate: 1."), "apt finds packages");
        let line = "python3 -c 'import urllib.request as u; print(u.urlopen(\"https://pypi.org/simple/flask/\").status)'";
        assert_eq!(ssh(host, line), "200", "what pip would ask");
    });
}

#[test]
fn a_kept_bed_is_joined_and_beds_do_not_meet() {
    let name = "test-kept";
    let Some(first) = or_skip(Testbed::kept(name, &["h1"])) else { return };
    assert_eq!(first.lifetime(), Lifetime::Kept);
    let (address, boot) = (first.hosts()[0].address().to_owned(), first.hosts()[0].boot_id().unwrap());
    let in_use = Testbed::find(name).unwrap().unwrap().down().unwrap_err();
    assert!(matches!(in_use, Error::InUse { .. }), "{in_use}");
    drop(first);

    let other = Testbed::up(&["h1"]).unwrap();
    assert_ne!(other.hosts()[0].address(), address);
    let again = Testbed::kept(name, &["h1", "h2"]).unwrap();
    assert_eq!(again.host("h1").unwrap().boot_id().unwrap(), boot);
    assert_eq!(ssh(again.host("h2").unwrap(), "hostname"), "h2");
    again.down().unwrap();
    assert!(Testbed::find(name).unwrap().is_none());
}

#[test]
fn hosts_of_a_killed_process_are_removed_by_the_next() {
    let own = "victim";
    if std::env::var_os(VICTIM).is_some() {
        let _testbed = or_skip(Testbed::up(&[own]));
        println!("{VICTIM}");
        // Wait until the kill.
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    let this = "hosts_of_a_killed_process_are_removed_by_the_next";
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", this, "--nocapture"])
        .env(VICTIM, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The test harness may have written text before it on the same line.
    let ready = lines.map_while(Result::ok).find(|line| line.contains(VICTIM) || line.starts_with("skipped"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(ready.is_some(), "the victim did not come up");

    let Some(_next) = or_skip(Testbed::up(&["h1"])) else { return };
    let beds = Testbed::all().unwrap();
    assert!(!beds.iter().flat_map(Testbed::hosts).any(|host| host.name() == own), "{beds:?}");
}

#[test]
fn a_name_that_is_no_host_name_is_refused() {
    for name in ["", "../x", "Web1", "a b"] {
        match Testbed::up(&[name]) {
            Err(Error::Unavailable(reason)) => {
                return assert!(or_skip::<()>(Err(Error::Unavailable(reason))).is_none());
            }
            Err(error) => assert!(matches!(error, Error::Name { .. }), "{error}"),
            Ok(_) => panic!("{name:?} was taken"),
        }
    }
}

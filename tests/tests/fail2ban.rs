//! The module `fail2ban` on real hosts: it bans, an apply does not remove the ban, and a jail that is not active is
//! reported.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::time::{Duration, Instant};

use converge_tests::demand::{ask, converge, root};
use converge_tests::project::Project;
use converge_tests::testbed::{Host, Testbed, or_skip};

/// How long fail2ban may take to read a journal.
const PATIENCE: Duration = Duration::from_secs(60);

/// A project whose host `h1` has this body.
fn project(testbed: &Testbed, body: &str) -> Project {
    let project = Project::new("", Some(testbed)).unwrap();
    ask(&project, body);
    project
}

/// Waits until the shell line succeeds on the host.
fn until(host: &Host, line: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !host.exec_root(line).unwrap().status.success() {
        assert!(Instant::now() < deadline, "`{line}`: {}", root(host, "fail2ban-client status sshd"));
    }
}

/// Whether `from` gets an answer from the ssh of `to`. The kernel opens a connection at once, and sshd sends its
/// greeting when it can.
fn knocks(from: &Host, to: &Host) -> bool {
    let code = format!(
        "import socket; s = socket.create_connection((\"{}\", 22), timeout=2); s.settimeout(30); \
         assert s.recv(4) == b\"SSH-\"",
        to.address()
    );
    from.exec_root(&format!("python3 -c '{code}'")).unwrap().status.success()
}

/// Waits until `from` gets no answer from the ssh of `to`.
fn shut_out(from: &Host, to: &Host) {
    let deadline = Instant::now() + PATIENCE;
    while knocks(from, to) {
        let log = root(to, "nft list ruleset; tail -n 20 /var/log/fail2ban.log");
        assert!(Instant::now() < deadline, "who is banned still gets an answer: {log}");
    }
}

const SSHD: &str = "    firewall { allow \"ssh\" }
    fail2ban {
        ignore \"10.0.0.1\"
        jail \"sshd\" max-retry=5 find-time=\"10m\" ban-time=\"1h\"
    }";

#[test]
fn five_failed_logins_ban_an_address_and_the_ban_outlives_what_is_applied() {
    let Some(testbed) = or_skip(Testbed::up(&["h1", "h2"])) else { return };
    let (host, attacker) = (testbed.host("h1").unwrap(), testbed.host("h2").unwrap());
    let project = project(&testbed, SSHD);
    converge(&project, &["apply", "--yes"], 0);
    converge(&project, &["plan", "--detailed-exitcode"], 0);
    assert_eq!(root(host, "ls /var/log/auth.log 2>/dev/null || echo none"), "none");

    assert!(knocks(attacker, host));
    let options = "-o BatchMode=yes -o StrictHostKeyChecking=no -o ConnectTimeout=5";
    // After a ban in the middle of a login, the login receives nothing more.
    let login = format!("timeout 20 ssh {options} mallory@{} true", host.address());
    let banned = format!("fail2ban-client get sshd banip | grep -qw {}", attacker.address());
    let (mut logins, deadline) = (0, Instant::now() + PATIENCE);
    // A journal that is behind does not know any more which unit wrote a line, and such a login does not count. So a
    // busy machine needs more logins.
    while logins < 5 || !host.exec_root(&banned).unwrap().status.success() {
        assert!(Instant::now() < deadline, "{logins} logins: {}", root(host, "fail2ban-client status sshd"));
        let ended = attacker.exec_root(&login).unwrap().status.code();
        assert!(matches!(ended, Some(255 | 124)), "{ended:?}");
        logins += 1;
        let is_early = logins < 5 && host.exec_root(&banned).unwrap().status.success();
        assert!(!is_early, "banned after {logins} failed logins");
    }
    shut_out(attacker, host);

    // Applies another firewall and other settings, with the restart that they cause.
    let changed = SSHD.replace("max-retry=5", "max-retry=6").replace("\"ssh\" }", "\"ssh\" \"http\" }");
    ask(&project, &changed);
    let applied = converge(&project, &["apply", "--yes"], 0);
    assert!(applied.stdout.contains("fail2ban.service[fail2ban]"), "{applied}");
    until(host, &banned);
    shut_out(attacker, host);
    converge(&project, &["plan", "--detailed-exitcode"], 0);
}

#[test]
fn what_fail2ban_refuses_changes_nothing_and_a_jail_that_is_not_live_is_found() {
    let Some(testbed) = or_skip(Testbed::up(&["h1"])) else { return };
    let host = testbed.host("h1").unwrap();
    let project = project(&testbed, "fail2ban { jail \"sshd\" ban-time=\"5m\" }");

    // A client that failed to log in before is banned as soon as the jail is active. Here this is the controller
    // itself. A journal that is behind does not know any more which unit wrote a line, and such a login does not
    // count.
    let config = testbed.ssh_config_path();
    let known = "journalctl --sync; journalctl --quiet _SYSTEMD_UNIT=ssh.service --grep 'Invalid user mallory' | wc -l";
    let deadline = Instant::now() + PATIENCE;
    while root(host, known).trim().parse::<u32>().unwrap() < 5 {
        assert!(Instant::now() < deadline, "{}", root(host, "journalctl --quiet --identifier sshd"));
        let mut login = std::process::Command::new("ssh");
        login.arg("-F").arg(&config).args(["-o", "BatchMode=yes", "-o", "ControlPath=none"]);
        let ended = login.args(["-l", "mallory", "h1", "true"]).output().unwrap();
        assert_eq!(ended.status.code(), Some(255), "{ended:?}");
    }
    let reverted = converge(&project, &["apply", "--yes", "--confirm-timeout", "30s"], 3);
    assert!(reverted.stdout.contains("reverted"), "{reverted}");
    host.ssh("true").unwrap().ok().unwrap();
    assert!(!root(host, "ls /etc/fail2ban").contains(".local"));

    let sshd = SSHD.replace("10.0.0.1", &format!("{}/24", host.address()));
    ask(&project, &sshd);
    converge(&project, &["apply", "--yes"], 0);
    let files = "cd /etc/fail2ban && find . -type f | sort | xargs sha256sum";
    let (before, started) = (root(host, files), root(host, "systemctl show -P InvocationID fail2ban"));

    ask(
        &project,
        "fail2ban {
            jail \"sshd\"
            jail \"shop\" log-path=\"/var/log/nowhere.log\"
            filter \"shop\" { failregex \"^failed from <HOST>$\" }
        }",
    );
    let refused = converge(&project, &["apply", "--yes"], 3);
    assert!(format!("{refused}").contains("log file for shop"), "{refused}");
    assert_eq!(root(host, files), before);
    assert_eq!(root(host, "systemctl show -P InvocationID fail2ban"), started);

    ask(&project, &sshd);
    root(host, "fail2ban-client stop sshd");
    let plan = converge(&project, &["plan", "--detailed-exitcode"], 2);
    assert!(plan.stdout.contains("fail2ban.command[jails]"), "{plan}");
    converge(&project, &["apply", "--yes"], 0);
    root(host, "fail2ban-client status sshd");
    converge(&project, &["plan", "--detailed-exitcode"], 0);
    what_others_set_is_told(host, &project);
}

/// A setting changed in the running server is lost after a reload. A setting from another file is reported.
fn what_others_set_is_told(host: &Host, project: &Project) {
    root(host, "fail2ban-client set sshd maxretry 99");
    converge(project, &["apply", "--yes"], 0);
    assert_eq!(root(host, "fail2ban-client get sshd maxretry").trim(), "5");
    let custom = "/etc/fail2ban/jail.d/zz-custom.local";
    let told = |text: &str, said: &str| {
        root(host, &format!("printf '{text}' >{custom} && fail2ban-client reload"));
        let failed = converge(project, &["apply", "--yes"], 3);
        assert!(format!("{failed}").contains(said), "{said}: {failed}");
    };
    told("[sshd]\\nmaxretry = 99\\n", &format!("{custom} is read after /etc/fail2ban/jail.local"));
    let other =
        "[other]\\nenabled = true\\nfilter = sshd\\nbackend = auto\\nlogpath = /var/log/fail2ban.log\\n";
    told(other, &format!("the jail other is live, and no inventory writes it: {custom} enables it"));
    root(host, &format!("rm {custom} && fail2ban-client reload"));
    converge(project, &["plan", "--detailed-exitcode"], 0);
}

//! `converge watch --install` with a real systemd. The account is not root, its keys and known hosts are in its home,
//! and the inventory has a secret. The service is started, watched, stopped in the middle of a correction, and run
//! with a memory that cannot be written.

#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::fs::File;
use std::path::Path;

use converge_tests::converge_binary;
use converge_tests::demand::root;
use converge_tests::testbed::{Host, Testbed, or_skip};

const UNIT: &str = "converge-shop.service";

const INVENTORY: &str = r#"connection user="admin" become="sudo"
secrets "secrets/all.age"
drift every="1s" mode="correct" fight-after=1000
host "h1"
on "*" {
    file "/etc/motd" { content "welcome" }
    file "/etc/app.env" mode="0600" { content (secret)"password" }
    file "/etc/slow" notify="command[slow]" { content "as it was" }
    command "if test -p /run/slow.go; then touch /run/slow.begun; read go </run/slow.go; fi; echo done >>/root/slow" id="slow" shell=#true only-notified=#true
}
"#;

/// Runs a line as the account, in the project.
fn admin(host: &Host, line: &str) -> String {
    host.ssh(&format!("cd shop && {line}")).unwrap().ok().unwrap()
}

/// Waits until a shell condition is true on the host. After the timeout, the error has the daemon's output.
fn until(host: &Host, condition: &str) {
    let wait = "timeout 120 sh -c \"until $0; do sleep 0.1; done\"";
    let said = format!("journalctl --no-pager -u {UNIT} >&2; systemctl status --no-pager {UNIT} >&2");
    root(
        host,
        &format!("sh -c '{wait}' '{condition}' || {{ echo never: '{condition}' >&2; {said}; exit 1; }}"),
    );
}

/// Copies a file of this machine to the host. All users there may read and execute it.
fn copy(host: &Host, from: &Path, to: &str) {
    let from = File::open(from).unwrap();
    let status = host.ssh_command().arg(format!("cat >{to}; chmod 755 {to}")).stdin(from).status().unwrap();
    assert!(status.success(), "{to}");
}

fn property(host: &Host, name: &str) -> String {
    root(host, &format!("systemctl show -P {name} {UNIT}"))
}

/// Returns the answer to a request on the host's loopback.
fn answer(host: &Host, path: &str) -> String {
    let get = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())";
    root(host, &format!("python3 -c '{get}' http://localhost:9180/{path}"))
}

/// Creates a project in the account's home, with `converge` in its path and a key for the host itself.
fn prepare(bed: &Testbed, host: &Host) {
    copy(host, &converge_binary(), "/tmp/converge");
    root(host, "mv /tmp/converge /usr/local/bin/converge");
    host.ssh("mkdir -p shop/secrets .ssh").unwrap().ok().unwrap();
    for (from, to) in [("id_ed25519", ".ssh/id_ed25519"), ("known_hosts", ".ssh/known_hosts")] {
        copy(host, &bed.ssh_config_path().with_file_name(from), to);
    }
    admin(host, "chmod 600 ~/.ssh/*; ssh-keygen -y -f ~/.ssh/id_ed25519 >secrets/recipients");
    admin(host, "printf 'project \"shop\"\\ninventory \"inventory.kdl\"\\n' >converge.kdl");
    admin(host, &format!("cat >inventory.kdl <<'EOF'\n{INVENTORY}EOF"));
    admin(host, "printf s3cr3t | converge secrets set password");
    admin(host, "converge apply --yes");
    assert_eq!(root(host, "cat /etc/app.env /root/slow"), "s3cr3t\ndone");
}

fn install(host: &Host) -> String {
    admin(host, "sudo --preserve-env=HOME,USER,PATH converge watch --install --listen 9180");
    root(host, "systemctl daemon-reload");
    root(host, &format!("cat /etc/systemd/system/{UNIT}"))
}

#[test]
fn a_service_watches_is_watched_and_ends_in_good_order() {
    let Some(testbed) = or_skip(Testbed::up(&["h1"])) else { return };
    let host = testbed.host("h1").unwrap();
    prepare(&testbed, host);
    let unit = install(host);
    // Returns when the service is ready.
    root(host, &format!("systemctl enable --now {UNIT}"));
    assert_eq!(property(host, "ActiveState"), "active");
    assert_eq!(install(host), unit, "to install it again changes nothing");

    root(host, "echo by hand >/etc/motd; rm /etc/app.env");
    until(host, "grep -q welcome /etc/motd && grep -q s3cr3t /etc/app.env");
    for path in ["healthz", "readyz"] {
        assert_eq!(answer(host, path).trim(), "ok", "{path}");
    }
    let metrics = answer(host, "metrics");
    assert!(metrics.contains("converge_memory_written 1") && metrics.trim().ends_with("# EOF"), "{metrics}");
    root(host, &format!("systemd-analyze security --no-pager --threshold=25 {UNIT}"));
    root(host, &format!("systemctl reload {UNIT}"));
    until(host, "journalctl --identifier converge | grep -q \"inventory read again\"");

    what_it_cannot_remember_it_does_not_do(host);
    a_step_in_hand_is_waited_for(host);
    who_hangs_is_started_again(host);
}

/// Simulates a full disk: hosts are looked at, and nothing is corrected.
fn what_it_cannot_remember_it_does_not_do(host: &Host) {
    let memory = "/home/admin/.local/state/converge/watch/*";
    root(host, &format!("chmod 500 {memory}; echo by hand >/etc/motd"));
    until(
        host,
        "journalctl --identifier converge | grep -q \"the daemon cannot write its state) file.*motd\"",
    );
    assert_eq!(root(host, "cat /etc/motd"), "by hand");
    assert!(answer(host, "metrics").contains("converge_memory_written 0"));
    root(host, &format!("chmod 700 {memory}"));
    until(host, "grep -q welcome /etc/motd");
    assert_eq!(root(host, "journalctl --identifier converge | grep -c 'memory broken'"), "1");
}

/// A service that is stopped in the middle of a correction ends its step. The next daemon has nothing left to do.
fn a_step_in_hand_is_waited_for(host: &Host) {
    root(host, "mkfifo /run/slow.go; echo by hand >/etc/slow");
    until(host, "test -e /run/slow.begun");
    root(host, &format!("systemctl stop --no-block {UNIT}"));
    until(host, &format!("test $(systemctl show -P SubState {UNIT}) = stop-sigterm"));
    assert_eq!(root(host, "cat /root/slow"), "done", "of the apply alone");
    root(host, "echo go >/run/slow.go; rm /run/slow.go");
    until(host, &format!("test $(systemctl show -P ActiveState {UNIT}) = inactive"));
    assert_eq!([property(host, "Result"), property(host, "ExecMainStatus")], ["success", "0"]);
    assert_eq!(root(host, "cat /etc/slow; cat /root/slow"), "as it was\ndone\ndone");
    let last = admin(host, "converge history --json --limit-runs 1");
    assert!(last.contains("\"verb\":\"apply\"") && !last.contains("\"exit-code\":null"), "{last}");
}

/// Makes the watchdog's two minutes shorter, as an administrator would.
fn who_hangs_is_started_again(host: &Host) {
    let folder = format!("/etc/systemd/system/{UNIT}.d");
    let shorter = "[Service]\\nWatchdogSec=10s\\nRestartSec=100ms\\n";
    root(
        host,
        &format!("mkdir {folder}; printf '{shorter}' >{folder}/shorter.conf; systemctl daemon-reload"),
    );
    root(host, &format!("systemctl start {UNIT}"));
    let hung = property(host, "MainPID");
    root(host, &format!("kill -STOP {hung}; echo by hand >/etc/motd"));
    until(host, "grep -q welcome /etc/motd");
    assert_ne!(property(host, "MainPID"), hung);
    let said = root(host, "journalctl --identifier systemd");
    assert!(said.contains("Watchdog timeout"), "{said}");
    root(host, &format!("systemctl stop {UNIT}"));
    assert_eq!(property(host, "Result"), "success");
    assert_eq!(root(host, "wc -l </root/slow"), "2", "nothing was done twice");
}

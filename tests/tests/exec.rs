//! `converge exec` and `converge ping` on real hosts: over their connections and escalation, and the end of a command
//! whose controller is gone.

#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use converge_tests::demand::{converge, root};
use converge_tests::project::Project;
use converge_tests::testbed::{Host, Testbed, or_skip};

const INVENTORY: &str = r#"
connection user="admin" become="sudo"
host "h1"
host "h2"
host "gone" address="127.0.0.1" { connection port=1 }
"#;

#[test]
fn commands_run_over_the_connections_of_a_run_and_end_with_them() {
    let Some(testbed) = or_skip(Testbed::up(&["h1", "h2"])) else { return };
    let project = Project::new(INVENTORY, Some(&testbed)).unwrap();

    let ended = converge(&project, &["ping"], 4);
    for host in ["h1", "h2"] {
        let line = ended.stdout.lines().find(|line| line.starts_with(host)).unwrap();
        assert!(line.contains("ok  root, logged in as admin  "), "{ended}");
    }
    assert!(ended.stdout.contains("gone  unreachable\n  ! "), "{ended}");

    let ended = converge(&project, &["exec", "h1,h2", "--", "id -un; pwd"], 0);
    assert!(ended.stdout.starts_with("h1, h2: exit 0\n  root\n  /\n"), "{ended}");
    let ended = converge(&project, &["exec", "*", "--", "test $(hostname) = h1"], 3);
    let heads = ["h1: exit 0\n", "h2: exit 1\n", "gone: unreachable\n"];
    assert!(heads.iter().all(|head| ended.stdout.contains(head)), "{ended}");
    converge(&project, &["exec", "h1,gone", "--", "true"], 4);

    project.write("project/fix.py", "#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:])\n").unwrap();
    let ended = converge(&project, &["exec", "h1", "--script", "fix.py", "--", "a b"], 0);
    assert!(ended.stdout.starts_with("h1: exit 0\n  ['a b']\n"), "{ended}");

    without_the_right_to_escalate(&project, testbed.host("h2").unwrap());
    interrupted(&project, testbed.host("h1").unwrap());
    killed(&project, testbed.host("h1").unwrap());
}

fn without_the_right_to_escalate(project: &Project, host: &Host) {
    root(host, "mkdir /root/kept; mv /etc/sudoers.d/* /root/kept; gpasswd --delete admin sudo >&2 || true");
    let ended = converge(project, &["ping", "h2"], 4);
    assert!(ended.stdout.contains("h2  unreachable\n  ! ") && ended.stdout.contains("sudo"), "{ended}");
    root(host, "mv /root/kept/* /etc/sudoers.d/");
}

/// Starts a command that never ends by itself, and waits until it runs on the host.
fn endless(project: &Project, host: &Host) -> std::process::Child {
    root(host, "rm -f /run/begun");
    let mut command = project.command();
    command.args(["exec", host.name(), "--", "touch /run/begun; sleep 7654 & wait"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait(|| host.exec_root("test -e /run/begun").unwrap().ok().is_ok());
    child
}

fn is_gone(host: &Host) -> bool {
    host.exec_root("! pgrep -f 'sleep [7]654'").unwrap().ok().is_ok()
}

fn interrupted(project: &Project, host: &Host) {
    let child = endless(project, host);
    assert!(!is_gone(host));
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(is_gone(host));
}

fn killed(project: &Project, host: &Host) {
    let mut child = endless(project, host);
    child.kill().unwrap();
    child.wait().unwrap();
    wait(|| is_gone(host));
}

fn wait(mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(60), "it does not come");
        sleep(Duration::from_millis(100));
    }
}

//! Logins without the privileges that they need.

use std::io::Write;
use std::process::Stdio;

use converge_model::{HostState, Restoration, Stands, StepOutcome};
use converge_tests::project::Project;

use crate::support::{Course, SUDO, Told, apply, logged, on_host, project, root};

const MOTD: &str = r#"file "/etc/motd" { content "Welcome" }"#;

#[test]
fn sudo_with_a_password_says_so_and_takes_one() {
    on_host(|testbed, host| {
        root(host, "echo admin:open sesame | chpasswd; echo 'admin ALL=(ALL:ALL) ALL' >/etc/sudoers.d/admin");
        let project = project(testbed, SUDO, MOTD);
        let before = root(host, "cat /etc/motd");
        let told = apply(&project);
        assert_eq!((told.code, told.state("h1")), (3, HostState::Unplannable), "{told}");
        let why = told.problems("h1");
        assert!(why.contains("a password is required"), "{why}");
        assert!(why.contains("--ask-become-pass"), "the safer way: {why}");
        assert!(why.contains("admin ALL=(ALL) NOPASSWD: ALL"), "the line to write: {why}");

        let told = with_password(&project, "open barley");
        assert_eq!(told.code, 3, "{told}");
        assert!(told.problems("h1").contains("the password is wrong"), "{told}");
        let tries = logged(host, "sudo", "incorrect password attempt");
        assert_eq!(tries, 1, "a wrong password is tried once");
        assert_eq!(root(host, "cat /etc/motd"), before);

        let told = with_password(&project, "open sesame");
        assert_eq!((told.code, told.state("h1")), (0, HostState::Changed), "{told}");
        assert_eq!(root(host, "cat /etc/motd"), "Welcome");
        assert_eq!(root(host, "grep -rl sesame /var/lib/converge /var/cache/converge /var/log || true"), "");
    });
}

/// Applies with a password on the standard input.
fn with_password(project: &Project, password: &str) -> Told {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writeln!(writer, "{password}").unwrap();
    drop(writer);
    let mut command = project.command();
    command.args(["apply", "--yes", "--json", "--become-pass-fd", "0"]).stdin(Stdio::from(reader));
    Course::start(&mut command).end()
}

#[test]
fn what_needs_root_says_which_line_to_write() {
    on_host(|testbed, host| {
        let own = r#"connection user="admin" become="none""#;
        let project = project(
            testbed,
            own,
            "file \"/tmp/own\" { content \"mine\" }\n file \"/etc/motd\" { content \"Welcome\" }\nfile \"/etc/issue\" { content \"x\" }",
        );
        let before = root(host, "cat /etc/motd /etc/issue");
        let told = apply(&project);
        assert_eq!((told.code, told.state("h1")), (3, HostState::Failed), "{told}");
        assert_eq!(told.outcomes("h1", "file[/tmp/own]"), [&StepOutcome::Done], "{told}");
        let refused = told.outcomes("h1", "file[/etc/motd]");
        let [StepOutcome::Failed { why, restored: Restoration::Nothing, stands: Stands::Unchanged, .. }] =
            refused[..]
        else {
            panic!("{told}")
        };
        assert!(why.contains("/etc/motd") && why.contains("Permission denied"), "{why}");
        let problems = told.problems("h1");
        assert_eq!(
            problems.matches("become=\"sudo\"").count(),
            1,
            "one error with the line to write: {problems}"
        );
        assert_eq!(root(host, "cat /etc/motd /etc/issue"), before);
        assert_eq!(root(host, "find /etc -name '.*.converge-*'"), "");
    });
}

//! Other users of a host: a second controller, and a person.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use converge_model::{HostState, StepOutcome};
use converge_tests::project::Project;

use crate::support::{Course, Gate, SUDO, apply, converge, on_host, plan, project, root};

#[test]
fn a_second_controller_learns_who_is_at_work() {
    on_host(|testbed, host| {
        let gate = Gate::on(host);
        let body = r#"command "gate && touch /run/passed" shell=#true creates="/run/passed""#;
        let project = project(testbed, SUDO, body);
        let mut first = Course::apply(&project);
        first.until_waiting(host);
        let holder = first.run();

        let told = plan(&project);
        let busy = told.plan("h1").busy.as_ref().unwrap();
        assert_eq!(busy.run, holder);
        let now = root(host, "date -u +%FT%TZ");
        assert!(
            busy.since.starts_with("20") && busy.since <= now && busy.held_seconds < 300,
            "{busy:?} at {now}"
        );
        let second = apply(&project);
        assert_eq!((second.code, second.state("h1")), (5, HostState::Locked), "{second}");
        let problems = second.problems("h1");
        assert!(problems.contains(&holder) && problems.contains(&busy.by), "{problems}");

        gate.open();
        let first = first.end();
        assert_eq!((first.code, first.state("h1")), (0, HostState::Changed), "{first}");
        assert_eq!(plan(&project).plan("h1").busy, None);
    });
}

#[test]
fn a_plan_lets_a_package_manager_end_what_it_is_at() {
    on_host(|testbed, host| {
        let gate = Gate::on(host);
        root(host, SLOW_PACKAGE);
        let present = project(testbed, SUDO, r#"package "slow""#);
        let absent = project(testbed, SUDO, r#"package "slow" state="absent""#);
        // When the script waits, the package is unpacked. So the database is in the middle of a transaction.
        let begin = |command: &str| {
            root(host, &format!("rm -f /run/setting-up; systemd-run --collect {command} /srv/slow.deb"));
            root(host, "timeout 60 sh -c 'until [ -e /run/setting-up ]; do sleep 0.1; done'");
        };
        begin("apt-get install --yes");
        let course = Course::start(present.command().args(["plan", "--detailed-exitcode", "--json"]));
        root(host, UNTIL_LOOKED_AT);
        gate.open();
        let told = course.end();
        assert_eq!(told.code, 0, "{told}");

        // dpkg alone, as it continues after the apt-get that started it is killed. It does not end in time.
        gate.close();
        begin("dpkg --install");
        let told = plan(&absent);
        assert!(told.to_string().contains(r#"before: Some("in use by dpkg ("#), "{told}");
        gate.open();
    });
}

#[test]
fn a_package_that_was_cut_off_while_it_was_unpacked_is_installed_whole_or_goes() {
    on_host(|testbed, host| {
        root(host, SLOW_PACKAGE);
        root(
            host,
            r"rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*; touch /run/open
            sed -i '/^exec/d' /srv/slow/DEBIAN/postinst; dpkg-deb --build /srv/slow >/dev/null
            cd /srv; mkdir repository; cp slow.deb repository
            { cat slow/DEBIAN/control; echo Filename: ./slow.deb; echo Size: $(stat -c %s slow.deb)
              echo SHA256: $(sha256sum <slow.deb | cut -d' ' -f1); } >repository/Packages
            echo 'deb [trusted=yes] file:/srv/repository ./' >/etc/apt/sources.list; apt-get update
            dpkg --install slow.deb",
        );
        root(host, CUT_OFF);
        converge(&project(testbed, SUDO, r#"package "slow""#));
        assert_eq!(root(host, "dpkg-query -W -f '${Status}' slow"), "install ok installed");
        root(host, CUT_OFF);
        converge(&project(testbed, SUDO, r#"package "slow" state="absent""#));
    });
}

/// Simulates a power cut after dpkg's first record and before it unpacks.
const CUT_OFF: &str = r"sed -i '/^Package: slow/,/^$/s/^Status: .*/Status: install reinstreq half-installed/' /var/lib/dpkg/status";

/// Waits until an agent runs.
const UNTIL_LOOKED_AT: &str =
    r#"timeout 20 sh -c 'until ls -l /proc/[0-9]*/exe 2>/dev/null | grep -q /converge; do :; done'"#;

/// A package whose script reports that it runs, and waits for the gate.
const SLOW_PACKAGE: &str = r#"
mkdir -p /srv/slow/DEBIAN
printf 'Package: slow\nVersion: 1\nArchitecture: all\nMaintainer: Test <test@example.com>\nDescription: test\n' >/srv/slow/DEBIAN/control
printf '#!/bin/sh\ntouch /run/setting-up\nexec /usr/local/bin/gate\n' >/srv/slow/DEBIAN/postinst
chmod 755 /srv/slow/DEBIAN/postinst
dpkg-deb --build /srv/slow >/dev/null
"#;

#[test]
fn a_host_that_was_edited_while_its_plan_was_read_is_left_alone() {
    on_host(|testbed, host| {
        let project = project(
            testbed,
            SUDO,
            r#"
            file "/etc/first" { content "new" }
            file "/etc/motd" { content "new" }
        "#,
        );
        let (code, said) = answer(&project, "Apply this?", || {
            root(host, "echo by hand >/etc/motd");
        });
        assert_eq!(code, 6, "{said}");
        assert!(said.contains("stale") && said.contains("plan again"), "{said}");
        assert_eq!(root(host, "cat /etc/motd; ls /etc/first 2>/dev/null || true"), "by hand");
        converge(&project);
        assert_eq!(root(host, "cat /etc/motd"), "new");
    });
}

#[test]
fn an_edit_during_the_run_ends_it_unless_a_step_of_its_own_may_have_been_it() {
    on_host(|testbed, host| {
        let gate = Gate::on(host);
        let watched = r#"file "/etc/checked" validate="gate %s" { content "1" }
            file "/etc/motd" { content "ours" }
            file "/etc/last" { content "1" }"#;
        root(host, "echo ours >/etc/motd");
        let stopped = project(testbed, SUDO, watched);
        let mut course = Course::apply(&stopped);
        course.until_waiting(host);
        root(host, "echo by hand >/etc/motd");
        gate.open();
        let told = course.end();
        assert_eq!((told.code, told.state("h1")), (6, HostState::Stale), "{told}");
        assert!(
            told.problems("h1").contains("file[/etc/motd] changed since the plan, but not by this run"),
            "{told}"
        );
        assert_eq!(told.outcomes("h1", "file[/etc/checked]"), [&StepOutcome::Done], "{told}");
        assert_eq!(root(host, "cat /etc/motd; ls /etc/last 2>/dev/null || true"), "by hand");
        converge(&stopped);

        gate.close();
        let open = r#"command "gate && touch /run/passed" shell=#true creates="/run/passed"
            file "/etc/motd" { content "ours" }"#;
        let corrected = project(testbed, SUDO, open);
        let mut course = Course::apply(&corrected);
        course.until_waiting(host);
        root(host, "echo of the command >/etc/motd");
        gate.open();
        let told = course.end();
        assert_eq!((told.code, told.state("h1")), (0, HostState::Changed), "{told}");
        assert_eq!(told.outcomes("h1", "file[/etc/motd]"), [&StepOutcome::Unforeseen], "{told}");
        assert_eq!(root(host, "cat /etc/motd"), "ours");
    });
}

/// Applies at a terminal, and answers yes to `question` after `meanwhile`. Returns the exit code and the whole
/// output.
fn answer(project: &Project, question: &str, meanwhile: impl FnOnce()) -> (i32, String) {
    let plain = project.command();
    let line = format!("{} apply --no-color --no-progress", plain.get_program().display());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env_clear();
    script.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.current_dir(project.path("project")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = Vec::new();
    let mut piece = [0; 4096];
    while !String::from_utf8_lossy(&shown).contains(question) {
        let read = screen.read(&mut piece).unwrap();
        assert_ne!(read, 0, "it did not ask: {}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&piece[..read]);
    }
    meanwhile();
    keys.write_all(b"yes\n").unwrap();
    screen.read_to_end(&mut shown).unwrap();
    drop(keys);
    (child.wait().unwrap().code().unwrap_or(-1), String::from_utf8_lossy(&shown).into_owned())
}

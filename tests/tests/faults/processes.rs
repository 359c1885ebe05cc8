//! The agent or the controller dies or is stopped in the middle of a step.

use converge_model::{HostState, StepOutcome};
use rustix::process::Signal;

use crate::support::{Course, EventKind, Gate, SUDO, agent, apply, converge, on_host, plan, project, root};

/// A service, the file that causes its restart, and between the two a file whose check waits at the gate.
const OWING: &str = r#"
file "/etc/ticker.conf" notify="service[ticker]" { content "interval = 5" }
file "/etc/ticker.checked" validate="gate %s" { content "checked" }
service "ticker" running=#true
"#;

const TICKER: &str = r"printf '[Service]\nExecStart=/bin/sleep infinity\n' >/etc/systemd/system/ticker.service
systemctl daemon-reload; systemctl start ticker";

#[test]
fn a_killed_agent_leaves_what_the_next_run_cleans_up_and_pays() {
    on_host(|testbed, host| {
        let gate = Gate::on(host);
        root(host, TICKER);
        let invocation = || root(host, "systemctl show -P InvocationID ticker");
        let first = invocation();
        let temporaries = || root(host, "find / -xdev -name '.*.converge-*'");
        let project = project(testbed, SUDO, OWING);
        let mut course = Course::apply(&project);
        course.until_waiting(host);
        let died = course.run();
        root(host, &format!("kill -9 {}", agent(host).unwrap()));
        let told = course.end();
        assert_eq!((told.code, told.state("h1")), (3, HostState::Interrupted), "{told}");
        assert!(temporaries().contains("/etc/.ticker.checked.converge-"), "the agent died beside its target");
        assert_eq!(root(host, "ls /etc/ticker.*"), "/etc/ticker.conf", "files are old or new");
        gate.open();

        let told = plan(&project);
        assert_eq!(told.plan("h1").interrupted, Some(died), "{told}");
        assert!(told.plan("h1").steps.iter().any(|step| step.owed), "the restart is still owed: {told}");
        assert_eq!(invocation(), first);
        let told = converge(&project);
        let paid = |kind: &EventKind| matches!(kind, EventKind::Paid { address } if address.as_str() == "service[ticker]");
        assert!(told.events.iter().any(|event| paid(&event.kind)), "{told}");
        assert_ne!(invocation(), first);
        assert_eq!(temporaries(), "");
        assert_eq!(plan(&project).plan("h1").interrupted, None);
    });
}

#[test]
fn an_interruption_with_nothing_left_to_do_is_settled_by_the_next_run() {
    on_host(|testbed, host| {
        let gate = Gate::on(host);
        let project = project(
            testbed,
            SUDO,
            r#"command "gate && touch /run/passed" shell=#true creates="/run/passed""#,
        );
        let mut course = Course::apply(&project);
        course.until_waiting(host);
        root(host, &format!("kill -9 {}", agent(host).unwrap()));
        assert_eq!(course.end().code, 3);
        gate.open();
        // The program that the agent started continues without it.
        root(host, "timeout 20 sh -c 'until [ -e /run/passed ]; do sleep 0.1; done'");
        let told = apply(&project);
        assert_eq!((told.code, told.state("h1")), (0, HostState::InSync), "{told}");
        let told = plan(&project);
        assert_eq!((told.code, &told.plan("h1").interrupted), (0, &None), "{told}");
    });
}

/// A step that waits at the gate, and some steps after it.
fn several() -> String {
    let later = (1..=20).map(|n| format!("file \"/etc/later{n}\" {{ content \"{n}\" }}\n"));
    format!(
        "command \"gate && touch /etc/passed\" id=\"gate\" shell=#true creates=\"/etc/passed\"\n{}",
        later.collect::<String>()
    )
}

#[test]
fn an_agent_without_its_controller_ends_its_step_and_gives_the_host_back() {
    on_host(|testbed, host| {
        let gate = Gate::on(host);
        let project = project(testbed, SUDO, &several());
        let mut course = Course::apply(&project);
        course.until_waiting(host);
        let agent = agent(host).unwrap();
        course.signal(Signal::KILL);
        course.reap();
        assert_eq!(root(host, &format!("readlink /proc/{agent}/exe >/dev/null && echo runs")), "runs");
        gate.open();
        root(host, &format!("timeout 10 tail --pid={agent} -f /dev/null"));
        assert_eq!(root(host, "ls /etc/passed /etc/later* 2>/dev/null || true"), "/etc/passed");
        root(host, "flock --nonblock /var/lib/converge/lock true");
        let told = converge(&project);
        assert_eq!(told.plan("h1").interrupted, None, "it gave the host back in good order: {told}");
    });
}

#[test]
fn the_first_interrupt_ends_the_run_after_the_step_in_hand() {
    on_host(|testbed, host| {
        let gate = Gate::on(host);
        let project = project(testbed, SUDO, &several());
        let mut course = Course::apply(&project);
        course.until_waiting(host);
        course.signal(Signal::INT);
        course.until_said("stopping after the running steps");
        gate.open();
        let told = course.end();
        assert_eq!((told.code, told.state("h1")), (130, HostState::Interrupted), "{told}");
        assert_eq!(told.outcomes("h1", "command[gate]"), [&StepOutcome::Done], "{told}");
        let last = told.outcomes("h1", "file[/etc/later20]");
        assert!(matches!(last[..], [StepOutcome::Skipped { .. }]), "{told}");
        assert_eq!(root(host, "ls /etc/later20 2>/dev/null || true"), "");
        converge(&project);
    });
}

#[test]
fn the_second_interrupt_abandons_the_step_and_the_host_ends_it_by_itself() {
    on_host(|testbed, host| {
        let gate = Gate::on(host);
        let project = project(testbed, SUDO, &several());
        let mut course = Course::apply(&project);
        course.until_waiting(host);
        let agent = agent(host).unwrap();
        course.signal(Signal::INT);
        course.until_said("stopping after the running steps");
        course.signal(Signal::INT);
        let told = course.end();
        assert_eq!((told.code, told.state("h1")), (130, HostState::Interrupted), "{told}");
        assert!(told.stderr.contains("abandoned"), "{told}");
        gate.open();
        root(host, &format!("timeout 10 tail --pid={agent} -f /dev/null"));
        assert_eq!(root(host, "ls /etc/passed /etc/later20 2>/dev/null || true"), "/etc/passed");
        converge(&project);
    });
}

#[test]
fn an_interrupt_during_the_look_starts_nothing() {
    on_host(|testbed, host| {
        let body =
            r#"command "touch /etc/passed" only-if="test -e /run/quick || sleep 50; test ! -e /etc/passed""#;
        let project = project(testbed, SUDO, body);
        let mut course = Course::apply(&project);
        course.until(host, |kind| matches!(kind, EventKind::HostPhase { phase } if phase == "looking"));
        course.signal(Signal::INT);
        let told = course.end();
        assert_eq!((told.code, told.state("h1")), (130, HostState::NotStarted), "{told}");
        root(host, "test ! -e /etc/passed; touch /run/quick");
        converge(&project);
    });
}

#[test]
fn a_connection_that_is_cut_is_an_interruption_and_no_failure() {
    on_host(|testbed, host| {
        let gate = Gate::on(host);
        let project = project(testbed, SUDO, &several());
        let mut course = Course::apply(&project);
        course.until_waiting(host);
        let agent = agent(host).unwrap();
        root(
            host,
            "for p in /proc/[0-9]*; do case \"$(tr '\\0' ' ' <$p/cmdline)\" in 'sshd: admin'*) kill -9 ${p#/proc/};; esac; done",
        );
        let told = course.end();
        assert_eq!((told.code, told.state("h1")), (3, HostState::Interrupted), "{told}");
        gate.open();
        root(host, &format!("timeout 10 tail --pid={agent} -f /dev/null"));
        assert_eq!(root(host, "ls /etc/passed /etc/later20 2>/dev/null || true"), "/etc/passed");
        converge(&project);
    });
}

#[test]
fn a_power_cut_is_an_interruption_that_holds_no_lock() {
    on_host(|testbed, host| {
        Gate::on(host);
        root(host, TICKER);
        let project = project(testbed, SUDO, OWING);
        let mut course = Course::apply(&project);
        course.until_waiting(host);
        let died = course.run();
        host.cut_power().unwrap();
        course.signal(Signal::KILL);
        course.reap();
        host.power_on().unwrap();
        let told = plan(&project);
        assert_eq!((&told.plan("h1").interrupted, &told.plan("h1").busy), (&Some(died), &None), "{told}");
        assert_eq!(root(host, "ls /etc/ticker.*; cat /etc/ticker.conf"), "/etc/ticker.conf\ninterval = 5");
        root(host, "touch /run/open");
        converge(&project);
        assert_eq!(root(host, "find / -xdev -name '.*.converge-*'"), "");
    });
}

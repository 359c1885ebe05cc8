//! Groups of critical changes: when they are armed, what becomes of them, and what is refused.

use std::sync::{Arc, Mutex};

use converge_model::{HostReport, HostState, Notify, NotifyHow, PutBack, Resource, StepOutcome, Value};
use converge_resources::System;
use converge_resources::actor::revert::revert;

use super::*;
use crate::state::armed::confirm;
use crate::testing::{Bench, order, resource};
use crate::work::{act_in, look_in};

/// What becomes of each group, in order.
#[derive(Clone, Copy)]
enum Fate {
    Confirmed,
    Reverted,
}

/// Carries resources out on a host with systemd, whose groups meet these fates; the report, and for each group what was
/// changed before it was settled.
fn apply(bench: &Bench, resources: &[Resource], fates: &[Fate]) -> (HostReport, Vec<String>) {
    std::fs::create_dir_all(bench.root().join("run/systemd/system")).unwrap();
    std::fs::create_dir_all(bench.root().join("etc/systemd/system")).unwrap();
    let mut order = order(resources);
    order.guard = Some(Guard { seconds: 60, accept_irreversible: false });
    let timer = "systemd-run --quiet --collect --unit=converge-revert-run-1-";
    for (n, _) in fates.iter().enumerate() {
        let n = n + 1;
        let how = "--on-active=60s --timer-property=AccuracySec=100ms --property=Restart=on-abnormal";
        let line = format!("{timer}{n} {how} {}", words(&bench.state).join(" "));
        bench.world.command(&line, |_| 0);
        bench.world.command(&format!("systemctl stop converge-revert-run-1-{n}.timer"), |_| 0);
    }
    let groups = Arc::new(Mutex::new(Vec::new()));
    let (state, seen) = (State::in_folder(bench.state.path("")), groups.clone());
    let mut fates: Vec<_> = fates.iter().rev().copied().collect();
    let root = bench.root().to_owned();
    *bench.controller.confirm.lock().unwrap() = Some(Box::new(move || {
        seen.lock().unwrap().push(noted(&state, &root));
        match fates.pop().unwrap() {
            Fate::Confirmed => drop(confirm(&state, "run-1").unwrap()),
            Fate::Reverted => {
                let elsewhere = tempfile::tempdir().unwrap();
                let machine = converge_resources::system::fake::World::new(elsewhere.path()).unwrap();
                machine.command("systemctl restart ssh.service", |_| 0);
                revert(&machine, &state.path(""), false).unwrap();
            }
        }
    }));
    let plan = look_in(&bench.world, &bench.state, &order, &bench.controller).unwrap();
    assert_eq!(plan.problems, []);
    let report = act_in(&bench.world, &bench.state, &order, plan.token, &bench.controller).unwrap();
    let groups = groups.lock().unwrap().clone();
    (report, groups)
}

/// What an armed group would put back, a line each, without what armed it.
fn noted(state: &State, root: &Path) -> String {
    let back = std::fs::read_to_string(state.path("armed/back")).unwrap();
    let back: serde_json::Value =
        serde_json::from_str(&back.replace(&root.display().to_string(), "")).unwrap();
    let line = |back: &serde_json::Value| {
        let (what, of) = back.as_object().unwrap().iter().next().unwrap();
        match of["path"].as_str() {
            Some(path) => format!("{what} {path}\n"),
            None => format!(
                "{what} {}\n",
                of["unit"]["words"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|word| word.as_str().unwrap())
                    .collect::<Vec<_>>()
                    .join(" ")
            ),
        }
    };
    let lines = back["back"].as_array().unwrap().iter().map(line);
    lines.filter(|line| !line.contains("/systemd/system/")).collect()
}

fn service(name: &str) -> Resource {
    let mut service = resource("service", name);
    service.params.set("settle", Value::from(0));
    service
}

/// A file of sshd, an ordinary one, another of sshd, and the services that they notify.
fn mixed(bench: &Bench) -> Vec<Resource> {
    ["ssh.service", "web.service"].into_iter().for_each(|unit| bench.world.unit(unit));
    std::fs::create_dir_all(bench.root().join("etc/ssh")).unwrap();
    bench.world.write("/etc/ssh/one".as_ref(), "old\n");
    let notifies = |path: &str, target: u32| {
        let mut file = bench.file(path, "new\n");
        file.notify = vec![Notify { target, how: NotifyHow::AsTargetSays }];
        file
    };
    vec![
        bench.file("/etc/first", "new\n"),
        bench.file("/etc/ssh/one", "new\n"),
        notifies("/etc/ssh/two", 4),
        bench.file("/etc/between", "new\n"),
        service("ssh"),
        bench.file("/etc/last", "new\n"),
        notifies("/etc/ssh/three", 7),
        service("web"),
        bench.file("/etc/end", "new\n"),
    ]
}

#[test]
fn an_unbroken_stretch_with_what_it_notifies_is_one_group() {
    let bench = Bench::new();
    let resources = mixed(&bench);
    for unit in ["ssh.service", "web.service"] {
        bench.world.units().act(converge_resources::system::units::Verb::Start, unit).unwrap();
    }
    let (report, groups) = apply(&bench, &resources, &[Fate::Confirmed, Fate::Confirmed]);
    assert_eq!(report.state, HostState::Changed, "{report:?}");
    let one = "gone /etc/ssh/two\nfile /etc/ssh/one\nagain restart ssh.service\n";
    let two = "gone /etc/ssh/three\nagain restart web.service\n";
    assert_eq!(groups.len(), 2, "{groups:?}");
    assert_eq!(groups, [one, two]);
    let events = bench.controller.events.lock().unwrap();
    let of_groups =
        events.iter().filter(|event| matches!(event, EventKind::Armed { .. } | EventKind::Confirmed));
    assert_eq!(of_groups.count(), 4);
    assert!(!bench.root().join(&BOOT_UNIT[1..]).exists() && !armed::is_armed(&bench.state));
}

#[test]
fn what_nobody_confirms_is_as_it_was_and_ends_the_run() {
    let bench = Bench::new();
    let resources = mixed(&bench);
    let (report, groups) = apply(&bench, &resources, &[Fate::Reverted]);
    assert_eq!((report.state, groups.len()), (HostState::Reverted, 1), "{report:?}");
    let outcome = |address: &str| {
        let found = report.results.iter().rev().find(|result| result.address.as_str() == address);
        found.map(|result| result.outcome.clone()).unwrap()
    };
    for address in ["file[/etc/ssh/one]", "file[/etc/ssh/two]"] {
        assert!(
            matches!(outcome(address), StepOutcome::Failed { back: PutBack::Restored, .. }),
            "{report:?}"
        );
    }
    assert_eq!(outcome("file[/etc/first]"), StepOutcome::Done);
    assert!(matches!(outcome("file[/etc/ssh/three]"), StepOutcome::Skipped { .. }));
    let text = |path: &str| std::fs::read_to_string(bench.root().join(path)).unwrap_or_default();
    assert_eq!([text("etc/ssh/one"), text("etc/ssh/two"), text("etc/end")], ["old\n", "", ""]);
    assert!(
        report.problems[0].message.contains("put back file[/etc/ssh/one], file[/etc/ssh/two]"),
        "{report:?}"
    );

    let plan = bench.look(&resources);
    assert_eq!(plan.reverted.as_deref(), Some("run-1"));
    let changes: Vec<_> = plan.steps.iter().map(|step| step.address.as_str()).collect();
    let expected = [
        "file[/etc/ssh/one]",
        "file[/etc/ssh/two]",
        "service[ssh]",
        "file[/etc/last]",
        "file[/etc/ssh/three]",
    ];
    assert_eq!(changes[..5], expected, "the truth is what the host has");
    assert!(plan.steps.iter().all(|step| !step.owed), "what was put back owes nothing");
}

#[test]
fn a_group_that_changed_nothing_asks_nobody() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.root().join("etc/ssh")).unwrap();
    let mut broken = bench.file("/etc/ssh/one", "new\n");
    let check = Value::List(vec![converge_model::Scalar::from("check"), converge_model::Scalar::from("%s")]);
    broken.params.set("validate", check);
    let (report, groups) = apply(&bench, &[broken], &[Fate::Confirmed]);
    assert_eq!((report.state, groups.len()), (HostState::Failed, 0), "{report:?}");
    assert!(!armed::is_armed(&bench.state) && !bench.root().join("etc/ssh/one").exists());
    assert_eq!(Standing::read(&bench.state).unwrap(), Standing::Nothing);
}

#[test]
fn what_the_host_could_not_take_back_is_refused_unless_that_is_accepted() {
    let bench = Bench::new();
    bench.world.write("/etc/ssh/key".as_ref(), "old\n");
    let mut key = bench.file("/etc/ssh/key", "new\n");
    key.options.sensitive = true;
    let look = |accept_irreversible: bool| {
        let mut order = order(std::slice::from_ref(&key));
        order.guard = Some(Guard { seconds: 60, accept_irreversible });
        look_in(&bench.world, &bench.state, &order, &bench.controller).unwrap().blocked
    };
    let check = |why: &str| {
        let blocked = look(false);
        assert!(blocked[0].why.contains(why), "{blocked:?}");
        assert!(blocked[0].help.as_ref().is_some_and(|help| help.contains("--accept-irreversible")));
        assert_eq!(look(true), []);
    };
    check("that needs root, systemd");
    std::fs::create_dir_all(bench.root().join("run/systemd/system")).unwrap();
    check("sensitive");
}

#[test]
fn the_package_that_lets_the_login_in_is_not_removed_unless_that_is_accepted() {
    let bench = Bench::new();
    bench.world.offer("openssh-server", converge_resources::system::fake::Offer::default());
    let ssh = |state: &str| {
        let mut package = resource("package", "openssh-server");
        package.params.set("state", Value::from(state));
        package
    };
    let look = |state: &str, accept_irreversible: bool| {
        let mut order = order(&[ssh(state)]);
        order.guard = Some(Guard { seconds: 60, accept_irreversible });
        look_in(&bench.world, &bench.state, &order, &bench.controller).unwrap().blocked
    };
    assert_eq!(look("present", false), []);
    assert_eq!(look("absent", false), [], "it is not there");
    bench.apply(&[ssh("present")]);
    assert!(look("absent", false)[0].why.contains("packages are not put back"));
    assert_eq!(look("absent", true), []);
}

#[test]
fn a_host_that_is_about_to_take_something_back_is_left_alone() {
    let bench = Bench::new();
    bench.state.make().unwrap();
    let owner = Owner { run: "dead".to_owned(), timer: "t".to_owned() };
    armed::prepare(&bench.state, &owner).unwrap();
    armed::arm(&bench.state).unwrap();
    let mut order = order(&[bench.file("/etc/motd", "x\n")]);
    order.guard = Some(Guard::default());
    let plan = look_in(&bench.world, &bench.state, &order, &bench.controller).unwrap();
    assert!(plan.problems[0].message.contains("run dead changed is not confirmed"), "{plan:?}");
    let acted = act_in(&bench.world, &bench.state, &order, plan.token, &bench.controller);
    assert!(matches!(acted, Err(converge_model::wire::Refusal::Stale(_))));
}

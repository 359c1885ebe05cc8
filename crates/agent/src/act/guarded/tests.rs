//! Tests of groups of critical changes: when they are armed, how they end, and what is refused.

use std::path::Path;
use std::sync::{Arc, Mutex};

use converge_model::{HostReport, HostState, Notify, NotifyHow, Resource, Restoration, StepOutcome, Value};
use converge_resources::System;
use converge_resources::actor::revert::revert;
use converge_resources::system::services::systemd::clock::{BOOT_LINK, BOOT_UNIT};

use super::*;
use crate::state::armed::confirm;
use crate::testing::{Bench, ended, order, resource};
use crate::work::{act_in, look_in};

/// The end of each group, in order.
#[derive(Clone, Copy)]
enum Fate {
    Confirmed,
    Reverted,
    Stuck,
}

/// Applies resources on a host with systemd, whose groups end with these fates. Returns the report, and for each
/// group what was changed before it ended.
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
            Fate::Reverted => run_revert(&state),
            Fate::Stuck => {
                std::fs::write(state.path("armed/log"), "failed to restore /etc/ssh/one: it is full\n")
                    .unwrap();
                std::fs::rename(state.path("armed"), state.path("revert-failed")).unwrap();
            }
        }
    }));
    let plan = look_in(&bench.world, &bench.state, &order, &bench.controller).unwrap();
    assert_eq!(plan.problems, []);
    let report = act_in(&bench.world, &bench.state, &order, plan.token, &bench.controller).unwrap();
    let groups = groups.lock().unwrap().clone();
    (report, groups)
}

/// Does what the timer starts.
fn run_revert(state: &State) {
    let elsewhere = tempfile::tempdir().unwrap();
    let machine = converge_resources::system::fake::World::new(elsewhere.path()).unwrap();
    machine.command("systemctl restart ssh.service", |_| 0);
    revert(&machine, &state.path(""), false).unwrap();
}

/// Returns what an armed group would restore, one line each, without what armed it.
fn noted(state: &State, root: &Path) -> String {
    let back = std::fs::read_to_string(state.path("armed/back")).unwrap();
    let back = back.replace(&root.display().to_string(), "");
    let (mut changes, mut again) = (Vec::new(), Vec::new());
    for noted in back.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()) {
        match noted["change"].as_array() {
            Some(backs) => changes.push(backs.clone()),
            None if noted["again"].is_object() => again.push(noted),
            None => {}
        }
    }
    let line = |back: &serde_json::Value| {
        let (what, of) = back.as_object().unwrap().iter().next().unwrap();
        match of["path"].as_str() {
            Some(path) => format!("{what} {path}\n"),
            None => format!(
                "{what} {}\n",
                of.get("words")
                    .unwrap_or(&of["unit"]["words"])
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|word| word.as_str().unwrap())
                    .collect::<Vec<_>>()
                    .join(" ")
            ),
        }
    };
    changes.iter().rev().flatten().chain(&again).map(line).collect()
}

fn service(name: &str) -> Resource {
    let mut service = resource("service", name);
    service.params.set("settle", Value::from(0));
    service
}

/// Returns a file of sshd, an ordinary one, another of sshd, and the services that they notify.
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
        bench.world.units().act(converge_resources::system::services::Verb::Start, unit).unwrap();
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
    let stopped = |line: &String| line.starts_with("run systemctl stop converge-revert-run-1-");
    assert_eq!(bench.world.log().into_iter().filter(stopped).count(), 2, "a timer each");
    assert!(bench.controller.given.lock().unwrap().iter().all(|left| (50..=60).contains(left)));
}

#[test]
fn an_armed_group_is_reverted_at_the_next_boot_too() {
    let bench = Bench::new();
    let wants = bench.root().join(&BOOT_LINK[1..]);
    std::fs::create_dir_all(wants.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/elsewhere", &wants).unwrap();
    let catalog = mixed(&bench);
    let unit = bench.root().join(&BOOT_UNIT[1..]);
    let armed = |event: &EventKind| matches!(event, EventKind::Armed { .. });
    let mut seen = None;
    let look = || seen = Some((std::fs::read_to_string(unit).unwrap(), std::fs::read_link(&wants).unwrap()));
    bench.beside(armed, look, || apply(&bench, &catalog[1..2], &[Fate::Confirmed]));
    let (text, link) = seen.unwrap();
    assert!(text.contains(&format!("\nExecStart={} {BOOT}\n", words(&bench.state).join(" "))), "{text}");
    assert_eq!(link, PathBuf::from("../converge-revert.service"));
    assert!(!wants.exists() && wants.symlink_metadata().is_err());
}

#[test]
fn a_change_without_a_timer_behind_it_is_not_made() {
    let bench = Bench::new();
    let resources = mixed(&bench);
    let (report, groups) = apply(&bench, &resources[1..2], &[]);
    assert_eq!((report.state, groups.len()), (HostState::Failed, 0), "{report:?}");
    let StepOutcome::Failed { why, stands, .. } = &report.results[0].outcome else { panic!("{report:?}") };
    assert!(why.starts_with("failed to arm its revert: failed to start the timer of "), "{why}");
    assert_eq!(*stands, Stands::Unchanged);
    assert_eq!(std::fs::read_to_string(bench.root().join("etc/ssh/one")).unwrap(), "old\n");
    assert_eq!(Standing::read(&bench.state).unwrap(), Standing::Nothing);
}

#[test]
fn a_group_at_work_is_seen_through_by_an_act_that_is_to_stop() {
    let bench = Bench::new();
    let resources = mixed(&bench);
    let stop = || bench.controller.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let work = || apply(&bench, &resources, &[Fate::Confirmed]);
    let (report, groups) = bench.beside(ended("file[/etc/ssh/one]"), stop, work);
    assert_eq!((report.state, groups.len()), (HostState::Interrupted, 1), "{report:?}");
    let text = |path: &str| std::fs::read_to_string(bench.root().join(path)).unwrap_or_default();
    assert_eq!([text("etc/ssh/two"), text("etc/last")], ["new\n", ""]);
}

#[test]
fn a_group_that_bans_is_asked_about_once_its_bans_are_there() {
    let bench = Bench::new();
    let mut service = service("ssh");
    service.params.set("settle", Value::from(150));
    service.params.set("running", Value::from(true));
    bench.world.unit("ssh.service");
    bench.world.command("fail2ban-client ping", |world| {
        let pings = world.files().read("/pings".as_ref(), 10).map_or(0, |pings| pings.len()) + 1;
        world.write("/pings".as_ref(), &"x".repeat(pings));
        i32::from(pings < 3)
    });
    let started = Instant::now();
    let catalog = [bench.file("/etc/fail2ban/jail.local", "x\n"), service];
    std::fs::create_dir_all(bench.root().join("etc/fail2ban")).unwrap();
    let (report, groups) = apply(&bench, &catalog, &[Fate::Confirmed]);
    assert_eq!((report.state, groups.len()), (HostState::Changed, 1), "{report:?}");
    let pings = bench.world.log().iter().filter(|line| *line == "run fail2ban-client ping").count();
    assert_eq!(pings, 3, "until it answers");
    // The time to settle comes before the confirmation and before the closing look.
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_group_whose_time_is_over_in_its_midst_is_reverted_without_a_question() {
    let bench = Bench::new();
    let resources = mixed(&bench);
    let work = || apply(&bench, &resources, &[Fate::Confirmed]);
    let (report, groups) = bench.beside(ended("file[/etc/ssh/one]"), || run_revert(&bench.state), work);
    assert_eq!((report.state, groups.len()), (HostState::Reverted, 0), "{report:?}");
    let text = |path: &str| std::fs::read_to_string(bench.root().join(path)).unwrap_or_default();
    assert_eq!([text("etc/ssh/one"), text("etc/ssh/two"), text("etc/last")], ["old\n", "", ""]);
    let outcomes: Vec<_> = report.results.iter().map(|result| &result.outcome).collect();
    assert!(matches!(outcomes[1], StepOutcome::Failed { restored: Restoration::Done, .. }), "{report:?}");
    let StepOutcome::Failed { why, .. } = outcomes[2] else { panic!("{report:?}") };
    assert_eq!(why, "the time to confirm ended before its turn");
}

#[test]
fn what_a_group_owed_goes_with_it_and_what_others_owe_stays() {
    for others in [false, true] {
        let bench = Bench::new();
        bench.world.unit("web.service");
        bench.world.units().act(converge_resources::system::services::Verb::Start, "web.service").unwrap();
        std::fs::create_dir_all(bench.root().join("etc/ssh")).unwrap();
        let notify = vec![Notify { target: 2, how: NotifyHow::AsTargetSays }];
        let (mut first, mut second) = (bench.file("/etc/first", "x\n"), bench.file("/etc/ssh/two", "x\n"));
        second.notify.clone_from(&notify);
        first.notify = if others { notify } else { Vec::new() };
        let catalog = [first, second, service("web")];
        let work = || apply(&bench, &catalog, &[Fate::Confirmed]);
        let (report, _) = bench.beside(ended("file[/etc/ssh/two]"), || run_revert(&bench.state), work);
        assert_eq!(report.state, HostState::Reverted, "{report:?}");
        let plan = bench.look(&catalog);
        let is_owed = plan.steps.iter().any(|step| step.owed && step.address.as_str() == "service[web]");
        assert_eq!(is_owed, others, "{plan:?}");
    }
}

#[test]
fn a_host_that_could_not_take_a_group_back_is_for_a_person_to_look_at() {
    let bench = Bench::new();
    let resources = mixed(&bench);
    let (report, _) = apply(&bench, &resources, &[Fate::Stuck]);
    assert_eq!(report.state, HostState::Failed, "{report:?}");
    let expected =
        "the host could not revert the guarded steps: failed to restore /etc/ssh/one: it is full; ";
    assert!(report.problems[0].message.starts_with(expected), "{report:?}");
    assert!(!bench.root().join("etc/last").exists(), "nothing is done after it");
    let mut order = order(&resources);
    order.guard = Some(Guard::default());
    let plan = look_in(&bench.world, &bench.state, &order, &bench.controller).unwrap();
    assert!(plan.problems[0].message.starts_with(expected), "{plan:?}");
}

#[test]
fn a_group_in_which_an_action_failed_is_asked_about() {
    let bench = Bench::new();
    let resources = mixed(&bench);
    bench.world.units().act(converge_resources::system::services::Verb::Start, "ssh.service").unwrap();
    bench.world.break_unit("ssh.service");
    let mut file = resources[2].clone();
    file.notify[0].target = 1;
    let (report, groups) = apply(&bench, &[file, service("ssh")], &[Fate::Confirmed]);
    assert_eq!((report.state, groups.len()), (HostState::Failed, 1), "{report:?}");
    assert!(!armed::is_armed(&bench.state));
}

#[test]
fn a_host_that_can_take_nothing_back_changes_what_is_accepted_without_a_timer() {
    let bench = Bench::new();
    let resources = mixed(&bench);
    let mut order = order(&resources[1..2]);
    order.guard = Some(Guard { seconds: 60, accept_irreversible: true });
    let plan = look_in(&bench.world, &bench.state, &order, &bench.controller).unwrap();
    let report = act_in(&bench.world, &bench.state, &order, plan.token, &bench.controller).unwrap();
    assert_eq!((report.state, bench.world.log()), (HostState::Changed, Vec::new()), "{report:?}");
}

/// A host with an armed group of a run that has died.
fn left_behind() -> Bench {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.root().join("run/systemd/system")).unwrap();
    bench.state.make().unwrap();
    armed::prepare(&bench.state, &Owner { run: "dead".to_owned(), timer: "t".to_owned() }).unwrap();
    armed::arm(&bench.state).unwrap();
    bench
}

#[test]
fn a_revert_that_stopped_midway_is_begun_again_by_the_next_look() {
    let check = |prepare: fn(&Bench), timer_runs: bool, is_begun: bool| {
        let bench = left_behind();
        prepare(&bench);
        bench.world.command("systemctl is-active --quiet t.timer", move |_| i32::from(!timer_runs));
        resume(&bench.world, &bench.state);
        let line = format!("run systemd-run --quiet --collect --wait {}", words(&bench.state).join(" "));
        assert_eq!(bench.world.log().contains(&line), is_begun, "{:?}", bench.world.log());
    };
    fn becomes(bench: &Bench, name: &str) {
        std::fs::rename(bench.state.path("armed"), bench.state.path(name)).unwrap();
    }
    check(|_| {}, true, false);
    check(|_| {}, false, true);
    check(|bench| becomes(bench, "reverting"), false, true);
    check(|bench| becomes(bench, "confirmed"), false, false);
    check(|bench| std::fs::remove_dir(bench.root().join("run/systemd/system")).unwrap(), false, false);
    let bench = left_behind();
    let run = converge_model::RunId::new("other").unwrap();
    let _lock = Lock::take(&bench.state, &run, "grace@desk", 1).unwrap().ok();
    resume(&bench.world, &bench.state);
    assert_eq!(bench.world.log(), ["run systemctl is-active --quiet t.timer"], "a run is at work on it");
}

/// Returns what an agent finds when it waits for a group that ended so long ago, and how often it started the revert
/// itself.
fn waited(over: Duration, reverts: bool) -> (Standing, usize) {
    let bench = left_behind();
    let line = words(&bench.state).join(" ");
    let state = State::in_folder(bench.state.path(""));
    bench.world.command(&line, move |_| {
        if reverts {
            std::fs::rename(state.path("armed"), state.path("reverted")).unwrap();
        }
        0
    });
    let deadline = Instant::now().checked_sub(over).unwrap();
    let standing = wait(&bench.world, &bench.state, deadline).unwrap();
    (standing, bench.world.log().len())
}

#[test]
fn a_timer_that_is_late_is_replaced_once_by_the_agent_that_waits() {
    let owner = Owner { run: "dead".to_owned(), timer: "t".to_owned() };
    let almost = REVERTING - 2 * GLANCE;
    assert_eq!(waited(almost, true), (Standing::Reverted(owner.clone()), 1));
    assert_eq!(waited(almost, false), (Standing::Armed(owner), 1), "and then it is unknown");
}

#[test]
fn a_timer_that_may_still_come_is_waited_for() {
    let bench = left_behind();
    let state = State::in_folder(bench.state.path(""));
    std::thread::scope(|scope| {
        scope.spawn(|| std::fs::rename(state.path("armed"), state.path("reverting")).unwrap());
        scope.spawn(|| {
            while std::fs::rename(state.path("reverting"), state.path("reverted")).is_err() {
                std::thread::yield_now();
            }
        });
        let standing = wait(&bench.world, &bench.state, Instant::now()).unwrap();
        assert!(matches!(standing, Standing::Reverted(_)), "{standing:?}");
    });
    assert_eq!(bench.world.log(), Vec::<String>::new());
}

#[test]
fn what_no_login_confirms_is_as_it_was_and_ends_the_run() {
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
            matches!(outcome(address), StepOutcome::Failed { restored: Restoration::Done, .. }),
            "{report:?}"
        );
    }
    assert_eq!(outcome("file[/etc/first]"), StepOutcome::Done);
    assert!(matches!(outcome("file[/etc/ssh/three]"), StepOutcome::Skipped { .. }));
    let text = |path: &str| std::fs::read_to_string(bench.root().join(path)).unwrap_or_default();
    assert_eq!([text("etc/ssh/one"), text("etc/ssh/two"), text("etc/end")], ["old\n", "", ""]);
    assert!(
        report.problems[0].message.contains("reverted file[/etc/ssh/one], file[/etc/ssh/two]"),
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
    assert!(plan.steps.iter().all(|step| !step.owed), "what was restored owes nothing");
}

#[test]
fn a_group_that_changed_nothing_asks_for_no_login() {
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
fn what_the_host_could_not_revert_is_refused_unless_that_is_accepted() {
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
    check("a revert needs root, systemd");
    std::fs::create_dir_all(bench.root().join("run/systemd/system")).unwrap();
    check("sensitive");
    let mut new = bench.file("/etc/ssh/new", "new\n");
    new.options.sensitive = true;
    let mut closed = bench.file("/etc/ssh/key", "old\n");
    closed.options.sensitive = true;
    closed.params.set("mode", Value::from(0o600));
    bench.world.write("/bin/bash".as_ref(), "");
    let program = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(bench.root().join("bin/bash"), program).unwrap();
    let mut root = resource("user", "root");
    root.options.sensitive = true;
    root.params.set("shell", Value::from("/bin/bash"));
    let mut order = order(&[new, closed, root]);
    order.guard = Some(Guard { seconds: 60, accept_irreversible: false });
    let plan = look_in(&bench.world, &bench.state, &order, &bench.controller).unwrap();
    assert_eq!((plan.steps.len(), plan.blocked), (3, Vec::new()), "nothing that is kept nowhere is replaced");
    assert!(plan.steps.iter().all(|step| step.guarded));
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
    assert_eq!(look("absent", false), [], "it does not exist");
    bench.apply(&[ssh("present")]);
    assert!(look("absent", false)[0].why.contains("packages are not restored"));
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
    assert!(plan.problems[0].message.contains("changes of run dead are not confirmed"), "{plan:?}");
    let acted = act_in(&bench.world, &bench.state, &order, plan.token, &bench.controller);
    assert!(matches!(acted, Err(converge_model::wire::Refusal::Stale(_))));
}

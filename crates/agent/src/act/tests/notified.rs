//! Tests of acts with notifications: whether the handler acts, whether it stays owed, and what is restored if it
//! fails.

use converge_model::{
    Certainty, Change, EventKind, HostReport, HostState, Notify, NotifyHow, Resource, Restoration, Scalar,
    Stands, StepOutcome, Value,
};
use converge_resources::System;
use converge_resources::system::fake::{Offer, World};
use converge_resources::system::services::{Active, Verb};

use super::outcomes;
use crate::testing::{Bench, resource};

fn notify(target: u32) -> Vec<Notify> {
    vec![Notify { target, how: NotifyHow::AsTargetSays }]
}

/// A service that should run.
fn service() -> Resource {
    let mut service = resource("service", "app");
    service.params.set("running", Value::from(true));
    service.params.set("settle", Value::from(0));
    service
}

/// A command that runs every time, or, if `when` says so, only if it is notified.
fn command(bench: &Bench, name: &str, when: &str, deed: fn(&World) -> i32) -> Resource {
    bench.world.command(name, deed);
    let mut command = resource("command", name);
    command.params.set("command", Value::List(vec![Scalar::from(name)]));
    command.params.set(when, Value::from(true));
    command
}

fn running(bench: &Bench) {
    bench.world.unit("app.service");
    bench.world.units().act(Verb::Start, "app.service").unwrap();
}

fn words(report: &HostReport) -> Vec<&'static str> {
    outcomes(report).into_iter().map(|(_, word)| word).collect()
}

fn text(world: &World, path: &str) -> Vec<u8> {
    world.files().read(path.as_ref(), 100).unwrap_or_default()
}

#[test]
fn a_notifier_that_turns_out_to_be_so_already_restarts_nothing() {
    let bench = Bench::new();
    running(&bench);
    let bring = command(&bench, "bring", "always", |world| {
        world.write("/etc/app".as_ref(), "x\n");
        0
    });
    let mut file = bench.file("/etc/app", "x\n");
    file.notify = notify(2);
    let catalog = [bring, file, service()];
    let plan = bench.look(&catalog);
    let because: Vec<_> = plan.steps.iter().map(|step| step.because.len()).collect();
    assert_eq!((because, plan.steps[2].because[0].as_str()), (vec![0, 0, 1], "file[/etc/app]"));
    assert_eq!(words(&bench.apply(&catalog)), ["done", "already so", "already so"]);
    assert_eq!(bench.world.log(), ["start app.service", "run bring"]);
}

#[test]
fn a_service_that_its_own_step_may_find_running_is_restarted_only_if_that_step_does_not_start_it() {
    for comes_up in [false, true] {
        let bench = Bench::new();
        let units = vec![("app.service".to_owned(), comes_up)];
        bench.world.offer("app", Offer { version: "1".into(), units, ..Offer::default() });
        let mut file = bench.file("/etc/app", "x\n");
        file.notify = notify(2);
        let catalog = [resource("package", "app"), file, service()];
        let plan = bench.look(&catalog);
        let of_service: Vec<_> = plan.steps.iter().filter(|step| step.resource == 2).collect();
        assert_eq!(of_service.len(), 2, "its own step, and the restart: {plan:?}");
        let is_conditional = |change: &Change| matches!(change.certainty, Certainty::Conditional { .. });
        assert!(of_service.iter().all(|step| is_conditional(&step.change)), "{plan:?}");
        let (expected, deed) = match comes_up {
            false => (["done", "done", "done", "already so"], "start app.service"),
            true => (["done", "done", "already so", "done"], "restart app.service"),
        };
        assert_eq!(words(&bench.apply(&catalog)), expected);
        assert_eq!(bench.world.log(), ["install app", deed]);
    }
}

#[test]
fn a_start_pays_only_for_what_changed_before_it() {
    let bench = Bench::new();
    bench.world.unit("app.service");
    let mut file = bench.file("/etc/app", "x\n");
    file.notify = notify(0);
    assert_eq!(bench.apply(&[service(), file]).state, HostState::Changed);
    assert_eq!(bench.world.log(), ["start app.service", "restart app.service"]);

    let bench = Bench::new();
    bench.world.unit("app.service");
    let mut file = bench.file("/etc/app", "x\n");
    file.notify = notify(1);
    let catalog = [file, service()];
    assert_eq!(bench.look(&catalog).steps.len(), 2, "no restart beside the start");
    assert_eq!(bench.apply(&catalog).state, HostState::Changed);
    assert_eq!(bench.world.log(), ["start app.service"]);
}

#[test]
fn a_service_that_is_only_enabled_is_restarted_all_the_same() {
    let bench = Bench::new();
    running(&bench);
    let mut file = bench.file("/etc/app", "x\n");
    file.notify = notify(1);
    let mut service = service();
    service.params.set("enabled", Value::from(true));
    assert_eq!(words(&bench.apply(&[file, service])), ["done", "done", "done"]);
    assert_eq!(bench.world.log()[1..], ["enable app.service", "restart app.service"]);
}

#[test]
fn a_service_that_its_notification_ended_runs_again_once_the_change_is_restored() {
    for (how, last) in [(NotifyHow::AsTargetSays, "restart"), (NotifyHow::Reload, "restart")] {
        let bench = Bench::new();
        running(&bench);
        bench.world.break_once("app.service");
        let mut file = bench.file("/etc/app", "bad\n");
        file.notify = vec![Notify { target: 1, how }];
        // No resource asks for the service to run, but it did run.
        let mut service = resource("service", "app");
        service.params.set("settle", Value::from(0));
        let report = bench.apply(&[file, service]);
        let all = failed_steps(&report);
        assert_eq!((all[1].0.as_str(), all[1].2), ("service[app]", Restoration::Done), "{report:?}");
        assert!(all[1].1.ends_with("; file[/etc/app] was restored, and it runs as before"), "{all:?}");
        assert_eq!(bench.world.log().last(), Some(&format!("{last} app.service")));
        let states = bench.world.units().states(&["app.service".to_owned()]).unwrap();
        assert_eq!(states[0].active, Active::Active);
    }
}

#[test]
fn a_service_that_does_not_run_and_need_not_is_left_alone() {
    let bench = Bench::new();
    bench.world.unit("app.service");
    let mut file = bench.file("/etc/app", "x\n");
    file.notify = notify(1);
    let mut service = resource("service", "app");
    service.params.set("settle", Value::from(0));
    assert_eq!(bench.apply(&[file, service]).state, HostState::Changed);
    assert_eq!(bench.world.log(), Vec::<String>::new());
}

#[test]
fn a_restart_of_a_skipped_service_stays_owed_until_a_later_run_pays_it() {
    let bench = Bench::new();
    running(&bench);
    let mut broken = bench.file("/etc/broken", "x");
    broken.params.set("validate", Value::List(vec![Scalar::from("check"), Scalar::from("%s")]));
    let mut file = bench.file("/etc/app", "x\n");
    (file.bodies, file.notify) = (vec![1], notify(2));
    let report = bench.apply(&[broken.clone(), file.clone(), service()]);
    let why = "service[app] was skipped".to_owned();
    assert_eq!(report.results[2].outcome, StepOutcome::Skipped { why }, "{report:?}");
    broken.params.0.retain(|(name, _)| name != "validate");
    let catalog = [broken, file, service()];
    let plan = bench.look(&catalog);
    assert!(plan.steps.iter().any(|step| step.owed && step.resource == 2), "{plan:?}");
    assert_eq!(bench.apply(&catalog).state, HostState::Changed);
    assert_eq!(bench.world.log().last().map(String::as_str), Some("restart app.service"));
    let paid = |event: &EventKind| matches!(event, EventKind::Paid { .. });
    assert!(bench.controller.events.lock().unwrap().iter().any(paid));
    assert!(bench.look(&catalog).is_empty());
}

#[test]
fn what_waits_for_a_service_that_fails_when_it_is_notified_is_skipped() {
    let bench = Bench::new();
    running(&bench);
    bench.world.break_unit("app.service");
    let mut file = bench.file("/etc/app", "x\n");
    file.notify = notify(1);
    let [mut waits, mut fine] = ["/etc/waits", "/etc/fine"].map(|path| bench.file(path, "x\n"));
    (waits.bodies, waits.after) = (vec![1], vec![1]);
    (fine.bodies, fine.after) = (vec![2], vec![4]);
    let mut base = bench.file("/etc/base", "x\n");
    base.bodies = vec![3];
    let report = bench.apply(&[file, service(), waits, base, fine]);
    let of = |address: &str| {
        let found = report.results.iter().rev().find(|result| result.address.as_str() == address);
        found.unwrap_or_else(|| panic!("{report:?}")).outcome.clone()
    };
    let StepOutcome::Failed { why, restored, .. } = of("service[app]") else { panic!("{report:?}") };
    assert!(why.contains("; file[/etc/app] was restored; it failed again: "), "{why}");
    assert_eq!(restored, Restoration::Nothing);
    let why = "it waits for service[app], which failed".to_owned();
    assert_eq!(of("file[/etc/waits]"), StepOutcome::Skipped { why });
    assert_eq!(of("file[/etc/fine]"), StepOutcome::Done, "what it waits for is well");
}

/// How the notifiers and the handler ended, each with what was restored and its state.
fn failed_steps(report: &HostReport) -> Vec<(String, String, Restoration, Stands)> {
    let failed = report.results.iter().filter_map(|result| match &result.outcome {
        StepOutcome::Failed { why, restored, stands, .. } => {
            Some((result.address.to_string(), why.clone(), *restored, stands.clone()))
        }
        _ => None,
    });
    failed.collect()
}

#[test]
fn a_change_that_its_handler_does_not_bear_is_restored_and_the_handler_runs_as_before() {
    a_change_is_not_borne(false);
    // Sensitive content is kept in memory until the run ends.
    a_change_is_not_borne(true);
}

fn a_change_is_not_borne(sensitive: bool) {
    let bench = Bench::new();
    bench.world.write("/etc/app".as_ref(), "good\n");
    let mut file = bench.file("/etc/app", "bad\n");
    file.notify = notify(1);
    file.options.sensitive = sensitive;
    let handler =
        command(&bench, "load", "only-notified", |world| i32::from(text(world, "/etc/app") == b"bad\n"));
    let catalog = [file, handler];
    let report = bench.apply(&catalog);
    let [(first, blame, restored, stands), (second, why, again, _)] = &failed_steps(&report)[..] else {
        panic!("{report:?}")
    };
    assert_eq!(
        (first.as_str(), *restored, stands),
        ("file[/etc/app]", Restoration::Done, &Stands::Unchanged)
    );
    assert_eq!(blame, "command[load] failed with it; file[/etc/app] was restored");
    assert_eq!((second.as_str(), *again), ("command[load]", Restoration::Done));
    assert!(why.ends_with("; file[/etc/app] was restored, and it runs as before"), "{why}");
    assert_eq!(text(&bench.world, "/etc/app"), b"good\n");
    assert_eq!(bench.world.log(), ["run load", "run load"]);
    let plan = bench.look(&catalog);
    assert!(plan.steps.iter().all(|step| !step.owed), "nothing is owed: {plan:?}");
}

#[test]
fn a_change_that_cannot_be_restored_stays_and_is_named() {
    let bench = Bench::new();
    let mut migrate = command(&bench, "migrate", "always", |_| 0);
    migrate.notify = notify(2);
    bench.world.write("/etc/app".as_ref(), "good\n");
    let mut file = bench.file("/etc/app", "bad\n");
    file.notify = notify(2);
    let handler =
        command(&bench, "load", "only-notified", |world| i32::from(text(world, "/etc/app") == b"bad\n"));
    let report = bench.apply(&[migrate, file, handler]);
    let all = failed_steps(&report);
    let of = |at: usize| (all[at].0.as_str(), all[at].2, all[at].3.clone());
    assert_eq!(of(0), ("command[migrate]", Restoration::Nothing, Stands::AsAsked), "{report:?}");
    assert_eq!(of(1), ("file[/etc/app]", Restoration::Done, Stands::Unchanged));
    assert_eq!((of(2).0, of(2).1), ("command[load]", Restoration::Nothing));
    assert!(all[2].1.ends_with("; command[migrate] cannot be restored, and it runs as before"), "{all:?}");
}

#[test]
fn a_change_that_fails_to_be_restored_is_stuck() {
    let bench = Bench::new();
    bench.world.write("/etc/app/conf".as_ref(), "good\n");
    let mut file = bench.file("/etc/app/conf", "bad\n");
    file.notify = notify(1);
    // The handler puts a file in the place of the folder.
    let handler = command(&bench, "load", "only-notified", |world| {
        let folder = world.files().outside("/etc/app".as_ref());
        i32::from(std::fs::remove_dir_all(&folder).and_then(|()| std::fs::write(folder, "")).is_ok())
    });
    let report = bench.apply(&[file, handler]);
    let all = failed_steps(&report);
    let stuck: Vec<_> = all.iter().map(|(address, _, restored, _)| (address.as_str(), *restored)).collect();
    let expected = [("file[/etc/app/conf]", Restoration::Stuck), ("command[load]", Restoration::Stuck)];
    assert_eq!(stuck, expected, "{report:?}");
    assert_eq!(all[0].3, Stands::Unknown);
    assert!(all[1].1.contains("; file[/etc/app/conf] could not be restored: failed to "), "{all:?}");
}

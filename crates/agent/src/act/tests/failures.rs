//! Tests of acts in which something cannot be planned, fails, or does not last: which resources it stops, what is
//! reported, and the state of the host afterwards.

use std::time::Duration;

use converge_model::{
    Certainty, HostState, Notify, NotifyHow, Resource, Restoration, Scalar, Stands, StepOutcome, Value,
};
use converge_resources::System;

use super::outcomes;
use crate::testing::{Bench, resource};

/// A command in a body of its own that ends with 1 after `deed`.
fn failing(bench: &Bench, deed: fn(&converge_resources::system::fake::World)) -> Resource {
    bench.world.command("fetch", move |world| {
        deed(world);
        1
    });
    let mut command = resource("command", "fetch");
    command.params.set("command", Value::List(vec![Scalar::from("fetch")]));
    command.params.set("creates", Value::from("/opt/tool/done"));
    command.bodies = vec![1];
    command
}

#[test]
fn a_step_whose_bringer_failed_is_skipped_only_if_its_need_is_missing() {
    let outcome = |deed: fn(&converge_resources::system::fake::World)| {
        let bench = Bench::new();
        let catalog = [failing(&bench, deed), bench.file("/opt/tool/conf", "x")];
        assert!(matches!(bench.look(&catalog).steps[1].change.certainty, Certainty::Conditional { .. }));
        let report = bench.apply(&catalog);
        assert_eq!((report.state, outcomes(&report)[0].1), (HostState::Failed, "failed"));
        report.results[1].outcome.clone()
    };
    assert_eq!(outcome(|world| world.write("/opt/tool/program".as_ref(), "x")), StepOutcome::Done);
    let why = "the folder /opt/tool does not exist: command[fetch], which should bring it, failed";
    assert_eq!(outcome(|_| {}), StepOutcome::Skipped { why: why.to_owned() });
}

#[test]
fn a_step_that_lacks_what_a_skipped_one_was_to_make_names_it() {
    let bench = Bench::new();
    let mut broken = bench.file("/etc/broken", "x");
    broken.params.set("validate", Value::List(vec![Scalar::from("check"), Scalar::from("%s")]));
    let mut file = bench.file("/srv/conf", "x");
    file.bodies = vec![1];
    let report = bench.apply(&[broken, resource("directory", "/srv"), file]);
    let why = "the folder /srv does not exist: directory[/srv], which should bring it, was skipped";
    assert_eq!(report.results[2].outcome, StepOutcome::Skipped { why: why.to_owned() }, "{report:?}");
}

/// A resource that cannot be planned: a folder is in its place.
fn obstructed(bench: &Bench) -> Resource {
    std::fs::create_dir_all(bench.root().join("home/bob/keys")).unwrap();
    bench.file("/home/bob/keys", "x")
}

fn blocked(plan: &converge_model::HostPlan) -> Vec<(String, bool)> {
    plan.blocked.iter().map(|one| (one.address.to_string(), one.because.is_none())).collect()
}

#[test]
fn a_resource_that_cannot_be_planned_takes_the_rest_of_its_body_and_nothing_else() {
    let bench = Bench::new();
    bench.world.write("/srv/x".as_ref(), "");
    let mut elsewhere = bench.file("/srv/fix", "v2");
    elsewhere.bodies = vec![1];
    let mut waits = bench.file("/srv/waits", "z");
    (waits.bodies, waits.after) = (vec![1], vec![0]);
    let catalog = [obstructed(&bench), bench.file("/srv/rest", "r"), elsewhere, waits];
    let plan = bench.look(&catalog);
    assert_eq!((plan.problems.len(), plan.steps.len()), (0, 1), "{plan:?}");
    assert_eq!(plan.steps[0].address.as_str(), "file[/srv/fix]");
    let expected = [("file[/home/bob/keys]", true), ("file[/srv/rest]", false), ("file[/srv/waits]", false)];
    assert_eq!(blocked(&plan), expected.map(|(address, itself)| (address.to_owned(), itself)));
    assert_eq!(plan.blocked[1].why, "file[/home/bob/keys] before it cannot be planned");
    assert_eq!(plan.impossible().count(), 1);
    let report = bench.apply(&catalog);
    assert_eq!((report.state, report.changes()), (HostState::Failed, 1), "{report:?}");
    let words: Vec<_> = outcomes(&report).into_iter().map(|(_, word)| word).collect();
    assert_eq!(words, ["failed", "skipped", "done", "skipped"]);
    assert_eq!(std::fs::read_to_string(bench.root().join("srv/fix")).unwrap(), "v2");
}

#[test]
fn a_resource_that_may_fail_and_cannot_be_planned_stops_nothing() {
    let bench = Bench::new();
    bench.world.write("/srv/x".as_ref(), "");
    let mut may = obstructed(&bench);
    may.options.may_fail = true;
    let catalog = [may, bench.file("/srv/rest", "r")];
    let plan = bench.look(&catalog);
    assert_eq!((plan.steps.len(), plan.blocked.len(), plan.impossible().count()), (1, 1, 0));
    assert_eq!(bench.apply(&catalog).state, HostState::Changed);
}

#[test]
fn what_needs_a_resource_that_cannot_be_planned_is_skipped_because_of_it() {
    let bench = Bench::new();
    bench.world.write("/srv/x".as_ref(), "");
    bench.world.write("/srv/app".as_ref(), "a file in the way");
    let mut needs = bench.file("/srv/app/conf", "x");
    needs.bodies = vec![1];
    let plan = bench.look(&[resource("directory", "/srv/app"), needs]);
    assert_eq!(
        blocked(&plan),
        [("directory[/srv/app]".to_owned(), true), ("file[/srv/app/conf]".to_owned(), false)]
    );
    assert!(plan.blocked[1].why.ends_with("directory[/srv/app] cannot be planned"), "{plan:?}");
}

#[test]
fn a_restart_is_owed_while_one_that_notifies_it_cannot_be_planned() {
    let bench = Bench::new();
    bench.world.unit("app.service");
    bench.world.write("/srv/x".as_ref(), "");
    let notify = vec![Notify { target: 2, how: NotifyHow::AsTargetSays }];
    let (mut bad, mut good) = (obstructed(&bench), bench.file("/srv/conf", "x"));
    (bad.notify, good.notify) = (notify.clone(), notify);
    let mut service = resource("service", "app");
    service.params.set("settle", Value::from(0));
    (good.bodies, service.bodies) = (vec![1], vec![1]);
    let catalog = [bad, good, service];
    let plan = bench.look(&catalog);
    assert_eq!(plan.steps.len(), 1, "{plan:?}");
    assert_eq!(blocked(&plan)[1], ("service[app]".to_owned(), false));
    let report = bench.apply(&catalog);
    assert_eq!(outcomes(&report)[2], ("service[app]".to_owned(), "owed"), "{report:?}");
    assert_eq!(bench.world.log(), Vec::<String>::new());
}

#[test]
fn a_package_that_cannot_be_had_stops_no_other_one() {
    let bench = Bench::new();
    let offer = |depends: &[&str]| converge_resources::system::fake::Offer {
        version: "1".into(),
        depends: depends.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    bench.world.offer("good", offer(&[]));
    bench.world.offer("bad", offer(&["nowhere"]));
    let (good, mut bad) = (resource("package", "good"), resource("package", "bad"));
    bad.bodies = vec![1];
    let plan = bench.look(&[good, bad]);
    let steps: Vec<_> = plan.steps.iter().map(|step| step.address.as_str()).collect();
    assert_eq!((steps, blocked(&plan)), (vec!["package[good]"], vec![("package[bad]".to_owned(), true)]));
}

#[test]
fn a_failed_step_that_kept_nothing_says_nothing_of_restoring() {
    let bench = Bench::new();
    let report = bench.apply(&[failing(&bench, |world| world.write("/srv/half".as_ref(), "half"))]);
    let StepOutcome::Failed { restored, stands, .. } = &report.results[0].outcome else {
        panic!("{report:?}")
    };
    assert_eq!((*restored, stands), (Restoration::Nothing, &Stands::Unknown));
}

#[test]
fn a_package_that_failed_and_is_half_there_is_a_change() {
    let bench = Bench::new();
    let offer =
        converge_resources::system::fake::Offer { version: "1".into(), fails: true, ..Default::default() };
    bench.world.offer("tree", offer);
    let report = bench.apply(&[resource("package", "tree")]);
    let StepOutcome::Failed { restored, stands, .. } = &report.results[0].outcome else {
        panic!("{report:?}")
    };
    let half = Stands::Differs { properties: vec!["state".to_owned()] };
    assert_eq!((*restored, stands, report.changes()), (Restoration::Nothing, &half, 1));
}

#[test]
fn a_failed_file_is_restored_and_stands_as_before() {
    let bench = Bench::new();
    bench.world.write("/srv/a".as_ref(), "old\n");
    let mut file = bench.file("/srv/a", "new\n");
    file.params.set("mode", Value::from(0o600));
    let mut other = bench.file("/srv/b", "x");
    other.params.set("validate", Value::List(vec![Scalar::from("check"), Scalar::from("%s")]));
    other.bodies = vec![1];
    let report = bench.apply(&[file, other]);
    assert_eq!((report.state, report.changes()), (HostState::Failed, 1));
    let StepOutcome::Failed { stands, .. } = &report.results[1].outcome else { panic!("{report:?}") };
    assert_eq!(*stands, Stands::Unchanged);
}

#[test]
fn a_guard_that_stays_false_is_named() {
    let bench = Bench::new();
    bench.world.command("mk", |_| 0);
    bench.world.command("/bin/sh -c test -e /never", |_| 1);
    let mut command = resource("command", "mk");
    command.params.set("command", Value::List(vec![Scalar::from("mk")]));
    command.params.set("unless", Value::from("test -e /never"));
    let report = bench.apply(&[command]);
    let StepOutcome::Failed { why, .. } = &report.results[0].outcome else { panic!("{report:?}") };
    assert_eq!(
        why,
        "it ran and ended with 0, but `unless=\"test -e /never\"` still says that it is not done"
    );
}

#[test]
fn what_is_absent_and_brought_by_an_open_step_is_removed_at_its_turn() {
    let bench = Bench::new();
    bench.world.command("bring", |world| {
        world.write("/etc/site".as_ref(), "default\n");
        world.write("/etc/done".as_ref(), "");
        0
    });
    let mut command = resource("command", "bring");
    command.params.set("command", Value::List(vec![Scalar::from("bring")]));
    command.params.set("creates", Value::from("/etc/done"));
    let mut absent = resource("file", "/etc/site");
    absent.params.set("state", Value::from("absent"));
    let plan = bench.look(&[command.clone(), absent.clone()]);
    assert_eq!((plan.steps.len(), plan.in_sync), (1, 1), "{plan:?}");
    let report = bench.apply(&[command, absent]);
    assert_eq!(outcomes(&report)[1], ("file[/etc/site]".to_owned(), "unforeseen"), "{report:?}");
    assert!(!bench.root().join("etc/site").exists());
}

#[test]
fn a_process_that_ended_by_itself_is_laid_to_no_steps_charge() {
    use converge_resources::system::fake::World;
    use converge_resources::system::services::{Ended, Verb};
    let told = |deed: fn(&World)| {
        let bench = Bench::new();
        bench.world.unit("app.service");
        bench.world.command("late", move |world| {
            deed(world);
            0
        });
        let mut service = resource("service", "app");
        service.params.set("running", Value::from(true));
        service.params.set("settle", Value::from(0));
        let mut command = resource("command", "late");
        command.params.set("command", Value::List(vec![Scalar::from("late")]));
        command.params.set("always", Value::from(true));
        let report = bench.apply(&[service, command]);
        assert_eq!(report.state, HostState::Failed);
        report.problems[0].message.split_once("; ").unwrap().1.to_owned()
    };
    assert_eq!(
        told(|world| world
            .end_unit("app.service", Ended { after: Duration::from_millis(4_100), by_signal: false })),
        "it ended by itself 4 s after it was started"
    );
    assert_eq!(
        told(|world| world
            .end_unit("app.service", Ended { after: Duration::from_millis(4_100), by_signal: true })),
        "a signal ended it 4 s after it was started, perhaps sent by command[late]"
    );
    assert_eq!(
        told(|world| world.units().act(Verb::Stop, "app.service").unwrap_or_default()),
        "undone by command[late]"
    );
}

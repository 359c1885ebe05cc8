//! Tests of acts on a host in memory: plans are applied, failed steps are restored, owed handlers act.

mod failures;
mod notified;
mod others;
mod probed;
mod transactions;

use converge_model::wire::Refusal;
use converge_model::{
    EventKind, HostReport, HostState, Notify, NotifyHow, PropertyChange, Resource, Scalar, Settled,
    StepOutcome, Value,
};
use converge_resources::System;

use crate::state::journal::{Debt, Journal, Past, Record};
use crate::testing::{Bench, order, resource};
use crate::work::{act_in, look_in};

pub(super) fn outcomes(report: &HostReport) -> Vec<(String, &'static str)> {
    let word = |outcome: &StepOutcome| match outcome {
        StepOutcome::Done => "done",
        StepOutcome::AlreadySo => "already so",
        StepOutcome::Unforeseen => "unforeseen",
        StepOutcome::Failed { .. } => "failed",
        StepOutcome::Skipped { .. } => "skipped",
        StepOutcome::Owed => "owed",
    };
    report.results.iter().map(|result| (result.address.to_string(), word(&result.outcome))).collect()
}

#[test]
fn a_plan_sees_earlier_steps_and_the_act_carries_it_out() {
    let bench = Bench::new();
    let catalog = [resource("directory", "/srv/app"), bench.file("/srv/app/conf", "a\nb\n")];
    let mut catalog = [vec![resource("directory", "/srv")], catalog.to_vec()].concat();
    catalog[2].params.set("mode", Value::from(0o600));
    let plan = bench.look(&catalog);
    assert_eq!(plan.steps.len(), 3, "{plan:?}");
    let diff = plan.steps[2].change.properties[0].diff.as_ref().unwrap();
    assert_eq!(diff.unified, "@@ -0,0 +1,2 @@\n+a\n+b\n");
    assert!(!bench.root().join("srv").exists(), "a look changes nothing");
    let report = bench.apply(&catalog);
    assert_eq!(report.state, HostState::Changed, "{report:?}");
    assert_eq!(std::fs::read_to_string(bench.root().join("srv/app/conf")).unwrap(), "a\nb\n");
    let again = bench.look(&catalog);
    assert!(again.is_empty() && again.ledger_complete, "{again:?}");
}

#[test]
fn a_step_is_told_by_its_place_and_what_it_says_line_by_line() {
    let bench = Bench::new();
    bench.world.says("speak", |_| "one\n\ntwo\n".to_owned());
    let mut command = resource("command", "speak");
    command.params.set("command", Value::List(vec![Scalar::from("speak")]));
    command.params.set("always", Value::from(true));
    bench.apply(&[bench.file("/etc/motd", "x\n"), command]);
    let told = |event: &EventKind| match event {
        EventKind::StepStarted { address, step, of } => Some(format!("{step} of {of}: {address}")),
        EventKind::Output { address, line } => Some(format!("{address}: {line}")),
        EventKind::StepFinished { result } => Some(format!("end of {}", result.address)),
        _ => None,
    };
    let events: Vec<_> = bench.controller.events.lock().unwrap().iter().filter_map(told).collect();
    let expected = [
        "0 of 2: file[/etc/motd]",
        "end of file[/etc/motd]",
        "1 of 2: command[speak]",
        "command[speak]: one",
        "command[speak]: two",
        "end of command[speak]",
    ];
    assert_eq!(events, expected);
}

#[test]
fn a_need_that_no_step_brings_is_a_problem_and_so_is_one_that_comes_too_late() {
    let bench = Bench::new();
    let plan = bench.look(&[bench.file("/srv/app/conf", "x"), resource("directory", "/srv")]);
    assert_eq!(plan.blocked[0].why, "the folder /srv/app does not exist");
    assert_eq!((plan.blocked.len(), plan.impossible().count()), (2, 1), "the rest of the body waits for it");
}

#[test]
fn what_the_selection_leaves_out_is_named() {
    let bench = Bench::new();
    let mut folder = resource("directory", "/srv/app");
    folder.options.selected = false;
    let plan = bench.look(&[folder, bench.file("/srv/app/conf", "x")]);
    assert_eq!(plan.blocked[0].help.as_deref(), Some("the selection excludes directory[/srv/app]"));
}

#[test]
fn a_failure_skips_the_rest_of_its_body_and_what_waits_for_it() {
    let bench = Bench::new();
    let mut broken = bench.file("/etc/broken", "x");
    broken.params.set("validate", Value::List(vec![Scalar::from("check"), Scalar::from("%s")]));
    let mut elsewhere = bench.file("/etc/elsewhere", "y");
    elsewhere.bodies = vec![1];
    let mut waits = bench.file("/etc/waits", "z");
    (waits.bodies, waits.after) = (vec![1], vec![0]);
    let catalog = [broken, bench.file("/etc/rest", "r"), elsewhere, waits];
    let report = bench.apply(&catalog);
    assert_eq!(report.state, HostState::Failed);
    assert_eq!(
        outcomes(&report),
        [
            ("file[/etc/broken]".to_owned(), "failed"),
            ("file[/etc/rest]".to_owned(), "skipped"),
            ("file[/etc/elsewhere]".to_owned(), "done"),
            ("file[/etc/waits]".to_owned(), "skipped"),
        ]
    );
    assert!(!bench.root().join("etc/broken").exists(), "the live file is untouched");
}

#[test]
fn a_guard_that_an_earlier_step_changes_is_no_sign_of_another_program() {
    let bench = Bench::new();
    bench.world.write("/etc/source".as_ref(), "old\n");
    bench.world.write("/etc/copy".as_ref(), "old\n");
    let text = |world: &converge_resources::system::fake::World, path: &str| {
        world.files().read(path.as_ref(), 100).unwrap_or_default()
    };
    bench.world.command("/bin/sh -c same", move |world| {
        i32::from(text(world, "/etc/source") != text(world, "/etc/copy"))
    });
    bench.world.command("copy", |world| {
        world.write("/etc/copy".as_ref(), "new\n");
        0
    });
    let mut copy = resource("command", "copy");
    copy.params.set("command", Value::List(vec![Scalar::from("copy")]));
    copy.params.set("unless", Value::from("same"));
    let catalog = [bench.file("/etc/source", "new\n"), copy];
    assert_eq!(bench.look(&catalog).steps.len(), 1, "the guard still holds");
    let report = bench.apply(&catalog);
    assert_eq!(report.state, HostState::Changed, "{report:?}");
    assert_eq!(outcomes(&report)[1], ("command[copy]".to_owned(), "unforeseen"));
}

#[test]
fn may_fail_stops_nothing() {
    let bench = Bench::new();
    let mut broken = bench.file("/etc/broken", "x");
    broken.params.set("validate", Value::List(vec![Scalar::from("check"), Scalar::from("%s")]));
    broken.options.may_fail = true;
    let report = bench.apply(&[broken, bench.file("/etc/rest", "r")]);
    assert_eq!(report.state, HostState::Changed, "{report:?}");
}

#[test]
fn what_a_failed_step_was_to_bring_is_no_sign_of_another_program() {
    let bench = Bench::new();
    bench.world.command("tidy", |_| 1);
    let mut command = resource("command", "tidy");
    command.params.set("command", Value::List(vec![Scalar::from("tidy")]));
    command.params.set("always", Value::from(true));
    command.options.may_fail = true;
    let mut absent = resource("file", "/etc/old");
    absent.params.set("path", Value::from("/etc/old"));
    absent.params.set("state", Value::from("absent"));
    let report = bench.apply(&[command, absent]);
    assert_eq!(outcomes(&report), [("command[tidy]".to_owned(), "failed")], "{report:?}");
}

#[test]
fn a_host_that_changed_since_its_plan_is_stale_and_untouched() {
    let bench = Bench::new();
    let catalog = [bench.file("/etc/motd", "new\n")];
    bench.world.write("/etc/motd".as_ref(), "old\n");
    let plan = bench.look(&catalog);
    bench.world.write("/etc/motd".as_ref(), "odd\n");
    let acted = act_in(&bench.world, &bench.state, &order(&catalog), plan.token, &bench.controller);
    assert!(matches!(acted, Err(Refusal::Stale(_))));
    assert_eq!(std::fs::read_to_string(bench.root().join("etc/motd")).unwrap(), "odd\n");
}

/// A once-step for the release `key`.
fn migration(bench: &Bench, key: &str) -> Resource {
    bench.world.command("migrate", |world| {
        let path: &std::path::Path = "/runs".as_ref();
        let runs = world.files().read(path, 100).unwrap_or_default();
        world.write(path, &format!("{}x", String::from_utf8_lossy(&runs)));
        0
    });
    let mut command = resource("command", "migrate");
    command.params.set("command", Value::List(vec![Scalar::from("migrate")]));
    command.params.set("once", Value::from(key));
    command
}

fn runs(bench: &Bench) -> usize {
    std::fs::read_to_string(bench.root().join("runs")).map_or(0, |runs| runs.len())
}

#[test]
fn what_runs_once_is_known_from_then_on() {
    let bench = Bench::new();
    let first = [migration(&bench, "1.4.2")];
    assert_eq!(bench.look(&first).steps[0].drift.cause, converge_model::Cause::Intentional);
    assert!(bench.look(&first).known_once.is_empty());
    assert_eq!(bench.apply(&first).state, HostState::Changed);
    let again = bench.look(&first);
    assert!(again.is_empty() && again.ledger_complete, "{again:?}");
    assert_eq!((again.known_once, runs(&bench)), (vec![0], 1));
    bench.apply(&[migration(&bench, "1.5.0")]);
    assert!(bench.look(&first).is_empty(), "an earlier release is not forgotten");
    assert_eq!(runs(&bench), 2);
}

#[test]
fn what_ran_on_another_host_is_recorded_and_what_failed_there_fails() {
    let check = |settled: Settled, outcome: &str, state: HostState, is_known: bool| {
        let bench = Bench::new();
        let catalog = [migration(&bench, "1.5.0"), bench.file("/etc/motd", "x\n")];
        let plan = bench.look(&catalog);
        assert_eq!(plan.steps.len(), 2);
        let mut order = order(&catalog);
        order.catalog.settled = vec![(0, settled)];
        let report = act_in(&bench.world, &bench.state, &order, plan.token, &bench.controller).unwrap();
        assert_eq!(outcomes(&report)[0].1, outcome);
        assert_eq!((report.state, runs(&bench)), (state, 0), "{report:?}");
        assert_eq!(bench.look(&catalog).steps.is_empty(), is_known);
    };
    check(Settled::Done, "already so", HostState::Changed, true);
    check(Settled::Failed("it failed on web1".to_owned()), "failed", HostState::Failed, false);
}

#[test]
fn what_the_controller_knows_is_only_recorded() {
    let bench = Bench::new();
    let catalog = [migration(&bench, "1.5.0")];
    let mut order = order(&catalog);
    order.catalog.settled = vec![(0, Settled::Known)];
    let plan = look_in(&bench.world, &bench.state, &order, &bench.controller).unwrap();
    assert!(plan.is_empty() && !plan.ledger_complete, "{plan:?}");
    let report = act_in(&bench.world, &bench.state, &order, plan.token, &bench.controller).unwrap();
    assert_eq!((report.state, report.results.len(), runs(&bench)), (HostState::InSync, 0, 0));
    assert_eq!(bench.look(&catalog).known_once, [0]);
}

#[test]
fn temporaries_of_a_run_that_died_are_removed() {
    let bench = Bench::new();
    bench.state.make().unwrap();
    let (journal, _) = Journal::open(&bench.state, "dead").unwrap();
    for path in ["/etc/.motd.tmp", "/run/.check", "/gone/.tmp"] {
        journal.write(&Record::Temporary { path: path.into() }).unwrap();
    }
    drop(journal);
    bench.world.write("/run/.check/units/app.service".as_ref(), "torn");
    bench.world.write("/etc/.motd.tmp".as_ref(), "torn");
    let catalog = [bench.file("/etc/motd", "whole\n")];
    let plan = look_in(&bench.world, &bench.state, &order(&catalog), &bench.controller).unwrap();
    assert_eq!(plan.interrupted.as_deref(), Some("dead"));
    bench.apply(&catalog);
    assert!(!bench.root().join("etc/.motd.tmp").exists() && !bench.root().join("run/.check").exists());
    assert_eq!(bench.look(&catalog).interrupted, None);
}

#[test]
fn account_files_that_a_run_which_died_left_apart_agree_again() {
    let bench = Bench::new();
    let catalog = [bench.file("/etc/motd", "whole\n")];
    let shadow = bench.root().join("etc/shadow");
    let whole = std::fs::read_to_string(&shadow).unwrap();
    let torn = format!("{whole}gone:!:20000:0:99999:7:::\n");
    std::fs::write(&shadow, &torn).unwrap();
    bench.apply(&catalog);
    assert_eq!(std::fs::read_to_string(&shadow).unwrap(), torn, "no run died: it is another program's");

    let (journal, _) = Journal::open(&bench.state, "dead").unwrap();
    drop(journal);
    bench.apply(&catalog);
    assert_eq!(std::fs::read_to_string(&shadow).unwrap(), whole);
}

#[test]
fn a_second_run_is_refused_with_the_holder() {
    let bench = Bench::new();
    let catalog = [bench.file("/etc/motd", "x\n")];
    let plan = bench.look(&catalog);
    bench.state.make().unwrap();
    let run = converge_model::RunId::new("other").unwrap();
    let _lock = crate::state::lock::Lock::take(&bench.state, &run, "grace@desk", 1).unwrap().ok();
    let acted = act_in(&bench.world, &bench.state, &order(&catalog), plan.token, &bench.controller);
    assert!(matches!(acted, Err(Refusal::Locked(holder)) if holder.by == "grace@desk"));
    let (_journal, _) = Journal::open(&bench.state, "other").unwrap();
    let meanwhile = bench.look(&catalog);
    assert_eq!(meanwhile.interrupted, None, "a run that is at work was not interrupted");
    assert_eq!(meanwhile.busy.map(|holder| holder.run).as_deref(), Some("other"));
}

#[test]
fn a_debt_that_a_restart_has_paid_is_no_reason_for_another() {
    let bench = Bench::new();
    bench.world.unit("app.service");
    let catalog = [bench.file("/etc/motd", "x\n"), resource("service", "app")];
    bench.state.make().unwrap();
    let (journal, _) = Journal::open(&bench.state, "dead").unwrap();
    let debt = |target: &str| Debt {
        target: target.into(),
        by: "file[/etc/app]".into(),
        invocation: Some("an earlier one".into()),
    };
    journal.write(&Record::Owe(debt("service[app]"))).unwrap();
    journal.write(&Record::Owe(debt("service[of-others]"))).unwrap();
    journal.end().unwrap();
    bench.world.units().act(converge_resources::system::services::Verb::Start, "app.service").unwrap();
    let report = bench.apply(&catalog);
    assert_eq!(outcomes(&report), [("file[/etc/motd]".to_owned(), "done")]);
    assert_eq!(bench.world.log(), ["start app.service"]);
    let past = Past::read(&bench.state).unwrap();
    assert_eq!(past.debts.keys().collect::<Vec<_>>(), ["service[of-others]"], "another catalog's stays");
}

#[test]
fn an_interruption_is_settled_though_nothing_differs() {
    let bench = Bench::new();
    let catalog = [bench.file("/etc/motd", "x\n")];
    bench.apply(&catalog);
    drop(Journal::open(&bench.state, "dead").unwrap());
    let plan = bench.look(&catalog);
    assert!(plan.is_empty() && !plan.ledger_complete, "the host is visited once more: {plan:?}");
    bench.apply(&catalog);
    let plan = bench.look(&catalog);
    assert!(plan.interrupted.is_none() && plan.ledger_complete, "{plan:?}");
}

/// A file that notifies a service with no time to settle, and a command that stops the service for good.
fn fatal(bench: &Bench, text: &str) -> Vec<Resource> {
    let mut file = bench.file("/etc/app", text);
    file.notify = vec![Notify { target: 1, how: NotifyHow::AsTargetSays }];
    let mut service = resource("service", "app");
    service.params.set("running", Value::from(true));
    service.params.set("settle", Value::from(0));
    let mut command = resource("command", "end");
    command.params.set("command", Value::List(vec![Scalar::from("end")]));
    command.params.set("always", Value::from(true));
    bench.world.command("end", |world| {
        world.break_unit("app.service");
        i32::from(
            world.units().act(converge_resources::system::services::Verb::Restart, "app.service").is_ok(),
        )
    });
    vec![file, service, command]
}

#[test]
fn what_its_service_did_not_survive_is_restored_at_the_closing_look() {
    let bench = Bench::new();
    bench.world.unit("app.service");
    bench.apply(&fatal(&bench, "good\n")[..2]);
    let report = bench.apply(&fatal(&bench, "bad\n"));
    assert_eq!(report.state, HostState::Failed);
    assert_eq!(std::fs::read_to_string(bench.root().join("etc/app")).unwrap(), "good\n");
    let of = |address: &str| {
        let found = report.results.iter().rev().find(|result| result.address.as_str() == address);
        let StepOutcome::Failed { why, output, .. } = &found.unwrap().outcome else { panic!("{report:?}") };
        (why.clone(), output.clone())
    };
    let (why, output) = of("service[app]");
    assert!(why.contains("file[/etc/app] was restored; it failed again: "), "{why}");
    assert_eq!(output, "app.service: a line of its journal\n");
    assert_eq!(of("file[/etc/app]").0, "service[app] failed with it; file[/etc/app] was restored");
}

#[test]
fn a_checkout_lands_at_the_planned_commit_or_not_at_all() {
    let bench = Bench::new();
    bench.world.write("/tip".as_ref(), &"a".repeat(40));
    let ask = "git ls-remote -- /srv/repo refs/tags/main refs/heads/main refs/tags/main^{}";
    bench.world.says(ask, |world| {
        let tip = world.files().read("/tip".as_ref(), 100).unwrap_or_default();
        format!("{}\trefs/heads/main\n", String::from_utf8_lossy(&tip))
    });
    bench.world.command("push", |world| {
        world.write("/tip".as_ref(), &"b".repeat(40));
        0
    });
    let mut push = resource("command", "push");
    push.params.set("command", Value::List(vec![Scalar::from("push")]));
    push.params.set("always", Value::from(true));
    let mut checkout = resource("git", "/etc/app");
    checkout.params.set("url", Value::from("/srv/repo"));
    checkout.params.set("version", Value::from("main"));
    let report = bench.apply(&[push, checkout]);
    let StepOutcome::Failed { why, .. } = &report.results[1].outcome else { panic!("{report:?}") };
    assert_eq!(
        why,
        "version would now be main (bbbbbbbbbbbb), but the plan says main (aaaaaaaaaaaa): plan again"
    );
    assert!(!bench.root().join("etc/app").exists());
}

#[test]
fn what_a_step_corrects_beyond_its_plan_is_told() {
    let bench = Bench::new();
    bench.world.write("/etc/app".as_ref(), "old\n");
    bench.world.command("loosen", |world| {
        let path = world.files().outside("/etc/app".as_ref());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        i32::from(std::fs::set_permissions(path, mode).is_err())
    });
    let mut command = resource("command", "loosen");
    command.params.set("command", Value::List(vec![Scalar::from("loosen")]));
    command.params.set("always", Value::from(true));
    let mut file = bench.file("/etc/app", "new\n");
    file.params.set("mode", Value::from(0o644));
    let report = bench.apply(&[command.clone(), file.clone()]);
    assert_eq!(report.results[1].unforeseen, [PropertyChange::new("mode", "0666", "0644")], "{report:?}");
    bench.world.write("/etc/app".as_ref(), "old\n");
    file.params.set("validate", Value::List(vec![Scalar::from("check"), Scalar::from("%s")]));
    let report = bench.apply(&[command, file]);
    assert!(report.results[1].outcome.failed() && report.results[1].unforeseen.is_empty(), "{report:?}");
}

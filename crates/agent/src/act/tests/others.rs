//! Tests of acts that end early and report why: another program changes the host, or the act should stop.

use converge_model::{EventKind, HostState, Problem, Resource, Scalar, StepOutcome, Value};
use converge_resources::System;
use converge_resources::system::fake::Offer;
use converge_resources::system::packages::{PackageGoal, PackageRequest};

use super::outcomes;
use crate::testing::{Bench, ended, resource};

fn text(bench: &Bench, path: &str) -> Option<String> {
    std::fs::read_to_string(bench.world.files().outside(path.as_ref())).ok()
}

#[test]
fn a_host_that_another_program_changes_meanwhile_is_stale_from_there_on() {
    for (before, theirs) in [(None, "new\n"), (Some("new\n"), "odd\n")] {
        let bench = Bench::new();
        before.into_iter().for_each(|before| bench.world.write("/etc/second".as_ref(), before));
        let paths = [("/etc/first", "x\n"), ("/etc/second", "new\n"), ("/etc/third", "x\n")];
        let catalog = paths.map(|(path, text)| bench.file(path, text));
        let report = bench.apply_beside(&catalog, ended("file[/etc/first]"), || {
            ["/etc/first", "/etc/second"].iter().for_each(|path| bench.world.write(path.as_ref(), theirs));
        });
        let why = "file[/etc/second] changed since the plan, but not by this run".to_owned();
        assert_eq!((report.state, &report.results[0].outcome), (HostState::Stale, &StepOutcome::Done));
        let rest: Vec<_> = report.results[1..].iter().map(|result| result.outcome.clone()).collect();
        let skipped = StepOutcome::Skipped { why: why.clone() };
        assert_eq!(rest, vec![skipped; if before.is_none() { 2 } else { 1 }], "what the plan has left");
        assert_eq!(
            report.problems,
            [Problem { address: None, message: why, help: Some("plan again".into()) }]
        );
        assert_eq!(
            (text(&bench, "/etc/second").as_deref(), text(&bench, "/etc/third")),
            (Some(theirs), None)
        );
    }
}

/// A host with `there` installed and `new` available, and a catalog with both after `first`.
fn packages(bench: &Bench, first: Resource) -> Vec<Resource> {
    ["new", "there"].into_iter().for_each(|name| {
        bench.world.offer(name, Offer { version: "1".into(), ..Offer::default() });
    });
    bench.world.by_hand(PackageRequest::present("there")).unwrap();
    vec![first, resource("package", "new"), resource("package", "there")]
}

fn gone() -> PackageRequest {
    PackageRequest::new("there", PackageGoal::Absent { purge: false })
}

#[test]
fn a_transaction_beside_which_another_program_removes_a_package_is_not_begun() {
    let bench = Bench::new();
    let catalog = packages(&bench, bench.file("/etc/first", "x\n"));
    let report = bench.apply_beside(&catalog, ended("file[/etc/first]"), || {
        bench.world.by_hand(gone()).unwrap();
    });
    assert_eq!(report.state, HostState::Stale, "{report:?}");
    assert_eq!(bench.world.log(), ["install there", "remove there"]);
}

#[test]
fn a_package_that_an_open_step_took_away_comes_back_unforeseen() {
    let bench = Bench::new();
    bench.world.command("tidy", |world| i32::from(world.by_hand(gone()).is_err()));
    let mut command = resource("command", "tidy");
    command.params.set("command", Value::List(vec![Scalar::from("tidy")]));
    command.params.set("always", Value::from(true));
    let report = bench.apply(&packages(&bench, command));
    let words: Vec<_> = outcomes(&report).into_iter().map(|(_, word)| word).collect();
    assert_eq!((report.state, words), (HostState::Changed, vec!["done", "done", "unforeseen"]));
}

#[test]
fn an_act_that_is_to_stop_ends_after_the_step_at_work() {
    let bench = Bench::new();
    let catalog = [bench.file("/etc/first", "x\n"), bench.file("/etc/second", "x\n")];
    let stop = || bench.controller.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let report = bench.apply_beside(&catalog, ended("file[/etc/first]"), stop);
    let left = StepOutcome::Skipped { why: "the run was stopped".to_owned() };
    assert_eq!((report.state, &report.results[1].outcome), (HostState::Interrupted, &left));
    assert_eq!(text(&bench, "/etc/second"), None);
}

/// How a command that succeeds at its third run ends, and how often it ran. It may be tried again `retries` times.
fn tried(retries: u32, stops: bool) -> (&'static str, usize) {
    let bench = Bench::new();
    bench.world.command("fetch", |world| {
        let runs = world.files().read("/runs".as_ref(), 100).map_or(0, |runs| runs.len()) + 1;
        world.write("/runs".as_ref(), &"x".repeat(runs));
        i32::from(runs < 3)
    });
    let mut command = resource("command", "fetch");
    command.params.set("command", Value::List(vec![Scalar::from("fetch")]));
    command.params.set("always", Value::from(true));
    command.options.retries = retries;
    let says = |event: &EventKind| matches!(event, EventKind::Output { .. });
    let report = bench.apply_beside(&[command], says, || {
        bench.controller.stop.store(stops, std::sync::atomic::Ordering::Relaxed);
    });
    (outcomes(&report)[0].1, text(&bench, "/runs").map_or(0, |runs| runs.len()))
}

#[test]
fn a_step_is_tried_again_as_often_as_it_may_be() {
    assert_eq!(tried(0, false), ("failed", 1));
    assert_eq!(tried(1, false), ("failed", 2));
    assert_eq!(tried(5, false), ("done", 3));
    assert_eq!(tried(5, true), ("failed", 1), "not once the act is to stop");
}

//! Tests of the end of an act: what the closing look finds, whom it blames, and what the ledger records.

use converge_model::{HostState, Resource, Scalar, Value};
use converge_resources::System;
use converge_resources::system::fake::World;
use converge_resources::system::services::Verb;
use std::time::{Duration, Instant};

use super::*;
use crate::testing::{Bench, ended, resource};

/// A service that should run and does, with this time to settle.
fn service(bench: &Bench, settle: i64) -> Resource {
    bench.world.unit("app.service");
    let mut service = resource("service", "app");
    service.params.set("running", Value::from(true));
    service.params.set("settle", Value::from(settle));
    service
}

/// The effect of a command.
type Deed = fn(&World);

/// A command that runs every time.
fn command(bench: &Bench, name: &str, deed: Deed) -> Resource {
    bench.world.command(name, move |world| {
        deed(world);
        0
    });
    let mut command = resource("command", name);
    command.params.set("command", Value::List(vec![Scalar::from(name)]));
    command.params.set("always", Value::from(true));
    command
}

/// The problems that a run reports.
fn told(report: &HostReport) -> Vec<String> {
    report.problems.iter().map(|problem| problem.message.clone()).collect()
}

#[test]
fn a_service_has_its_time_to_settle_before_the_closing_look() {
    let bench = Bench::new();
    let catalog = [service(&bench, 400)];
    let mut started = None;
    let report = bench.apply_beside(&catalog, ended("service[app]"), || started = Some(Instant::now()));
    assert_eq!(report.state, HostState::Changed);
    assert!(started.unwrap().elapsed() >= Duration::from_millis(400));
}

#[test]
fn what_was_undone_is_laid_to_the_open_steps_behind_it() {
    let undone = |last: &[(&str, Deed)]| {
        let bench = Bench::new();
        let mut first = command(&bench, "make", |world| world.write("/opt/done".as_ref(), ""));
        first.params.0.retain(|(name, _)| name != "always");
        first.params.set("creates", Value::from("/opt/done"));
        let others = last.iter().map(|(name, deed)| command(&bench, name, *deed));
        let report = bench.apply(&[first].into_iter().chain(others).collect::<Vec<_>>());
        assert_eq!(report.state, HostState::Failed, "{report:?}");
        assert!(report.results.iter().all(|result| result.outcome == StepOutcome::Done), "{report:?}");
        told(&report)[0].split_once("; ").map(|(_, who)| who.to_owned())
    };
    let tidy = |world: &World| drop(std::fs::remove_file(world.files().outside("/opt/done".as_ref())));
    assert_eq!(undone(&[("tidy", tidy)]).as_deref(), Some("undone by command[tidy]"));
    let both = undone(&[("tidy", tidy), ("idle", |_| {})]);
    assert_eq!(both.as_deref(), Some("perhaps undone by command[tidy] or command[idle]"));
}

#[test]
fn a_unit_that_did_not_stay_up_says_how_it_ended() {
    let end = |by_signal| {
        move |world: &World| {
            world.end_unit("app.service", Ended { after: Duration::from_millis(4_100), by_signal });
        }
    };
    let check = |deed: &(dyn Fn(&World) + Sync), expected: &str| {
        let bench = Bench::new();
        let catalog = [service(&bench, 1), bench.file("/etc/motd", "x\n")];
        let report = bench.apply_beside(&catalog, ended("file[/etc/motd]"), || deed(&bench.world));
        assert_eq!(report.state, HostState::Failed, "{report:?}");
        assert!(told(&report)[0].ends_with(expected), "{report:?}");
        let failed = report.results.iter().find(|result| result.outcome.failed()).unwrap();
        let StepOutcome::Failed { output, restored, .. } = &failed.outcome else { panic!() };
        assert_eq!(
            (output.as_str(), *restored),
            ("app.service: a line of its journal\n", Restoration::Nothing)
        );
    };
    check(&end(false), "; it ended by itself 4 s after it was started");
    check(&end(true), "; a signal ended it 4 s after it was started");
    check(&|world| world.revive_unit("app.service"), "; it ended by itself, and systemd started it again");
    let stop = |world: &World| world.units().act(Verb::Stop, "app.service").unwrap();
    check(&stop, "running");
}

#[test]
fn a_service_that_may_fail_and_did_not_stay_up_spoils_nothing() {
    let bench = Bench::new();
    let mut service = service(&bench, 0);
    service.options.may_fail = true;
    let catalog = [service, bench.file("/etc/motd", "x\n")];
    let report = bench.apply_beside(&catalog, ended("file[/etc/motd]"), || {
        bench.world.units().act(Verb::Stop, "app.service").unwrap();
    });
    assert_eq!((report.state, told(&report)), (HostState::Changed, Vec::new()));
    assert!(report.results[0].outcome.failed(), "{report:?}");
}

#[test]
fn the_ledger_is_told_of_what_is_as_it_should_be_and_of_nothing_else() {
    let bench = Bench::new();
    ["/etc/there", "/etc/old"].into_iter().for_each(|path| bench.world.write(path.as_ref(), "x\n"));
    let mut broken = bench.file("/etc/broken", "x\n");
    broken.params.set("validate", Value::List(vec![Scalar::from("check"), Scalar::from("%s")]));
    broken.bodies = vec![1];
    let mut left_out = bench.file("/etc/left-out", "x\n");
    left_out.options.selected = false;
    let [there, made] = ["/etc/there", "/etc/made"].map(|path| bench.file(path, "x\n"));
    let old = bench.file("/etc/old", "new\n");
    let mut skipped = bench.file("/etc/skipped", "x\n");
    skipped.bodies = vec![1];
    let report = bench.apply(&[there, made, old, broken, skipped, left_out]);
    assert_eq!((report.state, report.in_sync, told(&report)), (HostState::Failed, 1, Vec::new()));
    let ledger = Ledger::read(&bench.state).unwrap();
    let origin = |name: &str| ledger.origin(&format!("path:/etc/{name}"));
    let known = ["there", "made", "old"].map(origin);
    assert_eq!(known, [Some(Origin::Found), Some(Origin::Created), Some(Origin::Found)]);
    assert_eq!(["broken", "skipped", "left-out"].map(origin), [None; 3]);
}

#[test]
fn steps_that_failed_for_want_of_rights_say_once_what_to_write() {
    let failed = |why: &str| {
        let bench = Bench::new();
        let mut result = bench.apply(&[bench.file("/etc/motd", "x\n")]).results.remove(0);
        let (output, restored, stands) = (String::new(), Restoration::Nothing, Stands::Unchanged);
        result.outcome = StepOutcome::Failed { why: why.to_owned(), output, restored, stands };
        result
    };
    let refused = failed("failed to write /etc/motd: Permission denied (os error 13)");
    let results = [refused.clone(), refused, failed("No space left on device (os error 28)")];
    let help = want_of_rights(&results, false).and_then(|problem| problem.help);
    assert_eq!(help.as_deref(), Some("write `become=\"sudo\"` in the connection of the host"));
    assert_eq!(want_of_rights(&results, true), None, "it is not the login");
    assert_eq!(want_of_rights(&results[2..], false), None, "it is not the rights");
}

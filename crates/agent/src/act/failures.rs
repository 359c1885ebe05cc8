//! Acts in which something cannot be planned, fails, or does not last: what stands in whose way, what is said of it, and
//! how the host stands since then.

use super::tests::outcomes;
use super::*;
use crate::testing::{Bench, order, resource};
use crate::work::act_in;
use converge_model::{HostState, Scalar, Value};

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
    let why = "the folder /opt/tool is not there: command[fetch], which was to bring what it needs, failed";
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
    let why = "the folder /srv is not there: directory[/srv], which was to bring what it needs, was skipped";
    assert_eq!(report.results[2].outcome, StepOutcome::Skipped { why: why.to_owned() }, "{report:?}");
}

/// The time that this thread has worked, in milliseconds: what else the machine does is no part of it.
fn worked() -> u128 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    u128::from(time.tv_sec.unsigned_abs()) * 1_000 + u128::from(time.tv_nsec.unsigned_abs()) / 1_000_000
}

#[test]
fn an_act_over_four_times_as_many_files_takes_no_more_for_each() {
    let time = |count: u32| {
        let bench = Bench::new();
        let paths: Vec<_> = (0..count).map(|number| format!("/srv/{number}")).collect();
        let catalog: Vec<_> = paths.iter().map(|path| bench.file(path, "x\n")).collect();
        // All but the first are there already: to write them would only be to wait for the disk.
        paths[1..].iter().for_each(|path| bench.world.write(path.as_ref(), "x\n"));
        let plan = bench.look(&catalog);
        let order = order(&catalog);
        let before = worked();
        let report = act_in(&bench.world, &bench.state, &order, plan.token, &bench.controller).unwrap();
        assert_eq!((report.results.len(), report.in_sync), (1, count - 1));
        worked() - before
    };
    let (few, many) = (time(500), time(2_000));
    println!("500 files: {few} ms; 2,000 files: {many} ms");
    assert!(many < few * 6, "500 files: {few} ms; 2,000 files: {many} ms");
}

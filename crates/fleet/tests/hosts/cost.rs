//! What an act of the agent costs, in instructions: counted, so that neither the load of a machine nor its speed decides.

use converge_tests::act::{Error, Stage, can_count};
use converge_tests::testbed::or_skip;

use crate::artefact::built;

/// An act over 4,000 things costs for each of them what it costs over 1,000, within a tenth; what it costs without any
/// counts for none.
fn check_linear(stage: impl Fn(u32) -> Result<Stage, Error>) {
    if or_skip(can_count()).is_none() {
        return;
    }
    let agent = built();
    let count = |things: u32| stage(things).and_then(|stage| stage.instructions(&agent)).unwrap();
    let alone = count(1);
    let each = |things: u32| (count(things) - alone) / u64::from(things - 1);
    let (few, many) = (each(1_000), each(4_000));
    println!("instructions for each: {few} of 1,000, {many} of 4,000");
    assert!(many * 10 <= few * 11, "instructions for each: {few} of 1,000, {many} of 4,000");
}

#[test]
fn an_act_over_four_times_as_many_files_costs_no_more_for_each() {
    check_linear(Stage::files);
}

#[test]
fn retention_over_four_times_as_many_folders_costs_no_more_for_each() {
    check_linear(Stage::releases);
}

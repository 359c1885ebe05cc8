//! The cost of an act of the agent in instructions. Counting them makes the result independent of the machine's load
//! and speed.

use converge_tests::act::{Error, Stage, can_count};
use converge_tests::testbed::or_skip;

use crate::artefact::built;

/// Checks that the cost for each thing is the same with 4,000 things as with 1,000, within a tenth. The cost of an
/// empty act is subtracted first.
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

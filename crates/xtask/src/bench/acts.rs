//! Measures the cost of an act by the number of its things: instructions, which are counted, and time. The agent
//! works in folders in memory that simulate hosts, so no connection and no disk affects the result.

use std::path::{Path, PathBuf};

use converge_tests::act::{self, Stage, can_count};

#[expect(dead_code, reason = "what the agent is built from is for build scripts")]
#[path = "../../../fleet/build-agent.rs"]
mod build_agent;

use super::Error;
use crate::say;
use crate::test::root;

/// Prints the cost of acts of the agent at `agent`. Without a path, builds an agent first.
pub(super) fn measure(agent: Option<PathBuf>) -> Result<(), Error> {
    let build = || build_agent::build(&root()).map_err(|said| Error::Failed("the agent".to_owned(), said));
    let agent = agent.map_or_else(build, Ok)?;
    say(format_args!("{:<56} {:>16} {:>9}", "", "instructions", "for each"));
    let (few, many) = (counted(1_000, &agent)?, counted(4_000, &agent)?);
    say(format_args!("of 4000, each costs {} % of what it costs of 1000", many * 100 / few.max(1)));
    time("act, 10000 new files", &Stage::files(10_000)?, &agent)?;
    for count in [25_000, 100_000] {
        let name = format!("act, retention over {count} folders");
        time(&name, &Stage::releases(count)?, &agent)?;
    }
    Ok(())
}

/// Returns the instructions for each of `count` new files.
fn counted(count: u32, agent: &Path) -> Result<u64, Error> {
    can_count()?;
    let all = Stage::files(count)?.instructions(agent)?;
    let each = all / u64::from(count);
    let name = format!("act, {count} new files");
    say(format_args!("{name:<56} {all:>16} {each:>9}"));
    Ok(each)
}

fn time(name: &str, stage: &Stage, agent: &Path) -> Result<(), act::Error> {
    let took = stage.time(agent)?;
    say(format_args!("{name:<56} {:>6.0} ms", took.as_secs_f64() * 1000.0));
    Ok(())
}

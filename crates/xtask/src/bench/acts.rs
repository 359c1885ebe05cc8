//! What an act costs by the number of things that it is about: instructions, which are counted, and time. The agent works
//! in folders that stand for hosts, in memory: no connection and no disk has a part in it.

use std::path::{Path, PathBuf};

use converge_tests::act::{self, Stage, can_count};

#[expect(dead_code, reason = "what the agent is built from is for build scripts")]
#[path = "../../../fleet/build-agent.rs"]
mod build_agent;

use super::Error;
use crate::say;
use crate::test::root;

/// Prints what acts of the agent at `agent` cost; of one that is built for it where none is named.
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

/// The instructions for each of `count` new files.
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

//! `converge version`.

use std::fmt::Write as _;

use clap::Args;
use converge_fleet::Agent;
use converge_model::exit;
use serde::Serialize;

use crate::agents::{agents, described};
use crate::failure::Failure;
use crate::view::Screen;

/// Show the version, and the agents that this build carries
///
/// A host runs the agent for its system and processor, as `uname -s` and `uname -m` name them.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {}

/// The answer for scripts.
#[derive(Serialize)]
struct Line {
    version: &'static str,
    agents: Vec<Carried>,
}

/// An agent in it.
#[derive(Serialize)]
struct Carried {
    system: &'static str,
    /// Every name of the processor.
    machines: &'static [&'static str],
    digest: String,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl VersionArgs {
    pub(crate) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let agents = agents();
        if screen.is_json() {
            screen.print_json(&Line { version: VERSION, agents: agents.iter().map(Carried::of).collect() });
            return Ok(exit::OK);
        }
        let mut out = format!("converge {VERSION}\n");
        for agent in agents.iter() {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "agent {}", described(agent));
        }
        screen.print(&out);
        Ok(exit::OK)
    }
}

impl Carried {
    fn of(agent: &Agent) -> Self {
        let platform = agent.platform();
        let (system, machines) = (platform.system, platform.machines);
        Self { system, machines, digest: agent.digest().to_string() }
    }
}

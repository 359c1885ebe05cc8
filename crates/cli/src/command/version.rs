//! `converge version`.

use std::fmt::Write as _;

use clap::Args;
use converge_fleet::Agent;
use converge_model::exit;

use crate::agents::{agents, described};
use crate::failure::Failure;
use crate::view::Screen;
use crate::view::json::{Carried, Document};

/// Show the version, and the agents that this build carries
///
/// A host runs the agent for its system and processor, as `uname -s` and `uname -m` name them.
#[derive(Debug, Args)]
pub(crate) struct VersionArgs {}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl VersionArgs {
    pub(crate) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let agents = agents();
        if screen.is_json() {
            screen.print_json(&Document::Program {
                release: VERSION,
                agents: agents.iter().map(carried).collect(),
            });
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

fn carried(agent: &Agent) -> Carried<'static> {
    let platform = agent.platform();
    Carried { system: platform.system, machines: platform.machines, digest: agent.digest().to_string() }
}

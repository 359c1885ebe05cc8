//! The agent's program. It takes no arguments: everything comes over standard input.
use std::path::Path;
use std::process::ExitCode;

use converge_agent::{channel::stdio::Patience, environment, serve, work::Agent};
use converge_resources::system::{real::RealSystem, receipts::Receipts};

fn main() -> ExitCode {
    environment::set();
    let agent = Agent::new(|root: Option<&Path>, receipts| {
        RealSystem::new(root.unwrap_or(Path::new("/")), Receipts::in_folder(receipts))
    });
    serve::serve(&agent, Patience::default())
}

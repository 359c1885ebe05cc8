//! The agent's program. All input comes over standard input. With arguments, it is the program of the revert.
use std::path::Path;
use std::process::ExitCode;

use converge_agent::{channel::stdio::Patience, environment, fence, revert, serve, work::Agent};
use converge_resources::system::{real::RealSystem, receipts::Receipts};

fn main() -> ExitCode {
    environment::set();
    if let Some(done) = revert::asked(std::env::args_os()) {
        return done;
    }
    let agent = Agent::new(|root: Option<&Path>, receipts| {
        let system = RealSystem::new(root.unwrap_or(Path::new("/")), Receipts::in_folder(receipts))?;
        Ok(system.fenced(fence::around))
    });
    serve::serve(&agent, Patience::default())
}

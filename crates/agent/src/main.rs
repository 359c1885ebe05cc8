//! The agent's program. It takes no arguments: everything comes over standard input.
use std::process::ExitCode;

use converge_agent::{channel::stdio::Patience, environment, serve};

fn main() -> ExitCode {
    environment::set();
    serve::serve(&serve::Unequipped, Patience::default())
}

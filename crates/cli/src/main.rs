//! `converge`: the command-line tool. It turns arguments into runs of the engine, and events into output for people
//! and scripts. The engine carries out the runs. Only this crate uses clap. This file ends the process. Only
//! `memory_limit` and `interrupt` may end it too, if there is no other way.

mod ad_hoc;
mod agents;
mod arguments;
mod cli;
mod command;
mod failure;
mod foreign_options;
mod interrupt;
mod memory_limit;
mod output_folder;
mod pager;
mod past;
mod project;
mod prompt;
mod reference;
mod usage;
mod view;
mod visit;

use std::process::ExitCode;

use clap::Parser;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

fn main() -> ExitCode {
    // A core dump would contain the secrets of all hosts.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let code = match cli::Cli::try_parse() {
        Ok(arguments) => arguments.run().unwrap_or_else(|failure| failure.show()),
        Err(error) => usage::show(&error),
    };
    ExitCode::from(code)
}

//! `cargo xtask`: the tasks for developers of the project, one file for each command.
//!
//! Users of Converge need none of them, and none of them is shipped.

mod bench;
mod mutants;
mod test;
mod testbed;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The chores of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Bench(bench::Arguments),
    Mutants(mutants::Arguments),
    Test(test::Arguments),
    Testbed(testbed::Arguments),
}

fn main() -> ExitCode {
    let done: Result<ExitCode, Box<dyn Error>> = match Arguments::parse().task {
        Task::Bench(arguments) => bench::run(arguments).map_err(Into::into),
        Task::Mutants(arguments) => mutants::run(arguments).map_err(Into::into),
        Task::Test(arguments) => test::run(arguments).map_err(Into::into),
        Task::Testbed(arguments) => testbed::run(arguments).map_err(Into::into),
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "error: {error}");
        ExitCode::FAILURE
    })
}

/// Prints one line of results. It is no error if the reader has closed the pipe.
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

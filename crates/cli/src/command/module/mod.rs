//! `converge module`: creates and tests modules.

mod new;
mod test;
mod trial;

use std::env;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use converge_engine::Project;

use crate::failure::Failure;
use crate::view::Screen;

/// Start a module, or test one
#[derive(Debug, Args)]
pub(crate) struct ModuleArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(new::NewArgs),
    Test(test::TestArgs),
}

impl ModuleArgs {
    pub(crate) fn run(self, screen: Screen) -> Result<u8, Failure> {
        match self.command {
            Command::New(arguments) => arguments.run(screen),
            Command::Test(arguments) => arguments.run(screen),
        }
    }
}

/// Returns the project of a module: the nearest one above, otherwise the working folder.
fn project() -> Result<Project, Failure> {
    let here: PathBuf = env::current_dir()?.canonicalize()?;
    Ok(Project::find(None, &here).unwrap_or(Project { root: here, entry: String::new() }))
}

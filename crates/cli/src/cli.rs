//! The command line: the commands, and the common output options. A terminal shows plans and results as an outline, a
//! pipe shows the usual text, and `-v` shows everything.

use std::io::{self, IsTerminal};

use anstream::ColorChoice;
use clap::{Args, CommandFactory, Parser, Subcommand};
use converge_model::exit;

use crate::command;
use crate::failure::Failure;
use crate::view::human::Detail;
use crate::view::paint::CLAP;
use crate::view::{self, Look, Screen, json};

/// Make Linux hosts match an inventory; a plan shows each change before it is made
///
/// Exit codes:
///   0    success
///   1    an error before any host was touched
///   2    changes are pending (plan --detailed-exitcode), or hosts drifted (drift --fail-on-drift, watch --once)
///   3    a host failed, a resource on it cannot be planned, or a command of exec failed
///   4    a host was unreachable, and no host failed
///   5    another run has the lock of a host
///   6    a host changed since its plan was shown
///   130  interrupted
#[derive(Debug, Parser)]
#[command(name = "converge", version, styles = CLAP, verbatim_doc_comment, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(command::init::InitArgs),
    Check(command::check::CheckArgs),
    Fmt(command::fmt::FmtArgs),
    Plan(command::plan::PlanArgs),
    Apply(command::apply::ApplyArgs),
    Drift(command::drift::DriftArgs),
    Watch(command::watch::WatchArgs),
    Exec(command::exec::ExecArgs),
    Ping(command::ping::PingArgs),
    History(command::history::HistoryArgs),
    Facts(command::facts::FactsArgs),
    Inventory(command::inventory::InventoryArgs),
    Explain(command::explain::ExplainArgs),
    Docs(command::docs::DocsArgs),
    Module(command::module::ModuleArgs),
    Secrets(command::secrets::SecretsArgs),
    Doctor(command::doctor::DoctorArgs),
    Completions(command::completions::CompletionsArgs),
    Version(command::version::VersionArgs),
}

/// The form and the amount of output.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Output")]
struct Output {
    /// Print JSON lines (format: docs/json.md)
    #[arg(long, global = true)]
    json: bool,
    /// Disable colours (also: set NO_COLOR)
    ///
    /// Only a terminal gets colours, unless TERM=dumb or CLICOLOR=0. CLICOLOR_FORCE=1 sends colours to a pipe, too. The
    /// colours are readable on dark and on light backgrounds (contrast 3:1 or more).
    #[arg(long, global = true, hide_short_help = true)]
    no_color: bool,
    /// Disable progress lines, which need a terminal
    #[arg(long, global = true, hide_short_help = true)]
    no_progress: bool,
    /// Show all details, the output of running steps and the data sent
    #[arg(short, long, global = true, overrides_with = "verbose")]
    verbose: bool,
}

impl Cli {
    /// Runs the command and returns its exit code.
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let code = self.carry_out()?;
        // A script must not take a part of the results for all of them.
        Ok(if code == exit::OK && Screen::has_lost_results() { exit::ERROR } else { code })
    }

    fn carry_out(self) -> Result<u8, Failure> {
        let look = self.output.look();
        look.color.write_global();
        if look.json {
            json::choose();
        }
        let screen = Screen::new(look);
        match self.command {
            Command::Init(arguments) => arguments.run(screen),
            Command::Check(arguments) => arguments.run(screen),
            Command::Fmt(arguments) => arguments.run(screen),
            Command::Plan(arguments) => arguments.run(screen),
            Command::Apply(arguments) => arguments.run(screen),
            Command::Drift(arguments) => arguments.run(screen),
            Command::Watch(arguments) => arguments.run(screen),
            Command::Exec(arguments) => arguments.run(screen),
            Command::Ping(arguments) => arguments.run(screen),
            Command::History(arguments) => arguments.run(screen),
            Command::Facts(arguments) => arguments.run(screen),
            Command::Inventory(arguments) => arguments.run(screen),
            Command::Explain(arguments) => arguments.run(screen),
            Command::Docs(arguments) => arguments.run(screen),
            Command::Module(arguments) => arguments.run(screen),
            Command::Secrets(arguments) => arguments.run(screen),
            Command::Doctor(arguments) => arguments.run(screen),
            Command::Completions(arguments) => arguments.run(&mut Self::command(), screen),
            Command::Version(arguments) => arguments.run(screen),
        }
    }
}

impl Output {
    fn look(self) -> Look {
        Look {
            json: self.json,
            color: if self.no_color { ColorChoice::Never } else { ColorChoice::Auto },
            progress: !self.no_progress,
            detail: if self.verbose { Detail::Full } else { outline().unwrap_or(Detail::Usual) },
        }
    }
}

/// Returns an outline if results go to a terminal.
fn outline() -> Option<Detail> {
    io::stdout().is_terminal().then(|| Detail::Outline(view::columns(io::stdout())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}

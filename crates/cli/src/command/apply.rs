//! `converge apply`.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use converge_engine::Goal;

use crate::arguments::{GuardArguments, HistoryArguments, RunArguments, duration};
use crate::failure::{ARGUMENTS, Failure};
use crate::view::Screen;
use crate::visit::Terms;

/// Show the plan, ask, and apply it to the hosts
///
/// Only the word `yes` applies the plan; `d` shows all of its details. Converge
/// checks each host again before it changes the host. It skips a host that
/// changed since its plan was shown. Apply is idempotent: a second apply changes
/// nothing. The first Ctrl-C waits for the running steps, at most ten minutes. The
/// second Ctrl-C does not wait.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ApplyArgs {
    /// Do not ask; required without a terminal
    #[arg(short, long)]
    yes: bool,
    /// Time to wait for another run on a host; default: skip that host
    #[arg(long, value_name = "TIME", value_parser = duration, hide_short_help = true)]
    wait: Option<Duration>,
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    guard: GuardArguments,
    #[command(flatten)]
    history: HistoryArguments,
}

impl ApplyArgs {
    pub(crate) fn run(self, screen: Screen) -> Result<u8, Failure> {
        let can_ask = io::stdin().is_terminal() && io::stderr().is_terminal();
        if !self.yes && !can_ask {
            return Err(Failure::new("apply must ask for confirmation, and there is no terminal")
                .help("look at `converge plan` first, then apply with --yes")
                .code(ARGUMENTS));
        }
        let terms = Terms {
            goal: Goal::Apply,
            yes: self.yes,
            keep: Some(self.history.retention()),
            guard: self.guard.guard(),
            wait: self.wait.unwrap_or_default(),
        };
        terms.visit(&self.run, screen)
    }
}

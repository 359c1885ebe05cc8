//! `converge apply`.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use converge_engine::Goal;

use crate::arguments::{GuardArguments, HistoryArguments, RunArguments, duration};
use crate::failure::Failure;
use crate::view::Screen;
use crate::visit::Terms;

/// Show the plan, ask, and make the hosts be what the inventory says
///
/// Only the word `yes` applies the plan; `d` shows all of its details. Each host
/// is looked at again before it is changed; one that moved on since its plan was
/// shown is left alone. The first Ctrl-C stops after the steps in hand, within
/// ten minutes at most; the second abandons them.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ApplyArgs {
    /// Do not ask; needed where there is no terminal
    #[arg(short, long)]
    yes: bool,
    /// Wait so long for another run that is at work on a host; without it, such a host is left alone
    #[arg(long, value_name = "TIME", value_parser = duration)]
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
            return Err(Failure::new(
                "apply asks before it changes anything, and there is no terminal to ask on",
            )
            .help("look at `converge plan` first, then apply with --yes"));
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

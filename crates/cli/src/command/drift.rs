//! `converge drift`.

use std::time::Duration;

use clap::Args;
use converge_engine::Goal;
use converge_model::wire::Guard;

use crate::arguments::{HistoryArguments, RunArguments};
use crate::failure::Failure;
use crate::view::Screen;
use crate::view::human::Detail;
use crate::visit::Terms;

/// Show drift (changes on the hosts since the last apply), and change nothing
///
/// Each host remembers what was last applied to it. Changes of the inventory that
/// are not yet applied are shown apart from drift. Resources and hosts with
/// drift="ignore" are not counted; -v shows them.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct DriftArgs {
    /// Exit with code 2 if a host drifted; changes of the inventory do not count
    #[arg(long)]
    fail_on_drift: bool,
    /// Show only how many resources drifted on each host
    #[arg(long)]
    summary: bool,
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    history: HistoryArguments,
}

impl DriftArgs {
    pub(crate) fn run(self, screen: Screen) -> Result<u8, Failure> {
        let terms = Terms {
            goal: Goal::Drift { fail: self.fail_on_drift },
            yes: false,
            keep: Some(self.history.retention()),
            // A drift look changes nothing, so the guard does not matter.
            guard: Guard { accept_irreversible: true, ..Guard::default() },
            wait: Duration::ZERO,
        };
        let screen = if self.summary { screen.with(Detail::Summary) } else { screen };
        terms.visit(&self.run, screen.paged())
    }
}

//! `converge plan`.

use clap::Args;
use converge_engine::Goal;

use crate::arguments::{GuardArguments, RunArguments};
use crate::failure::Failure;
use crate::view::Screen;
use crate::visit::Terms;

/// Show what an apply would change, and change nothing
///
/// Hosts with the same differences are shown together. The signs:
///   +  create    ~  change    -  remove    ±  replace
///   >  action    ?  unknown until apply
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct PlanArgs {
    /// Exit with 2 where something would change
    #[arg(long)]
    detailed_exitcode: bool,
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    guard: GuardArguments,
}

impl PlanArgs {
    pub(crate) fn run(self, screen: Screen) -> Result<u8, Failure> {
        let terms = Terms {
            goal: Goal::Plan { detailed: self.detailed_exitcode },
            yes: false,
            // It changes nothing, and says nothing that the next one does not.
            keep: None,
            guard: self.guard.guard(),
        };
        terms.visit(&self.run, screen)
    }
}

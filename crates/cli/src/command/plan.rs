//! `converge plan`.

use std::time::Duration;

use clap::Args;
use converge_engine::Goal;
use converge_model::wire::Guard;

use crate::arguments::{
    AgainArguments, FleetArguments, GuardArguments, ResourceArguments, RunArguments, StrictArguments,
};
use crate::failure::Failure;
use crate::view::Screen;
use crate::view::human::Detail;
use crate::visit::Terms;

/// Show what an apply would change, and change nothing (a dry run)
///
/// A step that is the same on several hosts is shown once. A terminal shows a short
/// form of the plan; -v shows everything. The signs:
///   ~  change    +  create    -  remove    ±  replace    ?  unknown until apply
///   !  error, or cannot be planned    .  skipped because of another resource
///   >  action of a command or handler
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct PlanArgs {
    /// Exit with code 2 if changes are pending
    #[arg(long, hide_short_help = true)]
    detailed_exitcode: bool,
    /// Show only the number of steps of each host
    #[arg(long)]
    summary: bool,
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    guard: GuardArguments,
}

impl PlanArgs {
    pub(crate) fn run(self, screen: Screen) -> Result<u8, Failure> {
        let screen = if self.summary { screen.with(Detail::Summary) } else { screen };
        terms(self.detailed_exitcode, self.guard.guard()).visit(&self.run, screen.paged())
    }
}

/// Plans a fleet, like the command without further options.
pub(super) fn plan(fleet: FleetArguments, screen: Screen) -> Result<u8, Failure> {
    let run = RunArguments {
        fleet,
        again: AgainArguments::default(),
        resources: ResourceArguments::default(),
        strict: StrictArguments::default(),
    };
    terms(false, Guard::default()).visit(&run, screen)
}

fn terms(detailed: bool, guard: Guard) -> Terms {
    Terms {
        goal: Goal::Plan { detailed },
        yes: false,
        // A plan changes nothing, and the next plan shows the same. So it is not kept.
        keep: None,
        guard,
        wait: Duration::ZERO,
    }
}

//! `converge plan`.

use clap::Args;
use converge_engine::Goal;

use crate::arguments::{
    AgainArguments, GuardArguments, HostArguments, ProjectArguments, ReachArguments, ResourceArguments,
};
use crate::failure::Failure;
use crate::past;
use crate::project::Opened;
use crate::view::Screen;
use crate::visit::Visit;

/// Show what an apply would change, and change nothing
///
/// Hosts with the same differences are shown together. The signs:
///   +  create    ~  change    -  remove    ±  replace
///   >  action    ?  unknown until apply
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Exit with 2 where something would change
    #[arg(long)]
    detailed_exitcode: bool,
    #[command(flatten)]
    project: ProjectArguments,
    #[command(flatten)]
    hosts: HostArguments,
    #[command(flatten)]
    again: AgainArguments,
    #[command(flatten)]
    resources: ResourceArguments,
    #[command(flatten)]
    guard: GuardArguments,
    #[command(flatten)]
    reach: ReachArguments,
}

impl Arguments {
    pub(crate) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let opened = Opened::checked(&self.project, &mut screen)?;
        let visit = Visit {
            goal: Goal::Plan { detailed: self.detailed_exitcode },
            hosts: past::chosen(opened.hosts(&self.hosts, &mut screen)?, &self.again, &opened, &mut screen)?,
            selection: self.resources.selection(),
            yes: false,
            // It changes nothing, and says nothing that the next one does not.
            keep: None,
            guard: self.guard.guard(),
        };
        visit.run(&opened, &self.reach, screen)
    }
}

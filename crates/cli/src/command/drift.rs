//! `converge drift`.

use clap::Args;
use converge_engine::Goal;
use converge_model::wire::Guard;

use crate::arguments::{
    AgainArguments, HistoryArguments, HostArguments, ProjectArguments, ReachArguments, ResourceArguments,
};
use crate::failure::Failure;
use crate::past;
use crate::project::Opened;
use crate::view::Screen;
use crate::visit::Visit;

/// Show what moved on the hosts since it was last applied, and change nothing
///
/// What differs because the host moved stands apart from what differs because
/// the inventory asks for something new; each host remembers what was last
/// applied to it. Resources and hosts with drift="ignore" are not counted; -v
/// shows them.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Exit with 2 where a host moved; what the inventory newly asks for is no reason
    #[arg(long)]
    fail_on_drift: bool,
    #[command(flatten)]
    project: ProjectArguments,
    #[command(flatten)]
    hosts: HostArguments,
    #[command(flatten)]
    again: AgainArguments,
    #[command(flatten)]
    resources: ResourceArguments,
    #[command(flatten)]
    reach: ReachArguments,
    #[command(flatten)]
    history: HistoryArguments,
}

impl Arguments {
    pub(crate) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let opened = Opened::checked(&self.project, &mut screen)?;
        let visit = Visit {
            goal: Goal::Drift { fail: self.fail_on_drift },
            hosts: past::chosen(opened.hosts(&self.hosts, &mut screen)?, &self.again, &opened, &mut screen)?,
            selection: self.resources.selection(),
            yes: false,
            keep: Some(self.history.retention()),
            // Nothing is changed: whether it could be taken back is no question here.
            guard: Guard { accept_irreversible: true, ..Guard::default() },
        };
        visit.run(&opened, &self.reach, screen)
    }
}

//! `converge apply`.

use std::io::{self, IsTerminal};

use clap::Args;
use converge_engine::Goal;

use crate::arguments::{
    AgainArguments, GuardArguments, HistoryArguments, HostArguments, ProjectArguments, ReachArguments,
    ResourceArguments,
};
use crate::failure::Failure;
use crate::past;
use crate::project::Opened;
use crate::view::Screen;
use crate::visit::Visit;

/// Show the plan, ask, and make the hosts be what the inventory says
///
/// Each host is looked at again before it is changed; one that moved on since
/// its plan was shown is left alone. The first Ctrl-C stops after the steps in
/// hand, the second abandons them.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Do not ask; needed where there is no terminal
    #[arg(short, long)]
    yes: bool,
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
    #[command(flatten)]
    history: HistoryArguments,
}

impl Arguments {
    pub(crate) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let can_ask = io::stdin().is_terminal() && io::stderr().is_terminal();
        if !self.yes && !can_ask {
            return Err(Failure::new(
                "apply asks before it changes anything, and there is no terminal to ask on",
            )
            .help("look at `converge plan` first, then apply with --yes"));
        }
        let opened = Opened::checked(&self.project, &mut screen)?;
        let visit = Visit {
            goal: Goal::Apply,
            hosts: past::chosen(opened.hosts(&self.hosts, &mut screen)?, &self.again, &opened, &mut screen)?,
            selection: self.resources.selection(),
            yes: self.yes,
            keep: Some(self.history.retention()),
            guard: self.guard.guard(),
        };
        visit.run(&opened, &self.reach, screen)
    }
}

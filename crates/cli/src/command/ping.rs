//! `converge ping`.

use std::path::{Path, PathBuf};

use clap::Args;
use converge_engine::Errand;

use crate::ad_hoc::AdHocVisit;
use crate::arguments::{FleetArguments, HistoryArguments};
use crate::failure::Failure;
use crate::project::Opened;
use crate::view::Screen;

/// Test connections: log in, become root and start the agent, as a run does
///
/// Prints a line for each host: the account of the run, the account of the login,
/// and the time. If a host does not answer, prints the reason, and the exit code is
/// 4. Also reports another run on the host.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct PingArgs {
    /// Hosts, as for --limit; a path is taken as INVENTORY
    #[arg(value_name = "PATTERN")]
    pattern: Option<String>,
    #[command(flatten)]
    fleet: FleetArguments,
    #[command(flatten)]
    history: HistoryArguments,
}

impl PingArgs {
    pub(crate) fn run(mut self, mut screen: Screen) -> Result<u8, Failure> {
        if self.fleet.project.inventory.is_none() && self.pattern.as_deref().is_some_and(is_path) {
            self.fleet.project.inventory = self.pattern.take().map(PathBuf::from);
        }
        if self.pattern.is_some() && !self.fleet.hosts.limit.is_empty() {
            return Err(Failure::new("PATTERN and --limit cannot be used together")
                .help("write `a & b` for the hosts that match both"));
        }
        self.fleet.hosts.limit.extend(self.pattern);
        let opened = Opened::reachable(&self.fleet.project, &mut screen)?;
        let visit = AdHocVisit {
            errand: Errand::Ping,
            hosts: opened.hosts(&self.fleet.hosts, &mut screen)?,
            serial: usize::MAX,
            files: None,
            keep: self.history.retention(),
        };
        visit.run(&opened, &self.fleet.reach, screen)
    }
}

/// Whether a word is the path of an inventory, and not a pattern of hosts.
fn is_path(word: &str) -> bool {
    word.ends_with(".kdl") || word.contains('/') || Path::new(word).exists()
}

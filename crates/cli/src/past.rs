//! The history of a project for the commands: opens it, and finds the hosts that failed in a run.

use std::collections::BTreeSet;

use converge_engine::StateFolder;
use converge_history::{Filter, FindError, History, HistoryError};
use converge_model::{HostName, HostState};
use tokio::runtime::{Builder, Runtime};

use crate::arguments::AgainArguments;
use crate::failure::Failure;
use crate::project::Opened;
use crate::view::Screen;
use crate::view::text::fold_names;

/// A history, and the runtime for its questions.
pub(crate) struct Past {
    pub(crate) history: History,
    pub(crate) runtime: Runtime,
}

impl Past {
    /// Opens the history of the project with the name `owner`.
    pub(crate) fn open(owner: &str) -> Result<Self, Failure> {
        let places = StateFolder::of_user()?.history(owner);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let history = runtime.block_on(History::open(&places.folder)).map_err(unreadable)?;
        Ok(Self { history, runtime })
    }
}

/// Returns the failure for a history that cannot be read.
pub(crate) fn unreadable(error: HistoryError) -> Failure {
    match error.help() {
        Some(help) => Failure::new(error.to_string()).help(help),
        None => Failure::new(error.to_string()),
    }
}

/// Returns the failure if no run or several runs match.
pub(crate) fn not_found(error: FindError) -> Failure {
    match error {
        FindError::History(error) => unreadable(error),
        FindError::Empty => Failure::new(error.to_string())
            .help("`apply`, `drift`, `exec` and `ping` are recorded, `plan` is not"),
        FindError::Unknown(_) => Failure::new(error.to_string()).help("`converge history` lists all runs"),
        FindError::Ambiguous { .. } => {
            Failure::new(error.to_string()).help("write more characters of the id")
        }
    }
}

/// Returns the hosts to run on again. Without a named run, these are all of `hosts`, otherwise those that did not
/// succeed in that run. An empty result is an error.
pub(crate) fn chosen(
    hosts: Vec<HostName>,
    again: &AgainArguments,
    opened: &Opened,
    screen: &mut Screen,
) -> Result<Vec<HostName>, Failure> {
    let Some(run) = &again.failed_from else { return Ok(hosts) };
    let mut past = Past::open(&opened.owner())?;
    let found = past.runtime.block_on(async {
        match run.as_str() {
            // An `exec` or `ping` since the last apply does not count.
            "last" => past.history.last(Filter { with_plans: true, ..Filter::default() }).await,
            run => past.history.find(run).await,
        }
    });
    let found = found.map_err(not_found)?;
    let then = past.runtime.block_on(past.history.hosts_of(&found.run)).map_err(unreadable)?;
    let lost = then.into_iter().filter(|host| is_lost(host.state)).map(|host| host.host);
    let mut left: BTreeSet<HostName> = lost.collect();
    let chosen: Vec<_> = hosts.into_iter().filter(|host| left.remove(host)).collect();
    let others = fold_names(left.iter().map(HostName::as_str));
    match (chosen.is_empty(), left.is_empty()) {
        (true, true) => Err(Failure::new(format!("no host failed in run {}", found.run))
            .help("there is nothing to repeat: `converge apply` plans all hosts")),
        (true, false) => {
            let run = found.run;
            Err(Failure::new(format!("none of the selected hosts failed in run {run}, only {others}")))
        }
        (false, true) => Ok(chosen),
        (false, false) => {
            screen.warn(&format!("not selected, or not in the inventory any more: {others}"), None);
            Ok(chosen)
        }
    }
}

/// Whether a host with this end should run again. This includes hosts whose run was cut off.
fn is_lost(state: Option<HostState>) -> bool {
    !matches!(state, Some(HostState::InSync | HostState::Changed | HostState::Done | HostState::Pending))
}

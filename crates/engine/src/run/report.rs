//! The reports of hosts that the run itself ends: those that failed, whose task panicked, or that were never acted
//! on.

use converge_fleet::HostError;
use converge_model::{HostName, HostReport, HostState, Problem};

use super::catalog::Mistakes;

pub(super) fn failure(host: &HostName, error: &HostError) -> HostReport {
    let problems = match error {
        HostError::Compile(error) if error.is::<Mistakes>() => {
            error.downcast_ref::<Mistakes>().map(|mistakes| mistakes.0.clone()).unwrap_or_default()
        }
        error => vec![Problem { address: None, message: error.to_string(), help: error.help() }],
    };
    ended(host, error.state(), problems)
}

/// Returns the report of a host that is the same machine as `other`.
pub(super) fn same_machine(host: &HostName, other: &HostName, state: HostState) -> HostReport {
    let message = format!("{other} and {host} are one machine: both names lead to the same installation");
    let help = "leave one of the two names out of the inventory, or out of the run with `--limit`";
    let problem = Problem { address: None, message, help: Some(help.to_owned()) };
    ended(host, state, vec![problem])
}

pub(super) fn broken(host: &HostName) -> HostReport {
    report(host, HostState::Failed, "its task broke down: this is a defect of Converge")
}

pub(super) fn report(host: &HostName, state: HostState, why: &str) -> HostReport {
    let problem = Problem { address: None, message: why.to_owned(), help: None };
    ended(host, state, vec![problem])
}

/// Returns the report of a host without steps.
pub(super) fn ended(host: &HostName, state: HostState, problems: Vec<Problem>) -> HostReport {
    HostReport { host: host.clone(), state, results: Vec::new(), in_sync: 0, problems }
}

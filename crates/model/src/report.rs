//! The result of a run: one state for each host and one outcome for each step.

use serde::{Deserialize, Serialize};

use crate::change::{Change, PropertyChange};
use crate::id::{Address, HostName};
use crate::plan::Problem;

/// The final state of a host in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    /// Nothing had to be changed.
    InSync,
    /// The host was looked at, and changes are pending.
    Pending,
    /// The host was changed and is in sync.
    Changed,
    /// The command on the host ended with 0, or the host answered a ping.
    Done,
    /// A step failed, or the closing look found something pending.
    Failed,
    /// A resource cannot be planned; nothing was changed.
    Unplannable,
    /// The host reverted an access-critical change.
    Reverted,
    /// The host changed between plan and act; nothing further was changed.
    Stale,
    /// The host could not be reached; nothing was changed.
    Unreachable,
    /// The connection ended during the act.
    Interrupted,
    /// Another run holds the host.
    Locked,
    /// The run did not reach it: an earlier host failed, or the run was stopped.
    NotStarted,
}

impl HostState {
    /// Returns the word for messages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::InSync => "in sync",
            Self::Pending => "changes pending",
            Self::Changed => "changed",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unplannable => "cannot be planned",
            Self::Reverted => "reverted",
            Self::Stale => "stale",
            Self::Unreachable => "unreachable",
            Self::Interrupted => "interrupted",
            Self::Locked => "locked",
            Self::NotStarted => "not started",
        }
    }
}

/// The outcome of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// It was carried out, and a look confirmed it.
    Done,
    /// It was not needed: an earlier step had already brought it.
    AlreadySo,
    /// It was carried out although its resource was in sync in the plan. An uncertain step before it had changed the
    /// resource.
    Unforeseen,
    /// It failed.
    Failed {
        /// The reason, as a fragment.
        why: String,
        /// The last lines of its output, masked; may be empty.
        output: String,
        /// The state of the data that the step had replaced.
        #[serde(default, rename = "back")]
        restored: Restoration,
        /// The state of the resource after the failure.
        #[serde(default)]
        stands: Stands,
    },
    /// It was not tried.
    Skipped {
        /// The cause, as a fragment.
        why: String,
    },
    /// A notified action that still waits for one of its notifiers.
    Owed,
}

/// The state of the data that a failed step had replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restoration {
    /// No copy was kept, so there is nothing to report.
    #[default]
    Nothing,
    /// A copy was kept and was restored.
    #[serde(rename = "restored")]
    Done,
    /// A copy was kept and could not be restored. The reason of the failure says why.
    Stuck,
}

/// The state of a resource after a failed step, found by a look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stands {
    /// A look cannot find it out.
    #[default]
    Unknown,
    /// It is the same as before the step.
    Unchanged,
    /// It is as desired, although the step failed.
    AsAsked,
    /// It is neither the old state nor the desired one.
    Differs {
        /// The properties that are not as desired.
        properties: Vec<String>,
    },
}

/// A step and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    /// The resource, as an index into the catalog.
    pub resource: u32,
    /// Its address.
    pub address: Address,
    /// The planned change.
    pub change: Change,
    /// The way it ended.
    pub outcome: StepOutcome,
    /// Its changes beyond the plan: additional packages, by name.
    #[serde(default)]
    pub unforeseen: Vec<PropertyChange>,
    /// Whether the resource has `may-fail`.
    pub may_fail: bool,
    /// Duration in milliseconds, by the monotonic clock.
    pub took: u64,
}

/// The result of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// The host.
    pub host: HostName,
    /// Its final state.
    pub state: HostState,
    /// The result of each step.
    pub results: Vec<StepResult>,
    /// The number of resources that were in sync.
    pub in_sync: u32,
    /// Problems of the whole host, or findings of the closing look.
    pub problems: Vec<Problem>,
}

impl HostReport {
    /// Returns the number of steps that left a change on the host, whatever the host's state.
    pub fn changes(&self) -> usize {
        self.results.iter().filter(|result| result.outcome.left_a_change()).count()
    }
}

impl StepOutcome {
    /// Whether the step was carried out.
    pub const fn changed(&self) -> bool {
        matches!(self, Self::Done | Self::Unforeseen)
    }

    /// Whether the step changed the host: it was carried out, or it failed and left a change.
    pub const fn left_a_change(&self) -> bool {
        match self {
            Self::Failed { restored, stands, .. } => {
                matches!(restored, Restoration::Stuck)
                    || matches!(stands, Stands::AsAsked | Stands::Differs { .. })
            }
            other => other.changed(),
        }
    }

    /// Whether the step failed.
    pub const fn failed(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

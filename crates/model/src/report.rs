//! What became of a run: each host in one definite state, each step with its outcome.

use serde::{Deserialize, Serialize};

use crate::change::{Change, PropertyChange};
use crate::id::{Address, HostName};
use crate::plan::Problem;

/// The state in which a host's run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostState {
    /// Nothing was to be done.
    InSync,
    /// Looked at, and something is to be done.
    Pending,
    /// Changed, and in sync after it.
    Changed,
    /// The command that was run on it ended with 0, or it answered.
    Done,
    /// A step failed, or the closing look found something pending.
    Failed,
    /// Something of it cannot be planned; nothing was touched.
    Unplannable,
    /// An access-critical change took itself back.
    Reverted,
    /// The host moved on between the plan and the act; nothing further was touched.
    Stale,
    /// The host could not be reached; nothing was touched.
    Unreachable,
    /// The connection ended during the act.
    Interrupted,
    /// Another run holds the host.
    Locked,
    /// It was not its turn: an earlier host failed, or the run was stopped.
    NotStarted,
}

impl HostState {
    /// The word for people.
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

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepOutcome {
    /// Carried out, and confirmed by a look afterwards.
    Done,
    /// An earlier step had brought it already.
    AlreadySo,
    /// Carried out though the plan had it in sync: an open step before it had moved it.
    Unforeseen,
    /// It failed: why, and the last lines of its output, masked.
    Failed {
        /// A fragment.
        why: String,
        /// The last lines of its output; may be empty.
        output: String,
        /// What became of what it replaced.
        #[serde(default)]
        back: PutBack,
        /// How the resource stands since then.
        #[serde(default)]
        stands: Stands,
    },
    /// It was not tried, and why.
    Skipped {
        /// A fragment that names the cause.
        why: String,
    },
    /// A notified action that still waits for one of its notifiers.
    Owed,
}

/// What became of what a failed step had replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PutBack {
    /// Nothing was kept: there is nothing to be said.
    #[default]
    Nothing,
    /// It was kept, and is there again.
    Restored,
    /// It was kept, and could not be put back. The reason of the failure says why.
    Stuck,
}

/// How a resource stands after a failed step, by a look at it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stands {
    /// A look does not tell.
    #[default]
    Unknown,
    /// As before the step.
    Unchanged,
    /// As it is asked, all the same.
    AsAsked,
    /// Neither as before nor as it is asked.
    Differs {
        /// The properties that are not as asked.
        properties: Vec<String>,
    },
}

/// A step and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    /// The resource, as a place in the catalog.
    pub resource: u32,
    /// Its address.
    pub address: Address,
    /// What was changed, or was to be.
    pub change: Change,
    /// How it ended.
    pub outcome: StepOutcome,
    /// What it turned out to do beyond what was planned: packages that came along, by name.
    #[serde(default)]
    pub unforeseen: Vec<PropertyChange>,
    /// Whether the resource says `may-fail`.
    pub may_fail: bool,
    /// Milliseconds, by the monotonic clock.
    pub took: u64,
}

/// What became of one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// The host.
    pub host: HostName,
    /// How its run ended.
    pub state: HostState,
    /// Each step.
    pub results: Vec<StepResult>,
    /// How many resources needed nothing.
    pub in_sync: u32,
    /// What is wrong with the host as a whole, or what the closing look found.
    pub problems: Vec<Problem>,
}

impl HostReport {
    /// How many steps left a change on the host, however the host ended.
    pub fn changes(&self) -> usize {
        self.results.iter().filter(|result| result.outcome.left_a_change()).count()
    }
}

impl StepOutcome {
    /// Whether the step is one that was carried out.
    pub const fn changed(&self) -> bool {
        matches!(self, Self::Done | Self::Unforeseen)
    }

    /// Whether the host is another one after the step: it was carried out, or failed and left something behind.
    pub const fn left_a_change(&self) -> bool {
        match self {
            Self::Failed { back, stands, .. } => {
                matches!(back, PutBack::Stuck) || matches!(stands, Stands::AsAsked | Stands::Differs { .. })
            }
            other => other.changed(),
        }
    }

    /// Whether the step failed.
    pub const fn failed(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

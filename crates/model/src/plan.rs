//! The plan of one host: the steps that would make it what its catalog says.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::change::Change;
use crate::id::{Address, Digest};

/// What `look` found on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPlan {
    /// Stands for everything that the plan says; `act` goes on only if its own look comes to the same. Keyed where the
    /// plan holds secrets.
    pub token: Digest,
    /// The steps, in the order in which they are applied.
    pub steps: Vec<Step>,
    /// How many resources need nothing.
    pub in_sync: u32,
    /// Why the host cannot be acted on. With one of them nothing on it is.
    pub problems: Vec<Problem>,
    /// Whether the host's ledger says what the catalog says: a host in sync whose ledger does not is visited once more
    /// to record what was found.
    pub ledger_complete: bool,
    /// The run that is at work on the host, if one is.
    pub busy: Option<Holder>,
    /// A run that was interrupted: its journal is open, and the next `act` cleans up after it.
    pub interrupted: Option<String>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The resource, as a place in the catalog.
    pub resource: u32,
    /// Its address.
    pub address: Address,
    /// Its kind.
    pub kind: String,
    /// What changes.
    pub change: Change,
    /// For a notified action: the addresses of what causes it.
    pub because: Vec<Address>,
    /// Whether it is owed from an earlier run.
    pub owed: bool,
}

/// Why a host cannot be acted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The resource that cannot be planned; none where it is the host as a whole.
    pub address: Option<Address>,
    /// What is wrong, as a fragment.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Who holds a host's lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The run.
    pub run: String,
    /// Who started it, and from where: `ada@laptop`.
    pub by: String,
    /// Seconds since the epoch, by the host's clock.
    pub since: u64,
    /// For how many seconds it had been held when it was asked about, by the host's clock.
    #[serde(default)]
    pub held: u64,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = match self.held {
            seconds @ 0..120 => format!("{seconds} s"),
            seconds @ 120..7200 => format!("{} min", seconds / 60),
            seconds => format!("{} h", seconds / 3600),
        };
        write!(f, "run {} of {} has been at work there for {held}", self.run, self.by)
    }
}

impl HostPlan {
    /// Whether anything would change.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_told_with_how_long_it_has_been_there() {
        let check = |held: u64, words: &str| {
            let holder = Holder { run: "r1".into(), by: "ada@laptop".into(), since: 7, held };
            assert_eq!(
                holder.to_string(),
                format!("run r1 of ada@laptop has been at work there for {words}")
            );
        };
        check(3, "3 s");
        check(200, "3 min");
        check(7200, "2 h");
    }
}

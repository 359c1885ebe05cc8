//! Rollouts as data: which hosts change together, and when the rollout stops. The engine carries them out.

use converge_model::HostName;
use serde::Serialize;

/// A rollout. It applies to every run of its hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rollout {
    /// Its name for users: the patterns of its `on` block.
    pub name: String,
    /// Its hosts, in the order of the inventory.
    pub hosts: Vec<HostName>,
    /// The hosts that change first, before all others.
    pub canary: Option<Canary>,
    /// The number of hosts in each later batch. None means: all.
    pub batch: Option<Share>,
    /// The number of failed hosts that is tolerated. None means: the first failure stops the rollout.
    pub max_failures: Option<Share>,
    /// The pause between two batches, in milliseconds.
    pub wait: u64,
    /// The moments at which it acts around each changed host.
    pub gates: Vec<Moment>,
    /// The number of retries of a failed health check.
    pub retries: u32,
    /// The time between two tries, in milliseconds.
    pub every: u64,
    /// The place of its definition: file and line.
    pub place: String,
}

/// A moment at which a rollout acts around a changed host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Moment {
    /// Before the host is changed. A failure here leaves the host unchanged.
    Before,
    /// After the change: a check whether the host works.
    Health,
    /// After a successful health check.
    After,
}

impl Moment {
    /// All moments, in order.
    pub const ALL: [Self; 3] = [Self::Before, Self::Health, Self::After];

    /// Returns the name of the body.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Health => "health",
            Self::After => "after",
        }
    }
}

/// The hosts that change first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Canary {
    /// The first so many of the selected hosts.
    Count(u32),
    /// These hosts.
    Hosts(Vec<HostName>),
}

/// A number of hosts, or a percentage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// A number.
    Count(u32),
    /// A percentage.
    Percent(u32),
}

impl Share {
    /// Returns the number of hosts out of `all`. A percentage is rounded down, but gives at least one if it is above
    /// zero.
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(0) => 0,
            Self::Percent(percent) => (all.saturating_mul(percent as usize) / 100).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_down_and_are_at_least_one() {
        assert_eq!(Share::Percent(50).of(5), 2);
        assert_eq!(Share::Percent(1).of(5), 1);
        assert_eq!(Share::Percent(0).of(5), 0);
        assert_eq!(Share::Count(3).of(2), 3);
    }
}

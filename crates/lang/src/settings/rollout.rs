//! Rollouts as data: which hosts change together, and when to stop. Carrying one out is the engine's.

use converge_model::HostName;
use serde::Serialize;

/// A rollout: it governs whole runs of its hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rollout {
    /// How people know it: the patterns of its `on` block.
    pub name: String,
    /// Its hosts, in the order of the inventory.
    pub hosts: Vec<HostName>,
    /// The hosts that go first, alone.
    pub canary: Option<Canary>,
    /// How many go at a time after that; all where nothing is said.
    pub batch: Option<Share>,
    /// How many hosts may fail before the rest is not started; none: the first failure stops it.
    pub max_failures: Option<Share>,
    /// Milliseconds between two batches.
    pub wait: u64,
    /// What it does around each of its hosts that changes.
    pub gates: Vec<Moment>,
    /// How many times a health check that failed is tried again.
    pub retries: u32,
    /// Milliseconds between two tries.
    pub every: u64,
    /// Where it is written: file and line.
    pub place: String,
}

/// When something is done around a host that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Moment {
    /// Before it is changed; what fails here leaves it as it is.
    Before,
    /// After it changed: whether it is well.
    Health,
    /// After that, where it is well.
    After,
}

impl Moment {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Before, Self::Health, Self::After];

    /// The name of the body.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Health => "health",
            Self::After => "after",
        }
    }
}

/// The hosts that go first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Canary {
    /// The first so many of those selected.
    Count(u32),
    /// These.
    Hosts(Vec<HostName>),
}

/// A number of hosts, or a part of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many of a hundred.
    Percent(u32),
}

impl Share {
    /// How many of `all` hosts it is: rounded down, at least one for a share above nothing.
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

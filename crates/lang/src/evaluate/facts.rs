//! The known facts of hosts.

use std::collections::BTreeMap;
use std::sync::Arc;

use converge_model::{Facts, HostName};

/// The facts for compiling a catalog.
pub trait FactsOf: Send + Sync {
    /// Returns the facts of `host`: from this run, or else the last known ones. None if the host was never seen.
    ///
    /// For the host that is compiled, None means "not known yet". Values that depend on its facts are then left to the
    /// plan.
    fn facts(&self, host: &HostName) -> Option<Arc<Facts>>;
}

/// Facts of no host, as in `check`.
#[derive(Clone, Copy, Debug)]
pub struct NoFacts;

impl FactsOf for NoFacts {
    fn facts(&self, _: &HostName) -> Option<Arc<Facts>> {
        None
    }
}

impl FactsOf for BTreeMap<HostName, Arc<Facts>> {
    fn facts(&self, host: &HostName) -> Option<Arc<Facts>> {
        self.get(host).cloned()
    }
}

/// Whether the facts of the host are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// They are known.
    Known,
    /// They are not known yet: values are unknown, which is not a mistake.
    Unknown,
    /// The evaluation must not use facts.
    Refused,
}

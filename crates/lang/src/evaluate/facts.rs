//! What hosts have told of themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use converge_model::{Facts, HostName};

/// The facts that a catalog is compiled with.
pub trait FactsOf: Send + Sync {
    /// The facts of `host`: of this run, else as last seen; none where it was never seen.
    ///
    /// For the host that is compiled, none means "not known yet": what depends on them is left to the plan.
    fn facts(&self, host: &HostName) -> Option<Arc<Facts>>;
}

/// No facts of any host: what `check` knows.
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

/// What the facts of the host are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// They are there.
    Known,
    /// The host has not spoken: values are unknown, and that is no mistake.
    Unknown,
    /// What is evaluated must not depend on them.
    Refused,
}

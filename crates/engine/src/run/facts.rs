//! The facts for compiling the catalogs of a run: those of this run, otherwise those of the last contact.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use converge_lang::FactsOf;
use converge_model::{Facts, HostName};

use crate::state::SeenFacts;

/// The facts of the hosts that are known so far.
pub(super) struct RunFacts {
    selected: HashSet<HostName>,
    of_run: RwLock<HashMap<HostName, Arc<Facts>>>,
    seen: SeenFacts,
}

impl RunFacts {
    pub(super) fn new(selected: &[HostName], seen: SeenFacts) -> Self {
        Self { selected: selected.iter().cloned().collect(), of_run: RwLock::default(), seen }
    }

    /// Stores the facts that a host sent.
    pub(super) fn learn(&self, host: &HostName, facts: &Facts) {
        self.seen.keep(host, facts);
        let mut of_run = self.of_run.write().unwrap_or_else(PoisonError::into_inner);
        of_run.insert(host.clone(), Arc::new(facts.clone()));
    }

    /// Returns the machine-id that a host sent in this run. Empty if it has none.
    pub(super) fn machine(&self, host: &HostName) -> String {
        self.of_run(host).map(|facts| facts.machine_id.clone()).unwrap_or_default()
    }

    /// Returns the machine-id from this run, otherwise from the last contact.
    pub(super) fn known_machine(&self, host: &HostName) -> String {
        let facts = self.of_run(host).or_else(|| self.seen.read(host).map(Arc::new));
        facts.map(|facts| facts.machine_id.clone()).unwrap_or_default()
    }

    /// Returns what identifies a running machine: its machine-id and its boot-id. Both are needed, because a copied
    /// image has the same machine-id. None if the host did not send them.
    pub(super) fn running(&self, host: &HostName) -> Option<(String, String)> {
        let facts = self.of_run(host)?;
        let is_known = !facts.machine_id.is_empty() && !facts.boot_id.is_empty();
        is_known.then(|| (facts.machine_id.clone(), facts.boot_id.clone()))
    }

    /// Remembers that a run applied something on `host`.
    pub(super) fn applied(&self, host: &HostName) {
        self.seen.keep_applied(host);
    }

    /// Whether a run ever applied something on `host`.
    pub(super) fn was_applied(&self, host: &HostName) -> bool {
        self.seen.was_applied(host)
    }

    fn of_run(&self, host: &HostName) -> Option<Arc<Facts>> {
        self.of_run.read().unwrap_or_else(PoisonError::into_inner).get(host).cloned()
    }
}

/// The facts for one compilation. It records the hosts of this run whose facts are still missing.
pub(super) struct Reading {
    facts: Arc<RunFacts>,
    awaited: Mutex<BTreeSet<HostName>>,
}

impl Reading {
    pub(super) fn new(facts: Arc<RunFacts>) -> Self {
        Self { facts, awaited: Mutex::default() }
    }

    /// Returns the hosts whose facts were read but are not known in this run yet.
    pub(super) fn awaited(&self) -> Vec<HostName> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl FactsOf for Reading {
    fn facts(&self, host: &HostName) -> Option<Arc<Facts>> {
        self.facts.of_run(host).or_else(|| {
            if self.facts.selected.contains(host) {
                let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
                awaited.insert(host.clone());
            }
            self.facts.seen.read(host).map(Arc::new)
        })
    }
}

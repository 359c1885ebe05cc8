//! The facts that the catalogs of a run are compiled with: those of this run, else as last seen.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use converge_lang::FactsOf;
use converge_model::{Facts, HostName};

use crate::state::SeenFacts;

/// What is known of the hosts so far.
pub(super) struct RunFacts {
    selected: HashSet<HostName>,
    of_run: RwLock<HashMap<HostName, Arc<Facts>>>,
    seen: SeenFacts,
}

impl RunFacts {
    pub(super) fn new(selected: &[HostName], seen: SeenFacts) -> Self {
        Self { selected: selected.iter().cloned().collect(), of_run: RwLock::default(), seen }
    }

    /// Takes in what a host says of itself.
    pub(super) fn learn(&self, host: &HostName, facts: &Facts) {
        self.seen.keep(host, facts);
        let mut of_run = self.of_run.write().unwrap_or_else(PoisonError::into_inner);
        of_run.insert(host.clone(), Arc::new(facts.clone()));
    }

    /// The identity of a host's installation, as it said in this run; empty where it has none.
    pub(super) fn machine(&self, host: &HostName) -> String {
        self.of_run(host).map(|facts| facts.machine_id.clone()).unwrap_or_default()
    }

    /// The same, else as it was last seen.
    pub(super) fn known_machine(&self, host: &HostName) -> String {
        let facts = self.of_run(host).or_else(|| self.seen.read(host).map(Arc::new));
        facts.map(|facts| facts.machine_id.clone()).unwrap_or_default()
    }

    /// What tells one machine that runs from all others, where the host says it: its installation, and its boot, for an
    /// image that was copied has the same installation.
    pub(super) fn running(&self, host: &HostName) -> Option<(String, String)> {
        let facts = self.of_run(host)?;
        let is_known = !facts.machine_id.is_empty() && !facts.boot_id.is_empty();
        is_known.then(|| (facts.machine_id.clone(), facts.boot_id.clone()))
    }

    /// Remembers that something was applied on `host`.
    pub(super) fn applied(&self, host: &HostName) {
        self.seen.keep_applied(host);
    }

    /// Whether something was ever applied on `host`.
    pub(super) fn was_applied(&self, host: &HostName) -> bool {
        self.seen.was_applied(host)
    }

    fn of_run(&self, host: &HostName) -> Option<Arc<Facts>> {
        self.of_run.read().unwrap_or_else(PoisonError::into_inner).get(host).cloned()
    }
}

/// The facts as one compilation reads them: it notes when it would have to wait for a host of the same run.
pub(super) struct Reading {
    facts: Arc<RunFacts>,
    awaited: Mutex<BTreeSet<HostName>>,
}

impl Reading {
    pub(super) fn new(facts: Arc<RunFacts>) -> Self {
        Self { facts, awaited: Mutex::default() }
    }

    /// The hosts of which it read facts that this run has yet to hear.
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

//! The facts that the catalogs of a run are compiled with: those of this run, else as last seen.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

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

    fn of_run(&self, host: &HostName) -> Option<Arc<Facts>> {
        self.of_run.read().unwrap_or_else(PoisonError::into_inner).get(host).cloned()
    }
}

/// The facts as one compilation reads them: it notes when it would have to wait for a host of the same run.
pub(super) struct Reading {
    facts: Arc<RunFacts>,
    came_too_early: AtomicBool,
}

impl Reading {
    pub(super) fn new(facts: Arc<RunFacts>) -> Self {
        Self { facts, came_too_early: AtomicBool::new(false) }
    }

    /// Whether it read facts of a host that this run has yet to hear.
    pub(super) fn came_too_early(&self) -> bool {
        self.came_too_early.load(Ordering::Relaxed)
    }
}

impl FactsOf for Reading {
    fn facts(&self, host: &HostName) -> Option<Arc<Facts>> {
        self.facts.of_run(host).or_else(|| {
            if self.facts.selected.contains(host) {
                self.came_too_early.store(true, Ordering::Relaxed);
            }
            self.facts.seen.read(host).map(Arc::new)
        })
    }
}

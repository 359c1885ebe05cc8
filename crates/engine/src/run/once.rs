//! Once-steps: steps that run once for all hosts of a rollout, or of the run for hosts in no rollout. This module
//! chooses the host and informs the others. A key is done if a host's ledger or the controller knows it. Otherwise
//! the first host with the key in its plan runs it. No other host with the same key is started before that host's
//! step has ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use converge_lang::Inventory;
use converge_model::{
    Address, Catalog, Certainty, Change, EventKind, HostName, HostPlan, Settled, StepOutcome, StepResult,
};

use super::facts::RunFacts;
use crate::state::{DoneOnce, Participant};

/// The once-steps of a run.
pub(super) struct OnceSteps {
    /// The rollout of each host that is in a rollout.
    rollouts: HashMap<HostName, usize>,
    facts: Arc<RunFacts>,
    memory: DoneOnce,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// The once-steps of each host, by index in its catalog.
    steps: HashMap<HostName, BTreeMap<u32, (Address, Key)>>,
    /// The keys in each host's plan.
    pending: HashMap<HostName, Vec<Key>>,
    turns: HashMap<Key, Turn>,
}

/// The rollout whose hosts share the step, if any, and the address with the reason to run it once.
type Key = (Option<usize>, String);

/// Progress of a once-step. No entry means: not claimed.
enum Turn {
    /// An earlier run has run it.
    Known,
    /// This host has claimed it and may run it.
    Taken(HostName),
    /// This host is running it.
    Begun(HostName),
    /// This run has run it.
    Done,
    /// It failed: on which host and why.
    Failed(String),
}

impl OnceSteps {
    pub(super) fn new(inventory: &Inventory, facts: Arc<RunFacts>, memory: DoneOnce) -> Self {
        let rollouts = inventory.rollouts().iter().enumerate();
        let rollouts =
            rollouts.flat_map(|(at, rollout)| rollout.hosts.iter().map(move |host| (host.clone(), at)));
        Self { rollouts: rollouts.collect(), facts, memory, table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the once-steps of `host`, and marks the settled ones in its catalog.
    pub(super) fn prepare(&self, host: &HostName, catalog: &mut Catalog) {
        let places = (0_u32..).zip(&catalog.resources);
        let steps: BTreeMap<_, _> = places
            .filter_map(|(at, resource)| {
                let key = (self.rollout(host), resource.once()?.to_owned());
                Some((at, (resource.address.clone(), key)))
            })
            .collect();
        if steps.is_empty() {
            return;
        }
        let mut table = self.table();
        let settled = |key: &Key| match table.turns.get(key)? {
            Turn::Known => Some(Settled::Known),
            Turn::Done => Some(Settled::Done),
            Turn::Failed(why) => Some(Settled::Failed(why.clone())),
            Turn::Taken(_) | Turn::Begun(_) => None,
        };
        catalog.settled = steps.iter().filter_map(|(at, (_, key))| Some((*at, settled(key)?))).collect();
        table.steps.insert(host.clone(), steps);
    }

    fn rollout(&self, host: &HostName) -> Option<usize> {
        self.rollouts.get(host).copied()
    }

    /// Reads a host's plan: which once-steps its ledger knows. Returns whether the plan has once-steps.
    pub(super) fn take_in(&self, host: &HostName, plan: &HostPlan) -> bool {
        let known = {
            let mut table = self.table();
            let Some(steps) = table.steps.get(host).cloned() else { return false };
            // A host that cannot be planned runs no steps.
            let is_possible = plan.problems.is_empty();
            let asked = plan.steps.iter().filter(|_| is_possible).map(|step| step.resource);
            let places: BTreeSet<u32> = asked.collect();
            let pending: Vec<_> =
                places.iter().filter_map(|at| steps.get(at)).map(|(_, key)| key.clone()).collect();
            let known: Vec<_> = plan.known_once.iter().filter_map(|at| steps.get(at)).cloned().collect();
            for (_, key) in &known {
                table.turns.insert(key.clone(), Turn::Known);
            }
            table.pending.insert(host.clone(), pending);
            known
        };
        known.iter().for_each(|(_, (_, key))| self.remember(host, key));
        self.table().pending.get(host).is_some_and(|pending| !pending.is_empty())
    }

    fn remember(&self, host: &HostName, key: &str) {
        self.memory.record(key, self.participant(host));
    }

    fn participant(&self, host: &HostName) -> Participant {
        Participant { host: host.clone(), machine: self.facts.known_machine(host) }
    }

    /// Returns those of `hosts` whose plans have a once-step that is done already. Another host's ledger or the
    /// controller knows it by now.
    pub(super) fn mistaken(&self, hosts: &[HostName]) -> Vec<HostName> {
        let keys: BTreeSet<Key> = hosts.iter().flat_map(|host| self.pending(host)).collect();
        let known: BTreeSet<&Key> = keys.iter().filter(|key| self.is_known(key)).collect();
        for key in &known {
            self.table().turns.insert((*key).clone(), Turn::Known);
        }
        let asks = |host: &&HostName| self.pending(host).iter().any(|key| known.contains(key));
        hosts.iter().filter(asks).cloned().collect()
    }

    fn pending(&self, host: &HostName) -> Vec<Key> {
        self.table().pending.get(host).cloned().unwrap_or_default()
    }

    fn is_known(&self, key: &Key) -> bool {
        if matches!(self.table().turns.get(key), Some(Turn::Known)) {
            return true;
        }
        let took_part = self.memory.participants(&key.1);
        took_part.iter().any(|one| self.rollout(&one.host) == key.0 && self.participant(&one.host) == *one)
    }

    /// Marks in the plan of `host` which steps another host of `order` will run.
    pub(super) fn foretell(&self, host: &HostName, plan: &mut HostPlan, order: &[HostName]) {
        let steps = self.table().steps.get(host).cloned().unwrap_or_default();
        for step in &mut plan.steps {
            let Some((_, key)) = steps.get(&step.resource) else { continue };
            let first = order.iter().find(|other| self.pending(other).contains(key));
            if let Some(first) = first.filter(|first| *first != host) {
                depend(&mut step.change, &format!("it runs once for all hosts, on {first}"));
            }
        }
    }

    /// Whether `host` may be started: no other host has claimed or runs its once-steps. Claims the unclaimed ones.
    pub(super) fn take(&self, host: &HostName) -> bool {
        let mut table = self.table();
        let pending = table.pending.get(host).cloned().unwrap_or_default();
        let is_taken = |key: &Key| matches!(table.turns.get(key), Some(Turn::Taken(_) | Turn::Begun(_)));
        if pending.iter().any(is_taken) {
            return false;
        }
        for key in pending {
            table.turns.entry(key).or_insert_with(|| Turn::Taken(host.clone()));
        }
        true
    }

    /// Reads the events of a host while it acts.
    pub(super) fn hear(&self, host: &HostName, event: &EventKind) {
        match event {
            EventKind::StepStarted { address, .. } => self.begun(host, address),
            EventKind::StepFinished { result } => self.ended(host, result),
            _ => {}
        }
    }

    fn begun(&self, host: &HostName, address: &Address) {
        let mut table = self.table();
        let steps = table.steps.get(host).into_iter().flat_map(BTreeMap::values);
        if let Some(key) = steps.into_iter().find(|(of, _)| of == address).map(|(_, key)| key.clone())
            && matches!(table.turns.get(&key), Some(Turn::Taken(taken)) if taken == host)
        {
            table.turns.insert(key, Turn::Begun(host.clone()));
        }
    }

    fn ended(&self, host: &HostName, result: &StepResult) {
        let turn = match &result.outcome {
            StepOutcome::Done | StepOutcome::Unforeseen => Turn::Done,
            StepOutcome::Failed { why, .. } => Turn::Failed(format!("it failed on {host}: {why}")),
            StepOutcome::AlreadySo => Turn::Done,
            StepOutcome::Skipped { .. } | StepOutcome::Owed => return,
        };
        let Some(key) = self.key(host, result.resource) else { return };
        if matches!(turn, Turn::Done) {
            self.remember(host, &key.1);
        }
        let mut table = self.table();
        // A host that only reports how the step ended elsewhere changes nothing, and a finished step stays finished.
        if matches!(table.turns.get(&key), Some(Turn::Taken(by) | Turn::Begun(by)) if by == host) {
            table.turns.insert(key, turn);
        }
    }

    fn key(&self, host: &HostName, place: u32) -> Option<Key> {
        Some(self.table().steps.get(host)?.get(&place)?.1.clone())
    }

    /// A host is done. The next host may run the steps that this one claimed but did not begin. A step that it began
    /// counts as failed.
    pub(super) fn left(&self, host: &HostName) {
        let mut table = self.table();
        table.pending.remove(host);
        table.turns.retain(|_, turn| !matches!(turn, Turn::Taken(by) if by == host));
        for turn in table.turns.values_mut() {
            if matches!(turn, Turn::Begun(by) if by == host) {
                *turn = Turn::Failed(format!("its result on {host} is unknown"));
            }
        }
    }
}

fn depend(change: &mut Change, what: &str) {
    match &mut change.certainty {
        Certainty::Exact => {
            change.certainty = Certainty::Conditional { on: Vec::new(), why: what.to_owned() };
        }
        Certainty::Conditional { why, .. } => *why = format!("{why}; {what}"),
    }
}

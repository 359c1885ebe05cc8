//! Applies a plan. Each resource has its turn, and each step is verified. A failed step is restored, and owed
//! handlers act or stay owed. This file defines the order over the catalog. One resource is in [`step`], neighbours
//! that are applied together in [`transaction`]. Handlers are in [`notify`], and reports of results in [`outcome`].
//! The look at the end, the report and the ledger are in [`closing`]. Changes that may shut out the run are in
//! [`guarded`].

mod beyond;
pub(crate) mod closing;
pub(crate) mod fates;
pub(crate) mod guarded;
mod intent;
mod notify;
mod outcome;
mod progress;
mod step;
mod transaction;

use std::collections::BTreeSet;
use std::time::Duration;

use converge_model::{Masker, Problem, PropertyChange, Resource, StepResult};
use converge_resources::System;
use converge_resources::actor::Undo;
use converge_resources::system::files::Files;

use crate::channel::Channel;
use crate::decoded::Decoded;
use crate::planner::Draft;
use crate::state::journal::{Journal, Past};
use crate::state::ledger::LineKey;

use fates::Fate;
use guarded::Guarding;
use progress::Course;

/// An act on one host.
pub(crate) struct Act<'a> {
    decoded: &'a Decoded<'a>,
    system: &'a dyn System,
    draft: Draft,
    journal: &'a Journal,
    channel: &'a dyn Channel,
    masker: Masker,
    /// The key of the host, and the key of its lines.
    key: [u8; 32],
    lines: LineKey,
    undo: Undo,
    course: Course,
    results: Vec<StepResult>,
    /// Whether a step changed something.
    has_changed: bool,
    problems: Vec<Problem>,
    /// The changes of the current step beyond the plan.
    unforeseen: Vec<PropertyChange>,
    /// The resources of the open steps that ran, in order.
    open: Vec<u32>,
    /// The owed handlers of earlier runs.
    debts: BTreeSet<String>,
    /// How long the closing look waits.
    settle: Duration,
    /// The guard of critical changes. None if there are no such changes, because a folder stands for the host.
    guarding: Option<Guarding<'a>>,
    halt: Option<Halt>,
}

/// Why an act ends early.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Halt {
    /// Another program is changing the host.
    Stale(String),
    /// The controller asked to stop, or is gone.
    Stopped,
    /// The host reverted these access-critical changes.
    Reverted(String),
    /// The host could not revert them, with the reason.
    Stuck(String),
}

impl<'a> Act<'a> {
    /// Makes an act that applies `draft`. Replaced things are kept in `store`, and critical changes are guarded.
    pub(crate) fn new(
        decoded: &'a Decoded<'a>,
        system: &'a dyn System,
        draft: Draft,
        journal: &'a Journal,
        channel: &'a dyn Channel,
        (store, guarding, key): (Files, Option<Guarding<'a>>, [u8; 32]),
    ) -> Self {
        let masker = draft.veil.masker().clone();
        let course = Course::new(decoded.catalog.resources.len(), &draft.steps);
        Self {
            decoded,
            system,
            draft,
            journal,
            channel,
            masker,
            key,
            lines: LineKey::of(&key),
            undo: Undo::in_store(store),
            course,
            results: Vec::new(),
            has_changed: false,
            problems: Vec::new(),
            unforeseen: Vec::new(),
            open: Vec::new(),
            debts: BTreeSet::new(),
            settle: Duration::ZERO,
            guarding,
            halt: None,
        }
    }

    /// Cleans up after a run that died. It removes the temporaries and repairs account files that disagree. It takes
    /// over those of the owed handlers that are `open`.
    pub(crate) fn clean_up(&mut self, past: &Past, open: &BTreeSet<String>) {
        for path in &past.temporaries {
            if let Err(error) = self.system.files().remove_all(path) {
                let message = format!("failed to remove {}, left by an earlier run: {error}", path.display());
                self.problems.push(Problem { address: None, message, help: None });
            }
        }
        // A power failure or a package script may have stopped the programs that write those files.
        if let Some(run) = &past.interrupted
            && let Err(error) = self.system.accounts().mend()
        {
            let message = format!("after the run {run}, which did not end: {error}");
            self.problems.push(Problem { address: None, message, help: None });
        }
        self.debts.clone_from(open);
        // If this catalog knows a debt and does not find it open, a restart that no run noted has paid it.
        let is_known = |target: &&String| self.decoded.place(target).is_some();
        for target in past.debts.keys().filter(|target| !open.contains(*target)).filter(is_known) {
            self.paid(target);
        }
    }

    /// Gives each resource its turn, and each action its place.
    pub(crate) fn walk(&mut self) {
        let count = self.decoded.catalog.resources.len() as u32;
        let mut index = 0;
        while index < count && self.halt.is_none() {
            if self.channel.stopping() && !self.has_group() {
                self.halt = Some(Halt::Stopped);
                break;
            }
            let run = index..self.transaction_end(index);
            if run.len() > 1 {
                self.transaction(run.clone());
            } else {
                self.turn(index);
            }
            for at in run.clone() {
                for target in self.decoded.notifications.due(at) {
                    self.pay(*target);
                }
            }
            self.end_group(run.end - 1);
            index = run.end;
        }
        self.settle_group();
        self.give_up_rest();
    }

    fn name(&self, index: u32) -> String {
        self.resource(index).address.to_string()
    }

    fn names_of(&self, indices: &[u32]) -> String {
        indices.iter().map(|index| self.name(*index)).collect::<Vec<_>>().join(", ")
    }

    /// Whether the resource at `index` failed or was skipped, and may not fail.
    fn is_troubled(&self, index: u32) -> bool {
        self.fate(index).is_trouble() && !self.resource(index).options.may_fail
    }

    fn fate(&self, index: u32) -> Fate {
        self.course.of(index).fate()
    }

    fn set_fate(&mut self, index: u32, fate: Fate) {
        self.course.settle(index, self.resource(index), fate);
    }

    fn trouble(&self, index: u32) -> &'static str {
        if self.fate(index) == Fate::Failed { "failed" } else { "was skipped" }
    }

    fn changed(&self, index: u32) -> bool {
        matches!(self.fate(index), Fate::Changed | Fate::Created)
    }

    fn stale(&mut self, why: String) {
        self.halt = Some(Halt::Stale(why));
    }

    fn resource(&self, index: u32) -> &'a Resource {
        &self.decoded.catalog.resources[index as usize]
    }
}

#[cfg(test)]
mod tests;

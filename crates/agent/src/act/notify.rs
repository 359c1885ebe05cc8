//! Handlers: when an action is owed, how it runs, and what is restored if it fails.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use converge_model::{EventKind, NotifyHow, Problem, Restoration, Stands, StepOutcome};
use converge_resources::ApplyError;
use converge_resources::kind::Action;
use converge_resources::system::services::Active;

use super::fates::Fate;
use super::outcome::{Failure, is_irreversible};
use super::progress::Acted;
use super::{Act, Halt};
use crate::state::journal::Record;

impl Act<'_> {
    /// Runs the action of `target`, if it is owed.
    pub(super) fn pay(&mut self, target: u32) {
        if matches!(self.halt, Some(Halt::Reverted(_) | Halt::Stuck(_))) {
            return;
        }
        let notifiers: Vec<u32> =
            self.decoded.notifications.notifiers(target).iter().map(|(by, _)| *by).collect();
        let changed: Vec<u32> = notifiers.iter().copied().filter(|by| self.changed(*by)).collect();
        let address = self.resource(target).address.to_string();
        let place = self.course.of(target).action;
        if changed.is_empty() && !self.debts.contains(&address) {
            if place.is_some() {
                self.action_result(target, StepOutcome::AlreadySo, Duration::ZERO);
            }
            return;
        }
        let how = self
            .decoded
            .notifications
            .how(target, |by| changed.contains(&by))
            .unwrap_or(NotifyHow::AsTargetSays);
        let Some(action) = self.decoded.wanted[target as usize].action(how) else {
            return self.paid(&address);
        };
        if self.paid_by_own_start(target, &changed) {
            if place.is_some() {
                self.action_result(target, StepOutcome::AlreadySo, Duration::ZERO);
            }
            return self.paid(&address);
        }
        if notifiers.iter().any(|by| self.fate(*by).is_trouble()) {
            self.channel.event(EventKind::Owed { address: self.resource(target).address.clone() });
            return self.action_result(target, StepOutcome::Owed, Duration::ZERO);
        }
        if self.fate(target).is_trouble() {
            // If the plan has no such action, it reports that the target itself is left alone.
            if place.is_none() {
                return;
            }
            let why = format!("{address} {}", self.trouble(target));
            return self.action_result(target, StepOutcome::Skipped { why }, Duration::ZERO);
        }
        self.run_action(target, &action, &changed);
    }

    fn run_action(&mut self, target: u32, action: &Action, changed: &[u32]) {
        let started = Instant::now();
        let action = &Action { ran: self.runs(action), ..action.clone() };
        if let Err(why) = self.guard(target, changed) {
            return self.action_result(target, StepOutcome::Skipped { why }, Duration::ZERO);
        }
        self.announce(target, self.course.of(target).action);
        let wanted = &self.decoded.wanted[target as usize];
        self.settle = self.settle.max(wanted.settle().unwrap_or_default());
        let outcome = match self.with_actor(target, |actor| wanted.act(actor, action)) {
            Ok(()) => {
                self.paid(self.resource(target).address.as_str());
                let acted = Acted { action: action.clone(), because: changed.to_vec() };
                self.course.of_mut(target).acted = Some(acted);
                // Other units may have stopped with it, because they require it. Example: a service and its socket.
                self.open.push(target);
                StepOutcome::Done
            }
            Err(error) => self.restore_causes(target, action, changed, error),
        };
        if outcome.failed() {
            self.set_fate(target, Fate::Failed);
        }
        self.action_result(target, outcome, started.elapsed());
    }

    /// Whether the unit that `action` concerns runs.
    fn runs(&self, action: &Action) -> bool {
        let states = action.unit.as_ref().map(|unit| self.system.units().states(std::slice::from_ref(unit)));
        let states = states.and_then(Result::ok).unwrap_or_default();
        states.iter().any(|state| state.active == Active::Active)
    }

    /// Handles a failed action: what caused it is restored, and the action runs once more.
    pub(super) fn restore_causes(
        &mut self,
        target: u32,
        action: &Action,
        changed: &[u32],
        error: ApplyError,
    ) -> StepOutcome {
        let restoring = self.undo.restore(self.system, changed);
        let again = self.once_more(target, action);
        let stays: BTreeSet<u32> = changed.iter().copied().filter(|by| self.stays(*by)).collect();
        let fixed: Vec<_> = stays.iter().map(|by| self.name(*by)).collect();
        let is_stuck = restoring.is_err();
        let is_restored = !is_stuck && again.is_ok() && fixed.is_empty();
        if again.is_ok() {
            self.paid(self.resource(target).address.as_str());
        }
        let told = match restoring {
            Ok(_) if fixed.is_empty() => format!("{} was restored", self.names_of(changed)),
            Ok(_) => format!("{} cannot be restored", fixed.join(", ")),
            Err(second) => format!("{} could not be restored: {}", self.names_of(changed), second.message),
        };
        let after = match again {
            Ok(()) => format!("{told}, and it runs as before"),
            Err(second) => format!("{told}; it failed again: {}", second.message),
        };
        let blame = format!("{} failed with it; {told}", self.name(target));
        for by in changed {
            self.set_fate(*by, Fate::Failed);
            let (restored, stands) = match () {
                () if stays.contains(by) => (Restoration::Nothing, Stands::AsAsked),
                () if is_stuck => (Restoration::Stuck, Stands::Unknown),
                () => (Restoration::Done, Stands::Unchanged),
            };
            let (why, output) = (blame.clone(), String::new());
            self.revise(*by, Failure { why, output, restored, stands });
        }
        let restored = match () {
            () if is_stuck => Restoration::Stuck,
            () if is_restored => Restoration::Done,
            () => Restoration::Nothing,
        };
        StepOutcome::Failed {
            why: self.masker.mask(format!("{}; {after}", error.message).as_bytes()),
            output: self.masker.mask(error.output.as_bytes()),
            restored,
            stands: Stands::Unknown,
        }
    }

    /// Runs an action again after its cause was restored. The result must last.
    fn once_more(&mut self, target: u32, action: &Action) -> Result<(), ApplyError> {
        let wanted = &self.decoded.wanted[target as usize];
        self.with_actor(target, |actor| wanted.act(actor, action))?;
        std::thread::sleep(wanted.settle().unwrap_or_default());
        self.verify(target)
    }

    /// Whether the change at `index` is irreversible.
    fn stays(&self, index: u32) -> bool {
        let first = self.course.of(index).results.first();
        first.is_some_and(|place| is_irreversible(&self.results[*place].change))
    }

    fn paid_by_own_start(&self, target: u32, changed: &[u32]) -> bool {
        let last = changed.iter().max().copied();
        self.course.of(target).is_started && last.is_none_or(|last| last < target)
    }

    pub(super) fn paid(&mut self, address: &str) {
        let known = self.debts.remove(address);
        let record = Record::Paid { target: address.to_owned() };
        if let Err(error) = self.journal.write(&record) {
            self.problems.push(Problem { address: None, message: error.to_string(), help: None });
        }
        if let (true, Some(target)) = (known, self.decoded.place(address)) {
            self.channel.event(EventKind::Paid { address: self.resource(target).address.clone() });
        }
    }
}

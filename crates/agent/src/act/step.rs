//! One resource at its turn: why it is skipped, how it differs now, and its step with the look that verifies it.

use std::time::{Duration, Instant};

use converge_model::{Blocked, Certainty, Change, EventKind, Settled};
use converge_resources::kind::{Look, Planned};
use converge_resources::overlay::PlannedMount;
use converge_resources::{Actor, ApplyError, Effect, View};

use super::Act;
use super::fates::Fate;
use super::outcome::{Attempt, Failure, names};
use crate::channel::FromChannel;
use crate::decoded::problem;
use crate::planner::starts_unit;

impl Act<'_> {
    /// Gives one resource its turn.
    pub(super) fn turn(&mut self, index: u32) {
        let resource = self.resource(index);
        if !resource.options.selected {
            return;
        }
        let place = self.course.of(index).step;
        if let Some(blocked) = self.draft.blocked.get(&index).cloned() {
            return self.leave(index, blocked);
        }
        if let Some(why) = self.stopped_by(index) {
            self.skip(index, place, why);
            return;
        }
        if resource.once().is_some() && self.settled(index, place) {
            return;
        }
        let look = match self.look(index) {
            Ok(look) => look,
            Err(why) => {
                let attempt = Attempt::Failed(Failure::untouched(why));
                return self.finish(index, place, None, attempt, Instant::now());
            }
        };
        match (&look.planned, place) {
            (Planned::InSync(_), None) => self.set_fate(index, Fate::InSync),
            (Planned::InSync(_), Some(place)) if !self.may_surprise(index) && !self.is_conditional(place) => {
                let step = &self.draft.steps[place].step;
                self.stale(format!("{} changed since the plan, but not by this run", step.address));
            }
            (Planned::InSync(_), Some(_)) => {
                self.finish(index, place, None, Attempt::AlreadySo, Instant::now());
            }
            (Planned::Change(_), None) if !self.may_surprise(index) => {
                self.stale(format!("{} changed since the plan, but not by this run", resource.address));
            }
            (Planned::Impossible { message, .. }, _) => {
                let attempt = match self.missing(place, message) {
                    Some(why) => Attempt::Skipped(why),
                    None => Attempt::Failed(Failure::untouched(message.clone())),
                };
                self.finish(index, place, None, attempt, Instant::now());
            }
            (Planned::Change(planned), _) => {
                let change = planned.change.clone();
                let always = planned.always;
                self.carry_out(index, place, change, always, &look);
            }
        }
    }

    /// Returns why the resource at `index` is skipped: a resource that it waits for, or its own body.
    pub(super) fn stopped_by(&self, index: u32) -> Option<String> {
        let resource = self.resource(index);
        if !resource.options.selected {
            return None;
        }
        if let Some(cause) = resource.after.iter().copied().find(|other| self.is_troubled(*other)) {
            return Some(format!(
                "it waits for {}, which {}",
                self.resource(cause).address,
                self.trouble(cause)
            ));
        }
        let cause = self.course.stopper(&resource.bodies, index)?;
        Some(format!("{} before it {}", self.resource(cause).address, self.trouble(cause)))
    }

    /// Returns why a step is skipped if something that another step should have brought is missing. None if no step
    /// should have brought it. `message` names the missing thing. The plan shows what an open step should have
    /// brought; claims show it for any other step.
    fn missing(&self, place: Option<usize>, message: &str) -> Option<String> {
        let of_step = |step: &u32| self.draft.steps.get(*step as usize).map(|step| step.step.resource);
        let certainty = place.map(|place| &self.draft.steps[place].step.change.certainty);
        let mut on = match certainty {
            Some(Certainty::Conditional { on, .. }) => on.iter().filter_map(of_step).collect(),
            _ => Vec::new(),
        };
        on.extend(self.decoded.named(message));
        let cause = on.into_iter().find(|by| self.is_troubled(*by))?;
        let (cause, how) = (&self.resource(cause).address, self.trouble(cause));
        Some(format!("{message}: {cause}, which should bring it, {how}"))
    }

    pub(super) fn look(&self, index: u32) -> Result<Look, String> {
        let base = self.decoded.base(self.system);
        let looked = self.decoded.wanted[index as usize].look(&View::bare(&base));
        looked.map_err(|error| error.to_string())
    }

    /// Reports a resource that the plan leaves unchanged.
    fn leave(&mut self, index: u32, blocked: Blocked) {
        let attempt = match blocked.because {
            Some(_) => Attempt::Skipped(blocked.why),
            None => Attempt::Failed(Failure::untouched(format!("it cannot be planned: {}", blocked.why))),
        };
        self.finish(index, None, None, attempt, Instant::now());
    }

    /// Whether the resource at `index`, a once-step, is done without running here.
    fn settled(&mut self, index: u32, place: Option<usize>) -> bool {
        if place.is_none() {
            self.set_fate(index, Fate::InSync);
            return true;
        }
        let how = self.decoded.catalog.settled.iter().find(|(at, _)| *at == index).map(|(_, how)| how);
        let attempt = match how {
            None => return false,
            Some(Settled::Known | Settled::Done) => Attempt::AlreadySo,
            Some(Settled::Failed(why)) => Attempt::Failed(Failure::untouched(why.clone())),
        };
        self.finish(index, place, None, attempt, Instant::now());
        true
    }

    fn skip(&mut self, index: u32, place: Option<usize>, why: String) {
        if place.is_some() {
            self.finish(index, place, None, Attempt::Skipped(why), Instant::now());
        } else {
            // It was in sync at the look, and no change was planned.
            self.set_fate(index, Fate::Skipped);
        }
    }

    fn carry_out(&mut self, index: u32, place: Option<usize>, change: Change, always: bool, look: &Look) {
        let started = Instant::now();
        let ready =
            self.is_as_planned(index, place, &change).and_then(|()| self.guard(index, &[])).and_then(|()| {
                self.announce(index, place);
                self.note(index, change.verb).map_err(|error| error.to_string())
            });
        if let Err(why) = ready {
            let attempt = Attempt::Failed(Failure::untouched(why));
            return self.finish(index, place, Some(change), attempt, started);
        }
        let tries = self.resource(index).options.retries + 1;
        let mut attempt = Attempt::AlreadySo;
        for _ in 0..tries {
            attempt = self.attempt(index, always, look);
            if matches!(attempt, Attempt::Done) || self.channel.stopping() {
                break;
            }
        }
        self.note_effects(index, &look.effects, &attempt);
        if matches!(attempt, Attempt::Done) && look.request.is_none() {
            self.note_beyond(place, &change);
        }
        self.finish(index, place, Some(change), attempt, started);
    }

    /// Applies and looks again. A failed step is restored.
    fn attempt(&mut self, index: u32, always: bool, look: &Look) -> Attempt {
        let wanted = &self.decoded.wanted[index as usize];
        let applied = self.with_actor(index, |actor| wanted.apply(actor, look));
        match applied.and_then(|()| if always { Ok(()) } else { self.verify(index) }) {
            Ok(()) => Attempt::Done,
            // A transaction may fail because of another package than the one that was asked for.
            Err(error) if look.request.is_some() && self.verify(index).is_ok() => {
                self.done_despite(index, &error);
                Attempt::Done
            }
            Err(error) => Attempt::Failed(self.failed(index, look.change(), error)),
        }
    }

    /// Checks that nothing is pending after a step.
    pub(super) fn verify(&self, index: u32) -> Result<(), ApplyError> {
        let look = self.look(index).map_err(ApplyError::new)?;
        match &look.planned {
            Planned::InSync(_) => Ok(()),
            Planned::Change(planned) => {
                let words = self.decoded.wanted[index as usize].unsettled(&look);
                let differs = || format!("it was applied, but still differs: {}", names(&planned.change));
                Err(ApplyError::new(words.unwrap_or_else(differs)))
            }
            Planned::Impossible { message, .. } => Err(ApplyError::new(message.clone())),
        }
    }

    /// Reports a transaction that ended with an error although the resource at `index` is in sync.
    pub(super) fn done_despite(&mut self, index: u32, error: &ApplyError) {
        let message = self.masker.mask(format!("it is in sync, but {}", error.message).as_bytes());
        let help = Some("repair the package in this message; `dpkg --configure -a` shows more".to_owned());
        self.problems.push(problem(&self.resource(index).address, message, help));
    }

    pub(super) fn with_actor<T>(&mut self, index: u32, work: impl FnOnce(&mut Actor<'_>) -> T) -> T {
        let options = &self.decoded.catalog.resources[index as usize].options;
        let (channel, masker, address) = (self.channel, &self.masker, &self.resource(index).address);
        let mut output = |bytes: &[u8]| {
            for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                channel.event(EventKind::Output { address: address.clone(), line: masker.mask(line) });
            }
        };
        let contents = FromChannel(channel);
        let guarded = self.is_guarded(index);
        self.undo.begin(index, guarded);
        let mut actor = Actor {
            system: self.system,
            contents: &contents,
            journal: self.journal,
            output: &mut output,
            undo: &mut self.undo,
            sensitive: self.draft.veil.hides(index),
            timeout: options.timeout.map(Duration::from_millis),
            allowance: &self.draft.allowance,
            unforeseen: &mut self.unforeseen,
        };
        work(&mut actor)
    }

    pub(super) fn announce(&self, index: u32, place: Option<usize>) {
        let address = self.resource(index).address.clone();
        let (step, of) = (place.unwrap_or(self.results.len()) as u32, self.draft.steps.len() as u32);
        self.channel.event(EventKind::StepStarted { address, step, of });
    }

    pub(super) fn note_effects(&mut self, index: u32, effects: &[Effect], attempt: &Attempt) {
        // A failed step ran too, and may have changed anything before it failed.
        let moves_what_it_does_not_own = |effect: &Effect| match effect {
            Effect::Open | Effect::Elsewhere => true,
            Effect::Mount(_, mount) => *mount != PlannedMount::Kept,
            _ => false,
        };
        if effects.iter().any(moves_what_it_does_not_own) {
            self.open.push(index);
        }
        if !matches!(attempt, Attempt::Done) {
            return;
        }
        if starts_unit(effects) {
            self.course.of_mut(index).is_started = true;
        }
        self.settle = self.settle.max(self.decoded.wanted[index as usize].settle().unwrap_or_default());
    }

    /// Whether the steps so far may have changed the resource at `index` in a way that the plan could not see. An
    /// open step may change anything. Any step may change what the guard of a command reads.
    fn may_surprise(&self, index: u32) -> bool {
        !self.open.is_empty() || (self.decoded.wanted[index as usize].is_guarded() && self.has_changed)
    }

    /// Whether the step depends on other steps, which may have failed or been skipped.
    fn is_conditional(&self, place: usize) -> bool {
        self.draft.steps[place].step.change.certainty != Certainty::Exact
    }
}

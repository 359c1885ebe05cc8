//! The result of a step, and how it is reported: to the controller at once, and in the report at the end. If the act
//! ended early, the steps that had no turn are reported as skipped.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use converge_model::{Change, EventKind, Restoration, Stands, StepOutcome, StepResult, Verb};
use converge_resources::ApplyError;
use converge_resources::kind::Planned;
use converge_resources::kit::replace_file::SENSITIVE;

use super::fates::Fate;
use super::{Act, Halt};

/// The result of one attempt at a step.
pub(super) enum Attempt {
    Done,
    AlreadySo,
    Failed(Failure),
    Skipped(String),
}

/// How an attempt failed.
pub(super) struct Failure {
    pub(super) why: String,
    pub(super) output: String,
    pub(super) restored: Restoration,
    pub(super) stands: Stands,
}

impl Failure {
    /// Returns a failure before anything was changed.
    pub(super) fn untouched(why: String) -> Self {
        Self { why, output: String::new(), restored: Restoration::Nothing, stands: Stands::Unchanged }
    }
}

impl Act<'_> {
    pub(super) fn finish(
        &mut self,
        index: u32,
        place: Option<usize>,
        change: Option<Change>,
        attempt: Attempt,
        started: Instant,
    ) {
        let planned = place.map(|place| self.draft.steps[place].step.change.clone());
        let unforeseen = planned.is_none();
        let mut change = planned.or(change).unwrap_or_else(|| Change::new(Verb::Update));
        self.draft.veil.cover(index, &mut change);
        let created = change.verb == Verb::Create;
        let (fate, outcome) = match attempt {
            Attempt::Done if unforeseen => (Fate::Changed, StepOutcome::Unforeseen),
            Attempt::Done if created => (Fate::Created, StepOutcome::Done),
            Attempt::Done => (Fate::Changed, StepOutcome::Done),
            Attempt::AlreadySo => (Fate::InSync, StepOutcome::AlreadySo),
            Attempt::Skipped(why) => {
                (Fate::Skipped, StepOutcome::Skipped { why: self.masker.mask(why.as_bytes()) })
            }
            Attempt::Failed(Failure { why, output, restored, stands }) => {
                let (why, output) = (self.masker.mask(why.as_bytes()), self.masker.mask(output.as_bytes()));
                (Fate::Failed, StepOutcome::Failed { why, output, restored, stands })
            }
        };
        self.set_fate(index, fate);
        self.push_result(index, change, outcome, started.elapsed());
    }

    pub(super) fn action_result(&mut self, target: u32, outcome: StepOutcome, took: Duration) {
        let change = match self.course.of(target).action {
            Some(place) => self.draft.steps[place].step.change.clone(),
            None => Change::new(Verb::Act),
        };
        self.push_result(target, change, outcome, took);
    }

    fn push_result(&mut self, index: u32, change: Change, outcome: StepOutcome, took: Duration) {
        let resource = self.resource(index);
        let mut beyond = Change::new(change.verb);
        beyond.properties = std::mem::take(&mut self.unforeseen);
        self.draft.veil.cover(index, &mut beyond);
        let result = StepResult {
            resource: index,
            address: resource.address.clone(),
            change,
            outcome,
            unforeseen: beyond.properties,
            may_fail: resource.options.may_fail,
            took: took.as_millis() as u64,
        };
        self.channel.event(EventKind::StepFinished { result: result.clone() });
        self.has_changed |= result.outcome.changed();
        self.course.of_mut(index).results.push(self.results.len());
        self.results.push(result);
    }

    /// Restores what the step replaced, and looks at the resource again. `change` is the planned change.
    pub(super) fn failed(&mut self, index: u32, change: Option<&Change>, error: ApplyError) -> Failure {
        let restoring = self.undo.restore(self.system, &[index]);
        let is_final = change.is_some_and(is_irreversible);
        let (restored, why) = match restoring {
            Ok(true) if !is_final => (Restoration::Done, error.message),
            Ok(_) => (Restoration::Nothing, error.message),
            Err(second) => {
                let why = format!("{}; and it could not be restored: {}", error.message, second.message);
                (Restoration::Stuck, why)
            }
        };
        let stands = change.map_or(Stands::Unknown, |change| self.stands(index, change));
        Failure { why, output: error.output, restored, stands }
    }

    /// Returns the state of the resource at `index` after `change` failed.
    fn stands(&self, index: u32, change: &Change) -> Stands {
        // The effect of a command is not known, even if its guard answers.
        let Ok(look) = self.look(index) else { return Stands::Unknown };
        match &look.planned {
            _ if change.verb == Verb::Act => Stands::Unknown,
            Planned::InSync(_) => Stands::AsAsked,
            Planned::Change(now) if now.change.properties == change.properties => {
                match is_irreversible(change) {
                    true => Stands::Unknown,
                    false => Stands::Unchanged,
                }
            }
            Planned::Change(now) => {
                let properties = now.change.properties.iter().map(|property| property.property.clone());
                Stands::Differs { properties: properties.collect() }
            }
            Planned::Impossible { .. } => Stands::Unknown,
        }
    }

    /// Marks the last step of the resource at `index` as failed after it seemed done.
    pub(super) fn revise(&mut self, index: u32, failure: Failure) {
        let why = self.masker.mask(failure.why.as_bytes());
        let output = self.masker.mask(failure.output.as_bytes());
        let Failure { restored, stands, .. } = failure;
        let places = self.course.of(index).results.iter().rev();
        let changed = places.copied().find(|place| self.results[*place].outcome.changed());
        if let Some(result) = changed.and_then(|place| self.results.get_mut(place)) {
            result.outcome = StepOutcome::Failed { why, output, restored, stands };
            self.channel.event(EventKind::StepFinished { result: result.clone() });
        }
    }

    /// Reports the steps that had no turn because the act ended early.
    pub(super) fn give_up_rest(&mut self) {
        let Some(halt) = self.halt.clone() else { return };
        let why = match halt {
            Halt::Stale(why) => why,
            Halt::Stopped => "the run was stopped".to_owned(),
            Halt::Reverted(_) => "the host reverted a guarded step".to_owned(),
            Halt::Stuck(_) => "the host could not revert a guarded step".to_owned(),
        };
        let done: BTreeSet<u32> = self.results.iter().map(|result| result.resource).collect();
        let rest: Vec<_> = self.draft.steps.iter().map(|step| step.step.clone()).collect();
        for step in rest.into_iter().filter(|step| !done.contains(&step.resource)) {
            let outcome = StepOutcome::Skipped { why: why.clone() };
            self.push_result(step.resource, step.change, outcome, Duration::ZERO);
        }
    }
}

/// Whether a change is irreversible.
pub(super) fn is_irreversible(change: &Change) -> bool {
    change.irreversible.as_deref().is_some_and(|why| why != SENSITIVE)
}

/// Returns the names of the changed properties.
pub(super) fn names(change: &Change) -> String {
    let names: Vec<_> = change.properties.iter().map(|property| property.property.as_str()).collect();
    if names.is_empty() { "it is to be removed".to_owned() } else { names.join(", ") }
}

//! Carrying a plan out: every resource at its turn, each step verified, what fails put back, what is owed paid or kept.
//! The look at the end, the report and the ledger are in [`closing`], changes that may shut us out in [`guarded`].

mod beyond;
pub(crate) mod closing;
pub(crate) mod fates;
pub(crate) mod guarded;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use converge_model::{
    Blocked, Certainty, Change, Claim, EventKind, Masker, NotifyHow, Problem, PropertyChange, PutBack,
    Resource, Settled, Stands, StepOutcome, StepResult, Verb,
};
use converge_resources::actor::Undo;
use converge_resources::kind::{Action, Look, Planned};
use converge_resources::kit::replace_file::SENSITIVE;
use converge_resources::overlay::PlannedMount;
use converge_resources::system::files::Files;
use converge_resources::system::packages::PackageRequest;
use converge_resources::system::services::Active;
use converge_resources::{Actor, ApplyError, Effect, System, View};

use crate::channel::{Channel, FromChannel};
use crate::decoded::Decoded;
use crate::decoded::problem;
use crate::look::invocation;
use crate::planner::{Draft, starts_unit};
use crate::state::StateError;
use crate::state::journal::{Debt, Journal, Past, Record};
use crate::state::ledger::{Intent, LineKey, Origin, holds_secret};
use crate::veil::content_path;

use fates::{Fate, Fates};
use guarded::Guarding;

/// An act on one host.
pub(crate) struct Act<'a> {
    decoded: &'a Decoded<'a>,
    system: &'a dyn System,
    draft: Draft,
    /// By resource: the place of its own step in the draft.
    step_of: BTreeMap<u32, usize>,
    /// By target: the place of its action in the draft.
    action_of: BTreeMap<u32, usize>,
    journal: &'a Journal,
    channel: &'a dyn Channel,
    masker: Masker,
    /// The key of the host, and that of its lines.
    key: [u8; 32],
    lines: LineKey,
    undo: Undo,
    fates: Fates,
    results: Vec<StepResult>,
    /// By resource: the places of its results.
    results_of: BTreeMap<u32, Vec<usize>>,
    /// Whether a step was carried out.
    has_changed: bool,
    problems: Vec<Problem>,
    /// What the step at work turned out to do beyond what was planned.
    unforeseen: Vec<PropertyChange>,
    /// The open steps that ran, by their resources, in order.
    open: Vec<u32>,
    /// The resources whose unit was started, each with how many steps had run.
    started: BTreeMap<u32, usize>,
    /// The debts of earlier runs.
    debts: BTreeSet<String>,
    /// By target: what was done because of a notification, and who notified.
    acted: BTreeMap<u32, (Action, Vec<u32>)>,
    /// How long the closing look waits.
    settle: Duration,
    /// What critical changes are guarded with; none where there are no such changes: a folder stands for the host.
    guarding: Option<Guarding<'a>>,
    halt: Option<Halt>,
}

/// Why an act ends before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Halt {
    /// Somebody else is at work on the host.
    Stale(String),
    /// The controller said so, or is gone.
    Stopped,
    /// The host took these access-critical changes back.
    Reverted(String),
    /// The host could not take them back: why.
    Stuck(String),
}

/// What came of one attempt at a step.
enum Attempt {
    Done,
    AlreadySo,
    Failed(Failure),
    Skipped(String),
}

/// How an attempt failed.
struct Failure {
    why: String,
    output: String,
    back: PutBack,
    stands: Stands,
}

impl Failure {
    /// One before anything was done.
    fn untouched(why: String) -> Self {
        Self { why, output: String::new(), back: PutBack::Nothing, stands: Stands::Unchanged }
    }
}

impl<'a> Act<'a> {
    /// An act that carries `draft` out; what it replaces is kept in `store`, and what is critical guarded.
    pub(crate) fn new(
        decoded: &'a Decoded<'a>,
        system: &'a dyn System,
        draft: Draft,
        journal: &'a Journal,
        channel: &'a dyn Channel,
        (store, guarding, key): (Files, Option<Guarding<'a>>, [u8; 32]),
    ) -> Self {
        let masker = draft.veil.masker().clone();
        let mut step_of = BTreeMap::new();
        let mut action_of = BTreeMap::new();
        for (place, step) in draft.steps.iter().enumerate() {
            let map = if step.action.is_some() { &mut action_of } else { &mut step_of };
            map.insert(step.step.resource, place);
        }
        Self {
            decoded,
            system,
            draft,
            step_of,
            action_of,
            journal,
            channel,
            masker,
            key,
            lines: LineKey::of(&key),
            undo: Undo::in_store(store),
            fates: Fates::new(decoded.catalog.resources.len()),
            results: Vec::new(),
            results_of: BTreeMap::new(),
            has_changed: false,
            problems: Vec::new(),
            unforeseen: Vec::new(),
            open: Vec::new(),
            started: BTreeMap::new(),
            debts: BTreeSet::new(),
            acted: BTreeMap::new(),
            settle: Duration::ZERO,
            guarding,
            halt: None,
        }
    }

    /// Removes the temporaries that a run left which did not end, makes the account files agree that it may have left
    /// apart, and takes over those of its debts that are `open`.
    pub(crate) fn clean_up(&mut self, past: &Past, open: &BTreeSet<String>) {
        for path in &past.temporaries {
            if let Err(error) = self.system.files().remove_all(path) {
                let message = format!("failed to remove {}, left by an earlier run: {error}", path.display());
                self.problems.push(Problem { address: None, message, help: None });
            }
        }
        // A power cut, or a package's script, may have cut off the programs that write them.
        if let Some(run) = &past.interrupted
            && let Err(error) = self.system.accounts().mend()
        {
            let message = format!("after the run {run}, which did not end: {error}");
            self.problems.push(Problem { address: None, message, help: None });
        }
        self.debts.clone_from(open);
        // What this catalog knows and does not find owed was paid by a restart that nobody noted.
        let is_known = |target: &&String| self.decoded.place(target).is_some();
        for target in past.debts.keys().filter(|target| !open.contains(*target)).filter(is_known) {
            self.paid(target);
        }
    }

    /// Every resource at its turn, every action at its place.
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

    /// The end of the run of packages that starts at `index`: neighbours are one transaction, but an action due in
    /// between ends it.
    fn transaction_end(&self, index: u32) -> u32 {
        let resources = &self.decoded.catalog.resources;
        let is_batched = |at: u32| self.decoded.wanted[at as usize].is_batched();
        let joins =
            |at: u32| resources.get(at as usize).is_some_and(|one| !one.options.selected || is_batched(at));
        if !is_batched(index) {
            return index + 1;
        }
        let mut end = index + 1;
        while joins(end) && self.decoded.notifications.due(end - 1).is_empty() {
            end += 1;
        }
        end
    }

    /// One resource at its turn.
    fn turn(&mut self, index: u32) {
        let resource = self.resource(index);
        if !resource.options.selected {
            return;
        }
        let place = self.step_of.get(&index).copied();
        if let Some(blocked) = self.draft.blocked.get(&index).cloned() {
            return self.leave(index, blocked);
        }
        if let Some(why) = self.blocked(index) {
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
                self.stale(format!("{} was changed by somebody else since the plan", step.address));
            }
            (Planned::InSync(_), Some(_)) => {
                self.finish(index, place, None, Attempt::AlreadySo, Instant::now());
            }
            (Planned::Change(_), None) if !self.may_surprise(index) => {
                self.stale(format!("{} was changed by somebody else since the plan", resource.address));
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

    /// A resource that the plan leaves as it is.
    fn leave(&mut self, index: u32, blocked: Blocked) {
        let attempt = match blocked.because {
            Some(_) => Attempt::Skipped(blocked.why),
            None => Attempt::Failed(Failure::untouched(format!("it cannot be planned: {}", blocked.why))),
        };
        self.finish(index, None, None, attempt, Instant::now());
    }

    /// Whether the resource at `index`, which runs once for all hosts, is settled without being run here.
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

    /// Applies and looks again; what fails is put back.
    fn attempt(&mut self, index: u32, always: bool, look: &Look) -> Attempt {
        let wanted = &self.decoded.wanted[index as usize];
        let applied = self.with_actor(index, |actor| wanted.apply(actor, look));
        match applied.and_then(|()| if always { Ok(()) } else { self.verify(index) }) {
            Ok(()) => Attempt::Done,
            // A transaction may fail on another package than the one that was asked for.
            Err(error) if look.request.is_some() && self.verify(index).is_ok() => {
                self.done_despite(index, &error);
                Attempt::Done
            }
            Err(error) => Attempt::Failed(self.failed(index, look.change(), error)),
        }
    }

    /// A transaction ended with an error, and the resource at `index` is as it should be all the same.
    fn done_despite(&mut self, index: u32, error: &ApplyError) {
        let message = self.masker.mask(format!("it is as it should be, but {}", error.message).as_bytes());
        let help = Some("repair what that names; `dpkg --configure -a` tells more".to_owned());
        self.problems.push(problem(&self.resource(index).address, message, help));
    }

    /// Puts back what the step replaced, and looks how the resource stands since then. `change` is what was to be done.
    fn failed(&mut self, index: u32, change: Option<&Change>, error: ApplyError) -> Failure {
        let put_back = self.undo.put_back(self.system, &[index]);
        let is_final = change.is_some_and(is_irreversible);
        let (back, why) = match put_back {
            Ok(true) if !is_final => (PutBack::Restored, error.message),
            Ok(_) => (PutBack::Nothing, error.message),
            Err(second) => {
                let why = format!("{}; and it could not be put back: {}", error.message, second.message);
                (PutBack::Stuck, why)
            }
        };
        let stands = change.map_or(Stands::Unknown, |change| self.stands(index, change));
        Failure { why, output: error.output, back, stands }
    }

    /// How the resource at `index` stands after `change` failed.
    fn stands(&self, index: u32, change: &Change) -> Stands {
        // What a command did is not known, whatever its guard says.
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

    /// After a step nothing may be left to do.
    fn verify(&self, index: u32) -> Result<(), ApplyError> {
        let look = self.look(index).map_err(ApplyError::new)?;
        match &look.planned {
            Planned::InSync(_) => Ok(()),
            Planned::Change(planned) => {
                let words = self.decoded.wanted[index as usize].unsettled(&look);
                let differs = || format!("it was applied, and still differs: {}", names(&planned.change));
                Err(ApplyError::new(words.unwrap_or_else(differs)))
            }
            Planned::Impossible { message, .. } => Err(ApplyError::new(message.clone())),
        }
    }

    fn look(&self, index: u32) -> Result<Look, String> {
        let base = self.decoded.base(self.system);
        let looked = self.decoded.wanted[index as usize].look(&View::bare(&base));
        looked.map_err(|error| error.to_string())
    }

    fn with_actor<T>(&mut self, index: u32, work: impl FnOnce(&mut Actor<'_>) -> T) -> T {
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

    /// A run of packages as one transaction; each is judged by its own state afterwards.
    fn transaction(&mut self, run: Range<u32>) {
        let mut batch: Vec<(u32, PackageRequest, Look)> = Vec::new();
        // What is in sync by now has its turn after the transaction, which may bring what it does not want.
        let mut others = Vec::new();
        for index in run {
            let place = self.step_of.get(&index).copied();
            let blocked = self.draft.blocked.contains_key(&index)
                || self.blocked(index).is_some()
                || !self.resource(index).options.selected;
            match self.look(index) {
                Ok(look)
                    if !blocked && matches!(look.planned, Planned::Change(_)) && look.request.is_some() =>
                {
                    if place.is_none() && self.open.is_empty() {
                        let address = &self.resource(index).address;
                        return self.stale(format!("{address} was changed by somebody else since the plan"));
                    }
                    let request = look.request.clone();
                    batch.extend(request.map(|request| (index, request, look)));
                }
                _ => others.push(index),
            }
        }
        if batch.len() < 2 {
            batch.into_iter().for_each(|(index, ..)| self.turn(index));
        } else {
            self.transact(batch);
        }
        for index in others {
            if self.halt.is_none() {
                self.turn(index);
            }
        }
    }

    fn transact(&mut self, batch: Vec<(u32, PackageRequest, Look)>) {
        let started = Instant::now();
        let indices: Vec<u32> = batch.iter().map(|(index, ..)| *index).collect();
        for index in &indices {
            self.announce(*index, self.step_of.get(index).copied());
        }
        if let Err(error) = batch.iter().try_for_each(|(index, _, look)| self.note(*index, verb_of(look))) {
            for index in indices {
                let place = self.step_of.get(&index).copied();
                let attempt = Attempt::Failed(Failure::untouched(error.to_string()));
                self.finish(index, place, None, attempt, started);
            }
            return;
        }
        let requests: Vec<_> = batch.iter().map(|(_, request, _)| request.clone()).collect();
        let first = batch[0].0;
        let done = self.with_actor(first, |actor| actor.transact(&requests));
        // As in the plan, what comes along stands at the last of them.
        let mut beyond = std::mem::take(&mut self.unforeseen);
        let mut failed = false;
        for (index, _, look) in batch {
            if Some(&index) == indices.last() {
                self.unforeseen.append(&mut beyond);
            }
            let change = match look.planned {
                Planned::Change(planned) => Some(planned.change),
                _ => None,
            };
            let attempt = match self.verify(index) {
                Ok(()) => Attempt::Done,
                Err(error) => {
                    let why = done.as_ref().err().map_or(error.message, |error| error.message.clone());
                    Attempt::Failed(self.failed(index, change.as_ref(), ApplyError::new(why)))
                }
            };
            failed |= matches!(attempt, Attempt::Failed { .. });
            self.note_effects(index, &look.effects, &attempt);
            let place = self.step_of.get(&index).copied();
            self.finish(index, place, change, attempt, started);
        }
        if let (Err(error), Some(last), false) = (&done, indices.last(), failed) {
            self.done_despite(*last, error);
        }
    }

    /// The action of `target`, if it is owed.
    fn pay(&mut self, target: u32) {
        if matches!(self.halt, Some(Halt::Reverted(_) | Halt::Stuck(_))) {
            return;
        }
        let notifiers: Vec<u32> =
            self.decoded.notifications.notifiers(target).iter().map(|(by, _)| *by).collect();
        let changed: Vec<u32> = notifiers.iter().copied().filter(|by| self.changed(*by)).collect();
        let address = self.resource(target).address.to_string();
        let place = self.action_of.get(&target).copied();
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
        if notifiers.iter().any(|by| self.fates.of(*by).is_trouble()) {
            self.channel.event(EventKind::Owed { address: self.resource(target).address.clone() });
            return self.action_result(target, StepOutcome::Owed, Duration::ZERO);
        }
        if self.fates.of(target).is_trouble() {
            // Where the plan has no such action, it says of the target itself that it is left.
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
        self.announce(target, self.action_of.get(&target).copied());
        let wanted = &self.decoded.wanted[target as usize];
        self.settle = self.settle.max(wanted.settle().unwrap_or_default());
        let outcome = match self.with_actor(target, |actor| wanted.act(actor, action)) {
            Ok(()) => {
                self.paid(self.resource(target).address.as_str());
                self.acted.insert(target, (action.clone(), changed.to_vec()));
                // Units that require it went with it, as a service does with its socket.
                self.open.push(target);
                StepOutcome::Done
            }
            Err(error) => self.take_back(target, action, changed, error),
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

    /// A notified action failed: what caused it is put back, and it runs once more.
    fn take_back(&mut self, target: u32, action: &Action, changed: &[u32], error: ApplyError) -> StepOutcome {
        let put_back = self.undo.put_back(self.system, changed);
        let again = self.once_more(target, action);
        let stays: BTreeSet<u32> = changed.iter().copied().filter(|by| self.stays(*by)).collect();
        let fixed: Vec<_> = stays.iter().map(|by| self.name(*by)).collect();
        let is_stuck = put_back.is_err();
        let restored = !is_stuck && again.is_ok() && fixed.is_empty();
        if again.is_ok() {
            self.paid(self.resource(target).address.as_str());
        }
        let back = match put_back {
            Ok(_) if fixed.is_empty() => format!("{} was put back", self.names_of(changed)),
            Ok(_) => format!("{} cannot be put back", fixed.join(", ")),
            Err(second) => format!("{} could not be put back: {}", self.names_of(changed), second.message),
        };
        let after = match again {
            Ok(()) => format!("{back}, and it runs as before"),
            Err(second) => format!("{back}; it failed again: {}", second.message),
        };
        let blame = format!("{} failed with it; {back}", self.name(target));
        for by in changed {
            self.set_fate(*by, Fate::Failed);
            let (back, stands) = match () {
                () if stays.contains(by) => (PutBack::Nothing, Stands::AsAsked),
                () if is_stuck => (PutBack::Stuck, Stands::Unknown),
                () => (PutBack::Restored, Stands::Unchanged),
            };
            let (why, output) = (blame.clone(), String::new());
            self.revise(*by, Failure { why, output, back, stands });
        }
        let back = match () {
            () if is_stuck => PutBack::Stuck,
            () if restored => PutBack::Restored,
            () => PutBack::Nothing,
        };
        StepOutcome::Failed {
            why: self.masker.mask(format!("{}; {after}", error.message).as_bytes()),
            output: self.masker.mask(error.output.as_bytes()),
            back,
            stands: Stands::Unknown,
        }
    }

    /// Carries a notified action out after what caused it was put back: it must last.
    fn once_more(&mut self, target: u32, action: &Action) -> Result<(), ApplyError> {
        let wanted = &self.decoded.wanted[target as usize];
        self.with_actor(target, |actor| wanted.act(actor, action))?;
        std::thread::sleep(wanted.settle().unwrap_or_default());
        self.verify(target)
    }

    /// Whether what was done at `index` stays, whatever is put back.
    fn stays(&self, index: u32) -> bool {
        let first = self.results_of.get(&index).and_then(|places| places.first());
        first.is_some_and(|place| is_irreversible(&self.results[*place].change))
    }

    fn name(&self, index: u32) -> String {
        self.resource(index).address.to_string()
    }

    fn names_of(&self, indices: &[u32]) -> String {
        indices.iter().map(|index| self.name(*index)).collect::<Vec<_>>().join(", ")
    }

    /// Says of the last step of the resource at `index`, which seemed done, that it failed after all.
    fn revise(&mut self, index: u32, failure: Failure) {
        let why = self.masker.mask(failure.why.as_bytes());
        let output = self.masker.mask(failure.output.as_bytes());
        let Failure { back, stands, .. } = failure;
        let places = self.results_of.get(&index).into_iter().flatten().rev();
        let changed = places.copied().find(|place| self.results[*place].outcome.changed());
        if let Some(result) = changed.and_then(|place| self.results.get_mut(place)) {
            result.outcome = StepOutcome::Failed { why, output, back, stands };
            self.channel.event(EventKind::StepFinished { result: result.clone() });
        }
    }

    fn paid_by_own_start(&self, target: u32, changed: &[u32]) -> bool {
        let last = changed.iter().max().copied();
        self.started.contains_key(&target) && last.is_none_or(|last| last < target)
    }

    fn paid(&mut self, address: &str) {
        let known = self.debts.remove(address);
        let record = Record::Paid { target: address.to_owned() };
        if let Err(error) = self.journal.write(&record) {
            self.problems.push(Problem { address: None, message: error.to_string(), help: None });
        }
        if let (true, Some(target)) = (known, self.decoded.place(address)) {
            self.channel.event(EventKind::Paid { address: self.resource(target).address.clone() });
        }
    }

    /// Journals, before the resource at `index` changes, what the ledger is to know of it, and what is owed then: a run
    /// that is killed tells nobody any more.
    fn note(&self, index: u32, verb: Verb) -> Result<(), StateError> {
        let resource = self.resource(index);
        let debts = resource.notify.iter().map(|notify| {
            Record::Owe(Debt {
                target: self.resource(notify.target).address.to_string(),
                by: resource.address.to_string(),
                invocation: invocation(self.decoded, self.system, notify.target),
            })
        });
        let write = Record::Write(self.intent(index, verb));
        self.journal.write_all(std::iter::once(write).chain(debts))
    }

    /// What the ledger is to know of a resource that is about to be changed.
    fn intent(&self, index: u32, verb: Verb) -> Intent {
        let resource = self.resource(index);
        // What runs once for all hosts is known to have run only once it has.
        let claims = resource.claims.iter().filter(|claim| claim.as_once().is_none()).map(Claim::key);
        Intent {
            claims: claims.collect(),
            address: resource.address.to_string(),
            kind: resource.kind.clone(),
            project: self.decoded.catalog.project.clone(),
            origin: if verb == Verb::Create { Origin::Created } else { Origin::Found },
            secret: holds_secret(resource),
            clean: self.draft.veil.clean_digests(index, &self.lines),
            places: self.secret_places(index),
        }
    }

    /// What the paths at which the resource at `index` writes a secret are called on the host now, where that is not
    /// their name.
    fn secret_places(&self, index: u32) -> Vec<String> {
        let resource = self.resource(index);
        if !holds_secret(resource) {
            return Vec::new();
        }
        let named: BTreeSet<&str> = resource.claims.iter().filter_map(content_path).collect();
        let base = self.decoded.base(self.system);
        let owned = self.decoded.wanted[index as usize].owns(&View::bare(&base)).unwrap_or_default();
        let places = owned.iter().filter_map(content_path).filter(|path| !named.contains(path));
        places.map(str::to_owned).collect()
    }

    /// Why the resource at `index` is not tried: something that it waits for, or its own body.
    fn blocked(&self, index: u32) -> Option<String> {
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
        let cause = self.fates.stopper(&resource.bodies, index)?;
        Some(format!("{} before it {}", self.resource(cause).address, self.trouble(cause)))
    }

    /// Why a step is skipped that lacks, at its turn, what another one was to bring; none if nobody was to. `message` says
    /// what it lacks. What an open step was to bring is said by the plan, what any other was to by its claims.
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
        Some(format!("{message}: {cause}, which was to bring what it needs, {how}"))
    }

    /// Whether the resource at `index` is not as it should be, and must be.
    fn is_troubled(&self, index: u32) -> bool {
        self.fates.of(index).is_trouble() && !self.resource(index).options.may_fail
    }

    fn set_fate(&mut self, index: u32, fate: Fate) {
        self.fates.settle(index, self.resource(index), fate);
    }

    fn trouble(&self, index: u32) -> &'static str {
        if self.fates.of(index) == Fate::Failed { "failed" } else { "was skipped" }
    }

    fn skip(&mut self, index: u32, place: Option<usize>, why: String) {
        if place.is_some() {
            self.finish(index, place, None, Attempt::Skipped(why), Instant::now());
        } else {
            // In sync when it was looked at, and nothing was to be done to it.
            self.set_fate(index, Fate::Skipped);
        }
    }

    /// Steps that had no turn, because the act ended before it.
    fn give_up_rest(&mut self) {
        let Some(halt) = self.halt.clone() else { return };
        let why = match halt {
            Halt::Stale(why) => why,
            Halt::Stopped => "the run was stopped".to_owned(),
            Halt::Reverted(_) | Halt::Stuck(_) => "the host was not to be reached any more".to_owned(),
        };
        let done: BTreeSet<u32> = self.results.iter().map(|result| result.resource).collect();
        let rest: Vec<_> = self.draft.steps.iter().map(|step| step.step.clone()).collect();
        for step in rest.into_iter().filter(|step| !done.contains(&step.resource)) {
            let outcome = StepOutcome::Skipped { why: why.clone() };
            self.push_result(step.resource, step.change, outcome, Duration::ZERO);
        }
    }

    fn finish(
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
            Attempt::Failed(Failure { why, output, back, stands }) => {
                let (why, output) = (self.masker.mask(why.as_bytes()), self.masker.mask(output.as_bytes()));
                (Fate::Failed, StepOutcome::Failed { why, output, back, stands })
            }
        };
        self.set_fate(index, fate);
        self.push_result(index, change, outcome, started.elapsed());
    }

    fn action_result(&mut self, target: u32, outcome: StepOutcome, took: Duration) {
        let change = match self.action_of.get(&target) {
            Some(place) => self.draft.steps[*place].step.change.clone(),
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
        self.results_of.entry(index).or_default().push(self.results.len());
        self.results.push(result);
    }

    fn announce(&self, index: u32, place: Option<usize>) {
        let address = self.resource(index).address.clone();
        let (step, of) = (place.unwrap_or(self.results.len()) as u32, self.draft.steps.len() as u32);
        self.channel.event(EventKind::StepStarted { address, step, of });
    }

    fn note_effects(&mut self, index: u32, effects: &[Effect], attempt: &Attempt) {
        // What failed ran all the same, and may have moved anything before it did.
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
            self.started.insert(index, self.results.len());
        }
        self.settle = self.settle.max(self.decoded.wanted[index as usize].settle().unwrap_or_default());
    }

    /// Whether the steps so far may have moved the resource at `index` in a way that the plan could not see: an open step
    /// may move anything, and any step what the guard of a command asks for.
    fn may_surprise(&self, index: u32) -> bool {
        !self.open.is_empty() || (self.decoded.wanted[index as usize].is_guarded() && self.has_changed)
    }

    /// Whether the step depends on what others bring: they may have failed, or been skipped.
    fn is_conditional(&self, place: usize) -> bool {
        self.draft.steps[place].step.change.certainty != Certainty::Exact
    }

    fn changed(&self, index: u32) -> bool {
        matches!(self.fates.of(index), Fate::Changed | Fate::Created)
    }

    fn stale(&mut self, why: String) {
        self.halt = Some(Halt::Stale(why));
    }

    fn resource(&self, index: u32) -> &'a Resource {
        &self.decoded.catalog.resources[index as usize]
    }
}

/// Whether what a change does stays, whatever is put back.
fn is_irreversible(change: &Change) -> bool {
    change.irreversible.as_deref().is_some_and(|why| why != SENSITIVE)
}

/// What a look says is to happen.
fn verb_of(look: &Look) -> Verb {
    match &look.planned {
        Planned::Change(planned) => planned.change.verb,
        Planned::InSync(_) | Planned::Impossible { .. } => Verb::Update,
    }
}

/// The properties of a change by name.
fn names(change: &Change) -> String {
    let names: Vec<_> = change.properties.iter().map(|property| property.property.as_str()).collect();
    if names.is_empty() { "it is to be removed".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod failures;

#[cfg(test)]
mod notified;

#[cfg(test)]
mod others;

#[cfg(test)]
mod probed;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod transactions;

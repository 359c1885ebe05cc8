//! Access-critical changes: made under a revert that the host carries out by itself, and that only somebody who comes
//! over a new connection calls off.
//!
//! An unbroken stretch of such changes, with the notifications that it owes, is one group. Before its first change it is
//! armed: a timer, and a unit for the next boot, start a copy of this program, which reads what the undo of each step notes
//! before the step changes anything. After its last the controller is asked to confirm it; what then becomes of the folder of the group
//! ([`armed`]) is all that counts.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use converge_model::wire::Guard;
use converge_model::{EventKind, PutBack, Stands, StepOutcome};
use converge_resources::System;
use converge_resources::actor::Standby;
use converge_resources::system::processes::Command;
use converge_resources::system::services::clock::AT_MOST;

use super::fates::Fate;
use super::{Act, Halt};
use crate::critical::bans;
use crate::revert::{BOOT, REVERT};
use crate::state::armed::{self, Owner, Standing, can_arm};
use crate::state::lock::Lock;
use crate::state::{State, StateError, now};

/// What an act guards its critical changes with.
pub(crate) struct Guarding<'a> {
    /// Where the group's folder is.
    pub(crate) state: &'a State,
    /// The run.
    pub(crate) run: &'a str,
    /// How long a group waits, and whether it may hold what cannot be taken back.
    pub(crate) guard: Guard,
    /// The critical resources.
    pub(crate) critical: BTreeSet<u32>,
    /// Whether this host can take a group back by itself.
    pub(crate) can_arm: bool,
    /// How many groups were armed.
    pub(crate) count: u32,
    /// The group at work.
    pub(crate) group: Option<Group>,
}

/// A group on its way.
pub(crate) struct Group {
    members: Vec<u32>,
    deadline: Instant,
}

/// How often a group is looked after while it waits.
const GLANCE: Duration = Duration::from_millis(50);
/// How long what bans may take to answer.
const ANSWER: Duration = Duration::from_secs(15);
/// How late a timer may be before the agent takes its place.
const LATE: Duration = Duration::from_secs(5);
/// How long a revert may take.
const REVERTING: Duration = AT_MOST;

impl Act<'_> {
    /// Before the resource at `index` is changed or notified: a critical one is changed under an armed group alone.
    pub(super) fn guard(&mut self, index: u32, because: &[u32]) -> Result<(), String> {
        let Some(guarding) = &mut self.guarding else { return Ok(()) };
        let of_group = |by: &u32| guarding.group.as_ref().is_some_and(|group| group.members.contains(by));
        let is_critical = guarding.critical.contains(&index) || because.iter().any(of_group);
        if !is_critical || !guarding.can_arm {
            return Ok(());
        }
        if guarding.group.is_none() {
            self.arm().map_err(|error| format!("failed to arm its revert: {error}"))?;
        } else if !armed::is_armed(guarding.state) {
            self.settle_group();
            return Err("the time to confirm was over before it was its turn".to_owned());
        }
        if let Some(group) = self.guarding.as_mut().and_then(|guarding| guarding.group.as_mut()) {
            group.members.push(index);
        }
        Ok(())
    }

    /// Whether the resource at `index` belongs to the group at work.
    pub(super) fn is_guarded(&self, index: u32) -> bool {
        self.group().is_some_and(|group| group.members.contains(&index))
    }

    /// Whether a group is at work: it is seen through to its end, whoever wants the act to stop.
    pub(super) fn has_group(&self) -> bool {
        self.group().is_some()
    }

    fn group(&self) -> Option<&Group> {
        self.guarding.as_ref()?.group.as_ref()
    }

    /// Starts the clock: first what will take the group back, then the folder gets the name that lets it.
    fn arm(&mut self) -> Result<(), StateError> {
        let Some(guarding) = &mut self.guarding else { return Ok(()) };
        guarding.count += 1;
        let name = format!("converge-revert-{}-{}", guarding.run, guarding.count);
        let owner = Owner { run: guarding.run.to_owned(), timer: name };
        let folder = armed::prepare(guarding.state, &owner)?;
        let fail = |what| {
            let path = folder.clone();
            move |source| StateError::File { what, path, source }
        };
        let clock = self.system.units().clock();
        let clock = clock.ok_or(ErrorKind::Unsupported.into()).map_err(fail("find the clock of"))?;
        let standby = Standby::begin(folder.clone(), clock.boot_files(), guarding.guard.accept_irreversible);
        let mut standby = standby.map_err(fail("write into"))?;
        let (words, seconds) = (words(guarding.state), guarding.guard.seconds);
        let boot = [&words[..], &[BOOT.to_owned()]].concat();
        clock.at_boot(&boot, &guarding.state.path("")).map_err(fail("prepare the next boot for"))?;
        clock.arm(&owner.timer, seconds, &words).map_err(fail("start the timer of"))?;
        standby.moved(armed::arm(guarding.state)?);
        self.undo.stand_by(Some(standby));
        guarding.group = Some(Group::new(seconds));
        self.channel.event(EventKind::Armed { seconds });
        Ok(())
    }

    /// After everything at `index`: a group that neither owes a notification nor goes on with the next step is at its end.
    pub(super) fn end_group(&mut self, index: u32) {
        let Some(group) = self.group() else { return };
        let place = |target: u32| self.decoded.notifications.place(target);
        let owes = |by: &u32| {
            let targets = self.resource(*by).notify.iter();
            self.changed(*by) && targets.map(|notify| place(notify.target)).any(|place| place > index)
        };
        // The steps stand in the order of the places where they have their turns.
        let next = self.draft.steps.partition_point(|step| {
            let own = step.step.resource;
            (if step.action.is_some() { place(own) } else { own }) <= index
        });
        let next = self.draft.steps.get(next);
        if !group.members.iter().any(owes) && !next.is_some_and(|step| step.step.guarded) {
            self.settle_group();
        }
    }

    /// Has the group confirmed, or hears that it was taken back.
    pub(super) fn settle_group(&mut self) {
        let Some(guarding) = &mut self.guarding else { return };
        let (state, run) = (guarding.state, guarding.run);
        let Some(group) = guarding.group.take() else { return };
        self.let_settle(&group);
        let in_time = armed::is_armed(state);
        let touched = |result: &converge_model::StepResult| {
            let is_whole =
                |back: &PutBack, stands: &Stands| *back == PutBack::Restored || *stands == Stands::Unchanged;
            let half = matches!(&result.outcome, StepOutcome::Failed { back, stands, .. } if !is_whole(back, stands));
            group.members.contains(&result.resource) && (half || result.outcome.changed())
        };
        if in_time {
            armed::whole(state);
        }
        let standing = if in_time && !self.results.iter().any(touched) {
            armed::confirm(state, run).and_then(|_| Standing::read(state))
        } else {
            if in_time {
                self.channel.confirm(group.left());
            }
            wait(self.system, state, group.deadline)
        };
        self.undo.stand_by(None);
        match standing {
            Ok(Standing::Confirmed(owner)) => self.disarm(&owner, state),
            Ok(Standing::Reverted(_)) => self.taken_back(&group, in_time),
            Ok(Standing::Stuck(why)) => self.halt = Some(Halt::Stuck(why)),
            Ok(other) => self.halt = Some(Halt::Stuck(format!("nobody knows what became of it: {other:?}"))),
            Err(error) => self.halt = Some(Halt::Stuck(error.to_string())),
        }
    }

    /// Gives what was started the time that it says it takes to have its effect: a ban comes a moment after what bans was
    /// started, and that is a moment after its unit was.
    fn let_settle(&self, group: &Group) {
        let changed = || group.members.iter().filter(|index| self.changed(**index));
        let asks = |index: &&u32| self.resource(**index).params.get("settle").is_some();
        let times = changed().filter(asks).filter_map(|index| self.decoded.wanted[*index as usize].settle());
        let half = Duration::from_secs(group.left().into()) / 2;
        let until = Instant::now() + half.min(ANSWER);
        if changed().any(|index| bans(self.resource(*index))) {
            let ping = Command::new(["fail2ban-client", "ping"]);
            while !succeeds(self.system, &ping) && Instant::now() < until {
                std::thread::sleep(GLANCE);
            }
        }
        std::thread::sleep(times.max().unwrap_or_default().min(half));
    }

    /// Clears away what armed a group that somebody confirmed.
    fn disarm(&mut self, owner: &Owner, state: &State) {
        if let Err(error) = clear_away(self.system, owner, state) {
            let message = format!("failed to clear away what armed {}: {error}", owner.timer);
            self.problems.push(converge_model::Problem { address: None, message, help: None });
        }
        self.channel.event(EventKind::Confirmed);
    }

    /// The host has put back what the group changed; where it did so in the middle of a step, that step is put back too.
    fn taken_back(&mut self, group: &Group, in_time: bool) {
        let mut members = group.members.clone();
        members.dedup();
        self.channel.event(EventKind::Reverted);
        let put_back = if in_time { Ok(true) } else { self.undo.put_back(self.system, &members) };
        for index in 0..self.results.len() {
            let result = &mut self.results[index];
            if members.contains(&result.resource) && result.outcome.changed() {
                let why = "it was not confirmed over a new connection, and the host put it back".to_owned();
                let (output, back, stands) = (String::new(), PutBack::Restored, Stands::Unchanged);
                result.outcome = StepOutcome::Failed { why, output, back, stands };
                self.channel.event(EventKind::StepFinished { result: result.clone() });
            }
        }
        let settled: BTreeSet<u32> =
            members.iter().flat_map(|by| &self.resource(*by).notify).map(|to| to.target).collect();
        for target in settled {
            let others = self.decoded.notifications.notifiers(target).iter().map(|(by, _)| *by);
            if others.filter(|by| !members.contains(by)).all(|by| !self.changed(by)) {
                self.paid(self.resource(target).address.as_str());
            }
        }
        for index in &members {
            self.set_fate(*index, Fate::Failed);
        }
        let names = self.names_of(&members);
        self.halt = Some(match put_back {
            Ok(_) => Halt::Reverted(names),
            Err(error) => Halt::Stuck(format!("{}: {names}", error.message)),
        });
    }
}

impl Group {
    fn new(seconds: u32) -> Self {
        Self { members: Vec::new(), deadline: Instant::now() + Duration::from_secs(seconds.into()) }
    }

    /// The seconds that are left to confirm it.
    fn left(&self) -> u32 {
        self.deadline.saturating_duration_since(Instant::now()).as_secs() as u32
    }
}

/// Waits until the group is confirmed or taken back. A timer that does not come is none to rely on.
fn wait(system: &dyn System, state: &State, deadline: Instant) -> Result<Standing, StateError> {
    let mut is_late = false;
    loop {
        let over = deadline.elapsed();
        match Standing::read(state)? {
            Standing::Armed(_) if !is_late && over > LATE => {
                is_late = true;
                let _ = succeeds(system, &Command::new(words(state)));
            }
            Standing::Armed(_) | Standing::Reverting(_) if over < REVERTING => std::thread::sleep(GLANCE),
            standing => return Ok(standing),
        }
    }
}

/// Stops the timer of `owner`, lets the next boot start nothing, and forgets the folder.
pub(crate) fn clear_away(system: &dyn System, owner: &Owner, state: &State) -> Result<(), StateError> {
    if let Some(clock) = system.units().clock() {
        clock.disarm(Some(owner.timer.as_str()).filter(|timer| !timer.is_empty()));
    }
    armed::forget(state)
}

/// Begins a revert again that was killed midway, and one whose timer is gone: apart from this process, for its connection may
/// be what it cuts. One that is at work is waited for.
pub(crate) fn resume(system: &dyn System, state: &State) {
    let Some(clock) = system.units().clock() else { return };
    let is_left_alone = match Standing::read(state) {
        Ok(Standing::Reverting(_)) => true,
        Ok(Standing::Armed(owner)) => !clock.is_armed(&owner.timer),
        _ => false,
    };
    if is_left_alone && can_arm(system, state) && Lock::holder(state, now()).is_none() {
        // How it stands afterwards is read from the folder.
        clock.start_apart(&words(state));
    }
}

/// The words that take a group back, wherever it has come to.
fn words(state: &State) -> [String; 3] {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    [text(armed::program(state)), REVERT.to_owned(), text(state.path(""))]
}

fn succeeds(system: &dyn System, command: &Command) -> bool {
    let command = Command { timeout: REVERTING, ..command.clone() };
    system.processes().run(&command, &mut |_| {}).is_ok_and(|finished| finished.success())
}

#[cfg(test)]
mod tests;

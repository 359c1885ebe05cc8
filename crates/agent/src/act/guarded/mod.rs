//! Access-critical changes. They are made under a revert that the host carries out by itself. Only a login over a new
//! connection cancels it.
//!
//! Consecutive changes of this sort, with the notifications that they owe, are one group. The group is armed before
//! its first change: a timer and a unit for the next boot will start a copy of this program. The copy reads what the
//! undo of each step notes before the step changes anything. After the last change, the controller is asked to
//! confirm the group. The state of the group's folder ([`armed`]) then decides the outcome.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use converge_model::wire::Guard;
use converge_model::{EventKind, Restoration, Stands, StepOutcome};
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

/// The guard of the critical changes of an act.
pub(crate) struct Guarding<'a> {
    /// The state, which holds the group's folder.
    pub(crate) state: &'a State,
    /// The id of the run.
    pub(crate) run: &'a str,
    /// How long a group waits, and whether it may contain irreversible changes.
    pub(crate) guard: Guard,
    /// The critical resources.
    pub(crate) critical: BTreeSet<u32>,
    /// Whether this host can revert a group by itself.
    pub(crate) can_arm: bool,
    /// The number of groups that were armed.
    pub(crate) count: u32,
    /// The current group.
    pub(crate) group: Option<Group>,
}

/// An unfinished group.
pub(crate) struct Group {
    members: Vec<u32>,
    deadline: Instant,
}

/// How often a waiting group is checked.
const GLANCE: Duration = Duration::from_millis(50);
/// How long a program that bans addresses may take to answer.
const ANSWER: Duration = Duration::from_secs(15);
/// How late a timer may be before the agent starts the revert itself.
const LATE: Duration = Duration::from_secs(5);
/// How long a revert may take.
const REVERTING: Duration = AT_MOST;

impl Act<'_> {
    /// Runs before the resource at `index` is changed or notified. A critical one is changed only under an armed
    /// group.
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
            return Err("the time to confirm ended before its turn".to_owned());
        }
        if let Some(group) = self.guarding.as_mut().and_then(|guarding| guarding.group.as_mut()) {
            group.members.push(index);
        }
        Ok(())
    }

    /// Whether the resource at `index` belongs to the current group.
    pub(super) fn is_guarded(&self, index: u32) -> bool {
        self.group().is_some_and(|group| group.members.contains(&index))
    }

    /// Whether there is a current group. It is finished even if the act should stop.
    pub(super) fn has_group(&self) -> bool {
        self.group().is_some()
    }

    fn group(&self) -> Option<&Group> {
        self.guarding.as_ref()?.group.as_ref()
    }

    /// Arms a group. First it prepares the timer, then it renames the folder so that a revert can start.
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

    /// Ends the group after the turn at `index`, if it owes no notification and the next step does not belong to it.
    pub(super) fn end_group(&mut self, index: u32) {
        let Some(group) = self.group() else { return };
        let place = |target: u32| self.decoded.notifications.place(target);
        let owes = |by: &u32| {
            let targets = self.resource(*by).notify.iter();
            self.changed(*by) && targets.map(|notify| place(notify.target)).any(|place| place > index)
        };
        // The steps are in the order of their turns.
        let next = self.draft.steps.partition_point(|step| {
            let own = step.step.resource;
            (if step.action.is_some() { place(own) } else { own }) <= index
        });
        let next = self.draft.steps.get(next);
        if !group.members.iter().any(owes) && !next.is_some_and(|step| step.step.guarded) {
            self.settle_group();
        }
    }

    /// Asks for a confirmation of the group, or learns that it was reverted.
    pub(super) fn settle_group(&mut self) {
        let Some(guarding) = &mut self.guarding else { return };
        let (state, run) = (guarding.state, guarding.run);
        let Some(group) = guarding.group.take() else { return };
        self.let_settle(&group);
        let in_time = armed::is_armed(state);
        let touched = |result: &converge_model::StepResult| {
            let is_whole = |restored: &Restoration, stands: &Stands| {
                *restored == Restoration::Done || *stands == Stands::Unchanged
            };
            let half = matches!(&result.outcome, StepOutcome::Failed { restored, stands, .. } if !is_whole(restored, stands));
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
            Ok(Standing::Reverted(_)) => self.reverted(&group, in_time),
            Ok(Standing::Stuck(why)) => self.halt = Some(Halt::Stuck(why)),
            Ok(other) => {
                self.halt = Some(Halt::Stuck(format!("the state of the revert is unknown: {other:?}")))
            }
            Err(error) => self.halt = Some(Halt::Stuck(error.to_string())),
        }
    }

    /// Waits until started services have had their effect, for as long as they say. Example: a ban comes a moment
    /// after its daemon started, and that is a moment after its unit started.
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

    /// Removes what armed a group that was confirmed.
    fn disarm(&mut self, owner: &Owner, state: &State) {
        if let Err(error) = clear_away(self.system, owner, state) {
            let message = format!("failed to remove the timer and files of {}: {error}", owner.timer);
            self.problems.push(converge_model::Problem { address: None, message, help: None });
        }
        self.channel.event(EventKind::Confirmed);
    }

    /// Handles a group that the host reverted. If that happened during a step, that step is restored too.
    fn reverted(&mut self, group: &Group, in_time: bool) {
        let mut members = group.members.clone();
        members.dedup();
        self.channel.event(EventKind::Reverted);
        let restoring = if in_time { Ok(true) } else { self.undo.restore(self.system, &members) };
        for index in 0..self.results.len() {
            let result = &mut self.results[index];
            if members.contains(&result.resource) && result.outcome.changed() {
                let why = "no new connection confirmed it, so the host reverted it".to_owned();
                let (output, restored, stands) = (String::new(), Restoration::Done, Stands::Unchanged);
                result.outcome = StepOutcome::Failed { why, output, restored, stands };
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
        self.halt = Some(match restoring {
            Ok(_) => Halt::Reverted(names),
            Err(error) => Halt::Stuck(format!("{}: {names}", error.message)),
        });
    }
}

impl Group {
    fn new(seconds: u32) -> Self {
        Self { members: Vec::new(), deadline: Instant::now() + Duration::from_secs(seconds.into()) }
    }

    /// Returns the seconds left to confirm the group.
    fn left(&self) -> u32 {
        self.deadline.saturating_duration_since(Instant::now()).as_secs() as u32
    }
}

/// Waits until the group is confirmed or reverted. If the timer is late, the agent starts the revert itself.
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

/// Stops the timer of `owner`, removes the unit of the next boot, and removes the folder.
pub(crate) fn clear_away(system: &dyn System, owner: &Owner, state: &State) -> Result<(), StateError> {
    if let Some(clock) = system.units().clock() {
        clock.disarm(Some(owner.timer.as_str()).filter(|timer| !timer.is_empty()));
    }
    armed::forget(state)
}

/// Restarts a revert that was killed midway, or whose timer is gone. It runs apart from this process, because it may
/// cut this connection. If a revert is running already, this waits for it.
pub(crate) fn resume(system: &dyn System, state: &State) {
    let Some(clock) = system.units().clock() else { return };
    let is_left_alone = match Standing::read(state) {
        Ok(Standing::Reverting(_)) => true,
        Ok(Standing::Armed(owner)) => !clock.is_armed(&owner.timer),
        _ => false,
    };
    if is_left_alone && can_arm(system, state) && Lock::holder(state, now()).is_none() {
        // The result is ignored: the folder shows the state afterwards.
        clock.start_apart(&words(state));
    }
}

/// Returns the command that reverts a group, in whatever state it is.
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

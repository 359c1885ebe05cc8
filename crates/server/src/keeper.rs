//! The daemon's decisions: which hosts to look at now, what to do about drift, and which news to send. It has no
//! access to hosts or clocks: the caller passes in the results and the time, and it returns decisions and news.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use converge_lang::{DriftPolicy, Inventory};
use converge_model::catalog::DriftMode;
use converge_model::{Address, Cause, Digest, HostName, HostPlan, HostReport, HostState, Step, exit};
use jiff::{SignedDuration, Timestamp};

use crate::events::{Drifted, NewsKind, Response};
use crate::memory::{HostMemory, Known, Memory};
use crate::schedule::{Schedule, ScheduleError};

/// How often a resource is corrected before the daemon gives up, if the policy does not say.
const FIGHT_AFTER: u32 = 3;
/// How long a host is remembered after it left the inventory.
const GONE_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);
/// The time in which corrections count, if the policy does not say.
const FIGHT_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// The settings of a watched host.
#[derive(Clone, Debug)]
pub struct Watched {
    schedule: Schedule,
    policy: DriftPolicy,
    /// The hosts that come before it, if they are due too.
    before: Vec<HostName>,
}

/// Returns those of `hosts` that `inventory` wants watched.
///
/// # Errors
/// The first policy without a valid schedule, with its host.
pub fn watched(
    inventory: &Inventory,
    hosts: &[HostName],
    every: Duration,
) -> Result<BTreeMap<HostName, Watched>, (HostName, ScheduleError)> {
    let mut watched = BTreeMap::new();
    for host in hosts {
        let policy = inventory.drift(host);
        let schedule = Schedule::new(host, &policy, every).map_err(|error| (host.clone(), error))?;
        if policy.mode != DriftMode::Ignore {
            watched.insert(host.clone(), Watched { schedule, policy, before: inventory.waits_for(host) });
        }
    }
    Ok(watched)
}

/// The result of a look at a host.
#[derive(Clone, Debug)]
pub struct Look {
    /// The state of the host.
    pub state: HostState,
    /// The plan. None if the host could not be looked at.
    pub plan: Option<HostPlan>,
    /// Why that failed, as parts of sentences.
    pub why: Vec<String>,
    /// The duration in milliseconds, by the monotonic clock.
    pub took: u64,
}

/// The decision after a look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The resources to correct.
    pub correct: Vec<Address>,
    /// The news about the host.
    pub news: Vec<NewsKind>,
    /// The news about all hosts.
    pub of_all: Vec<NewsKind>,
}

/// The hosts to look at, and the hosts whose look is skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// The hosts to look at now.
    pub start: Vec<HostName>,
    /// The hosts that were due while their last run was still active, each with its number of skipped ticks.
    pub skipped: Vec<(HostName, u64)>,
}

/// The decisions over all hosts.
#[derive(Debug)]
pub struct Keeper {
    memory: Memory,
    watched: BTreeMap<HostName, Watched>,
    running: BTreeSet<HostName>,
    /// In a single pass: the hosts that have not had their turn yet.
    pass: Option<BTreeSet<HostName>>,
    /// The time of the last tick.
    ticked: Timestamp,
    /// Whether the memory cannot be written. Then nothing is corrected.
    is_forgetful: bool,
}

impl Keeper {
    /// Creates a keeper that continues from `memory`. Hosts whose run was active when the last daemon died are due at
    /// once.
    pub fn new(memory: Memory, watched: BTreeMap<HostName, Watched>, now: Timestamp) -> Self {
        let (watched_before, running) = (BTreeMap::new(), BTreeSet::new());
        let mut keeper =
            Self { memory, watched: watched_before, running, pass: None, ticked: now, is_forgetful: false };
        keeper.take(watched, now);
        for host in keeper.watched.keys() {
            let memory = keeper.memory.hosts.entry(host.clone()).or_default();
            if std::mem::take(&mut memory.at_work) {
                memory.due = Some(now);
            }
        }
        keeper
    }

    /// Creates a keeper for a single pass over all hosts, due or not.
    pub fn once(memory: Memory, watched: BTreeMap<HostName, Watched>, now: Timestamp) -> Self {
        let pass = Some(watched.keys().cloned().collect());
        Self { pass, ..Self::new(memory, watched, now) }
    }

    /// Continues with another inventory.
    pub fn take(&mut self, watched: BTreeMap<HostName, Watched>, now: Timestamp) {
        self.watched = watched;
        self.plan(now);
        let is_new = |due: Option<Timestamp>| due.is_none_or(|due| now.duration_since(due) < GONE_FOR);
        let watched = &self.watched;
        self.memory.hosts.retain(|host, memory| watched.contains_key(host) || is_new(memory.due));
    }

    /// Makes sure that no host is due later than its schedule says at `now`.
    fn plan(&mut self, now: Timestamp) {
        for (host, Watched { schedule, .. }) in &self.watched {
            let memory = self.memory.hosts.entry(host.clone()).or_default();
            memory.due = match memory.due {
                None => Some(schedule.first(now)),
                // A tighter schedule counts from now on. So does a clock that was set back.
                Some(due) => schedule.next(now).map(|next| next.min(due)),
            };
        }
    }

    /// Sets whether the memory can be written. While it cannot, nothing is corrected, because a daemon that died
    /// would not know its corrections. Returns whether this is a change.
    pub fn remembers(&mut self, does: bool) -> bool {
        std::mem::replace(&mut self.is_forgetful, !does) == does
    }

    /// Withdraws the decision on `host`, because the correction was not tried.
    pub fn withdraw(&mut self, host: &HostName, addresses: &[Address]) {
        if let Some(memory) = self.memory.hosts.get_mut(host) {
            withdraw(memory, addresses);
        }
    }

    /// Returns the memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Returns how many hosts are watched.
    pub fn hosts(&self) -> u32 {
        self.watched.len() as u32
    }

    /// Whether no run is active.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether a single pass is over.
    pub fn is_done(&self) -> bool {
        self.is_idle() && self.pass.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// Returns when the next host is due.
    pub fn wakes(&self) -> Option<Timestamp> {
        let idle = self.watched.keys().filter(|host| !self.running.contains(*host));
        idle.filter_map(|host| self.memory.hosts.get(host)?.due).min()
    }

    /// Returns the hosts to look at at `now`. A host waits for the hosts before it that are due or active.
    pub fn tick(&mut self, now: Timestamp) -> Tick {
        if std::mem::replace(&mut self.ticked, now) > now {
            // The clock was set back: no host waits until it has caught up.
            self.plan(now);
        }
        let due: BTreeSet<HostName> =
            self.watched.keys().filter(|host| self.is_due(host, now)).cloned().collect();
        let mut tick = Tick::default();
        for host in &due {
            let Some(watched) = self.watched.get(host) else { continue };
            let at_work = self.running.contains(host);
            if !at_work
                && watched.before.iter().any(|other| due.contains(other) || self.running.contains(other))
            {
                continue;
            }
            let memory = self.memory.hosts.entry(host.clone()).or_default();
            memory.due = watched.schedule.next(now);
            if at_work {
                memory.skipped += 1;
                tick.skipped.push((host.clone(), memory.skipped));
                continue;
            }
            memory.at_work = true;
            if let Some(pass) = &mut self.pass {
                pass.remove(host);
            }
            tick.start.push(host.clone());
        }
        self.running.extend(tick.start.iter().cloned());
        tick
    }

    fn is_due(&self, host: &HostName, now: Timestamp) -> bool {
        match &self.pass {
            Some(pass) => pass.contains(host),
            None => self.memory.hosts.get(host).and_then(|memory| memory.due).is_some_and(|due| due <= now),
        }
    }

    /// Handles the result of a look. Corrections are counted here, before they are tried, so that the count survives
    /// a death of the daemon.
    pub fn looked(&mut self, host: &HostName, look: &Look, now: Timestamp) -> Verdict {
        let mut verdict = Verdict::default();
        let plan = look.plan.as_ref().filter(|plan| plan.busy.is_none());
        // The other run has not recorded yet what it applies, so this look shows nothing reliable.
        let is_busy = look.state == HostState::Locked || (look.plan.is_some() && plan.is_none());
        let state = if is_busy { HostState::Locked } else { look.state };
        let (corrective, pending) =
            plan.map_or((0, 0), |plan| (plan.drifted().count() as u32, plan.pending().count() as u32));
        verdict.news.push(NewsKind::Looked { state, corrective, pending, took: look.took });
        match plan {
            _ if is_busy || state == HostState::NotStarted => {}
            // The inventory declares nothing for the host, so it was not contacted.
            None if state == HostState::InSync => {
                self.memory.hosts.entry(host.clone()).or_default().last = Some(state);
            }
            Some(plan) if plan.problems.is_empty() => {
                self.judge(host, plan, now, &mut verdict);
                // Other drift on the host is corrected anyway.
                if plan.impossible().next().is_some() {
                    self.falls_short(host, plan, &look.why, &mut verdict.news);
                }
            }
            _ => self.lost(host, state, &look.why, &mut verdict.news),
        }
        verdict
    }

    /// Handles the result of an act that corrected `addresses`.
    pub fn acted(&mut self, host: &HostName, addresses: &[Address], report: &HostReport) -> Vec<NewsKind> {
        let done = |result: &&converge_model::StepResult| result.outcome.changed();
        let changed: Vec<Address> = report
            .results
            .iter()
            .filter(done)
            .map(|result| result.address.clone())
            .filter(|address| addresses.contains(address))
            .collect();
        let mut news = Vec::new();
        let memory = self.memory.hosts.entry(host.clone()).or_default();
        match report.state {
            HostState::Changed | HostState::InSync => {
                memory.drifted.retain(|address, _| !addresses.contains(address));
                // Resources that cannot be planned were not part of this act.
                if memory.last != Some(HostState::Unplannable) {
                    if memory.last.is_some_and(is_loss) {
                        news.push(NewsKind::Recovered { addresses: addresses.to_vec() });
                    }
                    memory.last = Some(report.state);
                }
            }
            // Nothing was tried. The next tick tries again.
            HostState::Locked | HostState::Stale | HostState::Pending | HostState::NotStarted => {
                withdraw(memory, addresses);
            }
            state => {
                let failed = report.results.iter().filter(|result| result.outcome.failed());
                news.push(NewsKind::Failed {
                    state,
                    why: why(report),
                    addresses: failed.map(|result| result.address.clone()).collect(),
                });
                memory.last = Some(state);
            }
        }
        if !changed.is_empty() {
            news.insert(0, NewsKind::Corrected { addresses: changed });
        }
        news
    }

    /// Ends a run of a host, with any result. A host whose run was stopped before the look is due again.
    pub fn ended(&mut self, host: &HostName, was_stopped: bool, now: Timestamp) {
        self.running.remove(host);
        let memory = self.memory.hosts.entry(host.clone()).or_default();
        memory.at_work = false;
        if was_stopped {
            memory.due = Some(now);
        }
    }

    /// Returns the exit code of a single pass over hosts that ended in `states`: 2 if drift is left.
    pub fn exit(&self, states: &BTreeMap<HostName, HostState>) -> u8 {
        let left =
            |host: &HostName| self.memory.hosts.get(host).is_some_and(|memory| !memory.drifted.is_empty());
        match exit::of_run(states.values().copied(), false) {
            exit::OK if states.keys().any(left) => exit::PENDING,
            code => code,
        }
    }

    /// Returns the exit code after a stop: 0 for a daemon. A single pass is interrupted, because it has not looked at
    /// every host.
    pub fn exit_of_stop(&self) -> u8 {
        if self.pass.is_some() { exit::INTERRUPTED } else { exit::OK }
    }

    fn lost(&mut self, host: &HostName, state: HostState, why: &[String], news: &mut Vec<NewsKind>) {
        let memory = self.memory.hosts.entry(host.clone()).or_default();
        // A lasting state is reported once.
        if memory.last.replace(state) != Some(state) {
            news.push(NewsKind::Failed { state, why: why.to_vec(), addresses: Vec::new() });
        }
    }

    /// Reports that a resource of a host cannot be planned, when that begins.
    fn falls_short(&mut self, host: &HostName, plan: &HostPlan, why: &[String], news: &mut Vec<NewsKind>) {
        let memory = self.memory.hosts.entry(host.clone()).or_default();
        let addresses: Vec<Address> = plan.impossible().map(|blocked| blocked.address.clone()).collect();
        if memory.last.replace(HostState::Unplannable) != Some(HostState::Unplannable) {
            news.push(NewsKind::Failed { state: HostState::Unplannable, why: why.to_vec(), addresses });
        }
    }

    fn judge(&mut self, host: &HostName, plan: &HostPlan, now: Timestamp, verdict: &mut Verdict) {
        let Some(watched) = self.watched.get(host).cloned() else { return };
        let memory = self.memory.hosts.entry(host.clone()).or_default();
        let present: BTreeSet<&Address> = plan.drifted().map(|step| &step.address).collect();
        memory.fights.retain(|address| present.contains(address));
        let found =
            plan.drifted().filter(|step| is_correctable(step) && !memory.fights.contains(&step.address));
        memory.found = found.count() as u32;
        forget(memory, &watched.policy, now);
        let held = self.held_back(host, &watched, now, verdict);
        let memory = self.memory.hosts.entry(host.clone()).or_default();
        let (before, was_lost) = (std::mem::take(&mut memory.drifted), memory.last.is_some_and(is_loss));
        let mut found = Vec::new();
        for step in plan.drifted() {
            let response = respond(memory, step, held, &watched.policy, &mut verdict.news);
            let how = Digest::of(&serde_json::to_vec(&step.change).unwrap_or_default());
            memory.drifted.insert(step.address.clone(), Known { how, response });
            let properties = step.change.properties.iter().enumerate();
            let drifted = properties.filter(|(place, _)| step.property_drifted(*place));
            let properties = drifted.map(|(_, property)| property.property.clone()).collect();
            found.push(Drifted { address: step.address.clone(), properties, response });
        }
        verdict.correct = found
            .iter()
            .filter(|one| one.response == Response::Corrects)
            .map(|one| one.address.clone())
            .collect();
        for address in &verdict.correct {
            memory.corrections.entry(address.clone()).or_default().push(now);
        }
        if found.iter().any(|one| one.response == Response::WaitsForWindow) {
            memory.due = watched.schedule.opening(now).into_iter().chain(memory.due).min();
        }
        let falls_short = plan.impossible().next().is_some();
        if found.is_empty() && !falls_short && (was_lost || !before.is_empty()) {
            let addresses = before.keys().cloned().collect();
            verdict.news.push(NewsKind::Recovered { addresses });
        }
        if !falls_short && (!was_lost || verdict.correct.is_empty()) {
            memory.last = Some(if found.is_empty() { HostState::InSync } else { HostState::Pending });
        }
        let is_new = memory.drifted.iter().any(|(address, known)| before.get(address) != Some(known));
        // A single pass reports all drift, not only new drift.
        if is_new || (self.pass.is_some() && !found.is_empty()) {
            verdict.news.insert(1, NewsKind::DriftFound { resources: found });
        }
    }

    /// Returns why nothing is corrected on a host. None if it may be corrected.
    fn held_back(
        &mut self,
        host: &HostName,
        watched: &Watched,
        now: Timestamp,
        verdict: &mut Verdict,
    ) -> Option<Response> {
        // Drift that is only reported, waits for an apply or was given up lasts. It must not prevent all other
        // corrections.
        let found = |host: &HostName| self.memory.hosts.get(host).is_some_and(|memory| memory.found > 0);
        let drifted = self.watched.keys().filter(|host| found(host)).count();
        let corrected = |(host, watched): &(&HostName, &Watched)| {
            watched.policy.mode == DriftMode::Correct || found(host)
        };
        let of = self.watched.iter().filter(corrected).count();
        // Report when the lowest limit is reached. Otherwise hosts with other limits would report it again and again.
        let first = self.watched.values().map(|watched| limit(&watched.policy, of)).min();
        let is_storm = first.is_some_and(|first| drifted > first);
        if std::mem::replace(&mut self.memory.is_storm, is_storm) != is_storm {
            let (some, of) = (drifted as u32, of as u32);
            verdict.of_all.push(match is_storm {
                true => NewsKind::TooManyDrifted { drifted: some, of },
                false => NewsKind::CorrectionGoesOn { drifted: some, of },
            });
        }
        let lost = |other: &HostName| {
            *other != *host
                && self.memory.hosts.get(other).and_then(|memory| memory.last).is_some_and(is_loss)
        };
        match () {
            () if self.is_forgetful => Some(Response::CannotRemember),
            () if drifted > limit(&watched.policy, of) => Some(Response::TooManyDrifted),
            () if !watched.schedule.is_open(now) => Some(Response::WaitsForWindow),
            () if watched.before.iter().any(lost) => Some(Response::WaitsForHost),
            () => None,
        }
    }
}

/// Whether the daemon may correct the step, if nothing prevents it.
fn is_correctable(step: &Step) -> bool {
    step.drift.mode == DriftMode::Correct && step.drift.cause == Cause::Corrective
}

/// Removes the last correction of `addresses` from the count.
fn withdraw(memory: &mut HostMemory, addresses: &[Address]) {
    for address in addresses {
        memory.corrections.get_mut(address).map(Vec::pop);
    }
}

/// Returns how many of `of` hosts may have drifted before nothing is corrected on a host with this policy.
fn limit(policy: &DriftPolicy, of: usize) -> usize {
    policy.max_share.map_or(usize::MAX, |share| share.of(of).max(1))
}

/// Returns the response to one resource that drifted.
fn respond(
    memory: &mut HostMemory,
    step: &Step,
    held: Option<Response>,
    policy: &DriftPolicy,
    news: &mut Vec<NewsKind>,
) -> Response {
    let address = &step.address;
    if memory.fights.contains(address) {
        return Response::GaveUp;
    }
    if step.drift.mode != DriftMode::Correct {
        return Response::Reports;
    }
    if step.drift.cause != Cause::Corrective {
        return Response::WaitsForApply;
    }
    if let Some(held) = held {
        return held;
    }
    let corrections = memory.corrections.get(address).map_or(0, |times| times.len() as u32);
    if corrections < policy.fight_after.unwrap_or(FIGHT_AFTER) {
        return Response::Corrects;
    }
    memory.fights.insert(address.clone());
    let within = policy.fight_within.unwrap_or(FIGHT_WITHIN).as_secs();
    news.push(NewsKind::Fight { address: address.clone(), corrections, within });
    Response::GaveUp
}

/// Forgets corrections that are too old to count, and those from a clock that was ahead.
fn forget(memory: &mut HostMemory, policy: &DriftPolicy, now: Timestamp) {
    let within = policy.fight_within.unwrap_or(FIGHT_WITHIN);
    let since = SignedDuration::try_from(within).ok().and_then(|within| now.checked_sub(within).ok());
    memory.corrections.retain(|_, times| {
        times.retain(|time| *time <= now && since.is_none_or(|since| *time > since));
        !times.is_empty()
    });
}

/// Whether a host in this state prevents corrections on the hosts that wait for it.
fn is_loss(state: HostState) -> bool {
    !matches!(state, HostState::InSync | HostState::Pending | HostState::Changed | HostState::Locked)
}

/// Returns why a host ended in its state.
fn why(report: &HostReport) -> Vec<String> {
    let failed = report.results.iter().filter_map(|result| match &result.outcome {
        converge_model::StepOutcome::Failed { why, .. } => Some(format!("{}: {why}", result.address)),
        _ => None,
    });
    failed.chain(report.problems.iter().map(|problem| problem.message.clone())).collect()
}

#[cfg(test)]
mod tests;

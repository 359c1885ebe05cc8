//! The look of a run at its hosts: the order of the looks, and what happens with each plan.

use std::time::Duration;

use converge_fleet::HostError;
use converge_lang::Transport;
use converge_model::{Blocked, Digest, EventKind, HostName, HostPlan, HostReport, HostState};

use super::catalog::{Patience, TooEarly};
use super::crew::{Crew, News};
use super::report::{broken, failure, report, same_machine};
use super::standing::{End, Standing, Work};
use super::{Course, Goal, Observer, Stop, stopped};
use crate::hosts::Hosts;

/// The result of a look.
type Looked = Result<HostPlan, HostError>;

/// How long to wait before the next look at a host on which another run works. The host does not report when its lock
/// is free.
const GLANCE: Duration = Duration::from_secs(1);
/// The phase of such a host.
const WAITS: &str = "waiting for another run";

impl<H: Hosts, O: Observer> Course<'_, H, O> {
    /// Looks at every host. Hosts whose catalogs read facts of other hosts come after those.
    pub(super) async fn look(&mut self) {
        let hosts = self.run.hosts.clone().into_iter();
        let (wanted, bare): (Vec<_>, Vec<_>) = hosts.partition(|host| self.may_own_something(host));
        let mut waiting = self.look_at(wanted, Patience::Waits).await;
        // The inventory declares nothing for these hosts, but other catalogs may need their facts.
        let (asked, bare): (Vec<_>, Vec<_>) =
            bare.into_iter().partition(|host| self.standings.is(host, Standing::is_awaited));
        waiting.extend(self.look_at(asked, Patience::Waits).await);
        self.look_at(waiting, Patience::TakesWhatThereIs).await;
        self.leave_alone(bare);
        self.look_at_what_is_known().await;
        self.refuse_a_selection_of_nothing();
        self.tell_what_runs_once();
        for host in self.standings.which(Standing::is_open) {
            self.finish(report(&host, HostState::NotStarted, "the run was stopped"));
        }
    }

    /// Whether a host may have work: the inventory declares something for it, or a run has applied something there
    /// before.
    fn may_own_something(&self, host: &HostName) -> bool {
        self.run.inventory.asks_for_anything(host) || self.catalogs.facts.was_applied(host)
    }

    /// Ends the hosts for which the inventory declares nothing.
    fn leave_alone(&mut self, hosts: Vec<HostName>) {
        for host in hosts {
            if !self.is_stopped() {
                let (results, problems) = (Vec::new(), Vec::new());
                self.finish(HostReport { host, state: HostState::InSync, results, in_sync: 0, problems });
            }
        }
    }

    /// Looks again at hosts whose plan has a once-step that other hosts or the controller know as done.
    async fn look_at_what_is_known(&mut self) {
        let mistaken = self.catalogs.once.mistaken(&self.standings.which(Standing::is_held));
        for host in &mistaken {
            self.standings.release(host);
        }
        self.look_at(mistaken, Patience::TakesWhatThereIs).await;
    }

    /// Ends the run if the selection names something that no host has. Names that depend on facts are known by now.
    fn refuse_a_selection_of_nothing(&mut self) {
        let problems = self.catalogs.missing(&self.run.hosts);
        if problems.is_empty() {
            return;
        }
        for host in self.standings.which(Standing::is_held) {
            let report = report(&host, HostState::Unplannable, "");
            self.finish(HostReport { problems: problems.clone(), ..report });
        }
    }

    /// Accepts the plans with once-steps, now that it is known which host will run them.
    fn tell_what_runs_once(&mut self) {
        let order: Vec<_> = self.stages.iter().flat_map(|stage| stage.hosts.iter().cloned()).collect();
        for host in self.standings.which(Standing::is_held) {
            let Some(mut plan) = self.standings.release(&host) else { continue };
            self.catalogs.once.foretell(&host, &mut plan, &order);
            self.accept(host, plan);
        }
    }

    /// Looks at `hosts` and returns those that need another look.
    async fn look_at(&mut self, hosts: Vec<HostName>, patience: Patience) -> Vec<HostName> {
        let mut crew = Crew::new();
        for host in &hosts {
            self.start_look(&mut crew, host, patience, Duration::ZERO);
        }
        let mut waiting = Vec::new();
        let mut stop = self.run.stop.clone();
        loop {
            let news = tokio::select! {
                news = crew.next() => news,
                () = stopped(&mut stop, Stop::AfterStep) => return Vec::new(),
            };
            match news {
                None => return waiting,
                Some(News::Event(host, kind)) => self.tell(Some(host), *kind),
                Some(News::Done(host, Some(Ok(plan)))) if plan.busy.is_some() && self.waits() => {
                    self.tell(Some(host.clone()), EventKind::HostState { phase: WAITS.to_owned() });
                    self.start_look(&mut crew, &host, patience, GLANCE);
                }
                Some(News::Done(host, Some(Ok(plan)))) => self.planned(host, plan),
                Some(News::Done(host, Some(Err(HostError::Compile(error))))) if error.is::<TooEarly>() => {
                    let awaited = error.downcast_ref::<TooEarly>().into_iter().flat_map(|early| &early.0);
                    awaited.for_each(|other| self.standings.await_facts(other));
                    waiting.push(host);
                }
                Some(News::Done(host, Some(Err(error)))) => self.finish(failure(&host, &error)),
                Some(News::Done(host, None)) => self.finish(broken(&host)),
            }
        }
    }

    /// Starts the look at a host after the time `after`.
    fn start_look(&self, crew: &mut Crew<Looked>, host: &HostName, patience: Patience, after: Duration) {
        crew.start(host, |events| {
            let (ask, compile) = self.job(host, events, patience);
            let (hosts, host) = (self.hosts.clone(), host.clone());
            async move {
                tokio::time::sleep(after).await;
                hosts.look(&host, ask, compile).await
            }
        });
    }

    /// Whether this run waits for another run that works on a host.
    fn waits(&self) -> bool {
        self.run.goal == Goal::Apply && self.began.elapsed() < self.run.wait
    }

    /// Accepts a host's plan if it depends on no other host. With a selection, every plan depends on the others.
    fn planned(&mut self, host: HostName, mut plan: HostPlan) {
        if self.run.strict {
            plan.refuse_impossible();
        }
        if self.catalogs.once.take_in(&host, &plan) || !self.run.selection.is_everything() {
            self.standings.hold(&host, plan);
        } else {
            self.accept(host, plan);
        }
    }

    /// Reports a host's plan, and marks the host as due or ends it.
    fn accept(&mut self, host: HostName, mut plan: HostPlan) {
        if let Some(other) = self.same_machine(&host) {
            return self.finish(same_machine(&host, &other, HostState::Unplannable));
        }
        let is_drift = matches!(self.run.goal, Goal::Drift { .. });
        if plan.problems.is_empty() && !plan.is_empty() && !is_drift {
            self.gates.foretell(&host, &mut plan);
        }
        // The token is derived from secrets. If a history or a log kept it, an attacker could test guesses of a short
        // secret against it.
        let token = std::mem::replace(&mut plan.token, Digest::from_bytes([0; 32]));
        let in_sync = plan.in_sync;
        let to_record = self.run.goal == Goal::Apply && !plan.ledger_complete;
        let has_drifted = plan.drifted().next().is_some();
        let nothing = match self.run.goal {
            Goal::Drift { .. } => !has_drifted && plan.pending().next().is_none(),
            Goal::Plan { .. } | Goal::Apply => plan.is_empty(),
        };
        let (is_refused, falls_short) = (!plan.problems.is_empty(), plan.impossible().next().is_some());
        let state = match nothing {
            _ if is_refused || falls_short => HostState::Unplannable,
            true => HostState::InSync,
            false => HostState::Pending,
        };
        let impossible = plan.impossible().cloned().map(Blocked::into_problem);
        let problems: Vec<_> = plan.problems.iter().cloned().chain(impossible).collect();
        let machine = self.catalogs.facts.machine(&host);
        let skew = self.hosts.skew(&host);
        self.tell(Some(host.clone()), EventKind::Planned { plan, machine, skew });
        let would_change = !nothing && !is_refused;
        let has_work = would_change || (!is_refused && to_record);
        if has_work && self.run.goal == Goal::Apply {
            let work = Work { token, in_sync, otherwise: state, changes: would_change };
            self.standings.plan(&host, work);
        } else {
            let report = HostReport { host, state, results: Vec::new(), in_sync, problems };
            let end = End { drifted: has_drifted, ..End::of(&report) };
            self.finish_as(report, end);
        }
    }

    /// Returns the host that is the same machine as `host` and is used instead of it. Two catalogs for one machine
    /// would undo each other's work. If both should be acted on, the first in the inventory is used, whichever
    /// answered first.
    fn same_machine(&mut self, host: &HostName) -> Option<HostName> {
        let transport = self.run.inventory.connection(host).transport;
        let is_folder = matches!(transport, Transport::Local { root: Some(_) });
        let identity = self.catalogs.facts.running(host).filter(|_| !is_folder)?;
        let Some(other) = self.machines.get(&identity).filter(|other| *other != host).cloned() else {
            self.machines.insert(identity, host.clone());
            return None;
        };
        let place = |name: &HostName| self.run.hosts.iter().position(|host| host == name);
        if place(host) > place(&other) || !self.standings.is(&other, Standing::is_due) {
            return Some(other);
        }
        self.machines.insert(identity, host.clone());
        self.catalogs.once.left(&other);
        self.finish(same_machine(&other, host, HostState::NotStarted));
        None
    }
}

//! The look of a run at its hosts: who is looked at when, and what becomes of each plan.

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

/// What a look comes to.
type Looked = Result<HostPlan, HostError>;

/// How long it is until a host is looked at again on which another run is at work: nothing tells that its lock is free.
const GLANCE: Duration = Duration::from_secs(1);
/// What such a host is at.
const WAITS: &str = "waiting for another run";

impl<H: Hosts, O: Observer> Course<'_, H, O> {
    /// Looks at every host; those whose catalogs read what others say of themselves, after these.
    pub(super) async fn look(&mut self) {
        let hosts = self.run.hosts.clone().into_iter();
        let (wanted, bare): (Vec<_>, Vec<_>) = hosts.partition(|host| self.may_own_something(host));
        let mut waiting = self.look_at(wanted, Patience::Waits).await;
        // Nothing is asked for on these; some may have to say what they are.
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

    /// Whether there may be anything to do on a host: something is asked for, or was before.
    fn may_own_something(&self, host: &HostName) -> bool {
        self.run.inventory.asks_for_anything(host) || self.catalogs.facts.was_applied(host)
    }

    /// Ends the hosts of which nothing is asked.
    fn leave_alone(&mut self, hosts: Vec<HostName>) {
        for host in hosts {
            if !self.is_stopped() {
                let (results, problems) = (Vec::new(), Vec::new());
                self.finish(HostReport { host, state: HostState::InSync, results, in_sync: 0, problems });
            }
        }
    }

    /// Looks again at the hosts that ask for what was run once already, as others know.
    async fn look_at_what_is_known(&mut self) {
        let mistaken = self.catalogs.once.mistaken(&self.standings.which(Standing::is_held));
        for host in &mistaken {
            self.standings.release(host);
        }
        self.look_at(mistaken, Patience::TakesWhatThereIs).await;
    }

    /// Ends the run where the selection names what no host has. It is known by now even where names depend on facts.
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

    /// Takes in the plans that ask for what runs once, now that it is known where that will be.
    fn tell_what_runs_once(&mut self) {
        let order: Vec<_> = self.stages.iter().flat_map(|stage| stage.hosts.iter().cloned()).collect();
        for host in self.standings.which(Standing::is_held) {
            let Some(mut plan) = self.standings.release(&host) else { continue };
            self.catalogs.once.foretell(&host, &mut plan, &order);
            self.accept(host, plan);
        }
    }

    /// Looks at `hosts` and says which are to be looked at again.
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

    /// Starts the look at a host after so long.
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

    /// Whether another run that is at work on a host is waited for.
    fn waits(&self) -> bool {
        self.run.goal == Goal::Apply && self.began.elapsed() < self.run.wait
    }

    /// Takes in a host's plan, if nothing in it depends on other hosts: what a selection chooses does.
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

    /// Tells of a host's plan, and what is to be done with it, or how it ends here.
    fn accept(&mut self, host: HostName, mut plan: HostPlan) {
        if let Some(other) = self.same_machine(&host) {
            return self.finish(same_machine(&host, &other, HostState::Unplannable));
        }
        let is_drift = matches!(self.run.goal, Goal::Drift { .. });
        if plan.problems.is_empty() && !plan.is_empty() && !is_drift {
            self.gates.foretell(&host, &mut plan);
        }
        // It is made of secrets, too: kept in a history or a log, a guess of a short one could be tried against it.
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

    /// The host that is the same machine as `host`, and goes before it: two catalogs for one machine would undo each
    /// other's work. Of two that are to be acted on that is the first of the inventory, whichever was heard first.
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

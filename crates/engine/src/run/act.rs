//! The part of a run that changes hosts. It works stage by stage. Each host starts when the hosts that it waits for
//! are done.

use std::time::Duration;

use converge_fleet::HostError;
use converge_model::{HostName, HostReport, HostState};

use super::catalog::Patience;
use super::crew::{Crew, News};
use super::report::{broken, failure, report};
use super::standing::Standing;
use super::{Course, Observer, STOPPING, Stop, reached, stopped};
use crate::hosts::Hosts;
use crate::order::{Stage, budget};

impl<H: Hosts, O: Observer> Course<'_, H, O> {
    /// Acts on the hosts that have work, stage by stage.
    pub(super) async fn act(&mut self) {
        let mut before = None;
        for stage in std::mem::take(&mut self.stages) {
            let has_work = stage.hosts.iter().any(|host| self.standings.is(host, Standing::is_due));
            match self.spent(&stage) {
                Some(why) => self.not_started(&stage.hosts, &why),
                None => {
                    if has_work && stage.rollout.is_some() && stage.rollout == before {
                        self.pause(stage.rollout).await;
                    }
                    self.act_on(&stage).await;
                }
            }
            if has_work {
                before = stage.rollout;
            }
        }
    }

    /// Waits between two batches for the time that their rollout sets, unless the run is stopped.
    async fn pause(&self, rollout: Option<usize>) {
        let rollout = rollout.and_then(|place| self.run.inventory.rollouts().get(place));
        let time = Duration::from_millis(rollout.map_or(0, |rollout| rollout.wait));
        let mut stop = self.run.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = stopped(&mut stop, Stop::AfterStep) => {}
        }
    }

    /// Returns why a stage is not started: its rollout, or an earlier one, has lost too many hosts.
    fn spent(&self, stage: &Stage) -> Option<String> {
        let upto = stage.rollout?;
        self.run.inventory.rollouts()[..=upto].iter().find_map(|rollout| {
            let hosts = self.run.hosts.iter().filter(|host| rollout.hosts.contains(host));
            let (lost, others): (Vec<_>, Vec<_>) = hosts.partition(|host| self.is_lost(host));
            let spent = lost.len() > budget(rollout, others.len() + lost.len());
            spent.then(|| format!("the rollout over {} stopped: {}", rollout.name, named(&lost)))
        })
    }

    fn is_lost(&self, host: &HostName) -> bool {
        self.standings.is(host, |standing| standing.loss().is_some())
    }

    async fn act_on(&mut self, stage: &Stage) {
        let mut crew = Crew::new();
        let due = stage.hosts.iter().filter(|host| self.standings.is(host, Standing::is_due));
        let mut waiting: Vec<HostName> = due.cloned().collect();
        let mut stop = self.run.stop.clone();
        loop {
            waiting = self.start_those_who_can(waiting, &mut crew);
            if waiting.is_empty() && crew.is_idle() && !self.standings.any(Standing::is_acting) {
                return;
            }
            let level = if *self.stop_agents.borrow() { Stop::Now } else { Stop::AfterStep };
            let news = tokio::select! {
                news = crew.next() => news,
                () = stopped(&mut stop, level) => match level {
                    Stop::Now => return self.abandon(&waiting, "in the middle of a step"),
                    _ => {
                        self.stop_agents.send_replace(true);
                        self.stop_by = Some(tokio::time::Instant::now() + STOPPING);
                        continue;
                    }
                },
                () = reached(self.stop_by) => {
                    let why = format!("{} s after it was told to stop", STOPPING.as_secs());
                    return self.abandon(&waiting, &why);
                }
            };
            let (host, result) = match news {
                None => return self.not_started(&waiting, "the hosts that it waits for did not finish"),
                Some(News::Event(host, kind)) => {
                    self.catalogs.once.hear(&host, &kind);
                    self.tell(Some(host), *kind);
                    continue;
                }
                Some(News::Done(host, result)) => (host, result),
            };
            self.catalogs.once.left(&host);
            self.finish(match result {
                Some(Ok(report)) => HostReport { host, ..report },
                Some(Err(error)) => failure(&host, &error),
                None => broken(&host),
            });
        }
    }

    /// Starts every host that waits for no other host any more, and returns the others. Hosts that waited for a
    /// failed host are not started.
    fn start_those_who_can(
        &mut self,
        waiting: Vec<HostName>,
        crew: &mut Crew<Result<HostReport, HostError>>,
    ) -> Vec<HostName> {
        let (mut still_waiting, mut queue) = (Vec::new(), waiting);
        while let Some(host) = (!queue.is_empty()).then(|| queue.remove(0)) {
            match self.readiness(&host) {
                Readiness::Ready if self.catalogs.once.take(&host) => self.start(&host, crew),
                Readiness::Ready | Readiness::Waits => still_waiting.push(host),
                Readiness::Never(why) => {
                    self.not_started(std::slice::from_ref(&host), &why);
                    // A host earlier in the list may have waited for this one, so look at all again.
                    queue.append(&mut still_waiting);
                }
            }
        }
        still_waiting
    }

    fn readiness(&self, host: &HostName) -> Readiness {
        if self.is_stopped() {
            return Readiness::Never("the run was stopped".to_owned());
        }
        let before = self.run.inventory.waits_for(host);
        if let Some(lost) = before.iter().find(|other| self.is_lost(other)) {
            let end = self.standings.of(lost).and_then(Standing::end);
            let word = end.map_or("", |end| end.state.word());
            return Readiness::Never(format!("it waits for {lost}, which ended {word}"));
        }
        // Hosts outside the selection count as done.
        let is_done = |other: &HostName| self.standings.of(other).is_none_or(|one| one.end().is_some());
        if before.iter().all(is_done) { Readiness::Ready } else { Readiness::Waits }
    }

    fn start(&mut self, host: &HostName, crew: &mut Crew<Result<HostReport, HostError>>) {
        let Some(work) = self.standings.start(host) else { return };
        crew.start(host, |events| {
            let (ask, compile) = self.job(host, events, Patience::TakesWhatThereIs);
            let (hosts, host) = (self.hosts.clone(), host.clone());
            let gates = work.changes.then(|| self.gates.clone());
            async move {
                let act = hosts.act(&host, ask.clone(), work.token, compile);
                match gates {
                    Some(gates) => gates.around(&host, ask, act).await,
                    None => act.await,
                }
            }
        });
    }

    fn not_started(&mut self, hosts: &[HostName], why: &str) {
        for host in hosts {
            if self.standings.is(host, Standing::is_due) {
                self.finish(report(host, HostState::NotStarted, why));
            }
        }
    }

    fn abandon(&mut self, waiting: &[HostName], when: &str) {
        let why = format!("abandoned {when}; the next run goes on from the host's journal");
        let mut acting = self.standings.which(Standing::is_acting);
        acting.sort();
        for host in acting {
            self.finish(report(&host, HostState::Interrupted, &why));
        }
        self.not_started(waiting, "the run was stopped");
    }
}

/// Whether a host can be acted on now.
enum Readiness {
    Ready,
    Waits,
    /// Not in this run, and why.
    Never(String),
}

fn named(hosts: &[&HostName]) -> String {
    let names: Vec<_> = hosts.iter().take(5).map(|host| host.as_str()).collect();
    let more = if hosts.len() > names.len() { ", …" } else { "" };
    format!("lost {}{more}", names.join(", "))
}

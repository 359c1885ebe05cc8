//! The gates of a rollout around a host that changes: `before` it, `health` after it, and then `after`. Each part is
//! a small catalog for one host. The run looks at it and acts on it as usual, under that host's lock and one at a
//! time.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use converge_fleet::{Ask, HostError, Prepared};
use converge_lang::{FactsOf, Moment, Rollout};
use converge_model::{
    Certainty, Change, EventKind, HostName, HostPlan, HostReport, HostState, Problem, PropertyChange, Shown,
    Step, StepOutcome, Verb,
};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::catalog::{Catalogs, Mistakes};
use super::facts::Reading;
use crate::hosts::Hosts;

/// The gates of a run.
pub(super) struct Gates<H> {
    catalogs: Arc<Catalogs>,
    hosts: Arc<H>,
    /// By host: the lock that lets only one host's gates run there at a time.
    doors: Mutex<HashMap<HostName, Arc<tokio::sync::Mutex<()>>>>,
}

impl<H: Hosts> Gates<H> {
    pub(super) fn new(catalogs: Arc<Catalogs>, hosts: Arc<H>) -> Self {
        Self { catalogs, hosts, doors: Mutex::default() }
    }

    /// Returns the rollout of `host`, if the rollout has gates.
    fn rollout(&self, host: &HostName) -> Option<&Rollout> {
        let rollouts = self.catalogs.inventory.rollouts().iter();
        rollouts.filter(|rollout| !rollout.gates.is_empty()).find(|rollout| rollout.hosts.contains(host))
    }

    /// Returns the parts to run around `host` at `moment`, each with the host that it runs on.
    fn parts(&self, host: &HostName, moment: Moment) -> Result<Vec<(HostName, Prepared)>, Mistakes> {
        let facts: Arc<dyn FactsOf> = Arc::new(Reading::new(self.catalogs.facts.clone()));
        let (gates, diagnostics) = self.catalogs.inventory.gates(host, moment, &facts);
        let gates = gates.ok_or_else(|| self.catalogs.mistakes(&diagnostics))?;
        Ok(gates.into_iter().map(|gate| (gate.on, self.catalogs.prepared(gate.compiled))).collect())
    }

    /// Adds the steps of the gates to the plan of a host that changes.
    pub(super) fn foretell(&self, host: &HostName, plan: &mut HostPlan) {
        if self.rollout(host).is_none() {
            return;
        }
        for moment in Moment::ALL {
            match self.parts(host, moment) {
                Ok(parts) => add(plan, moment, host, &parts),
                Err(Mistakes(problems)) => plan.problems.extend(problems),
            }
        }
    }

    /// Acts on a host, with the gates of its rollout before and after.
    pub(super) async fn around(
        &self,
        host: &HostName,
        ask: Ask,
        act: impl Future<Output = Result<HostReport, HostError>>,
    ) -> Result<HostReport, HostError> {
        let Some(rollout) = self.rollout(host) else { return act.await };
        if let Err(problem) = self.pass(host, Moment::Before, &ask).await {
            return Ok(lost(host, problem));
        }
        let report = act.await?;
        if !matches!(report.state, HostState::Changed | HostState::InSync) {
            return Ok(self.left_as_before(host, report));
        }
        let passed = match self.health(host, rollout, &ask).await {
            Ok(()) => self.pass(host, Moment::After, &ask).await,
            unwell => unwell,
        };
        Ok(match passed {
            Ok(()) => report,
            Err(problem) => {
                let problems = [report.problems, vec![problem]].concat();
                HostReport { state: HostState::Failed, problems, ..report }
            }
        })
    }

    /// Adds a problem to the report of a failed host: `before` was run, and `after` was not.
    fn left_as_before(&self, host: &HostName, mut report: HostReport) -> HostReport {
        if self.parts(host, Moment::After).is_ok_and(|parts| !parts.is_empty()) {
            let message = "`after` of its rollout was not run".to_owned();
            let help = Some("the changes of `before` remain: undo them by hand, or apply again".to_owned());
            report.problems.push(Problem { address: None, message, help });
        }
        report
    }

    /// Repeats the health check until it passes, has no retries left, or the run should stop.
    async fn health(&self, host: &HostName, rollout: &Rollout, ask: &Ask) -> Result<(), Problem> {
        let (mut left, mut stop) = (rollout.retries, ask.stop.clone());
        loop {
            let passed = self.pass(host, Moment::Health, ask).await;
            if passed.is_ok() || left == 0 {
                return passed;
            }
            left -= 1;
            let pause = Duration::from_millis(rollout.every);
            if let Ok(Ok(_)) = timeout(pause, stop.wait_for(|stop| *stop)).await {
                return passed;
            }
        }
    }

    /// Runs the parts of `moment`. The problem says what failed and on which host.
    async fn pass(&self, host: &HostName, moment: Moment, ask: &Ask) -> Result<(), Problem> {
        let parts = self.parts(host, moment).map_err(|Mistakes(problems)| {
            problems.into_iter().next().unwrap_or_else(|| problem(moment, host, "it has mistakes"))
        })?;
        if !parts.is_empty() {
            let _ = ask.events.send(EventKind::HostState { phase: moment.word().to_owned() }).await;
        }
        for (on, prepared) in parts {
            let door = self.door(&on);
            let _alone = door.lock().await;
            let report = self.carry_out(&on, prepared, ask).await;
            let report = report.map_err(|error| problem(moment, &on, &error.to_string()))?;
            if let Some(why) = tell(&report, ask).await {
                return Err(problem(moment, &on, &why));
            }
        }
        Ok(())
    }

    fn door(&self, on: &HostName) -> Arc<tokio::sync::Mutex<()>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).entry(on.clone()).or_default().clone()
    }

    async fn carry_out(&self, on: &HostName, prepared: Prepared, ask: &Ask) -> Result<HostReport, HostError> {
        // The events of this agent are about another host or another catalog, so they are discarded.
        let quiet = Ask { events: mpsc::channel(1).0, ..ask.clone() };
        let again = Prepared { catalog: prepared.catalog.clone(), content: prepared.content.clone() };
        let mut plan = self.hosts.look(on, quiet.clone(), Box::new(move |_| Ok(prepared))).await?;
        // A part runs completely or not at all.
        plan.refuse_impossible();
        if !plan.problems.is_empty() {
            let (state, problems) = (HostState::Unplannable, plan.problems);
            return Ok(HostReport { host: on.clone(), state, results: Vec::new(), in_sync: 0, problems });
        }
        self.hosts.act(on, quiet, plan.token, Box::new(move |_| Ok(again))).await
    }
}

/// Reports how the steps of a part ended. Returns why it failed, if it did.
async fn tell(report: &HostReport, ask: &Ask) -> Option<String> {
    for result in &report.results {
        let mut result = result.clone();
        result.resource = Step::AROUND;
        let _ = ask.events.send(EventKind::StepFinished { result }).await;
    }
    if matches!(report.state, HostState::Changed | HostState::InSync) {
        return None;
    }
    let failed = report.results.iter().find_map(|result| match &result.outcome {
        StepOutcome::Failed { why, .. } => Some(format!("{} failed: {why}", result.address)),
        _ => None,
    });
    let said = || report.problems.first().map(|problem| problem.message.clone());
    Some(failed.or_else(said).unwrap_or_else(|| report.state.word().to_owned()))
}

fn problem(moment: Moment, on: &HostName, why: &str) -> Problem {
    let help = match moment {
        Moment::Before => "the host itself was not changed; the changes of `before` until then remain",
        Moment::Health => {
            "the host was changed, and `after` was not run for it. If the host is in sync, the next run skips it: repair \
             the host, and undo the changes of `before` by hand"
        }
        Moment::After => "the host was changed, and is healthy",
    };
    let message = format!("`{}` of its rollout, on {on}: {why}", moment.word());
    Problem { address: None, message, help: Some(help.to_owned()) }
}

fn lost(host: &HostName, problem: Problem) -> HostReport {
    let (state, problems) = (HostState::Failed, vec![problem]);
    HostReport { host: host.clone(), state, results: Vec::new(), in_sync: 0, problems }
}

/// Adds the steps of `parts` at their place. Steps of `before` come before all steps of the host itself.
fn add(plan: &mut HostPlan, moment: Moment, host: &HostName, parts: &[(HostName, Prepared)]) {
    let step = |on: &HostName, resource: &converge_model::Resource| {
        let place = if on == host { String::new() } else { format!(", on {on}") };
        let what = PropertyChange::new(moment.word(), Shown::Absent, format!("{}{place}", moment.word()));
        Step {
            resource: Step::AROUND,
            address: resource.address.clone(),
            kind: resource.kind.clone(),
            change: Change::new(Verb::Act).property(what),
            because: Vec::new(),
            owed: false,
            drift: converge_model::plan::Drift::default(),
            guarded: false,
            warning: None,
        }
    };
    let new: Vec<Step> = parts
        .iter()
        .flat_map(|(on, prepared)| prepared.catalog.resources.iter().map(move |resource| step(on, resource)))
        .collect();
    if moment != Moment::Before {
        return plan.steps.extend(new);
    }
    let shift = new.len() as u32;
    for step in &mut plan.steps {
        if let Certainty::Conditional { on, .. } = &mut step.change.certainty {
            on.iter_mut().for_each(|place| *place = place.saturating_add(shift));
        }
    }
    plan.steps.splice(0..0, new);
}

//! One turn of a host: a look for drift. If the daemon decides so, an act follows that corrects this drift and
//! nothing else. Both are ordinary runs of the engine.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use converge_engine::{FleetHosts, Goal, Observer, Run, Stop, run, start};
use converge_fleet::Fleet;
use converge_lang::Selection;
use converge_model::{
    Address, Event, EventKind, HostName, HostPlan, HostReport, HostState, Problem, RunId, Step,
};
use tokio::sync::watch;

use crate::charge::Reading;
use crate::keeper::Look;
use crate::voice::Voice;

/// The inputs of a turn.
pub(crate) struct Visit {
    pub(crate) host: HostName,
    pub(crate) reading: Arc<Reading>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) voice: Arc<Voice>,
    pub(crate) stop: watch::Receiver<Stop>,
    pub(crate) strict: bool,
}

impl Visit {
    /// Looks at the host. Returns the id of the run and its result.
    pub(crate) async fn look(&self) -> (Option<RunId>, Look) {
        let began = Instant::now();
        let ear = self.run(Goal::Drift { fail: false }, Selection::default(), None).await;
        let took = began.elapsed().as_millis() as u64;
        let state = ear.report.as_ref().map_or(HostState::Failed, |report| report.state);
        let problems = ear.report.iter().flat_map(|report| &report.problems);
        let why = problems.map(told).collect();
        (ear.id, Look { state, plan: ear.plan, why, took })
    }

    /// Corrects the drift of `addresses`. The report is None if the run did not finish.
    pub(crate) async fn correct(&self, addresses: &[Address]) -> (Option<RunId>, Option<HostReport>) {
        let only = addresses.iter().map(ToString::to_string).collect();
        let selection = Selection { only, ..Selection::default() };
        let ear = self.run(Goal::Apply, selection, Some(addresses.to_vec())).await;
        (ear.id, ear.report)
    }

    async fn run(&self, goal: Goal, selection: Selection, allowed: Option<Vec<Address>>) -> Ear {
        let mut ear = Ear { id: None, voice: self.voice.clone(), plan: None, report: None, allowed };
        let Ok(id) = start::run_id() else { return ear };
        let Reading { project, inventory: Ok(inventory), sources, seen, done_once, .. } = &*self.reading
        else {
            return ear;
        };
        ear.id = Some(id.clone());
        let hosts = std::slice::from_ref(&self.host);
        let reached = Arc::new(FleetHosts::new(&self.fleet, inventory, &project.root, hosts));
        let of_host = Run {
            id,
            by: start::by(),
            goal,
            owner: project.owner(inventory.project()),
            inventory: inventory.clone(),
            sources: sources.clone(),
            hosts: hosts.to_vec(),
            selection,
            seen: seen.clone(),
            done_once: done_once.clone(),
            stop: self.stop.clone(),
            guard: converge_model::wire::Guard::default(),
            strict: self.strict,
            wait: Duration::ZERO,
        };
        run::run(of_host, reached.clone(), &mut ear).await;
        if let Some(reached) = Arc::into_inner(reached) {
            reached.close().await;
        }
        ear
    }
}

/// Observes the run of one host.
struct Ear {
    id: Option<RunId>,
    voice: Arc<Voice>,
    plan: Option<HostPlan>,
    report: Option<HostReport>,
    /// The resources that may be corrected.
    allowed: Option<Vec<Address>>,
}

impl Observer for Ear {
    fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Planned { plan, .. } => self.plan = Some(plan.clone()),
            EventKind::HostFinished { report } => self.report = Some(report.clone()),
            _ => {}
        }
        self.voice.event(event);
    }

    /// Agrees only to the steps that were decided after the look. Refuses a plan with anything new.
    async fn confirm(&mut self) -> bool {
        let (Some(plan), Some(allowed)) = (&self.plan, &self.allowed) else { return false };
        plan.steps.iter().all(|step| is_correction(step, allowed))
    }
}

/// Whether a step is an allowed correction, or follows from allowed ones. The gates of a rollout follow from all of
/// them.
fn is_correction(step: &Step, allowed: &[Address]) -> bool {
    let follows = !step.because.is_empty() && step.because.iter().all(|cause| allowed.contains(cause));
    follows
        || step.is_around()
        || (step.is_corrective() && !step.is_intentional() && (step.owed || allowed.contains(&step.address)))
}

fn told(problem: &Problem) -> String {
    match &problem.address {
        Some(address) => format!("{address}: {}", problem.message),
        None => problem.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::plan::Drift;
    use converge_model::{Cause, Change, Verb};

    #[test]
    fn only_what_drifted_and_what_follows_from_it_is_corrected() {
        let address = |name: &str| Address::new(None, "file", name);
        let step = |name: &str, cause: Cause| Step {
            resource: 0,
            address: address(name),
            kind: "file".into(),
            change: Change::new(Verb::Update),
            because: Vec::new(),
            owed: false,
            drift: Drift { cause, ..Drift::default() },
            guarded: false,
            warning: None,
        };
        let allowed = [address("/a")];
        let check = |step: Step, may: bool| assert_eq!(is_correction(&step, &allowed), may, "{step:?}");
        check(step("/a", Cause::Corrective), true);
        check(step("/b", Cause::Corrective), false);
        check(step("/a", Cause::Intentional), false);
        check(step("/a", Cause::Both { corrective: vec![0] }), false);
        check(step("/a", Cause::Always), false);
        let follows = |cause: &str| Step { because: vec![address(cause)], ..step("/s", Cause::Intentional) };
        check(follows("/a"), true);
        check(follows("/b"), false);
        check(Step { resource: Step::AROUND, ..step("/s", Cause::Intentional) }, true);
        check(Step { owed: true, ..step("/s", Cause::Corrective) }, true);
        check(Step { owed: true, ..step("/s", Cause::Intentional) }, false);
    }
}

//! The plan of a host.

use converge_model::catalog::DriftMode;
use converge_model::{Address, Blocked, Cause, Certainty, HostPlan, Problem, Step, Verb, plan};
use jiff::Timestamp;
use serde::Serialize;

use super::change::{Property, Sureness, properties};
use super::time;

/// The plan of an apply on a host.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Plan<'a> {
    steps: Vec<PlannedStep<'a>>,
    in_sync: u32,
    problems: Vec<PlanProblem<'a>>,
    blocked: Vec<BlockedResource<'a>>,
    busy: Option<Holder<'a>>,
    interrupted: Option<&'a str>,
    reverted: Option<&'a str>,
    damaged_lines: u32,
}

/// One step of a plan.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct PlannedStep<'a> {
    address: &'a str,
    kind: &'a str,
    verb: Verb,
    properties: Vec<Property<'a>>,
    certainty: Sureness,
    conditional_on: Vec<&'a str>,
    why: Option<&'a str>,
    irreversible: Option<&'a str>,
    because: Vec<&'a str>,
    owed: bool,
    guarded: bool,
    by_rollout: bool,
    warning: Option<&'a str>,
    drift: Drift<'a>,
}

/// The cause of drift, and the daemon's response.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Drift<'a> {
    cause: DriftCause,
    properties: Vec<&'a str>,
    mode: DriftMode,
}

/// The cause of drift.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum DriftCause {
    Host,
    Inventory,
    Both,
    Always,
}

/// Why a host cannot be planned.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct PlanProblem<'a> {
    address: Option<&'a str>,
    message: &'a str,
    help: Option<&'a str>,
}

/// A resource that an apply does not change.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct BlockedResource<'a> {
    address: &'a str,
    because: Option<&'a str>,
    why: &'a str,
    help: Option<&'a str>,
    may_fail: bool,
}

/// The run that holds the lock of a host.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Holder<'a> {
    run: &'a str,
    by: &'a str,
    since: Option<Timestamp>,
    held_seconds: u64,
}

impl<'a> From<&'a plan::Holder> for Holder<'a> {
    fn from(holder: &'a plan::Holder) -> Self {
        Self {
            run: &holder.run,
            by: &holder.by,
            since: time(holder.since.saturating_mul(1000)),
            held_seconds: holder.held,
        }
    }
}

impl<'a> From<&'a HostPlan> for Plan<'a> {
    fn from(plan: &'a HostPlan) -> Self {
        Self {
            steps: plan.steps.iter().map(|step| PlannedStep::new(step, &plan.steps)).collect(),
            in_sync: plan.in_sync,
            problems: problems(&plan.problems),
            blocked: plan.blocked.iter().map(BlockedResource::from).collect(),
            busy: plan.busy.as_ref().map(Holder::from),
            interrupted: plan.interrupted.as_deref(),
            reverted: plan.reverted.as_deref(),
            damaged_lines: plan.damaged,
        }
    }
}

impl<'a> PlannedStep<'a> {
    /// Converts a step of a plan. `steps` has all steps of the plan.
    fn new(step: &'a Step, steps: &'a [Step]) -> Self {
        let (on, why) = match &step.change.certainty {
            Certainty::Exact => (&[][..], None),
            Certainty::Conditional { on, why } => (on.as_slice(), Some(why.as_str())),
        };
        let address = |place: &u32| steps.get(*place as usize).map(|step| step.address.as_str());
        Self {
            address: step.address.as_str(),
            kind: &step.kind,
            verb: step.change.verb,
            properties: properties(&step.change),
            certainty: Sureness::from(&step.change.certainty),
            conditional_on: on.iter().filter_map(address).collect(),
            why,
            irreversible: step.change.irreversible.as_deref(),
            because: step.because.iter().map(Address::as_str).collect(),
            owed: step.owed,
            guarded: step.guarded,
            by_rollout: step.is_around(),
            warning: step.warning.as_deref(),
            drift: Drift::from(step),
        }
    }
}

impl<'a> From<&'a Step> for Drift<'a> {
    fn from(step: &'a Step) -> Self {
        let properties = step.change.properties.iter().enumerate();
        let drifted = properties.filter(|(place, _)| step.property_drifted(*place));
        Self {
            cause: match step.drift.cause {
                Cause::Corrective => DriftCause::Host,
                Cause::Intentional => DriftCause::Inventory,
                Cause::Both { .. } => DriftCause::Both,
                Cause::Always => DriftCause::Always,
            },
            properties: drifted.map(|(_, change)| change.property.as_str()).collect(),
            mode: step.drift.mode,
        }
    }
}

/// Converts the problems of a host.
pub(super) fn problems(problems: &[Problem]) -> Vec<PlanProblem<'_>> {
    problems.iter().map(PlanProblem::from).collect()
}

impl<'a> From<&'a Problem> for PlanProblem<'a> {
    fn from(problem: &'a Problem) -> Self {
        Self {
            address: problem.address.as_ref().map(Address::as_str),
            message: &problem.message,
            help: problem.help.as_deref(),
        }
    }
}

impl<'a> From<&'a Blocked> for BlockedResource<'a> {
    fn from(blocked: &'a Blocked) -> Self {
        Self {
            address: blocked.address.as_str(),
            because: blocked.because.as_ref().map(Address::as_str),
            why: &blocked.why,
            help: blocked.help.as_deref(),
            may_fail: blocked.may_fail,
        }
    }
}

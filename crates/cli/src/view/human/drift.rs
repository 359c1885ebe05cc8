//! One host's drift as text: what moved on the host, apart from what the inventory newly asks for. A step that is there
//! for both stands in both parts, each time with its own properties.

use std::fmt::Write as _;

use converge_model::catalog::DriftMode;
use converge_model::{Change, HostPlan, Step};

use super::plan::{Detail, head, skipped, step};
use crate::view::paint::{CHANGED, FAINT, STRONG, paint};

/// What a plan says of drift, empty where there is nothing to say.
pub(super) fn drift(plan: &HostPlan, detail: Detail) -> String {
    let mut out = head(plan);
    let (ignored, counted): (Vec<_>, Vec<_>) = plan.steps.iter().partition(|step| is_ignored(step, plan));
    let corrective = counted.iter().filter_map(|step| part(step, true)).collect();
    let intentional = counted.iter().filter_map(|step| part(step, false)).collect();
    section(&mut out, &paint(CHANGED, "the host moved"), corrective, plan, detail);
    section(&mut out, &paint(STRONG, "the inventory asks for something new"), intentional, plan, detail);
    skipped(&mut out, plan);
    if detail == Detail::Full {
        let ignored = ignored.into_iter().cloned().collect();
        section(&mut out, &paint(FAINT, "left alone: drift=\"ignore\""), ignored, plan, detail);
    }
    out
}

/// Whether nobody wants to hear of a step, or of any that it follows from.
fn is_ignored(step: &Step, plan: &HostPlan) -> bool {
    let ignores = |step: &Step| step.drift.mode == DriftMode::Ignore;
    if step.because.is_empty() {
        return ignores(step);
    }
    let causes = |other: &&Step| other.because.is_empty() && step.because.contains(&other.address);
    plan.steps.iter().filter(causes).all(ignores)
}

/// The step with those of its properties that moved on the host, or with the others; none where it has none of these.
fn part(step: &Step, corrective: bool) -> Option<Step> {
    let wanted = if corrective { step.is_corrective() } else { step.is_intentional() };
    let of_part = |(place, _): &(usize, _)| step.moved(*place) == corrective;
    let properties = step.change.properties.iter().enumerate().filter(of_part);
    let properties = properties.map(|(_, property)| property.clone()).collect();
    wanted.then(|| Step { change: Change { properties, ..step.change.clone() }, ..step.clone() })
}

fn section(out: &mut String, title: &str, steps: Vec<Step>, plan: &HostPlan, detail: Detail) {
    if !steps.is_empty() {
        let _ = writeln!(out, "  {title}");
    }
    for part in &steps {
        step(out, part, &plan.steps, detail);
    }
}

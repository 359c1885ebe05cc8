//! One host's drift as text: what moved on the host, apart from what the inventory newly asks for. A step that is there
//! for both stands in both parts, each time with its own properties.

use converge_model::catalog::DriftMode;
use converge_model::{Change, HostPlan, Step};

use super::merged::Line;
use super::plan::{self, Detail};
use crate::view::paint::{CHANGED, FAINT, STRONG, paint};

/// The titles of the sections, in their order.
pub(super) fn title(section: usize) -> String {
    match section {
        0 => paint(CHANGED, "the host moved"),
        1 => paint(STRONG, "the inventory asks for something new"),
        _ => paint(FAINT, "left alone: drift=\"ignore\""),
    }
}

/// What the plan of one host says of drift, as text. Empty if there is nothing to say.
pub(super) fn drift(plan: &HostPlan, detail: Detail) -> String {
    let mut out = plan::head(plan);
    for part in lines(plan, detail).chunk_by(|(one, _), (other, _)| one == other) {
        out.push_str(&format!("  {}\n", title(part[0].0)));
        part.iter().for_each(|(_, line)| out.push_str(&plan::whole(line, detail)));
    }
    out
}

/// The lines of what a plan says of drift, by section.
pub(super) fn lines(plan: &HostPlan, detail: Detail) -> Vec<(usize, Line)> {
    let (ignored, counted): (Vec<_>, Vec<_>) = plan.steps.iter().partition(|step| is_ignored(step, plan));
    let corrective = counted.iter().filter_map(|step| part(step, true)).map(|step| (0, step));
    let intentional = counted.iter().filter_map(|step| part(step, false)).map(|step| (1, step));
    let ignored = ignored.into_iter().filter(|_| detail == Detail::Full).map(|step| (2, step.clone()));
    let steps = corrective.chain(intentional).chain(ignored);
    let lines = steps.map(|(section, step)| (section, plan::line(&step, &plan.steps)));
    lines.chain(plan::skipped(plan, 1)).collect()
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

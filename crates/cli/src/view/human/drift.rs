//! The drift of one host as text: changes on the host, separate from what is new in the inventory. A step with both
//! is in both parts, each time with the properties of that part.

use converge_model::catalog::DriftMode;
use converge_model::{Certainty, Change, HostPlan, PropertyChange, Shown, Step, TextDiff, Verb};

use super::merged::Line;
use super::plan::{self, Detail};
use crate::view::paint::{CHANGED, FAINT, STRONG, paint};
use crate::view::text::harmless;

/// The section of steps that an earlier run owed.
const OWED: usize = 2;
/// The section of steps of resources whose drift is ignored.
const IGNORED: usize = 3;

/// The titles of the sections, in their order.
pub(super) fn title(section: usize) -> String {
    match section {
        0 => paint(CHANGED, "changed on the host since the last apply"),
        1 => paint(STRONG, "in the inventory, not yet applied"),
        OWED => paint(STRONG, "owed from an earlier run: an apply does it"),
        _ => paint(FAINT, "left alone: drift=\"ignore\""),
    }
}

/// Returns the drift in one host's plan as text. Empty if there is none.
pub(super) fn drift(plan: &HostPlan, detail: Detail) -> String {
    let mut out = plan::head(plan);
    for part in lines(plan, detail).chunk_by(|(one, _), (other, _)| one == other) {
        out.push_str(&format!("  {}\n", title(part[0].0)));
        part.iter().for_each(|(section, line)| out.push_str(&in_words(*section, line, detail)));
    }
    out
}

/// Returns a line. A change on the host is described in words.
pub(super) fn in_words(section: usize, line: &Line, detail: Detail) -> String {
    let text = plan::whole(line, detail);
    let Line::Step(step, _) = line else { return text };
    let address = harmless(step.address.as_str());
    let is_told = section == 0 && step.change.verb != Verb::Act;
    if is_told {
        text.replacen(&address, &format!("{}: {address}", words(step.change.verb)), 1)
    } else {
        text
    }
}

/// Returns the lines of a plan's drift, by section.
pub(super) fn lines(plan: &HostPlan, detail: Detail) -> Vec<(usize, Line)> {
    let (ignored, counted): (Vec<_>, Vec<_>) = plan.steps.iter().partition(|step| is_ignored(step, plan));
    let (owed, counted): (Vec<_>, Vec<_>) = counted.into_iter().partition(|step| step.owed);
    let corrective = counted.iter().filter_map(|step| part(step, true)).map(|step| (0, what_happened(step)));
    let intentional = counted.iter().filter_map(|step| part(step, false)).map(|step| (1, step));
    let owed = owed.into_iter().map(|step| (OWED, Step { owed: false, ..step.clone() }));
    let ignored = ignored.into_iter().filter(|_| detail == Detail::Full).map(|step| (IGNORED, step.clone()));
    let steps = corrective.chain(intentional).chain(owed).chain(ignored);
    let lines = steps.map(|(section, step)| (section, plan::line(&step, &plan.steps)));
    lines.chain(plan::skipped(plan, 1)).collect()
}

/// Whether a step, or every step that it follows from, has drift="ignore".
fn is_ignored(step: &Step, plan: &HostPlan) -> bool {
    let ignores = |step: &Step| step.drift.mode == DriftMode::Ignore;
    if step.because.is_empty() {
        return ignores(step);
    }
    let causes = |other: &&Step| other.because.is_empty() && step.because.contains(&other.address);
    plan.steps.iter().filter(causes).all(ignores)
}

/// Describes what happened on the host. A step says what an apply would do about it, which is the reverse.
fn what_happened(step: Step) -> Step {
    let verb = match step.change.verb {
        Verb::Create => Verb::Remove,
        Verb::Remove => Verb::Create,
        same => same,
    };
    if verb == Verb::Act {
        return step;
    }
    let turned = |one: PropertyChange| PropertyChange {
        before: one.after,
        after: one.before,
        diff: one.diff.map(|diff| TextDiff { unified: turned(&diff.unified), ..diff }),
        ..one
    };
    // A value that the apply does not know yet was not on the host, so skip it.
    let is_known = |one: &PropertyChange| !matches!(one.before, Shown::Unknown(_));
    let properties = step.change.properties.into_iter().map(turned).filter(is_known).collect();
    let change = Change { verb, properties, certainty: Certainty::Exact, irreversible: None };
    Step { change, ..step }
}

/// Reverses a difference. In each block the removed lines come first, as usual.
fn turned(unified: &str) -> String {
    let mut out = String::with_capacity(unified.len());
    let mut came = String::new();
    // Work on whole lines: the text may end without a line break, and the last line may move.
    for line in unified.lines() {
        match line.as_bytes().first() {
            Some(b'-') => came.push_str(&format!("+{}\n", &line[1..])),
            Some(b'+') => out.push_str(&format!("-{}\n", &line[1..])),
            _ => {
                out.push_str(&std::mem::take(&mut came));
                out.push_str(&format!("{}\n", hunk(line)));
            }
        }
    }
    out + &came
}

/// Swaps the sides in the head of a hunk: `@@ -1,2 +1,3 @@`.
fn hunk(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["@@", old, new, rest @ ..] if old.starts_with('-') && new.starts_with('+') => {
            format!("@@ -{} +{} {}", &new[1..], &old[1..], rest.join(" "))
        }
        _ => line.to_owned(),
    }
}

/// Returns the words for a change on the host.
pub(super) fn words(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "added by hand",
        Verb::Remove => "removed by hand",
        Verb::Replace => "replaced by hand",
        Verb::Update | Verb::Act => "changed by hand",
    }
}

/// Returns the step with its properties that changed on the host, or with the other ones. None if there are none.
fn part(step: &Step, corrective: bool) -> Option<Step> {
    let wanted = if corrective { step.is_corrective() } else { step.is_intentional() };
    let of_part = |(place, _): &(usize, _)| step.property_drifted(*place) == corrective;
    let properties = step.change.properties.iter().enumerate().filter(of_part);
    let properties = properties.map(|(_, property)| property.clone()).collect();
    wanted.then(|| Step { change: Change { properties, ..step.change.clone() }, ..step.clone() })
}

//! The plan of one host as text: one line for each step, with its changes below. Hosts share equal lines, so no line
//! names a host.

use std::fmt::Write as _;

use converge_model::{
    Address, Certainty, Change, HostPlan, Problem, PropertyChange, Shown, Step, TextDiff, Verb,
};

use super::merged::Line;
use crate::view::paint::{ADDED, CHANGED, FAILED, FAINT, REMOVED, paint, sign};
use crate::view::text::{count, cut, harmless};

/// How much of a plan is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The number of steps for each verb.
    Summary,
    /// One line for each step, for a terminal with this many columns. Small or surprising details are below it.
    Outline(usize),
    /// Long differences are cut.
    Usual,
    /// Everything.
    Full,
}

/// How many lines of one difference are shown without `-v`.
const DIFF_LINES: usize = 60;
/// How many characters of one value are shown without `-v`.
const VALUE_WIDTH: usize = 160;

impl Detail {
    fn diff_lines(self) -> usize {
        if self == Self::Full { usize::MAX } else { DIFF_LINES }
    }

    fn value(self, text: &str) -> String {
        cut(text, if self == Self::Full { usize::MAX } else { VALUE_WIDTH })
    }
}

/// Returns the lines of a plan, in order and all in one section.
pub(super) fn lines(plan: &HostPlan) -> Vec<(usize, Line)> {
    let steps = plan.steps.iter().map(|step| (0, line(step, &plan.steps)));
    steps.chain(skipped(plan, 0)).collect()
}

/// Returns the line of one of the `steps` of a plan.
pub(super) fn line(step: &Step, steps: &[Step]) -> Line {
    let on = match &step.change.certainty {
        Certainty::Conditional { on, .. } => on.as_slice(),
        Certainty::Exact => &[],
    };
    let on = on.iter().filter_map(|at| steps.get(*at as usize)).map(|step| step.address.clone());
    Line::Step(Box::new(step.clone()), on.collect())
}

/// Returns the resources that wait for one that cannot be planned.
pub(super) fn skipped(plan: &HostPlan, section: usize) -> impl Iterator<Item = (usize, Line)> {
    let waiting = plan.blocked.iter().filter(|blocked| blocked.because.is_some());
    waiting.map(move |blocked| (section, Line::Skipped(blocked.clone())))
}

/// Returns a line with all its details.
pub(super) fn whole(line: &Line, detail: Detail) -> String {
    let mut out = String::new();
    match line {
        Line::Step(step, on) => self::step(&mut out, step, on, detail),
        Line::Skipped(blocked) => {
            let (address, why) = (harmless(blocked.address.as_str()), harmless(&blocked.why));
            let _ = writeln!(out, "  . {address}  skipped: {why}");
        }
    }
    out
}

/// Returns the messages about the host as a whole.
pub(super) fn head(plan: &HostPlan) -> String {
    let mut out = String::new();
    if let Some(holder) = &plan.busy {
        note(&mut out, &holder.to_string());
    }
    if let Some(run) = &plan.interrupted {
        note(&mut out, &format!("run {run} was interrupted; the next apply cleans up after it"));
    }
    if plan.damaged > 0 {
        note(
            &mut out,
            &format!(
                "{} of the host's journal cannot be read; a handler that was owed there is lost",
                count(plan.damaged as usize, "line")
            ),
        );
    }
    if let Some(run) = &plan.reverted {
        note(
            &mut out,
            &format!("the host reverted steps of run {run}, because no new connection confirmed them"),
        );
    }
    for problem in &plan.problems {
        out.push_str(&self::problem(problem));
    }
    for blocked in plan.blocked.iter().filter(|blocked| blocked.because.is_none()) {
        let may = if blocked.may_fail { "cannot be planned (it may fail): " } else { "cannot be planned: " };
        out.push_str(&headed_problem_of(may, &blocked.clone().into_problem()));
    }
    out
}

/// Returns a problem with some words before its message.
fn headed_problem_of(words: &str, problem: &Problem) -> String {
    self::problem(&Problem { message: format!("{words}{}", problem.message), ..problem.clone() })
}

/// How many seconds a clock may be wrong before it affects certificates, schedules and the times in logs.
const SKEW: u64 = 60;

/// Returns the message about the clock of a host that is `skew` seconds ahead.
pub(super) fn clock(skew: i64) -> String {
    let mut out = String::new();
    if let Some(words) = skewed(skew) {
        note(&mut out, &words);
    }
    out
}

/// Returns the words for a wrong clock. None if the difference is too small to matter.
pub(crate) fn skewed(skew: i64) -> Option<String> {
    let time = match skew.unsigned_abs() {
        0..=SKEW => return None,
        seconds @ 0..=7200 => format!("{seconds} s"),
        seconds => format!("{} h", seconds / 3600),
    };
    let way = if skew > 0 { "ahead of" } else { "behind" };
    Some(format!("the host's clock is {time} {way} the clock of this machine"))
}

/// Returns why a host cannot be acted on.
pub(crate) fn problem(problem: &Problem) -> String {
    headed_problem("", problem)
}

/// Returns the same after some coloured words.
pub(super) fn headed_problem(head: &str, problem: &Problem) -> String {
    let mut out = format!("  {} {head}", paint(FAILED, '!'));
    if let Some(address) = &problem.address {
        let _ = write!(out, "{}  ", harmless(address.as_str()));
    }
    let mut lines = problem.message.lines();
    let _ = writeln!(out, "{}", harmless(lines.next().unwrap_or_default()));
    for line in lines {
        let _ = writeln!(out, "      {}", harmless(line));
    }
    for line in problem.help.iter().flat_map(|help| help.lines()) {
        let _ = writeln!(out, "      {}", paint(FAINT, format_args!("help: {}", harmless(line))));
    }
    out
}

fn note(out: &mut String, text: &str) {
    let _ = writeln!(out, "  {}", paint(FAINT, format_args!("note: {}", harmless(text))));
}

/// Writes the lines of a step that waits for the steps `on`.
fn step(out: &mut String, step: &Step, on: &[Address], detail: Detail) {
    let _ = write!(out, "  {} {}", sign(step.change.verb), harmless(step.address.as_str()));
    let inline = inline(&step.change, detail);
    if let Some(text) = &inline {
        let _ = write!(out, "  {text}");
    }
    if !step.because.is_empty() {
        let causes: Vec<_> = step.because.iter().map(|cause| harmless(cause.as_str())).collect();
        let verb = if causes.len() == 1 { "changes" } else { "change" };
        let _ = write!(out, "   {}", paint(FAINT, format_args!("because {} {verb}", causes.join(", "))));
    }
    out.push('\n');
    if inline.is_none() {
        step.change.properties.iter().for_each(|p| property(out, step.change.verb, p, detail));
    }
    remarks(out, step, on);
    if let Some(warning) = &step.warning {
        let _ = writeln!(out, "      {}", paint(FAILED, format_args!("warning: {}", harmless(warning))));
    }
}

/// Returns the part of a change that fits after its address: an action's command, or the only changed property.
fn inline(change: &Change, detail: Detail) -> Option<String> {
    if change.verb == Verb::Act {
        let words: Vec<_> = change.properties.iter().map(|p| shown(&p.after, detail)).collect();
        return (!words.is_empty()).then(|| words.join(" "));
    }
    match change.properties.as_slice() {
        [only] if only.diff.is_none() => Some(values(change.verb, only, detail)),
        _ => None,
    }
}

/// Returns the values of a property. The address alone names a resource that comes or goes as a whole. For a
/// resource that stays, the part that changes is shown.
pub(super) fn values(verb: Verb, change: &PropertyChange, detail: Detail) -> String {
    let arrow = format!("{} -> {}", shown(&change.before, detail), shown(&change.after, detail));
    match (&change.before, &change.after) {
        (Shown::Absent, _) | (_, Shown::Absent) if matches!(verb, Verb::Create | Verb::Remove) => arrow,
        _ => format!("{}: {arrow}", harmless(&change.property)),
    }
}

pub(super) fn property(out: &mut String, verb: Verb, change: &PropertyChange, detail: Detail) {
    let name = harmless(&change.property);
    if let Some(diff) = &change.diff {
        // The content of a file needs no name. One of several files does.
        if change.property != "content" {
            let _ = writeln!(out, "      {name}:");
        }
        return self::diff(out, diff, detail);
    }
    let value = match (verb, &change.before, &change.after) {
        (Verb::Create, Shown::Absent, after) => shown(after, detail),
        (Verb::Remove, before, Shown::Absent) => shown(before, detail),
        (_, before, after) => format!("{} -> {}", shown(before, detail), shown(after, detail)),
    };
    let _ = writeln!(out, "      {name}: {value}");
}

pub(super) fn shown(value: &Shown, detail: Detail) -> String {
    match value {
        Shown::Absent => "(absent)".to_owned(),
        Shown::Text(text) if text.is_empty() => "\"\"".to_owned(),
        Shown::Text(text) => detail.value(text),
        Shown::Masked => "(secret)".to_owned(),
        Shown::Unknown(why) => {
            format!("{} unknown until apply: {}", paint(CHANGED, '?'), harmless(why))
        }
    }
}

/// Writes the lines of a difference. The head of an only hunk adds nothing, so it is skipped.
fn diff(out: &mut String, diff: &TextDiff, detail: Detail) {
    let hunks = diff.unified.lines().filter(|line| line.starts_with("@@")).count();
    let lines = || diff.unified.lines().filter(|line| hunks > 1 || !line.starts_with("@@"));
    for line in lines().take(detail.diff_lines()) {
        let style = match line.as_bytes().first() {
            Some(b'+') => ADDED,
            Some(b'-') => REMOVED,
            _ => FAINT,
        };
        let _ = writeln!(out, "      {}", paint(style, harmless(line)));
    }
    let more = lines().count().saturating_sub(detail.diff_lines());
    if more > 0 {
        let _ = writeln!(out, "      {}", paint(FAINT, format_args!("… {more} more lines (-v shows them)")));
    }
    if diff.cut {
        let _ = writeln!(out, "      {}", paint(FAINT, "… the rest is too long to show"));
    }
}

fn remarks(out: &mut String, step: &Step, on: &[Address]) {
    let mut remark = |text: String| {
        let _ = writeln!(out, "      {}", paint(FAINT, harmless(&text)));
    };
    if step.owed {
        remark("owed from an earlier run".to_owned());
    }
    if let Certainty::Conditional { why, .. } = &step.change.certainty {
        match on.iter().map(Address::as_str).collect::<Vec<_>>().as_slice() {
            [] => remark(format!("conditional: {why}")),
            [only] => remark(format!("conditional on {only}: {why}")),
            [others @ .., last] => remark(format!("conditional on {last} and {} more: {why}", others.len())),
        }
    }
    if step.guarded {
        remark("could lock you out: the host undoes it unless a new login works".to_owned());
    }
    if let Some(why) = &step.change.irreversible {
        remark(format!("not revertible: {why}"));
    }
}

//! The end of a step and the end of a host as text.

use std::fmt::Write as _;

use converge_model::{HostReport, HostState, Restoration, Stands, StepOutcome, StepResult, Verb};

use super::Detail;
use super::plan::{headed_problem, problem, values};
use crate::view::paint::{FAILED, FAINT, paint, sign};
use crate::view::text::{count, harmless, seconds};

/// How many lines of a failed step's output are shown. The events have all of them.
const OUTPUT_LINES: usize = 20;
/// The duration of a step is shown if it is at least this many milliseconds.
const WORTH_SAYING: u64 = 1000;

/// How many lines are shown of a step's effects beyond its plan. The events have all of them.
const UNFORESEEN_LINES: usize = 20;

/// Returns the lines of a step on the host `name`.
pub(super) fn step(name: &str, result: &StepResult, detail: Detail) -> String {
    let mut out = outcome(name, result);
    for beyond in result.unforeseen.iter().take(UNFORESEEN_LINES) {
        let _ = writeln!(out, "      unforeseen: {}", values(Verb::Update, beyond, detail));
    }
    let more = result.unforeseen.len().saturating_sub(UNFORESEEN_LINES);
    if more > 0 {
        let _ = writeln!(out, "      unforeseen: {more} more");
    }
    out
}

fn outcome(name: &str, result: &StepResult) -> String {
    let address = harmless(result.address.as_str());
    let took = match result.took {
        0..WORTH_SAYING => String::new(),
        took => paint(FAINT, format_args!("   {}", seconds(took))),
    };
    let verb = sign(result.change.verb);
    match &result.outcome {
        StepOutcome::Done => format!("{name}  {verb} {address}{took}\n"),
        StepOutcome::AlreadySo => {
            format!("{name}  {}\n", paint(FAINT, format_args!("= {address}  already so")))
        }
        StepOutcome::Unforeseen => {
            format!(
                "{name}  {verb} {address}  unforeseen: an earlier step of this run had changed it{took}\n"
            )
        }
        StepOutcome::Failed { why, output, restored, stands } => {
            let mut out =
                format!("{name}  {} {address}  {}{took}\n", paint(FAILED, '!'), failure(why, result));
            tail(&mut out, output);
            if let Some(since) = since(*restored, stands) {
                let _ = writeln!(out, "      {since}");
            }
            out
        }
        StepOutcome::Skipped { why } => format!("{name}  . {address}  skipped: {}\n", harmless(why)),
        StepOutcome::Owed => format!("{name}  {verb} {address}  still owed; the next run pays it\n"),
    }
}

/// Returns the state after a failed step. None if it is not known, or if nothing changed.
fn since(restored: Restoration, stands: &Stands) -> Option<String> {
    let stands = match stands {
        Stands::Unknown | Stands::Unchanged => None,
        Stands::AsAsked => Some("the resource is in sync all the same".to_owned()),
        Stands::Differs { properties } if properties.is_empty() => None,
        Stands::Differs { properties } => {
            let names: Vec<_> = properties.iter().map(|name| harmless(name)).collect();
            Some(format!("the resource changed, and is still pending: {}", names.join(", ")))
        }
    };
    let restored = (restored == Restoration::Done).then(|| "the replaced data was restored".to_owned());
    let words: Vec<_> = restored.into_iter().chain(stands).collect();
    (!words.is_empty()).then(|| words.join("; "))
}

fn failure(why: &str, result: &StepResult) -> String {
    let may = if result.may_fail { " (it may)" } else { "" };
    format!("{}: {}", paint(FAILED, format_args!("failed{may}")), harmless(why))
}

fn tail(out: &mut String, output: &str) {
    let lines: Vec<_> = output.lines().collect();
    let before = lines.len().saturating_sub(OUTPUT_LINES);
    if before > 0 {
        let _ = writeln!(
            out,
            "      | … {} before (`converge history last -v` shows all)",
            count(before, "line")
        );
    }
    for line in &lines[lines.len().saturating_sub(OUTPUT_LINES)..] {
        let _ = writeln!(out, "      | {}", harmless(line));
    }
}

/// Returns the lines of a host that was given up before its plan. They do not name the host, so that hosts with equal
/// lines are shown together.
pub(super) fn given_up(report: &HostReport) -> String {
    let word = paint(FAILED, report.state.word());
    match report.problems.as_slice() {
        [] => format!("  {} {word}\n", paint(FAILED, '!')),
        problems => problems.iter().map(|found| headed_problem(&format!("{word}: "), found)).collect(),
    }
}

/// Returns in a few words why a host failed: its first failed step, otherwise its first problem.
pub(super) fn cause(report: &HostReport) -> String {
    let state = report.state.word();
    let failed = report.results.iter().filter(|result| !result.may_fail).find_map(|result| {
        let StepOutcome::Failed { why, .. } = &result.outcome else { return None };
        Some(format!(" at {} ({})", harmless(result.address.as_str()), harmless(first_line(why))))
    });
    let problem = || {
        let found = report.problems.first()?;
        let address = found.address.iter().map(|address| format!("{}: ", harmless(address.as_str())));
        Some(format!(" ({}{})", address.collect::<String>(), harmless(first_line(&found.message))))
    };
    let after = match report.changes() {
        0 => String::new(),
        n => format!(" after {}", count(n, "change")),
    };
    format!("{state}{}{after}", failed.or_else(problem).unwrap_or_default())
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Returns the lines for a host's end. Empty if its steps have shown everything.
pub(super) fn host(name: &str, report: &HostReport) -> String {
    let is_fine = matches!(report.state, HostState::Changed | HostState::InSync | HostState::Pending);
    let mut out = match (is_fine, report.problems.as_slice()) {
        (true, []) => String::new(),
        (true, _) => format!("{name}\n"),
        (false, _) => {
            let after = match report.changes() {
                0 => String::new(),
                n => format!(" after {}", count(n, "change")),
            };
            format!("{name}  {}{after}\n", paint(FAILED, report.state.word()))
        }
    };
    report.problems.iter().for_each(|found| out.push_str(&problem(found)));
    out
}

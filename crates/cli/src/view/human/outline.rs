//! The outline of a plan for a terminal: one line for each step, in the available width. A module folds to one line.
//! Details are shown below a step if they are small or surprising. All others are counted, and shown with `-v`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use converge_model::{Address, Certainty, PropertyChange, Shown as Value, Step, Verb};

use super::merged::{Line, without_name};
use super::plan::{self, Detail};
use super::{PLANNED, VerbTotals};
use crate::view::paint::{ACTION, ADDED, CHANGED, FAILED, FAINT, paint, sign};
use crate::view::text::{count, cut, harmless, middle};

/// A module with at least this many unsurprising steps is folded to one line.
const FOLD: usize = 4;
/// A difference with at most this many lines is shown completely.
const SMALL: usize = 8;
/// The part of a line that an address may take.
const ADDRESS_SHARE: (usize, usize) = (3, 5);
/// The indent of the details below a step.
const INDENT: &str = "      ";

/// Notes that are shown once for all steps of an outline.
#[derive(Debug, Default)]
pub(super) struct Legend {
    guarded: usize,
    waiting: usize,
    /// The steps that others wait for, in the order of the plan.
    awaited: Vec<Address>,
    /// Why steps cannot be reverted, each with the number of steps.
    lasting: BTreeMap<String, usize>,
    /// Whether something was left out.
    is_short: bool,
}

/// Returns the outline of lines for the same hosts. Each line may have the name of a host that `HOST` replaces.
pub(super) fn lines(lines: &[(&Line, Option<&str>)], width: usize, legend: &mut Legend) -> String {
    let steps = lines.iter().filter_map(|(line, _)| match line {
        Line::Step(step, on) => Some((&**step, on.as_slice())),
        Line::Skipped(_) => None,
    });
    let mut modules: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
    for (step, on) in steps {
        legend.count(step, on);
        if let Some(module) = module(step.address.as_str()).filter(|_| !surprises(step)) {
            modules.entry(module).or_default().push(step);
        }
    }
    modules.retain(|_, steps| steps.len() >= FOLD);
    let mut waiting = waiting(lines);
    let mut all = String::new();
    for (line, name) in lines {
        let mut out = String::new();
        match line {
            Line::Skipped(blocked) => {
                let what = match waiting.get_mut(blocked.why.as_str()).map(std::mem::take) {
                    Some(0) => continue,
                    Some(n) => {
                        legend.is_short = true;
                        count(n, "resource")
                    }
                    // A few resources have one line each.
                    None => blocked.address.to_string(),
                };
                let text = format!("{what}  skipped: {}", blocked.why);
                let _ = writeln!(out, "  . {}", cut(&text, width.saturating_sub(4)));
            }
            Line::Step(step, _) => {
                let module = module(step.address.as_str()).filter(|_| !surprises(step));
                match module.and_then(|module| modules.get_mut(module).map(|steps| (module, steps))) {
                    Some((_, steps)) if steps.is_empty() => {}
                    Some((module, steps)) => {
                        legend.is_short = true;
                        folded(&mut out, module, &std::mem::take(steps), width);
                    }
                    None => self::step(&mut out, step, width, legend),
                }
            }
        }
        all.push_str(&name.map_or(out.clone(), |name| without_name(&out, name)));
    }
    all
}

/// Returns the number of skipped resources for each reason, if there are too many for one line each.
fn waiting<'a>(lines: &[(&'a Line, Option<&str>)]) -> BTreeMap<&'a str, usize> {
    let mut waiting = BTreeMap::new();
    for (line, _) in lines {
        if let Line::Skipped(blocked) = line {
            *waiting.entry(blocked.why.as_str()).or_default() += 1;
        }
    }
    waiting.retain(|_, n| *n >= FOLD);
    waiting
}

/// Writes the line of a module: `+ app-release[shop]: 14 steps (12 creates, 2 actions)`.
fn folded(out: &mut String, module: &str, steps: &[&Step], width: usize) {
    let mut totals = VerbTotals::default();
    steps.iter().for_each(|step| totals.count(step.change.verb));
    let is_new = steps.iter().any(|step| step.change.verb == Verb::Create)
        && !steps.iter().any(|step| step.change.verb == Verb::Update);
    let acts = steps.iter().all(|step| step.change.verb == Verb::Act);
    let sign = match (is_new, acts) {
        (true, _) => paint(ADDED, '+'),
        (false, true) => paint(ACTION, '>'),
        (false, false) => paint(CHANGED, '~'),
    };
    let text = format!("{module}: {} ({})", count(steps.len(), "step"), totals.words(PLANNED));
    let _ = writeln!(out, "  {sign} {}", cut(&text, width.saturating_sub(4)));
}

fn step(out: &mut String, step: &Step, width: usize, legend: &mut Legend) {
    let room = width.saturating_sub(4);
    let address = middle(step.address.as_str(), room * ADDRESS_SHARE.0 / ADDRESS_SHARE.1);
    let summary = summary(step, legend);
    let mark = if step.guarded { " (guarded)" } else { "" };
    let summary = cut(&summary, room.saturating_sub(address.chars().count() + mark.len() + 2));
    let mark = if mark.is_empty() { String::new() } else { paint(FAILED, mark) };
    let gap = if summary.is_empty() { "" } else { "  " };
    let _ = writeln!(out, "  {} {address}{mark}{gap}{summary}", sign(step.change.verb));
    details(out, step, legend);
    if let Some(warning) = &step.warning {
        let _ = writeln!(out, "{INDENT}{}", paint(FAILED, format_args!("warning: {}", harmless(warning))));
    }
}

/// Returns the changes of a step in one line.
fn summary(step: &Step, legend: &mut Legend) -> String {
    let change = &step.change;
    if change.verb == Verb::Act {
        let words = change.properties.iter().map(|one| plain(&one.after));
        let words = words.collect::<Vec<_>>().join(" ");
        return match step.because.as_slice() {
            [] => words,
            [one] => format!("{words}, because {one} changes"),
            [one, more @ ..] => format!("{words}, because {one} and {} more change", more.len()),
        };
    }
    let told = change.properties.iter().filter(|one| !is_told_below(step, one));
    let told: Vec<_> = told.map(|one| property(change.verb, one)).collect();
    legend.is_short |= change.properties.iter().any(|one| one.diff.is_some() && !is_told_below(step, one));
    told.join(", ")
}

/// Returns one property: its new value, its old value, or both.
fn property(verb: Verb, one: &PropertyChange) -> String {
    if let Some(diff) = &one.diff {
        let of = |sign: char| diff.unified.lines().filter(|line| line.starts_with(sign)).count();
        return match (of('-'), of('+')) {
            (0, came) => format!("{} {}", one.property, count(came, "line")),
            (gone, came) => format!("{} -{gone} +{came} lines", one.property),
        };
    }
    if let ("also installs", Value::Text(names)) = (one.property.as_str(), &one.after) {
        let names: Vec<_> = names.split(", ").collect();
        return match names.as_slice() {
            [_] | [_, _] => format!("also installs {}", names.join(", ")),
            _ => format!("also installs {}", count(names.len(), "package")),
        };
    }
    if let ("removes", Value::Text(names)) = (one.property.as_str(), &one.before) {
        return format!("removes {names}");
    }
    match (verb, &one.before, &one.after) {
        (Verb::Create, Value::Absent, after) => format!("{} {}", one.property, plain(after)),
        (Verb::Remove, before, Value::Absent) => format!("{} {}", one.property, plain(before)),
        (_, before, after) => format!("{}: {} -> {}", one.property, plain(before), plain(after)),
    }
}

/// Returns a value without colours, because the line is cut as a whole.
fn plain(value: &Value) -> String {
    match value {
        Value::Unknown(_) => "?".to_owned(),
        value => anstream::adapter::strip_str(&plan::shown(value, Detail::Usual)).to_string(),
    }
}

/// Whether a property is shown below the step: small differences of existing files.
fn is_told_below(step: &Step, one: &PropertyChange) -> bool {
    let small = |unified: &str| unified.lines().filter(|line| !line.starts_with("@@")).count() <= SMALL;
    step.change.verb == Verb::Update
        && one.diff.as_ref().is_some_and(|diff| !diff.cut && small(&diff.unified))
}

fn details(out: &mut String, step: &Step, legend: &mut Legend) {
    for one in step.change.properties.iter().filter(|one| is_told_below(step, one)) {
        plan::property(out, step.change.verb, one, Detail::Usual);
    }
    if step.owed {
        let _ = writeln!(out, "{INDENT}{}", paint(FAINT, "owed from an earlier run"));
    }
    legend.is_short |= step.change.properties.iter().any(|one| matches!(one.after, Value::Unknown(_)));
}

/// Whether a step is surprising, so that it has its own line.
fn surprises(step: &Step) -> bool {
    let verb = matches!(step.change.verb, Verb::Remove | Verb::Replace);
    let removes = step.change.properties.iter().any(|one| one.property == "removes");
    verb || removes || step.guarded || step.owed || step.warning.is_some()
}

/// Returns the module at the beginning of an address: `app-release[shop]`. None for a resource of a body.
fn module(address: &str) -> Option<&str> {
    let (mut depth, mut escaped) = (0_usize, false);
    for (at, c) in address.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            '.' if depth == 0 => return Some(&address[..at]),
            _ => {}
        }
    }
    None
}

impl Legend {
    fn count(&mut self, step: &Step, on: &[Address]) {
        self.guarded += usize::from(step.guarded);
        if matches!(step.change.certainty, Certainty::Conditional { .. }) {
            self.waiting += 1;
            for one in on {
                if !self.awaited.contains(one) {
                    self.awaited.push(one.clone());
                }
            }
        }
        if let Some(why) = &step.change.irreversible {
            *self.lasting.entry(why.clone()).or_default() += 1;
        }
    }

    /// Returns the lines below an outline. `more` says how to show everything.
    pub(super) fn lines(&self, more: &str) -> String {
        let mut out = String::new();
        let mut say = |text: String| {
            let _ = writeln!(out, "  {}", paint(FAINT, harmless(&text)));
        };
        match self.guarded {
            0 => {}
            1 => {
                say("the guarded step could lock you out: the host undoes it unless a new login works"
                    .to_owned())
            }
            n => say(format!(
                "{n} guarded steps could lock you out: the host undoes them unless a new login works"
            )),
        }
        let wait = if self.waiting == 1 {
            "1 step waits".to_owned()
        } else {
            format!("{} steps wait", self.waiting)
        };
        match (self.waiting, self.awaited.as_slice()) {
            (0, _) => {}
            (_, []) => say(format!("{wait} for what earlier steps bring")),
            (_, [one]) => say(format!("{wait} for {one}")),
            (_, [one, more @ ..]) => say(format!("{wait} for {one} and {} more", more.len())),
        }
        for (why, n) in &self.lasting {
            say(format!("{} cannot be reverted: {why}", count(*n, "step")));
        }
        if self.is_short {
            say(format!("{more} shows everything"));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_what_stands_before_the_first_dot_outside_brackets() {
        let check =
            |address: &str, expected: Option<&str>| assert_eq!(module(address), expected, "{address}");
        check("file[/etc/a.b]", None);
        check("nginx.package[nginx]", Some("nginx"));
        check("app-release[shop.example].file[/srv/a.b]", Some("app-release[shop.example]"));
        check("m[a\\].b].n.file[/x]", Some("m[a\\].b]"));
    }
}

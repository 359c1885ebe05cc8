//! The terminal view: folds the events of a run and returns the lines for each event. It prints nothing and uses no
//! clock, so a run from the history looks like the original.
//!
//! The plan is shown when every selected host was looked at or given up; hosts with the same plan are shown together.
//! Then each result is shown as it comes; at a terminal without `-v`, skipped steps are only counted. The last lines of
//! a plan and of an apply are made here, the lines of steps in `plan`, `outline` and `result`.

mod ad_hoc;
mod drift;
mod merged;
mod outline;
mod plan;
mod result;
#[cfg(test)]
mod tests;
pub(crate) mod watch;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use converge_model::{
    Address, Event, EventKind, HostName, HostPlan, HostReport, HostState, StepOutcome, StepResult, Verb, exit,
};

use ad_hoc::Commands;
use merged::{HOST, Line, Merged, Shown};
use outline::Legend;
pub(crate) use plan::{Detail, skewed};

use super::paint::{FAILED, FAINT, STRONG, paint};
use super::text::{count, fold_names, harmless, seconds};

/// The view. [`Human::event`] returns the text that an event adds to the results.
#[derive(Debug)]
pub(crate) struct Human {
    detail: Detail,
    verb: String,
    selected: usize,
    /// The hosts in the order of their first events, which is that of the inventory.
    hosts: Vec<HostName>,
    places: HashMap<HostName, usize>,
    /// Messages about hosts as a whole, each with its hosts.
    heads: BTreeMap<String, Vec<usize>>,
    /// The merged plans.
    merged: Merged,
    /// Whether each host, by index, was looked at or given up.
    looked: Vec<bool>,
    plan: PlanTotals,
    plan_is_shown: bool,
    done: VerbTotals,
    /// The steps that count as done. A step that failed afterwards is removed.
    counted: HashSet<(usize, Address, bool)>,
    /// How many steps were skipped.
    skipped: usize,
    /// The reasons why hosts failed, each with its hosts.
    causes: Vec<(String, Vec<usize>)>,
    /// The actions that are owed after this run.
    owed: Vec<Address>,
    /// How many hosts were changed, in any state.
    changed: usize,
    in_sync: usize,
    /// The output of a command on the hosts.
    commands: Commands,
    /// Whether the run comes from the history.
    is_past: bool,
}

/// The totals of all hosts' plans.
#[derive(Debug, Default)]
struct PlanTotals {
    looked: usize,
    changing: usize,
    in_sync: usize,
    unreachable: usize,
    unplannable: usize,
    /// Hosts that were given up for another reason.
    failed: usize,
    /// How many resources cannot be planned, on hosts where others can.
    impossible: usize,
    /// How many resources wait for one of these.
    skipped: usize,
    /// How many hosts drifted.
    drifted: usize,
    /// How many steps are owed from earlier runs.
    owed: usize,
    /// How many resources drifted on them.
    corrective: usize,
    /// How many resources have something new in the inventory.
    intentional: usize,
}

/// The number of steps for each verb.
#[derive(Clone, Copy, Debug, Default)]
struct VerbTotals([usize; 5]);

impl Human {
    /// Creates the view of a run that has not begun.
    pub(crate) fn new(detail: Detail) -> Self {
        Self {
            detail,
            verb: String::new(),
            selected: 0,
            hosts: Vec::new(),
            places: HashMap::new(),
            heads: BTreeMap::new(),
            merged: Merged::default(),
            looked: Vec::new(),
            plan: PlanTotals::default(),
            plan_is_shown: false,
            done: VerbTotals::default(),
            counted: HashSet::new(),
            skipped: 0,
            causes: Vec::new(),
            owed: Vec::new(),
            changed: 0,
            in_sync: 0,
            commands: Commands::default(),
            is_past: false,
        }
    }

    /// Shows a run from the history: its verb is shown too.
    pub(crate) fn of_the_past(&mut self) {
        self.is_past = true;
    }

    /// Whether its lines may be wrapped at a terminal. The output of a command is not wrapped.
    pub(crate) fn may_break(&self) -> bool {
        self.verb != "exec"
    }

    /// Returns the text that `event` adds to the results. It is often empty.
    pub(crate) fn event(&mut self, event: &Event) -> String {
        let place = event.host.as_ref().map(|host| self.place(host));
        match (&event.kind, place) {
            (EventKind::RunStarted { verb, hosts, .. }, _) => {
                (self.verb, self.selected) = (verb.clone(), *hosts as usize);
                String::new()
            }
            (kind, place) if self.is_ad_hoc() => self.ad_hoc(kind, place),
            (EventKind::Planned { plan, skew, .. }, Some(place)) => self.planned(place, plan, *skew),
            (EventKind::StepFinished { result }, Some(place)) => self.step_finished(place, result),
            (EventKind::HostFinished { report }, Some(place)) => self.host_finished(place, report),
            (EventKind::Armed { seconds }, Some(place)) => {
                format!(
                    "{}  armed: the host reverts the next steps after {seconds} s, unless a new connection confirms them\n",
                    self.name(place)
                )
            }
            (EventKind::Confirmed, Some(place)) => {
                format!("{}  confirmed over a new connection\n", self.name(place))
            }
            (EventKind::Reverted, Some(place)) => {
                format!(
                    "{}  {}\n",
                    self.name(place),
                    paint(FAILED, "not confirmed: the host reverted the steps")
                )
            }
            (EventKind::RunFinished { states, took, exit, .. }, _) => self.run_finished(states, *took, *exit),
            _ => String::new(),
        }
    }

    fn place(&mut self, host: &HostName) -> usize {
        if let Some(place) = self.places.get(host) {
            return *place;
        }
        self.hosts.push(host.clone());
        self.looked.push(false);
        self.places.insert(host.clone(), self.hosts.len() - 1);
        self.hosts.len() - 1
    }

    /// Returns the name of a host, padded so that the next column is aligned.
    fn name(&self, place: usize) -> String {
        let width = self.hosts.iter().map(|host| host.as_str().len()).max().unwrap_or_default();
        let name = self.hosts[place].as_str();
        format!("{}{:pad$}", paint(STRONG, name), "", pad = width.min(NAME_WIDTH).saturating_sub(name.len()))
    }

    fn planned(&mut self, place: usize, plan: &HostPlan, skew: i64) -> String {
        let lines = match self.verb.as_str() {
            "drift" => drift::lines(plan, self.detail),
            _ => plan::lines(plan),
        };
        let whole = |(section, line): (usize, Line)| {
            let text = plan::whole(&line, Detail::Full);
            (section, anstream::adapter::strip_str(&text).to_string(), line)
        };
        self.merged.add(place, plan.problems.is_empty(), lines.into_iter().map(whole).collect());
        let head = plan::clock(skew) + &plan::head(plan);
        if !head.is_empty() {
            self.heads.entry(head).or_default().push(place);
        }
        let (owed, drifted): (Vec<_>, Vec<_>) = plan.drifted().partition(|step| step.owed);
        let corrective = drifted.len();
        self.plan.owed += owed.len();
        self.plan.drifted += usize::from(corrective > 0);
        self.plan.corrective += corrective;
        self.plan.intentional += plan.pending().count();
        let is_refused = !plan.problems.is_empty();
        self.plan.in_sync += plan.in_sync as usize;
        self.plan.changing += usize::from(!plan.steps.is_empty() && !is_refused);
        self.plan.unplannable += usize::from(is_refused);
        if !is_refused {
            self.plan.impossible += plan.impossible().count();
            self.plan.skipped += plan.blocked.iter().filter(|one| one.because.is_some()).count();
        }
        self.looked_at(place)
    }

    /// Counts a host that was looked at or given up. An apply shows its plan after the last host. A plan shows it at
    /// its end, with the time that it took.
    fn looked_at(&mut self, place: usize) -> String {
        self.looked[place] = true;
        self.plan.looked += 1;
        let is_complete = self.plan.looked == self.selected && self.verb == "apply";
        if is_complete { self.show_plan(None) } else { String::new() }
    }

    fn given_up(&mut self, place: usize, report: &HostReport) -> String {
        let text = result::given_up(report);
        self.heads.entry(text).or_default().push(place);
        match report.state {
            HostState::Unreachable => self.plan.unreachable += 1,
            HostState::Unplannable => self.plan.unplannable += 1,
            _ => self.plan.failed += 1,
        }
        self.looked_at(place)
    }

    fn show_plan(&mut self, took: Option<u64>) -> String {
        self.plan_is_shown = true;
        let mut out = self.plan_text(self.detail);
        if !out.is_empty() {
            out.push('\n');
        }
        // An apply that has nothing to do says so once, at its end.
        if self.verb != "apply" || self.plan.changing > 0 {
            if self.verb != "apply" {
                out.push_str(&self.cause_lines());
            }
            out.push_str(&self.plan_summary(took));
        }
        out
    }

    /// The line that ends the plans.
    pub(crate) fn plan_summary(&self, took: Option<u64>) -> String {
        let mut totals = VerbTotals::default();
        self.merged.steps().for_each(|step| totals.count(step.change.verb));
        self.plan_line(totals, took)
    }

    /// All of the plans, for who wants to see more than was shown.
    pub(crate) fn details(&self) -> String {
        self.plan_text(Detail::Full)
    }

    /// Returns the plans of all hosts with this detail: messages about hosts as a whole, then the steps.
    fn plan_text(&self, detail: Detail) -> String {
        let names: Vec<&str> = self.hosts.iter().map(HostName::as_str).collect();
        let mut out = String::new();
        let mut blocks: Vec<(Vec<usize>, &str, Vec<Shown<'_>>)> =
            self.merged.sets(&names).into_iter().map(|(hosts, lines)| (hosts, "", lines)).collect();
        for (text, hosts) in &self.heads {
            let mut hosts = hosts.clone();
            hosts.sort_unstable();
            // Messages about hosts as a whole come before their steps.
            match blocks.iter_mut().find(|(of, head, _)| *of == hosts && head.is_empty()) {
                Some((_, head, _)) => *head = text,
                None => blocks.push((hosts, text, Vec::new())),
            }
        }
        blocks.sort_by_key(|(hosts, ..)| merged::order(hosts));
        let mut legend = Legend::default();
        for (hosts, head, lines) in &blocks {
            out.push_str(&self.title(hosts));
            out.push_str(head);
            out.push_str(&self.lines(lines, &names, detail, &mut legend));
        }
        out + &legend.lines("-v")
    }

    /// Returns the lines for the same hosts.
    fn lines(&self, lines: &[Shown<'_>], names: &[&str], detail: Detail, legend: &mut Legend) -> String {
        let mut out = String::new();
        for part in lines.chunk_by(|one, other| one.section == other.section) {
            if self.verb == "drift" {
                let _ = writeln!(out, "  {}", drift::title(part[0].section));
            }
            if detail == Detail::Summary {
                out.push_str(&summary(part));
                continue;
            }
            let named = |shown: &Shown<'_>| shown.named.map(|place| names[place]);
            if self.verb == "drift" {
                for shown in part {
                    let text = drift::in_words(shown.section, shown.line, detail);
                    out.push_str(
                        &named(shown).map_or(text.clone(), |name| merged::without_name(&text, name)),
                    );
                }
                continue;
            }
            if let Detail::Outline(width) = detail {
                let lines: Vec<_> = part.iter().map(|shown| (shown.line, named(shown))).collect();
                out.push_str(&outline::lines(&lines, width, legend));
                continue;
            }
            for shown in part {
                let text = plan::whole(shown.line, detail);
                out.push_str(&named(shown).map_or(text.clone(), |name| merged::without_name(&text, name)));
            }
        }
        if detail != Detail::Summary && lines.iter().any(|shown| shown.named.is_some()) {
            let _ =
                writeln!(out, "  {}", paint(FAINT, format_args!("{HOST} stands for the name of each host")));
        }
        out
    }

    /// Returns the title of some hosts.
    fn title(&self, hosts: &[usize]) -> String {
        let names = fold_names(hosts.iter().map(|place| self.hosts[*place].as_str()));
        match hosts.len() {
            1 => format!("{}\n", paint(STRONG, names)),
            n => format!("{} ({})\n", paint(STRONG, names), count(n, "host")),
        }
    }

    fn plan_line(&self, totals: VerbTotals, took: Option<u64>) -> String {
        let change = match self.plan.changing {
            0 if self.plan.is_whole() => Some("nothing to change".to_owned()),
            0 => None,
            1 => Some(format!("1 host will change ({})", totals.words(PLANNED))),
            n => Some(format!("{n} hosts will change ({})", totals.words(PLANNED))),
        };
        let (head, said) = match self.verb.as_str() {
            // If no host could be looked at, it is not known whether hosts drifted.
            "drift" if self.plan.given_up() == self.plan.looked => ("Drift", None),
            "drift" => ("Drift", Some(self.plan.drift())),
            _ => ("Plan", change),
        };
        let in_sync =
            (self.plan.in_sync > 0).then(|| format!("{} in sync", count(self.plan.in_sync, "resource")));
        let bad = [
            (self.plan.unreachable, "unreachable"),
            (self.plan.unplannable, "cannot be planned"),
            (self.plan.failed, "failed"),
        ];
        let bad = bad.into_iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}"));
        let said: Vec<_> = self.plan.shortfall().into_iter().chain(said).chain(in_sync).chain(bad).collect();
        let mut line = format!("{head}: {}.", said.join("; "));
        if let Some(took) = took {
            let _ = write!(line, "   {}", seconds(took));
        }
        line + "\n"
    }

    fn step_finished(&mut self, place: usize, step: &StepResult) -> String {
        let verb = step.change.verb;
        let key = (place, step.address.clone(), verb == Verb::Act);
        if step.outcome.changed() {
            self.done.count(verb);
            self.counted.insert(key);
        } else if self.counted.remove(&key) {
            self.done.0[verb as usize] -= 1;
        }
        match step.outcome {
            StepOutcome::Skipped { .. } => {
                self.skipped += 1;
                // A terminal counts them at the end. Their lines would push the cause off the screen.
                if matches!(self.detail, Detail::Outline(_)) {
                    return String::new();
                }
            }
            StepOutcome::Owed if !self.owed.contains(&step.address) => self.owed.push(step.address.clone()),
            _ => {}
        }
        result::step(&self.name(place), step, self.detail)
    }

    fn host_finished(&mut self, place: usize, report: &HostReport) -> String {
        self.in_sync += report.in_sync as usize;
        self.changed += usize::from(report.changes() > 0);
        if BAD.contains(&report.state) {
            let cause = result::cause(report);
            match self.causes.iter_mut().find(|(known, _)| *known == cause) {
                Some((_, hosts)) => hosts.push(place),
                None => self.causes.push((cause, vec![place])),
            }
        }
        match (self.looked[place], report.state) {
            // The inventory declares nothing for it, so it was not contacted.
            (false, HostState::InSync) => self.looked_at(place),
            (false, _) => self.given_up(place, report),
            // The plan has shown the reason already.
            (true, HostState::Unplannable) => String::new(),
            (true, _) if self.verb == "apply" => result::host(&self.name(place), report),
            (true, _) => String::new(),
        }
    }

    /// Returns the rest of a run that was cut off: the plans that waited for other hosts' plans.
    pub(crate) fn cut_off(&mut self) -> String {
        let plan = if self.is_ad_hoc() {
            self.commands_text()
        } else if self.plan_is_shown {
            String::new()
        } else {
            self.show_plan(None)
        };
        format!("{plan}{}\n", paint(FAILED, "cut off, or still at work: the run has no end"))
    }

    fn run_finished(&mut self, states: &[(HostState, u32)], took: u64, exit: u8) -> String {
        // How long the question was thought about says nothing of the run.
        use HostState::{Changed, Failed, Interrupted, Reverted};
        let has_acted =
            |(state, _): &(HostState, u32)| matches!(state, Changed | Failed | Interrupted | Reverted);
        // Ctrl-C at the question is an answer, too.
        let is_left = exit == exit::ERROR || (exit == exit::INTERRUPTED && !states.iter().any(has_acted));
        if self.verb == "apply" && self.plan_is_shown && is_left {
            return "Apply: not applied.\n".to_owned();
        }
        match (self.verb.as_str(), self.plan_is_shown) {
            ("apply", true) => self.apply_line(states, took),
            ("apply", false) => self.show_plan(None) + &self.apply_line(states, took),
            _ => self.show_plan(Some(took)),
        }
    }

    fn apply_line(&self, states: &[(HostState, u32)], took: u64) -> String {
        let of = |state: HostState| states.iter().find(|(s, _)| *s == state).map_or(0, |(_, n)| *n as usize);
        // A run recorded by an older version does not count hosts that changed and failed.
        let hosts = self.changed.max(of(HostState::Changed));
        let changed = match hosts {
            0 if self.plan.changing == 0 && self.causes.is_empty() => Some("nothing to change".to_owned()),
            0 if self.causes.is_empty() => Some("no host changed".to_owned()),
            0 => None,
            n => Some(format!("{} changed ({})", count(n, "host"), self.done.words(APPLIED))),
        };
        let not_reached = match self.skipped {
            _ if self.causes.is_empty() => None,
            0 => None,
            n => Some(format!("{} skipped", count(n, "step"))),
        };
        let cause =
            if self.causes.len() == 1 { self.causes.first().map(|cause| self.cause(cause)) } else { None };
        let said = cause.into_iter().chain(not_reached).chain(changed);
        let lines = if self.causes.len() > 1 { self.cause_lines() } else { String::new() };
        let in_sync = (self.in_sync > 0).then(|| format!("{} in sync", count(self.in_sync, "resource")));
        let bad = BAD.iter().filter(|state| of(**state) > 0);
        let bad = bad.map(|state| paint(FAILED, format_args!("{} {}", of(*state), state.word())));
        let said: Vec<_> = said.into_iter().chain(in_sync).chain(bad).collect();
        format!("{lines}Apply: {}.   {}\n{}", said.join("; "), seconds(took), self.next())
    }
}

/// Counts the steps in some lines by verb.
fn summary(lines: &[Shown<'_>]) -> String {
    let mut totals = VerbTotals::default();
    let mut skipped = 0;
    for shown in lines {
        match shown.line {
            Line::Step(step, _) => totals.count(step.change.verb),
            Line::Skipped(_) => skipped += 1,
        }
    }
    let skipped = if skipped == 0 { String::new() } else { format!(", {skipped} skipped") };
    format!("  {}{skipped}\n", totals.words(PLANNED))
}

impl Human {
    /// Returns why hosts failed, one line each. In a long run everything else is far above.
    fn cause_lines(&self) -> String {
        let line = |cause| format!("{} {}\n", paint(FAILED, '!'), self.cause(cause));
        let mut lines: String = self.causes.iter().take(CAUSES).map(line).collect();
        let more: usize = self.causes.iter().skip(CAUSES).map(|(_, hosts)| hosts.len()).sum();
        if more > 0 {
            let _ = writeln!(lines, "  … and {}", count(more, "more host"));
        }
        lines
    }

    /// Returns a cause with its hosts.
    fn cause(&self, (cause, hosts): &(String, Vec<usize>)) -> String {
        let mut hosts = hosts.clone();
        hosts.sort_unstable();
        format!("{} {cause}", fold_names(hosts.iter().map(|place| self.hosts[*place].as_str())))
    }

    /// Returns what is left after a failed run, and what to type next. Only at a terminal.
    fn next(&self) -> String {
        if self.causes.is_empty() || !matches!(self.detail, Detail::Outline(_)) {
            return String::new();
        }
        let mut lines = String::new();
        if self.changed > 0 {
            lines.push_str("  Completed changes stay.\n");
        }
        for address in &self.owed {
            let _ = writeln!(lines, "  The next run still has to notify {}.", harmless(address.as_str()));
        }
        lines.push_str(
            "  `converge history last -v` shows the whole run.\n  `converge apply --failed-from last` goes on with the hosts that did \
             not succeed.\n",
        );
        lines
    }
}

impl PlanTotals {
    /// Whether every host was planned, with all its resources.
    fn is_whole(&self) -> bool {
        self.given_up() == 0 && self.impossible == 0
    }

    /// Returns how many hosts could not be planned at all.
    fn given_up(&self) -> usize {
        self.unreachable + self.unplannable + self.failed
    }

    /// Returns what could not be planned, which comes first.
    fn shortfall(&self) -> Vec<String> {
        let mut said = Vec::new();
        match self.given_up() {
            0 => {}
            all if all == self.looked => said.push("no host could be planned".to_owned()),
            some => said.push(format!("{some} of {} could not be planned", count(self.looked, "host"))),
        }
        match (self.impossible, self.skipped) {
            (0, _) => {}
            (some, 0) => said.push(format!("{} cannot be planned", count(some, "resource"))),
            (some, skipped) => {
                let some = count(some, "resource");
                said.push(format!("{some} cannot be planned, {skipped} skipped because of that"));
            }
        }
        said
    }

    /// Returns what drifted, and what waits for an apply.
    fn drift(&self) -> String {
        let drifted = match self.drifted {
            0 => "no host drifted".to_owned(),
            hosts => format!("{} drifted ({})", count(hosts, "host"), count(self.corrective, "resource")),
        };
        let waiting = match self.intentional {
            0 => String::new(),
            1 => "; 1 resource waits for an apply".to_owned(),
            n => format!("; {n} resources wait for an apply"),
        };
        let owed = match self.owed {
            0 => String::new(),
            n => format!("; {} owed from an earlier run", count(n, "step")),
        };
        drifted + &waiting + &owed
    }
}

/// How many failed hosts are named again at the end.
const CAUSES: usize = 5;

/// Longer names of hosts do not change the padding of the others.
const NAME_WIDTH: usize = 20;

/// The states that the last line names, if hosts ended in them.
const BAD: &[HostState] = &[
    HostState::Failed,
    HostState::Reverted,
    HostState::Unplannable,
    HostState::Stale,
    HostState::Locked,
    HostState::Interrupted,
    HostState::Unreachable,
    HostState::NotStarted,
];

/// The words for one step and for several, in the order of [`Verb`].
type Words = [(&'static str, &'static str); 5];

const PLANNED: Words = [
    ("create", "creates"),
    ("update", "updates"),
    ("removal", "removals"),
    ("replacement", "replacements"),
    ("action", "actions"),
];

const APPLIED: Words = [
    ("created", "created"),
    ("updated", "updated"),
    ("removed", "removed"),
    ("replaced", "replaced"),
    ("action", "actions"),
];

impl VerbTotals {
    fn count(&mut self, verb: Verb) {
        self.0[verb as usize] += 1;
    }

    fn words(self, words: Words) -> String {
        let parts = self.0.iter().zip(words).filter(|(n, _)| **n > 0);
        let parts: Vec<_> =
            parts.map(|(n, (one, many))| format!("{n} {}", if *n == 1 { one } else { many })).collect();
        if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") }
    }
}

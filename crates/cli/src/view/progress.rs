//! The lines of progress on a terminal: one line for each working host, and the progress of the run. They come from
//! the same events as everything else. Without a terminal there are none.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use converge_model::{Event, EventKind, HostName};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::margin::Margin;
use super::text::{cut, harmless, middle};

/// The most host lines at the same time. More hosts can work without a line.
const LINES: usize = 12;
/// How many characters of a step's last output line are shown.
const OUTPUT_WIDTH: usize = 40;
/// How many characters of an address are shown beside output; it is cut in its middle. The count of steps, both texts
/// and the name of a host then fit 80 columns.
const ADDRESS_WIDTH: usize = 24;

/// The lines of the working hosts.
pub(crate) struct Progress {
    screen: MultiProgress,
    total: Option<ProgressBar>,
    /// Whether the run applies what it plans.
    applies: bool,
    /// Whether the run has no plans. Then a host is done with its answer.
    is_ad_hoc: bool,
    /// How many steps the plans of all hosts have.
    planned: u64,
    /// How many of them are done. None before the first one begins.
    steps: Option<ProgressBar>,
    hosts: HashMap<HostName, Line>,
    /// Whether the run should stop. The lines of hosts show it.
    stopping: Arc<AtomicBool>,
}

/// The line of a host.
struct Line {
    bar: ProgressBar,
    /// The running steps: several if packages are one transaction.
    at: Vec<At>,
}

/// A running step of a host.
struct At {
    /// Its place in the plan, from 1.
    step: u32,
    /// How many steps the plan has.
    of: u32,
}

impl Progress {
    /// Progress on standard error.
    pub(crate) fn on_terminal() -> Self {
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(Margin::of_stderr()), 10);
        Self::on(target)
    }

    fn on(target: ProgressDrawTarget) -> Self {
        let screen = MultiProgress::with_draw_target(target);
        Self {
            screen,
            total: None,
            applies: false,
            is_ad_hoc: false,
            planned: 0,
            steps: None,
            hosts: HashMap::new(),
            stopping: Arc::default(),
        }
    }

    /// Returns the lines, for writing above them, and the flag that makes them show that hosts are stopping.
    pub(super) fn lines(&self) -> (MultiProgress, Arc<AtomicBool>) {
        (self.screen.clone(), self.stopping.clone())
    }

    /// Updates the lines for an event.
    pub(crate) fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Planned { plan, .. } => self.planned += plan.steps.len() as u64,
            EventKind::StepStarted { .. } => self.count_steps(),
            // A step that the plan could not foresee makes the run longer.
            EventKind::StepFinished { .. } => self.steps.iter().for_each(|bar| {
                bar.inc(1);
                bar.set_length(bar.length().unwrap_or_default().max(bar.position()));
            }),
            _ => {}
        }
        match (&event.kind, &event.host) {
            (EventKind::RunStarted { verb, hosts, .. }, _) => {
                self.applies = verb == "apply";
                self.is_ad_hoc = matches!(verb.as_str(), "exec" | "ping");
                self.begin(u64::from(*hosts));
            }
            (EventKind::RunFinished { .. }, _) => self.clear(),
            (EventKind::Planned { .. }, Some(host)) => self.done(host, true),
            (EventKind::HostFinished { .. }, Some(host)) => self.done(host, self.is_ad_hoc),
            (kind, Some(host)) => {
                let steps = self.hosts.get_mut(host).map(|line| {
                    line.follow(kind);
                    &line.at[..]
                });
                if let Some(message) = at(kind, steps.unwrap_or_default()) {
                    self.say(host, message);
                }
            }
            _ => {}
        }
    }

    /// Hides the lines while `print` writes above them.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.screen.suspend(print)
    }

    /// Removes all lines: before a question, and at the end.
    pub(crate) fn clear(&mut self) {
        self.hosts.drain().for_each(|(_, line)| line.bar.finish_and_clear());
        self.total.take().into_iter().chain(self.steps.take()).for_each(|bar| bar.finish_and_clear());
    }

    /// Starts to count steps at the first step of an apply.
    fn count_steps(&mut self) {
        if self.applies && self.steps.is_none() {
            let steps = self.screen.add(ProgressBar::new(self.planned));
            steps.set_style(style("{bar:20} {pos}/{len} steps  {elapsed}"));
            self.steps = Some(steps);
        }
    }

    fn begin(&mut self, hosts: u64) {
        let total = self.screen.add(ProgressBar::new(hosts));
        let words = if self.is_ad_hoc { "hosts done" } else { "hosts looked at" };
        total.set_style(style(&format!("{{bar:20}} {{pos}}/{{len}} {words}  {{elapsed}}")));
        self.total = Some(total);
    }

    fn done(&mut self, host: &HostName, looked: bool) {
        if let Some(line) = self.hosts.remove(host) {
            line.bar.finish_and_clear();
        }
        if let (true, Some(total)) = (looked, &self.total) {
            total.inc(1);
            // A full bar while hosts still work would look like the end.
            if Some(total.position()) == total.length() {
                total.finish_and_clear();
                self.total = None;
            }
        }
    }

    fn say(&mut self, host: &HostName, message: String) {
        if let Some(line) = self.hosts.get(host) {
            return line.bar.set_message(message);
        }
        if self.hosts.len() >= LINES {
            return;
        }
        let line = self.screen.add(ProgressBar::new_spinner());
        let stopping = self.stopping.clone();
        let word = move |_: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = out.write_str(if stopping.load(Ordering::Relaxed) { "stopping: " } else { "" });
        };
        line.set_style(
            style("{spinner} {prefix}  {stopping}{wide_msg}  {elapsed}").with_key("stopping", word),
        );
        line.set_prefix(harmless(host.as_str()));
        line.set_message(message);
        line.enable_steady_tick(Duration::from_millis(120));
        self.hosts.insert(host.clone(), Line { bar: line, at: Vec::new() });
    }
}

impl At {
    /// `step` counts from 0. A step that the plan could not foresee makes the plan longer.
    fn new(step: u32, of: u32) -> Self {
        Self { step: step + 1, of: of.max(step + 1) }
    }
}

impl fmt::Display for At {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.step, self.of)
    }
}

impl Line {
    /// Updates the running steps of the host for `kind`.
    fn follow(&mut self, kind: &EventKind) {
        match kind {
            EventKind::StepStarted { step, of, .. } => self.at.push(At::new(*step, *of)),
            // The steps of a transaction end together.
            EventKind::StepFinished { .. } => self.at.clear(),
            _ => {}
        }
    }
}

/// Returns the text for the host's line after an event, with the running `steps`. None if the event does not change
/// it.
fn at(kind: &EventKind, steps: &[At]) -> Option<String> {
    match kind {
        EventKind::HostState { phase } if phase == "waiting" => None,
        EventKind::HostState { phase } => Some(harmless(phase)),
        EventKind::StepStarted { address, step, of } => Some(
            together(steps)
                .unwrap_or_else(|| format!("{} {}", At::new(*step, *of), harmless(address.as_str()))),
        ),
        EventKind::Output { address, line } => {
            let count = steps.last().map(|at| format!("{at} ")).unwrap_or_default();
            let what = || format!("{count}{}", middle(address.as_str(), ADDRESS_WIDTH));
            Some(format!("{}: {}", together(steps).unwrap_or_else(what), cut(line.trim(), OUTPUT_WIDTH)))
        }
        EventKind::CommandOutput { line, .. } => Some(cut(line.trim(), OUTPUT_WIDTH)),
        _ => None,
    }
}

/// Describes the steps of one transaction in a few words. None for a single step. Its output shows the current
/// package.
fn together(steps: &[At]) -> Option<String> {
    let [first, .., last] = steps else { return None };
    Some(format!("{}-{last} {} packages", first.step, steps.len()))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::{Address, Change, HostState, RunId, StepOutcome, StepResult, Verb, event::VERSION};

    fn event(host: &str, kind: EventKind) -> Event {
        let run = RunId::new("r").unwrap();
        Event { version: VERSION, run, host: HostName::new(host).ok(), sequence: 0, kind }
    }

    fn hidden() -> Progress {
        Progress::on(ProgressDrawTarget::hidden())
    }

    fn created(address: &Address) -> StepResult {
        StepResult {
            resource: 0,
            address: address.clone(),
            change: Change::new(Verb::Create),
            outcome: StepOutcome::Done,
            unforeseen: Vec::new(),
            may_fail: false,
            took: 1,
        }
    }

    fn phase(name: &str) -> EventKind {
        EventKind::HostState { phase: name.to_owned() }
    }

    #[test]
    fn hosts_at_work_have_a_line_and_hosts_that_wait_have_none() {
        let mut progress = hidden();
        let (verb, by) = ("apply".to_owned(), String::new());
        progress.event(&event("", EventKind::RunStarted { verb, hosts: 2, by, at: 0 }));
        progress.event(&event("a", phase("waiting")));
        progress.event(&event("b", phase("connecting")));
        assert_eq!(progress.hosts.keys().map(HostName::as_str).collect::<Vec<_>>(), ["b"]);
        let address = Address::new(None, "file", "/x\n");
        progress.event(&event("b", EventKind::StepStarted { address, step: 1, of: 7 }));
        let message = |progress: &Progress| progress.hosts.values().next().map(|line| line.bar.message());
        assert_eq!(message(&progress).as_deref(), Some("2/7 file[/x\\n]"));
        // A long address is shortened, and the count stays.
        let address = Address::new(None, "command", "/srv/hello/releases/1-4347b444/venv/bin/pip install");
        let line = "downloading part 3 of 5".to_owned();
        progress.event(&event("b", EventKind::Output { address, line }));
        let output = message(&progress).unwrap();
        assert_eq!(output, "2/7 command[/srv…ip install]: downloading part 3 of 5");
        progress.event(&event(
            "",
            EventKind::RunFinished { states: vec![(HostState::Changed, 1)], changed: 0, exit: 0, took: 1 },
        ));
        assert!(progress.hosts.is_empty() && progress.total.is_none());
    }

    #[test]
    fn a_transaction_is_one_line_that_says_which_package_it_is_at() {
        let mut progress = hidden();
        progress.event(&event("a", phase("applying")));
        let package = |name: &str| Address::new(None, "package", name);
        let started = |name: &str, step| EventKind::StepStarted { address: package(name), step, of: 17 };
        progress.event(&event("a", started("curl", 1)));
        progress.event(&event("a", started("htop", 2)));
        progress.event(&event("a", started("tree", 3)));
        let message = |progress: &Progress| progress.hosts.values().next().map(|line| line.bar.message());
        assert_eq!(message(&progress).as_deref(), Some("2-4/17 3 packages"));
        let line = "Setting up htop (3.2.2-2) ...".to_owned();
        progress.event(&event("a", EventKind::Output { address: package("curl"), line }));
        assert_eq!(message(&progress).as_deref(), Some("2-4/17 3 packages: Setting up htop (3.2.2-2) ..."));
        progress.event(&event("a", EventKind::StepFinished { result: created(&package("curl")) }));
        progress.event(&event("a", started("ssh", 4)));
        assert_eq!(message(&progress).as_deref(), Some("5/17 package[ssh]"));
    }

    #[test]
    fn the_bar_of_an_apply_counts_steps() {
        let mut progress = hidden();
        let (verb, by) = ("apply".to_owned(), String::new());
        progress.event(&event("", EventKind::RunStarted { verb, hosts: 1, by, at: 0 }));
        progress.planned = 7;
        assert!(progress.steps.is_none(), "nothing is applied yet");
        let address = Address::new(None, "file", "/x");
        let started = || EventKind::StepStarted { address: address.clone(), step: 0, of: 7 };
        progress.event(&event("a", started()));
        progress.event(&event("a", EventKind::StepFinished { result: created(&address) }));
        progress.event(&event("a", started()));
        let bar = progress.steps.as_ref().unwrap();
        assert_eq!((bar.position(), bar.length()), (1, Some(7)));
    }

    #[test]
    fn a_bar_goes_once_it_is_full() {
        let mut progress = hidden();
        let (verb, by) = ("apply".to_owned(), String::new());
        progress.event(&event("", EventKind::RunStarted { verb, hosts: 2, by, at: 0 }));
        let name = |host: &str| HostName::new(host).unwrap();
        progress.done(&name("a"), true);
        assert!(progress.total.is_some(), "one is still looked at");
        progress.done(&name("b"), true);
        assert!(progress.total.is_none());
    }

    #[test]
    fn a_thousand_hosts_at_work_do_not_fill_the_screen() {
        let mut progress = hidden();
        (0..1000).for_each(|n| progress.event(&event(&format!("h{n}"), phase("connecting"))));
        assert_eq!(progress.hosts.len(), LINES);
    }
}

//! `exec` and `ping` as text. Hosts with the same output of a command are shown together at the end. A host that
//! answers a ping is shown at once.
//!
//! All hosts share the memory for output. For each host, the last lines are kept, up to its share. So a host with
//! endless output takes no more memory than another. Digests of the whole output show which hosts have the same one.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

use converge_model::plan::Holder;
use converge_model::{Answer, Digest, EventKind, Exit, HostReport, HostState, Ran, Stream};

use super::plan::{headed_problem, problem};
use super::{Detail, Human};
use crate::view::paint::{CHANGED, FAILED, FAINT, STRONG, paint};
use crate::view::text::{count, fold_names, harmless, seconds};

/// How many bytes of output are kept, for all hosts together.
const KEPT: usize = 64 * 1024 * 1024;
/// The smallest and the largest share of one host.
const SHARE: (usize, usize) = (64 * 1024, 16 * 1024 * 1024);
/// The size of a line, in addition to its text.
const LINE: usize = 32;
/// How many lines of an output a terminal shows: this many from its beginning, and from its end.
const SHOWN: usize = 20;

/// The state of the hosts of an `exec`.
#[derive(Debug, Default)]
pub(super) struct Commands {
    /// The output of the hosts that are not done, by index.
    open: BTreeMap<usize, Heard>,
    groups: BTreeMap<Outcome, (Vec<usize>, Heard)>,
    /// The hosts on which another run is active.
    busy: Vec<(usize, Holder)>,
}

/// The common properties of hosts that are shown together.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Outcome {
    /// Successful hosts come first. Failures are at the end, where the user sees them.
    has_failed: bool,
    head: String,
    /// The digest of each output, and the number of lines.
    said: [Digest; 2],
    lines: u64,
    /// Messages about the host as a whole.
    remarks: String,
}

/// The output of a command on one host.
#[derive(Debug)]
struct Heard {
    lines: VecDeque<(Stream, String)>,
    bytes: usize,
    /// How many lines there were, including those that are not kept.
    count: u64,
    digests: [Digest; 2],
    ran: Option<Ran>,
}

impl Default for Heard {
    fn default() -> Self {
        let digests = [Digest::from_bytes([0; 32]); 2];
        Self { lines: VecDeque::new(), bytes: 0, count: 0, digests, ran: None }
    }
}

impl Heard {
    /// Adds a line. At most `room` bytes are kept.
    fn add(&mut self, stream: Stream, line: &str, room: usize) {
        let digest = &mut self.digests[stream as usize];
        *digest = Digest::keyed(digest.as_bytes(), line.as_bytes());
        self.count += 1;
        self.bytes += line.len() + LINE;
        self.lines.push_back((stream, line.to_owned()));
        while self.bytes > room
            && let Some((_, first)) = self.lines.pop_front()
        {
            self.bytes -= first.len() + LINE;
        }
    }

    /// Returns the number of lines, as far as it is known.
    fn total(&self) -> u64 {
        self.ran.as_ref().map_or(self.count, |ran| ran.lines.max(self.count))
    }

    fn text(&self, detail: Detail) -> String {
        let kept = self.lines.len();
        let shown = match detail {
            Detail::Outline(_) | Detail::Summary if kept > 2 * SHOWN => SHOWN,
            _ => kept,
        };
        // Lines that are not kept came before the kept ones, unless the host did not send them.
        let beyond = self.total() - self.count;
        let mut out = String::new();
        let more = |out: &mut String, lines: u64, how: &str| {
            if lines > 0 {
                let text = format!("… {} ({how})", count(lines as usize, "more line"));
                let _ = writeln!(out, "  {}", paint(FAINT, text));
            }
        };
        more(&mut out, self.count - kept as u64, "in the files of --output, or live with -v");
        for (place, (_, line)) in self.lines.iter().enumerate() {
            if place == shown && shown < kept {
                more(&mut out, (kept - 2 * shown) as u64, "with -v, or in the files of --output");
            }
            if place < shown || place >= kept - shown {
                let _ = writeln!(out, "  {}", harmless(line));
            }
        }
        more(&mut out, beyond, "not sent by the host");
        out
    }
}

impl Human {
    /// Whether the run has no plan: it is an `exec` or a `ping`.
    pub(super) fn is_ad_hoc(&self) -> bool {
        matches!(self.verb.as_str(), "exec" | "ping")
    }

    /// Whether each line of output is shown when it comes, and not again at the end. This is so for a single host at
    /// a terminal.
    fn is_streaming(&self) -> bool {
        self.selected == 1 && matches!(self.detail, Detail::Outline(_))
    }

    /// Returns the text for an event of such a run.
    pub(super) fn ad_hoc(&mut self, kind: &EventKind, place: Option<usize>) -> String {
        match (kind, place) {
            (EventKind::Command { line, script }, _) if self.is_past => {
                let script = script.iter().map(|name| format!("   script {}", harmless(name)));
                format!("{}\n", paint(FAINT, format!("$ {}{}", harmless(line), script.collect::<String>())))
            }
            (EventKind::Busy { holder }, Some(place)) => {
                self.commands.busy.push((place, holder.clone()));
                String::new()
            }
            (EventKind::CommandOutput { stream, line }, Some(place)) => {
                let room = (KEPT / self.selected.max(1)).clamp(SHARE.0, SHARE.1);
                self.commands.open.entry(place).or_default().add(*stream, line, room);
                match self.is_streaming() {
                    true => format!("{}  | {}\n", self.name(place), harmless(line)),
                    false => String::new(),
                }
            }
            (EventKind::CommandFinished { ran }, Some(place)) => {
                self.commands.open.entry(place).or_default().ran = Some(ran.clone());
                String::new()
            }
            (EventKind::Answered { answer }, Some(place)) => self.answered(place, answer),
            (EventKind::HostFinished { report }, Some(place)) if self.verb == "ping" => {
                self.no_answer(place, report)
            }
            (EventKind::HostFinished { report }, Some(place)) => {
                self.settle(place, report);
                String::new()
            }
            (EventKind::RunFinished { states, took, .. }, _) => {
                self.commands_text() + &self.ad_hoc_line(states, *took)
            }
            _ => String::new(),
        }
    }

    /// Adds a host to the group with the same outcome.
    fn settle(&mut self, place: usize, report: &HostReport) {
        let heard = self.commands.open.remove(&place).unwrap_or_default();
        let outcome = Outcome {
            has_failed: report.state != HostState::Done,
            head: heard.ran.as_ref().map_or_else(|| report.state.word().to_owned(), |ran| head(&ran.exit)),
            said: heard.digests,
            lines: heard.total(),
            remarks: report.problems.iter().map(problem).collect(),
        };
        let (hosts, _) = self.commands.groups.entry(outcome).or_insert_with(|| (Vec::new(), heard));
        hosts.push(place);
    }

    /// Returns the whole output, with hosts of the same outcome together.
    pub(super) fn commands_text(&self) -> String {
        let mut groups: Vec<_> = self.commands.groups.iter().collect();
        groups.sort_by_key(|(outcome, (hosts, _))| (outcome.has_failed, hosts.iter().min().copied()));
        let mut out = String::new();
        for (outcome, (hosts, heard)) in groups {
            let sign = if outcome.has_failed { paint(FAILED, &outcome.head) } else { outcome.head.clone() };
            let _ = writeln!(out, "{}: {sign}", paint(STRONG, self.named(hosts)));
            if !self.is_streaming() {
                out.push_str(&heard.text(self.detail));
            }
            out.push_str(&outcome.remarks);
        }
        for (place, heard) in &self.commands.open {
            let _ = writeln!(out, "{}: {}", self.name(*place), paint(FAILED, "unfinished"));
            out.push_str(&heard.text(self.detail));
        }
        for (place, holder) in &self.commands.busy {
            let busy = harmless(&holder.to_string());
            let _ = writeln!(out, "{}: {}", paint(STRONG, self.named(&[*place])), paint(CHANGED, busy));
        }
        out
    }

    fn named(&self, hosts: &[usize]) -> String {
        let mut hosts = hosts.to_vec();
        hosts.sort_unstable();
        fold_names(hosts.iter().map(|place| self.hosts[*place].as_str()))
    }

    fn answered(&self, place: usize, answer: &Answer) -> String {
        let user = harmless(&answer.user);
        let login = answer.login.as_deref().filter(|login| *login != answer.user);
        let login = login.map(|login| format!(", logged in as {}", harmless(login))).unwrap_or_default();
        let busy = answer
            .busy
            .as_ref()
            .map(|holder| format!("   {}", paint(CHANGED, harmless(&holder.to_string()))));
        let took = seconds(answer.took);
        format!(
            "{}  ok  {user}{login}  {}{}\n",
            self.name(place),
            paint(FAINT, took),
            busy.unwrap_or_default()
        )
    }

    fn no_answer(&self, place: usize, report: &HostReport) -> String {
        if report.state == HostState::Done {
            return String::new();
        }
        let word = paint(FAILED, report.state.word());
        let problems: String = report.problems.iter().map(|found| headed_problem("", found)).collect();
        format!("{}  {word}\n{problems}", self.name(place))
    }

    fn ad_hoc_line(&self, states: &[(HostState, u32)], took: u64) -> String {
        let (title, fine) = match self.verb.as_str() {
            "ping" => ("Ping", "answered"),
            _ => ("Exec", "done"),
        };
        let said = states.iter().map(|(state, n)| match state {
            HostState::Done => format!("{} {fine}", count(*n as usize, "host")),
            state => paint(FAILED, format_args!("{n} {}", state.word())).to_string(),
        });
        let said: Vec<_> = said.collect();
        // The states have the order of the model: success comes first.
        format!("{title}: {}.   {}\n", said.join("; "), seconds(took))
    }
}

/// Describes how a command ended, in the words of a shell.
fn head(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit {code}"),
        Exit::Signal(signal) => format!("ended by signal {signal}"),
        Exit::TimedOut => "timed out, and was ended".to_owned(),
        Exit::Stopped => "stopped".to_owned(),
        Exit::NotStarted(why) => harmless(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::event::VERSION;
    use converge_model::{Event, HostName, Problem, RunId};

    /// Returns the text of an `exec` over the hosts of `said`: each with its lines and its exit code.
    fn shown(detail: Detail, said: &[(&str, &[&str], i32)]) -> String {
        let mut human = Human::new(detail);
        let mut out = String::new();
        let mut tell = |host: Option<&str>, kind| {
            let host = host.map(|name| HostName::new(name).unwrap());
            let run = RunId::new("r").unwrap();
            out.push_str(&human.event(&Event { version: VERSION, run, host, sequence: 0, kind }));
        };
        let (verb, hosts, by) = ("exec".to_owned(), said.len() as u32, String::new());
        tell(None, EventKind::RunStarted { verb, hosts, by, at: 0 });
        for (host, lines, code) in said {
            for line in *lines {
                let line = (*line).to_owned();
                tell(Some(host), EventKind::CommandOutput { stream: Stream::Stdout, line });
            }
            let ran = Ran { exit: Exit::Code(*code), lines: lines.len() as u64, took: 1 };
            tell(Some(host), EventKind::CommandFinished { ran });
            let state = if *code == 0 { HostState::Done } else { HostState::Failed };
            let (host, problems) = (HostName::new(*host).unwrap(), Vec::new());
            let report = HostReport { host: host.clone(), state, results: Vec::new(), in_sync: 0, problems };
            tell(Some(host.as_str()), EventKind::HostFinished { report });
        }
        let states = vec![(HostState::Done, said.len() as u32)];
        tell(None, EventKind::RunFinished { states, changed: 0, exit: 0, took: 400 });
        anstream::adapter::strip_str(&out).to_string()
    }

    #[test]
    fn hosts_with_one_outcome_stand_together_and_those_that_failed_last() {
        let text = shown(
            Detail::Usual,
            &[("web1", &["no"], 2), ("web2", &["yes"], 0), ("web3", &["yes"], 0), ("web4", &["yes"], 3)],
        );
        let groups = "web2, web3: exit 0\n  yes\nweb1: exit 2\n  no\nweb4: exit 3\n  yes\n";
        assert_eq!(text, format!("{groups}Exec: 4 hosts done.   0.4 s\n"));
    }

    #[test]
    fn long_output_is_cut_at_a_terminal_with_a_count() {
        let lines: Vec<String> = (1..=100).map(|n| n.to_string()).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let hosts = [("web1", lines.as_slice(), 0), ("web2", lines.as_slice(), 0)];
        let text = shown(Detail::Outline(80), &hosts);
        assert!(
            text.contains("\n  20\n  … 60 more lines (with -v, or in the files of --output)\n  81\n"),
            "{text}"
        );
        assert_eq!(shown(Detail::Full, &hosts).lines().count(), 102);
    }

    #[test]
    fn one_host_at_a_terminal_is_shown_line_by_line_and_not_again() {
        let text = shown(Detail::Outline(80), &[("web1", &["a", "\x1b[2J"], 0)]);
        assert_eq!(text, "web1  | a\nweb1  | \\u{1b}[2J\nweb1: exit 0\nExec: 1 host done.   0.4 s\n");
    }

    #[test]
    fn of_output_without_end_the_last_lines_are_kept_and_all_of_it_is_compared() {
        let mut heard = Heard::default();
        (0..10_000).for_each(|n| heard.add(Stream::Stderr, &format!("line {n}"), 1000));
        assert!(heard.bytes <= 1000 && heard.lines.back().unwrap().1 == "line 9999");
        let text = anstream::adapter::strip_str(&heard.text(Detail::Full)).to_string();
        assert!(text.starts_with("  … 99"), "{text}");
        let mut other = Heard::default();
        (1..10_000).for_each(|n| other.add(Stream::Stderr, &format!("line {n}"), 1000));
        assert_ne!(heard.digests, other.digests);
    }

    #[test]
    fn a_host_without_an_answer_says_why() {
        let mut human = Human::new(Detail::Usual);
        human.verb = "ping".to_owned();
        let host = HostName::new("db1").unwrap();
        let place = human.place(&host);
        let problem = Problem { address: None, message: "no route".into(), help: Some("see".into()) };
        let (state, problems) = (HostState::Unreachable, vec![problem]);
        let report = HostReport { host, state, results: Vec::new(), in_sync: 0, problems };
        let text = human.no_answer(place, &report);
        let text = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(text, "db1  unreachable\n  ! no route\n      help: see\n");
    }
}

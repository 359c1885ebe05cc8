//! A run without catalogs: a command on each host, or a ping. It takes no lock and changes nothing by itself.
//!
//! A command runs until it ends, its timeout is over, the run is stopped or its connection is gone. The agent ends its
//! processes; an agent that is killed ends none. Its output is masked with all secrets of the project that can be
//! decrypted here. The values that the host's catalog makes of them are masked too. If a catalog cannot be compiled, the
//! command runs anyway and the host's report says so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use converge_fleet::{Ask, HostError};
use converge_lang::diagnostic::Severity;
use converge_lang::{FactsOf, Inventory, Selection};
use converge_model::wire::Guard;
use converge_model::{
    AdHoc, Answer, EventKind, Exit, Facts, HostName, HostReport, HostState, Masker, Problem, Ran, RunId,
    SecretTable, exit,
};
use tokio::sync::{mpsc, watch};

use super::crew::{Crew, News};
use super::facts::{Reading, RunFacts};
use super::report::{broken, ended};
use super::telling::Telling;
use super::{Observer, Outcome, Stop, reached, stopped};
use crate::hosts::AdHocHosts;
use crate::start;
use crate::state::SeenFacts;

/// How long commands may take to end after the run should stop. It is longer than a host gives them.
pub const STOPPING: Duration = Duration::from_secs(15);
/// The phase of a host while its command runs.
const RUNNING: &str = "running";

/// The settings of a run without catalogs.
pub struct AdHocRun {
    /// Its identity.
    pub id: RunId,
    /// The user and the machine that started the run: `ada@laptop`.
    pub by: String,
    /// The request to each host.
    pub errand: Errand,
    /// The inventory. It may have mistakes.
    pub inventory: Arc<Inventory>,
    /// The hosts, in the order of the inventory.
    pub hosts: Vec<HostName>,
    /// How many hosts to work on at the same time.
    pub serial: usize,
    /// The facts that are kept for later runs.
    pub seen: SeenFacts,
    /// Whether the run should stop.
    pub stop: watch::Receiver<Stop>,
}

/// The request to each host.
#[derive(Clone, Debug)]
pub enum Errand {
    /// Whether the host answers.
    Ping,
    /// To run a command.
    Exec {
        /// The command.
        asked: AdHoc,
        /// The name of its script, if it has one.
        script: Option<String>,
        /// Quotes a word as a person would type it. A word is masked before.
        quote: fn(&str) -> String,
    },
}

impl Errand {
    const fn word(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Exec { .. } => "exec",
        }
    }
}

/// The command as a person would type it, masked. One word alone is a line for a shell already.
fn line(words: &[String], script: Option<&str>, masker: &Masker, quote: fn(&str) -> String) -> String {
    let masked = |word: &String| masker.mask(word.as_bytes());
    match (words, script) {
        ([line], None) => masked(line),
        (words, script) => {
            // Quotes around a mask would be part of it.
            let shown = |word: &String| {
                let masked = masked(word);
                if masked == *word { quote(word) } else { masked }
            };
            let words = script.map(quote).into_iter().chain(words.iter().map(shown));
            words.collect::<Vec<_>>().join(" ")
        }
    }
}

/// The answer of a host.
enum Said {
    Answer(Answer),
    /// None: the command did not begin.
    Ran(Option<Ran>),
}

/// Carries out a run.
pub async fn run<H: AdHocHosts, O: Observer>(run: AdHocRun, hosts: Arc<H>, observer: &mut O) -> Outcome {
    let mut course = Course::new(run, hosts, observer);
    course.begin();
    course.ask_all().await;
    course.end()
}

/// A running run.
struct Course<'a, H, O> {
    run: AdHocRun,
    began: Instant,
    hosts: Arc<H>,
    telling: Telling<'a, O>,
    masks: Arc<Masks>,
    /// The hosts on which the command runs.
    running: BTreeSet<HostName>,
    ends: HashMap<HostName, HostState>,
    /// Tells the agents to end their commands.
    stop_agents: watch::Sender<bool>,
}

impl<'a, H: AdHocHosts, O: Observer> Course<'a, H, O> {
    fn new(run: AdHocRun, hosts: Arc<H>, observer: &'a mut O) -> Self {
        Self {
            masks: Arc::new(Masks::new(&run)),
            telling: Telling::new(&run.id, observer),
            run,
            began: Instant::now(),
            hosts,
            running: BTreeSet::new(),
            ends: HashMap::new(),
            stop_agents: watch::Sender::new(false),
        }
    }

    /// Reports the run, its command, and its hosts in the order of the inventory.
    fn begin(&mut self) {
        let (verb, hosts) = (self.run.errand.word().to_owned(), self.run.hosts.len() as u32);
        let (by, at) = (self.run.by.clone(), start::milliseconds());
        self.telling.tell(None, EventKind::RunStarted { verb, hosts, by, at });
        if let Errand::Exec { asked, script, quote } = &self.run.errand {
            let masker = Masker::new(&self.masks.secrets);
            let script = script.as_ref().map(|name| masker.mask(name.as_bytes()));
            let line = line(&asked.words, script.as_deref(), &masker, *quote);
            self.telling.tell(None, EventKind::Command { line, script });
        }
        for host in self.run.hosts.clone() {
            self.telling.tell(Some(host), EventKind::HostState { phase: "waiting".to_owned() });
        }
    }

    /// Asks all hosts, `serial` at a time.
    async fn ask_all(&mut self) {
        let (mut crew, mut waiting) = (Crew::new(), self.run.hosts.clone().into_iter());
        let mut at_work = 0;
        let (mut stop, mut stop_by) = (self.run.stop.clone(), None);
        loop {
            while at_work < self.run.serial.max(1) && !self.is_stopped() {
                let Some(host) = waiting.next() else { break };
                self.start(&host, &mut crew);
                at_work += 1;
            }
            if at_work == 0 || (self.is_stopped() && self.running.is_empty()) {
                return;
            }
            let level = if stop_by.is_some() { Stop::Now } else { Stop::AfterStep };
            let news = tokio::select! {
                news = crew.next() => news,
                () = stopped(&mut stop, level) => {
                    if level == Stop::Now {
                        return;
                    }
                    self.stop_agents.send_replace(true);
                    stop_by = Some(tokio::time::Instant::now() + STOPPING);
                    continue;
                }
                () = reached(stop_by) => return,
            };
            match news {
                None => return,
                Some(News::Event(host, kind)) => {
                    if matches!(&*kind, EventKind::HostState { phase } if phase == RUNNING) {
                        self.running.insert(host.clone());
                    }
                    self.telling.tell(Some(host), *kind);
                }
                Some(News::Done(host, said)) => {
                    at_work -= 1;
                    self.done(host, said);
                }
            }
        }
    }

    fn start(&self, host: &HostName, crew: &mut Crew<Result<Said, HostError>>) {
        crew.start(host, |events| {
            let (ask, hosts, host) = (self.ask(events), self.hosts.clone(), host.clone());
            let (errand, masks) = (self.run.errand.clone(), self.masks.clone());
            async move {
                match errand {
                    Errand::Ping => hosts.ping(&host, ask).await.map(Said::Answer),
                    Errand::Exec { asked, .. } => {
                        let of = host.clone();
                        let learn = Box::new(move |facts: &Facts| masks.of(&of, facts));
                        hosts.exec(&host, ask, asked, learn).await.map(Said::Ran)
                    }
                }
            }
        });
    }

    fn ask(&self, events: mpsc::Sender<EventKind>) -> Ask {
        let (run, by, stop) = (self.run.id.clone(), self.run.by.clone(), self.stop_agents.subscribe());
        Ask { run, by, events, stop, guard: Guard::default() }
    }

    /// Ends a host. `said` is None if the host's task panicked.
    fn done(&mut self, host: HostName, said: Option<Result<Said, HostError>>) {
        self.running.remove(&host);
        match said {
            Some(Ok(Said::Answer(answer))) => {
                self.telling.tell(Some(host.clone()), EventKind::Answered { answer });
                self.finish(ended(&host, HostState::Done, Vec::new()));
            }
            Some(Ok(Said::Ran(Some(ran)))) => {
                let state = state(&ran.exit);
                self.telling.tell(Some(host.clone()), EventKind::CommandFinished { ran });
                let remarks = self.masks.remark(&host).into_iter().collect();
                self.finish(ended(&host, state, remarks));
            }
            Some(Ok(Said::Ran(None))) => self.not_started(&host),
            Some(Err(error)) => {
                let report = failure(&host, &error);
                // For a ping, a host that was reached but failed has not answered.
                let is_lost = matches!(self.run.errand, Errand::Ping) && report.state == HostState::Failed;
                let state = if is_lost { HostState::Unreachable } else { report.state };
                self.finish(HostReport { state, ..report });
            }
            None => self.finish(broken(&host)),
        }
    }

    fn not_started(&mut self, host: &HostName) {
        self.finish(ended(
            host,
            HostState::NotStarted,
            vec![problem("the run was stopped".to_owned(), None)],
        ));
    }

    fn finish(&mut self, report: HostReport) {
        self.ends.insert(report.host.clone(), report.state);
        self.telling.tell(Some(report.host.clone()), EventKind::HostFinished { report });
    }

    fn is_stopped(&self) -> bool {
        *self.run.stop.borrow() != Stop::No
    }

    fn end(mut self) -> Outcome {
        for host in self.run.hosts.clone() {
            if self.running.remove(&host) {
                let why =
                    problem("abandoned; the host ends the command with its connection".to_owned(), None);
                self.finish(ended(&host, HostState::Interrupted, vec![why]));
            } else if !self.ends.contains_key(&host) {
                self.not_started(&host);
            }
        }
        let mut counts: BTreeMap<HostState, u32> = BTreeMap::new();
        self.ends.values().for_each(|state| *counts.entry(*state).or_default() += 1);
        let states: Vec<_> = counts.into_iter().collect();
        let exit = match self.is_stopped() {
            true => exit::INTERRUPTED,
            false => exit::of_run(states.iter().map(|(state, _)| *state), false),
        };
        let took = self.began.elapsed().as_millis() as u64;
        self.telling.tell(None, EventKind::RunFinished { states: states.clone(), changed: 0, exit, took });
        Outcome { states, exit }
    }
}

/// Returns the state of a host after its command.
const fn state(exit: &Exit) -> HostState {
    match exit {
        Exit::Code(0) => HostState::Done,
        Exit::Stopped => HostState::Interrupted,
        _ => HostState::Failed,
    }
}

/// Returns the report of a host that gave no answer. A host on which no agent starts counts as unreachable.
fn failure(host: &HostName, error: &HostError) -> HostReport {
    let state = match error.state() {
        HostState::Unplannable => HostState::Unreachable,
        state => state,
    };
    let help = match error {
        HostError::Interrupted(_) => Some(
            "the host ends the command with its connection, unless the agent itself was killed".to_owned(),
        ),
        error => error.help(),
    };
    ended(host, state, vec![problem(error.to_string(), help)])
}

fn problem(message: String, help: Option<String>) -> Problem {
    Problem { address: None, message, help }
}

/// The maskers that remove secrets from the output of each host.
struct Masks {
    inventory: Arc<Inventory>,
    facts: Arc<RunFacts>,
    /// The secrets of the whole project, as they are in its files.
    secrets: SecretTable,
    /// Messages about hosts whose catalogs cannot be compiled.
    remarks: Mutex<HashMap<HostName, Problem>>,
}

impl Masks {
    fn new(run: &AdHocRun) -> Self {
        Self {
            inventory: run.inventory.clone(),
            // The run waits for no host: the facts of other hosts are those of their last contact.
            facts: Arc::new(RunFacts::new(&[], run.seen.clone())),
            secrets: run.inventory.secrets(),
            remarks: Mutex::default(),
        }
    }

    /// Returns the masker for `host`, which has sent `facts`.
    fn of(&self, host: &HostName, facts: &Facts) -> Masker {
        self.facts.learn(host, facts);
        if self.secrets.is_empty() {
            return Masker::default();
        }
        let known: Arc<dyn FactsOf> = Arc::new(Reading::new(self.facts.clone()));
        let (compiled, diagnostics) = self.inventory.compile(host, &known, &Selection::default());
        let mut secrets = self.secrets.clone();
        match compiled {
            Some(compiled) => {
                for secret in compiled.catalog.secrets.secrets() {
                    secrets.add(secret.clone());
                }
            }
            None => {
                let first = diagnostics.iter().find(|one| one.severity == Severity::Error);
                let why = first.map_or("it has mistakes", |first| first.message.as_str());
                let message = format!(
                    "output masks only the values in files of secrets: the catalog cannot be compiled ({why})"
                );
                let remark = problem(message, Some("`converge check` shows the mistakes".to_owned()));
                self.remarks.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone(), remark);
            }
        }
        Masker::new(&secrets)
    }

    fn remark(&self, host: &HostName) -> Option<Problem> {
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner).remove(host)
    }
}

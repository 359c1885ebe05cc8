//! One run over the selected hosts: every one is looked at, then, if it is to be applied and somebody agrees, those that
//! differ are acted on, stage by stage. What happens is told as events to one observer, and nothing is told otherwise.
//!
//! No host is acted on before every selected host was looked at or given up. Between the two nothing runs on a host;
//! the run keeps one token of each plan.

mod catalog;
mod crew;
mod facts;
mod gates;
mod once;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use converge_fleet::{Ask, HostError};
use converge_lang::{Inventory, Selection};
use converge_model::event::VERSION;
use converge_model::wire::Guard;
use converge_model::{
    Blocked, Digest, Event, EventKind, HostName, HostPlan, HostReport, HostState, Problem, RunId, exit,
};
use tokio::sync::{mpsc, watch};

use self::catalog::{Catalogs, Mistakes, Patience, TooEarly};
use self::crew::{Crew, News};
use self::gates::Gates;
use crate::hosts::{Compile, Hosts};
use crate::order::{Stage, budget, stages};
use crate::sources::ProjectSources;
use crate::start;
use crate::state::{DoneOnce, SeenFacts};

/// What a run is about.
pub struct Run {
    /// Its identity.
    pub id: RunId,
    /// Who started it, and from where: `ada@laptop`.
    pub by: String,
    /// What it is for.
    pub goal: Goal,
    /// What hosts know the project by.
    pub owner: String,
    /// The inventory.
    pub inventory: Arc<Inventory>,
    /// The files behind it.
    pub sources: Arc<ProjectSources>,
    /// The hosts, in the order of the inventory.
    pub hosts: Vec<HostName>,
    /// The resources.
    pub selection: Selection,
    /// Where facts are kept for later runs.
    pub seen: SeenFacts,
    /// Where it is kept what was run once for all hosts.
    pub done_once: DoneOnce,
    /// Whether it is to stop.
    pub stop: watch::Receiver<Stop>,
    /// How access-critical changes are guarded.
    pub guard: Guard,
    /// Whether a host with a resource that cannot be planned is left as it is, the other resources with it.
    pub strict: bool,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// To say what would change. `detailed`: changes are an exit code of their own.
    Plan {
        /// Whether pending changes are an exit code of their own.
        detailed: bool,
    },
    /// To say what moved on the hosts, apart from what the inventory newly asks for.
    Drift {
        /// Whether hosts that moved are an exit code of their own.
        fail: bool,
    },
    /// To change it.
    Apply,
}

impl Goal {
    const fn word(self) -> &'static str {
        match self {
            Self::Plan { .. } => "plan",
            Self::Drift { .. } => "drift",
            Self::Apply => "apply",
        }
    }
}

/// How urgently a run is to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Not at all.
    #[default]
    No,
    /// After the steps in hand, and within [`STOPPING`].
    AfterStep,
    /// At once; hosts go on by themselves to the end of their step.
    Now,
}

/// How long the steps in hand may take once a run is to stop. A host that is not done by then is abandoned, and ends its
/// step by itself: as long as a command takes that names no time of its own.
pub const STOPPING: Duration = Duration::from_secs(600);

/// Who watches a run.
pub trait Observer: Send {
    /// Something happened. The run waits until it was taken in.
    fn event(&mut self, event: &Event);

    /// Whether the plan that the events told is to be carried out.
    fn confirm(&mut self) -> impl Future<Output = bool> + Send;
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How many hosts ended in each state.
    pub states: Vec<(HostState, u32)>,
    /// The exit code.
    pub exit: u8,
}

/// Carries a run out.
pub async fn run<H: Hosts, O: Observer>(run: Run, hosts: Arc<H>, observer: &mut O) -> Outcome {
    let began = Instant::now();
    let mut course = Course::new(run, hosts, observer);
    course.begin();
    course.look().await;
    if course.run.goal == Goal::Apply && course.has_work() {
        if !course.is_stopped() && (course.changing.is_empty() || course.agreed().await) {
            course.act().await;
        } else {
            course.leave_pending();
        }
    }
    course.end(began)
}

/// What is to be done on a host.
#[derive(Clone, Copy)]
struct Work {
    /// Stands for its plan.
    token: Digest,
    /// How many of its resources are in sync.
    in_sync: u32,
    /// How it ends if nobody agrees to that.
    otherwise: HostState,
}

/// A run on its way.
struct Course<'a, H, O> {
    run: Run,
    hosts: Arc<H>,
    observer: &'a mut O,
    catalogs: Arc<Catalogs>,
    gates: Arc<Gates<H>>,
    /// In which order hosts are acted on.
    stages: Vec<Stage>,
    /// The plans that wait for the other hosts': they ask for what runs once, or for a selection that must exist somewhere.
    held: Vec<(HostName, HostPlan)>,
    /// The next number of each host's events, and of the run's own.
    sequences: HashMap<Option<HostName>, u64>,
    /// Hosts of which others read facts that were not there yet.
    awaited: HashSet<HostName>,
    /// The machines that run, and the host that stands for each.
    machines: HashMap<(String, String), HostName>,
    /// The hosts that are done, and how.
    done: HashMap<HostName, HostState>,
    /// How many of them were changed, however they ended.
    changed: u32,
    /// The hosts to be acted on.
    work: HashMap<HostName, Work>,
    /// Those of them that would change.
    changing: HashSet<HostName>,
    /// Whether one of them moved away from what was last applied.
    drifted: bool,
    /// Tells agents to stop after their step.
    stop_agents: watch::Sender<bool>,
    /// When hosts are abandoned that were told so.
    stop_by: Option<tokio::time::Instant>,
}

impl<'a, H: Hosts, O: Observer> Course<'a, H, O> {
    fn new(run: Run, hosts: Arc<H>, observer: &'a mut O) -> Self {
        let catalogs = Arc::new(Catalogs::new(&run));
        let gates = Arc::new(Gates::new(catalogs.clone(), hosts.clone()));
        let stages = stages(&run.hosts, run.inventory.rollouts(), |host| run.inventory.waits_for(host));
        Self {
            run,
            hosts,
            observer,
            gates,
            catalogs,
            stages,
            held: Vec::new(),
            sequences: HashMap::new(),
            awaited: HashSet::new(),
            machines: HashMap::new(),
            done: HashMap::new(),
            changed: 0,
            work: HashMap::new(),
            changing: HashSet::new(),
            drifted: false,
            stop_agents: watch::Sender::new(false),
            stop_by: None,
        }
    }

    /// Tells of the run and of its hosts, in the order of the inventory.
    fn begin(&mut self) {
        let (verb, hosts) = (self.run.goal.word().to_owned(), self.run.hosts.len() as u32);
        let (by, at) = (self.run.by.clone(), start::milliseconds());
        self.tell(None, EventKind::RunStarted { verb, hosts, by, at });
        for host in self.run.hosts.clone() {
            self.tell(Some(host), EventKind::HostState { phase: "waiting".to_owned() });
        }
    }

    fn tell(&mut self, host: Option<HostName>, kind: EventKind) {
        let next = self.sequences.entry(host.clone()).or_default();
        let event = Event { version: VERSION, run: self.run.id.clone(), host, sequence: *next, kind };
        *next += 1;
        self.observer.event(&event);
    }

    /// Looks at every host; those whose catalogs read what others say of themselves, after these.
    async fn look(&mut self) {
        let hosts = self.run.hosts.clone().into_iter();
        let (wanted, bare): (Vec<_>, Vec<_>) = hosts.partition(|host| self.may_own_something(host));
        let mut waiting = self.look_at(wanted, Patience::Waits).await;
        // Nothing is asked for on these; some may have to say what they are.
        let (asked, bare): (Vec<_>, Vec<_>) = bare.into_iter().partition(|host| self.awaited.contains(host));
        waiting.extend(self.look_at(asked, Patience::Waits).await);
        self.look_at(waiting, Patience::TakesWhatThereIs).await;
        self.leave_alone(bare);
        self.look_at_what_is_known().await;
        self.refuse_a_selection_of_nothing();
        self.tell_what_runs_once();
        for host in self.run.hosts.clone() {
            if !self.done.contains_key(&host) && !self.work.contains_key(&host) {
                self.finish(report(&host, HostState::NotStarted, "the run was stopped"));
            }
        }
    }

    /// Whether there may be anything to do on a host: something is asked for, or was before.
    fn may_own_something(&self, host: &HostName) -> bool {
        self.run.inventory.asks_for_anything(host) || self.catalogs.facts.was_applied(host)
    }

    /// Ends the hosts of which nothing is asked.
    fn leave_alone(&mut self, hosts: Vec<HostName>) {
        for host in hosts {
            if !self.is_stopped() {
                let (results, problems) = (Vec::new(), Vec::new());
                self.finish(HostReport { host, state: HostState::InSync, results, in_sync: 0, problems });
            }
        }
    }

    /// Ends the run where the selection names what no host has. It is known by now even where names depend on facts.
    fn refuse_a_selection_of_nothing(&mut self) {
        let problems = self.catalogs.missing(&self.run.hosts);
        if problems.is_empty() {
            return;
        }
        for (host, _) in std::mem::take(&mut self.held) {
            let report = report(&host, HostState::Unplannable, "");
            self.finish(HostReport { problems: problems.clone(), ..report });
        }
    }

    /// Looks again at the hosts that ask for what was run once already, as others know.
    async fn look_at_what_is_known(&mut self) {
        let asking: Vec<_> = self.held.iter().map(|(host, _)| host.clone()).collect();
        let mistaken = self.catalogs.once.mistaken(&asking);
        self.held.retain(|(host, _)| !mistaken.contains(host));
        self.look_at(mistaken, Patience::TakesWhatThereIs).await;
    }

    /// Takes in the plans that ask for what runs once, now that it is known where that will be.
    fn tell_what_runs_once(&mut self) {
        let order: Vec<_> = self.stages.iter().flat_map(|stage| stage.hosts.iter().cloned()).collect();
        for (host, mut plan) in std::mem::take(&mut self.held) {
            self.catalogs.once.foretell(&host, &mut plan, &order);
            self.accept(host, plan);
        }
    }

    /// Looks at `hosts` and says which are to be looked at again.
    async fn look_at(&mut self, hosts: Vec<HostName>, patience: Patience) -> Vec<HostName> {
        let mut crew = Crew::new();
        for host in &hosts {
            crew.start(host, |events| {
                let (ask, compile) = self.job(host, events, patience);
                let (hosts, host) = (self.hosts.clone(), host.clone());
                async move { hosts.look(&host, ask, compile).await }
            });
        }
        let mut waiting = Vec::new();
        let mut stop = self.run.stop.clone();
        loop {
            let news = tokio::select! {
                news = crew.next() => news,
                () = stopped(&mut stop, Stop::AfterStep) => return Vec::new(),
            };
            match news {
                None => return waiting,
                Some(News::Event(host, kind)) => self.tell(Some(host), *kind),
                Some(News::Done(host, Some(Ok(plan)))) => self.planned(host, plan),
                Some(News::Done(host, Some(Err(HostError::Compile(error))))) if error.is::<TooEarly>() => {
                    let awaited = error.downcast_ref::<TooEarly>().into_iter().flat_map(|early| &early.0);
                    self.awaited.extend(awaited.cloned());
                    waiting.push(host);
                }
                Some(News::Done(host, Some(Err(error)))) => self.finish(failure(&host, &error)),
                Some(News::Done(host, None)) => self.finish(broken(&host)),
            }
        }
    }

    fn job(&self, host: &HostName, events: mpsc::Sender<EventKind>, patience: Patience) -> (Ask, Compile) {
        let ask = Ask {
            run: self.run.id.clone(),
            by: self.run.by.clone(),
            events,
            stop: self.stop_agents.subscribe(),
            guard: self.run.guard,
        };
        let (catalogs, host) = (self.catalogs.clone(), host.clone());
        (ask, Box::new(move |facts| catalogs.compile(&host, facts, patience)))
    }

    /// Takes in a host's plan, if nothing in it depends on other hosts: what a selection chooses does.
    fn planned(&mut self, host: HostName, mut plan: HostPlan) {
        if self.run.strict {
            plan.refuse_impossible();
        }
        if self.catalogs.once.take_in(&host, &plan) || !self.run.selection.is_everything() {
            self.held.push((host, plan));
        } else {
            self.accept(host, plan);
        }
    }

    /// Tells of a host's plan, and what is to be done with it, or how it ends here.
    fn accept(&mut self, host: HostName, mut plan: HostPlan) {
        if let Some(other) = self.same_machine(&host) {
            return self.finish(same_machine(&host, &other, HostState::Unplannable));
        }
        let is_drift = matches!(self.run.goal, Goal::Drift { .. });
        if plan.problems.is_empty() && !plan.is_empty() && !is_drift {
            self.gates.foretell(&host, &mut plan);
        }
        // It is made of secrets, too: kept in a history or a log, a guess of a short one could be tried against it.
        let token = std::mem::replace(&mut plan.token, Digest::from_bytes([0; 32]));
        let in_sync = plan.in_sync;
        let to_record = self.run.goal == Goal::Apply && !plan.ledger_complete;
        let has_drifted = plan.drifted().next().is_some();
        self.drifted |= has_drifted;
        let nothing = match self.run.goal {
            Goal::Drift { .. } => !has_drifted && plan.pending().next().is_none(),
            Goal::Plan { .. } | Goal::Apply => plan.is_empty(),
        };
        let (is_refused, falls_short) = (!plan.problems.is_empty(), plan.impossible().next().is_some());
        let state = match nothing {
            _ if is_refused || falls_short => HostState::Unplannable,
            true => HostState::InSync,
            false => HostState::Pending,
        };
        let impossible = plan.impossible().cloned().map(Blocked::into_problem);
        let problems: Vec<_> = plan.problems.iter().cloned().chain(impossible).collect();
        let machine = self.catalogs.facts.machine(&host);
        let skew = self.hosts.skew(&host);
        self.tell(Some(host.clone()), EventKind::Planned { plan, machine, skew });
        let would_change = !nothing && !is_refused;
        let has_work = would_change || (!is_refused && to_record);
        if has_work && self.run.goal == Goal::Apply {
            self.changing.extend(would_change.then(|| host.clone()));
            self.work.insert(host, Work { token, in_sync, otherwise: state });
        } else {
            self.finish(HostReport { host, state, results: Vec::new(), in_sync, problems });
        }
    }

    /// The host that is the same machine as `host`, and goes before it: two catalogs for one machine would undo each
    /// other's work. Of two that are to be acted on that is the first of the inventory, whichever was heard first.
    fn same_machine(&mut self, host: &HostName) -> Option<HostName> {
        let transport = self.run.inventory.connection(host).transport;
        let is_folder = matches!(transport, converge_lang::Transport::Local { root: Some(_) });
        let identity = self.catalogs.facts.running(host).filter(|_| !is_folder)?;
        let Some(other) = self.machines.get(&identity).filter(|other| *other != host).cloned() else {
            self.machines.insert(identity, host.clone());
            return None;
        };
        let place = |name: &HostName| self.run.hosts.iter().position(|host| host == name);
        if place(host) > place(&other) || self.work.remove(&other).is_none() {
            return Some(other);
        }
        self.machines.insert(identity, host.clone());
        self.changing.remove(&other);
        self.catalogs.once.left(&other);
        self.finish(same_machine(&other, host, HostState::NotStarted));
        None
    }

    fn finish(&mut self, report: HostReport) {
        use HostState::{Changed, Failed, InSync, Interrupted, Reverted};
        let was_acted_on = matches!(report.state, Changed | InSync | Failed | Interrupted | Reverted);
        if was_acted_on && self.work.contains_key(&report.host) {
            self.catalogs.facts.applied(&report.host);
        }
        self.done.insert(report.host.clone(), report.state);
        self.changed += u32::from(report.changes() > 0);
        self.tell(Some(report.host.clone()), EventKind::HostFinished { report });
    }

    fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// Whether the run is to begin nothing any more.
    fn is_stopped(&self) -> bool {
        *self.run.stop.borrow() != Stop::No
    }

    /// Whether the plan is to be carried out, as far as the user can be asked before the run is stopped.
    async fn agreed(&mut self) -> bool {
        let mut stop = self.run.stop.clone();
        tokio::select! {
            biased;
            () = stopped(&mut stop, Stop::AfterStep) => false,
            agreed = self.observer.confirm() => agreed,
        }
    }

    /// Leaves all hosts as they were found.
    fn leave_pending(&mut self) {
        for host in self.run.hosts.clone() {
            if let Some(Work { in_sync, otherwise: state, .. }) = self.work.remove(&host) {
                self.finish(HostReport { host, state, results: Vec::new(), in_sync, problems: Vec::new() });
            }
        }
    }

    /// Acts on the hosts that differ, stage by stage.
    async fn act(&mut self) {
        let mut before = None;
        for stage in std::mem::take(&mut self.stages) {
            let has_work = stage.hosts.iter().any(|host| self.work.contains_key(host));
            match self.spent(&stage) {
                Some(why) => self.not_started(&stage.hosts, &why),
                None => {
                    if has_work && stage.rollout.is_some() && stage.rollout == before {
                        self.pause(stage.rollout).await;
                    }
                    self.act_on(&stage).await;
                }
            }
            if has_work {
                before = stage.rollout;
            }
        }
    }

    /// Waits between two batches as their rollout says, unless the run is stopped.
    async fn pause(&self, rollout: Option<usize>) {
        let rollout = rollout.and_then(|place| self.run.inventory.rollouts().get(place));
        let time = Duration::from_millis(rollout.map_or(0, |rollout| rollout.wait));
        let mut stop = self.run.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = stopped(&mut stop, Stop::AfterStep) => {}
        }
    }

    /// Why a stage is not begun: the rollout it belongs to, or one before it, has lost too many hosts.
    fn spent(&self, stage: &Stage) -> Option<String> {
        let upto = stage.rollout?;
        self.run.inventory.rollouts()[..=upto].iter().find_map(|rollout| {
            let hosts = self.run.hosts.iter().filter(|host| rollout.hosts.contains(host));
            let (selected, lost): (Vec<_>, Vec<_>) =
                hosts.partition(|host| !self.done.get(*host).is_some_and(|state| is_loss(*state)));
            let spent = lost.len() > budget(rollout, selected.len() + lost.len());
            spent.then(|| format!("the rollout over {} stopped: {}", rollout.name, named(&lost)))
        })
    }

    async fn act_on(&mut self, stage: &Stage) {
        let mut crew = Crew::new();
        let mut waiting: Vec<HostName> =
            stage.hosts.iter().filter(|host| self.work.contains_key(*host)).cloned().collect();
        let mut stop = self.run.stop.clone();
        let mut acting = HashSet::new();
        loop {
            waiting = self.start_those_who_can(waiting, &mut acting, &mut crew);
            if waiting.is_empty() && crew.is_idle() && acting.is_empty() {
                return;
            }
            let level = if *self.stop_agents.borrow() { Stop::Now } else { Stop::AfterStep };
            let news = tokio::select! {
                news = crew.next() => news,
                () = stopped(&mut stop, level) => match level {
                    Stop::Now => return self.abandon(&acting, &waiting, "in the middle of a step"),
                    _ => {
                        self.stop_agents.send_replace(true);
                        self.stop_by = Some(tokio::time::Instant::now() + STOPPING);
                        continue;
                    }
                },
                () = reached(self.stop_by) => {
                    let why = format!("{} s after it was told to stop", STOPPING.as_secs());
                    return self.abandon(&acting, &waiting, &why);
                }
            };
            let (host, result) = match news {
                None => return self.not_started(&waiting, "the hosts that it waits for did not finish"),
                Some(News::Event(host, kind)) => {
                    self.catalogs.once.hear(&host, &kind);
                    self.tell(Some(host), *kind);
                    continue;
                }
                Some(News::Done(host, result)) => (host, result),
            };
            acting.remove(&host);
            self.catalogs.once.left(&host);
            self.finish(match result {
                Some(Ok(report)) => HostReport { host, ..report },
                Some(Err(error)) => failure(&host, &error),
                None => broken(&host),
            });
        }
    }

    /// Starts every host that waits for nobody any more, and gives back the others; those that waited for a host that
    /// failed are not started at all.
    fn start_those_who_can(
        &mut self,
        waiting: Vec<HostName>,
        acting: &mut HashSet<HostName>,
        crew: &mut Crew<Result<HostReport, HostError>>,
    ) -> Vec<HostName> {
        let (mut still_waiting, mut queue) = (Vec::new(), waiting);
        while let Some(host) = (!queue.is_empty()).then(|| queue.remove(0)) {
            match self.readiness(&host) {
                Readiness::Ready if self.catalogs.once.take(&host) => {
                    self.start(&host, crew);
                    acting.insert(host);
                }
                Readiness::Ready | Readiness::Waits => still_waiting.push(host),
                Readiness::Never(why) => {
                    self.not_started(std::slice::from_ref(&host), &why);
                    // Somebody before it in the list may have waited for it.
                    queue.append(&mut still_waiting);
                }
            }
        }
        still_waiting
    }

    fn readiness(&self, host: &HostName) -> Readiness {
        if self.is_stopped() {
            return Readiness::Never("the run was stopped".to_owned());
        }
        let before = self.run.inventory.waits_for(host);
        let ended = |state: fn(HostState) -> bool| {
            before.iter().find(|other| self.done.get(*other).is_some_and(|ended| state(*ended)))
        };
        if let Some(lost) = ended(is_loss) {
            let word = self.done.get(lost).map_or("", |state| state.word());
            return Readiness::Never(format!("it waits for {lost}, which ended {word}"));
        }
        // Hosts outside the selection count as done.
        let all_done =
            before.iter().all(|other| self.done.contains_key(other) || !self.work.contains_key(other));
        if all_done { Readiness::Ready } else { Readiness::Waits }
    }

    fn start(&mut self, host: &HostName, crew: &mut Crew<Result<HostReport, HostError>>) {
        let Some(Work { token, .. }) = self.work.get(host).copied() else { return };
        crew.start(host, |events| {
            let (ask, compile) = self.job(host, events, Patience::TakesWhatThereIs);
            let (hosts, host) = (self.hosts.clone(), host.clone());
            let gates = self.changing.contains(&host).then(|| self.gates.clone());
            async move {
                let act = hosts.act(&host, ask.clone(), token, compile);
                match gates {
                    Some(gates) => gates.around(&host, ask, act).await,
                    None => act.await,
                }
            }
        });
    }

    fn not_started(&mut self, hosts: &[HostName], why: &str) {
        for host in hosts {
            if self.work.contains_key(host) && !self.done.contains_key(host) {
                self.finish(report(host, HostState::NotStarted, why));
            }
        }
    }

    fn abandon(&mut self, acting: &HashSet<HostName>, waiting: &[HostName], when: &str) {
        let why = format!("abandoned {when}; the next run goes on from the host's journal");
        let mut acting: Vec<_> = acting.iter().cloned().collect();
        acting.sort();
        for host in acting {
            self.finish(report(&host, HostState::Interrupted, &why));
        }
        self.not_started(waiting, "the run was stopped");
    }

    fn end(mut self, began: Instant) -> Outcome {
        let mut counts: BTreeMap<HostState, u32> = BTreeMap::new();
        self.done.values().for_each(|state| *counts.entry(*state).or_default() += 1);
        let states: Vec<_> = counts.into_iter().collect();
        let detailed = matches!(self.run.goal, Goal::Plan { detailed: true });
        let exit = match *self.run.stop.borrow() {
            Stop::No => match exit::of_run(states.iter().map(|(state, _)| *state), detailed) {
                exit::OK if self.drifted && self.run.goal == (Goal::Drift { fail: true }) => exit::PENDING,
                code => code,
            },
            _ => exit::INTERRUPTED,
        };
        let took = began.elapsed().as_millis() as u64;
        self.tell(None, EventKind::RunFinished { states: states.clone(), changed: self.changed, exit, took });
        Outcome { states, exit }
    }
}

/// Whether a host may be acted on.
enum Readiness {
    Ready,
    Waits,
    /// Not in this run, and why.
    Never(String),
}

/// Whether a host that ended so counts against a budget, and keeps those who wait for it from being started.
fn is_loss(state: HostState) -> bool {
    !matches!(state, HostState::InSync | HostState::Pending | HostState::Changed)
}

/// Waits until the run is to stop at least as urgently as `level`; for ever where nobody can say so any more.
async fn stopped(stop: &mut watch::Receiver<Stop>, level: Stop) {
    if stop.wait_for(|stop| *stop >= level).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until `time`; for ever where there is none.
async fn reached(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn failure(host: &HostName, error: &HostError) -> HostReport {
    let problems = match error {
        HostError::Compile(error) if error.is::<Mistakes>() => {
            error.downcast_ref::<Mistakes>().map(|mistakes| mistakes.0.clone()).unwrap_or_default()
        }
        error => vec![Problem { address: None, message: error.to_string(), help: error.help() }],
    };
    HostReport { host: host.clone(), state: error.state(), results: Vec::new(), in_sync: 0, problems }
}

/// The end of a host that is another name of `other`.
fn same_machine(host: &HostName, other: &HostName, state: HostState) -> HostReport {
    let message = format!("{other} and {host} are one machine: both names lead to the same installation");
    let help = "leave one of the two names out of the inventory, or out of the run with `--limit`";
    let problem = Problem { address: None, message, help: Some(help.to_owned()) };
    HostReport { problems: vec![problem], ..report(host, state, "") }
}

fn broken(host: &HostName) -> HostReport {
    report(host, HostState::Failed, "its task broke down: this is a defect of Converge")
}

fn report(host: &HostName, state: HostState, why: &str) -> HostReport {
    let problem = Problem { address: None, message: why.to_owned(), help: None };
    HostReport { host: host.clone(), state, results: Vec::new(), in_sync: 0, problems: vec![problem] }
}

fn named(hosts: &[&HostName]) -> String {
    let names: Vec<_> = hosts.iter().take(5).map(|host| host.as_str()).collect();
    let more = if hosts.len() > names.len() { ", …" } else { "" };
    format!("lost {}{more}", names.join(", "))
}

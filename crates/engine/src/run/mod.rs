//! One run over the selected hosts. It looks at every host. If it is an apply and the user agrees, it acts on the
//! hosts that differ, stage by stage. It reports everything as events to one observer.
//!
//! No host is acted on before the run has looked at every selected host or given it up. Between the two nothing runs
//! on a host: the run keeps only one token for each plan. `look` has the look, `act` the change, and `standing` the
//! state of each host.

mod act;
pub mod ad_hoc;
mod catalog;
mod crew;
mod facts;
mod gates;
mod look;
mod once;
mod report;
mod standing;
mod telling;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use converge_fleet::Ask;
use converge_lang::{Inventory, Selection};
use converge_model::wire::Guard;
use converge_model::{Event, EventKind, HostName, HostReport, HostState, RunId, exit};
use tokio::sync::{mpsc, watch};

use self::catalog::{Catalogs, Patience};
use self::gates::Gates;
use self::standing::{End, Standing, Standings, Work};
use self::telling::Telling;
use crate::hosts::{Compile, Hosts};
use crate::order::{Stage, stages};
use crate::sources::ProjectSources;
use crate::start;
use crate::state::{DoneOnce, SeenFacts};

/// The settings of a run.
pub struct Run {
    /// Its identity.
    pub id: RunId,
    /// The user and the machine that started the run: `ada@laptop`.
    pub by: String,
    /// The goal of the run.
    pub goal: Goal,
    /// The name by which hosts know the project.
    pub owner: String,
    /// The inventory.
    pub inventory: Arc<Inventory>,
    /// The files of the project.
    pub sources: Arc<ProjectSources>,
    /// The hosts, in the order of the inventory.
    pub hosts: Vec<HostName>,
    /// The selected resources.
    pub selection: Selection,
    /// The facts that are kept for later runs.
    pub seen: SeenFacts,
    /// The record of the once-steps that were run.
    pub done_once: DoneOnce,
    /// Whether the run should stop.
    pub stop: watch::Receiver<Stop>,
    /// How access-critical changes are guarded.
    pub guard: Guard,
    /// Whether a host with a resource that cannot be planned is not changed at all.
    pub strict: bool,
    /// How long an apply waits for other runs on its hosts before it plans.
    pub wait: Duration,
}

/// The goal of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Show what would change. `detailed`: changes have their own exit code.
    Plan {
        /// Whether pending changes have their own exit code.
        detailed: bool,
    },
    /// Show what changed on the hosts, without what is new in the inventory.
    Drift {
        /// Whether drift has its own exit code.
        fail: bool,
    },
    /// Change the hosts.
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

/// How urgently a run should stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// It should not stop.
    #[default]
    No,
    /// After the running steps, and within [`STOPPING`].
    AfterStep,
    /// At once. Hosts continue by themselves to the end of their step.
    Now,
}

/// How long the running steps may take after a run should stop. The run gives up a host that is not done by then; the
/// host ends its step by itself. This is the timeout of a command that sets none.
pub const STOPPING: Duration = Duration::from_secs(600);

/// The observer of a run.
pub trait Observer: Send {
    /// Something happened. The run waits until this returns.
    fn event(&mut self, event: &Event);

    /// Whether to carry out the plan that the events described.
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

/// Carries out a run.
pub async fn run<H: Hosts, O: Observer>(run: Run, hosts: Arc<H>, observer: &mut O) -> Outcome {
    let mut course = Course::new(run, hosts, observer);
    course.begin();
    course.look().await;
    let mut is_declined = false;
    if course.run.goal == Goal::Apply && course.standings.any(Standing::is_due) {
        if !course.is_stopped() && (!course.standings.any(Standing::would_change) || course.agreed().await) {
            course.act().await;
        } else {
            is_declined = true;
            course.leave_pending();
        }
    }
    course.end(is_declined)
}

/// A running run.
struct Course<'a, H, O> {
    run: Run,
    began: Instant,
    hosts: Arc<H>,
    telling: Telling<'a, O>,
    catalogs: Arc<Catalogs>,
    gates: Arc<Gates<H>>,
    /// The order in which hosts are acted on.
    stages: Vec<Stage>,
    /// The state of each host.
    standings: Standings,
    /// The running machines, and the host that is used for each.
    machines: HashMap<(String, String), HostName>,
    /// Tells the agents to stop after their step.
    stop_agents: watch::Sender<bool>,
    /// When hosts that were told to stop are given up.
    stop_by: Option<tokio::time::Instant>,
}

impl<'a, H: Hosts, O: Observer> Course<'a, H, O> {
    fn new(run: Run, hosts: Arc<H>, observer: &'a mut O) -> Self {
        let catalogs = Arc::new(Catalogs::new(&run));
        let gates = Arc::new(Gates::new(catalogs.clone(), hosts.clone()));
        let stages = stages(&run.hosts, run.inventory.rollouts(), |host| run.inventory.waits_for(host));
        let standings = Standings::new(&run.hosts);
        let telling = Telling::new(&run.id, observer);
        Self {
            run,
            began: Instant::now(),
            hosts,
            telling,
            gates,
            catalogs,
            stages,
            standings,
            machines: HashMap::new(),
            stop_agents: watch::Sender::new(false),
            stop_by: None,
        }
    }

    /// Reports the run and its hosts, in the order of the inventory.
    fn begin(&mut self) {
        let (verb, hosts) = (self.run.goal.word().to_owned(), self.run.hosts.len() as u32);
        let (by, at) = (self.run.by.clone(), start::milliseconds());
        self.tell(None, EventKind::RunStarted { verb, hosts, by, at });
        for host in self.run.hosts.clone() {
            self.tell(Some(host), EventKind::HostState { phase: "waiting".to_owned() });
        }
    }

    fn tell(&mut self, host: Option<HostName>, kind: EventKind) {
        self.telling.tell(host, kind);
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

    /// Ends a host with its report.
    fn finish(&mut self, report: HostReport) {
        let end = End::of(&report);
        self.finish_as(report, end);
    }

    fn finish_as(&mut self, report: HostReport, end: End) {
        use HostState::{Changed, Failed, InSync, Interrupted, Reverted};
        let Some(before) = self.standings.end(&report.host, end) else { return };
        let may_have_changed = matches!(end.state, Changed | InSync | Failed | Interrupted | Reverted);
        if may_have_changed && before.is_acting() {
            self.catalogs.facts.applied(&report.host);
        }
        self.tell(Some(report.host.clone()), EventKind::HostFinished { report });
    }

    /// Whether the run should start nothing more.
    fn is_stopped(&self) -> bool {
        *self.run.stop.borrow() != Stop::No
    }

    /// Whether to carry out the plan. False if the run is stopped before the user answers.
    async fn agreed(&mut self) -> bool {
        let mut stop = self.run.stop.clone();
        let asked = Instant::now();
        let agreed = tokio::select! {
            biased;
            () = stopped(&mut stop, Stop::AfterStep) => false,
            agreed = self.telling.observer.confirm() => agreed,
        };
        // The user's time is not the run's.
        self.began += asked.elapsed();
        agreed
    }

    /// Ends all due hosts unchanged.
    fn leave_pending(&mut self) {
        for host in self.standings.which(Standing::is_due) {
            if let Some(&Standing::Due(Work { in_sync, otherwise: state, .. })) = self.standings.of(&host) {
                self.finish(HostReport { host, state, results: Vec::new(), in_sync, problems: Vec::new() });
            }
        }
    }

    /// `is_declined`: the plan was not carried out because the user did not agree.
    fn end(mut self, is_declined: bool) -> Outcome {
        let mut counts: BTreeMap<HostState, u32> = BTreeMap::new();
        self.standings.ends().for_each(|end| *counts.entry(end.state).or_default() += 1);
        let changed = self.standings.ends().filter(|end| end.changed).count() as u32;
        let has_drifted = self.standings.ends().any(|end| end.drifted);
        let states: Vec<_> = counts.into_iter().collect();
        let detailed = matches!(self.run.goal, Goal::Plan { detailed: true });
        let exit = match *self.run.stop.borrow() {
            Stop::No => match exit::of_run(states.iter().map(|(state, _)| *state), detailed) {
                exit::OK if has_drifted && self.run.goal == (Goal::Drift { fail: true }) => exit::PENDING,
                exit::OK if is_declined => exit::ERROR,
                code => code,
            },
            _ => exit::INTERRUPTED,
        };
        let took = self.began.elapsed().as_millis() as u64;
        self.tell(None, EventKind::RunFinished { states: states.clone(), changed, exit, took });
        Outcome { states, exit }
    }
}

/// Waits until `time`. Never returns if there is none.
async fn reached(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Waits until the run should stop at least as urgently as `level`. Never returns if the sender is gone.
async fn stopped(stop: &mut watch::Receiver<Stop>, level: Stop) {
    if stop.wait_for(|stop| *stop >= level).await.is_err() {
        std::future::pending::<()>().await;
    }
}

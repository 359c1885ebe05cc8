//! One run over the selected hosts: every one is looked at, then, if it is to be applied and somebody agrees, those that
//! differ are acted on, stage by stage. What happens is told as events to one observer, and nothing is told otherwise.
//!
//! No host is acted on before every selected host was looked at or given up. Between the two nothing runs on a host;
//! the run keeps one token of each plan. The look itself is in `look`, the change in `act`, where each host stands in
//! `standing`.

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
    /// How long an apply waits for other runs that are at work on its hosts, before it plans.
    pub wait: Duration,
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

/// A run on its way.
struct Course<'a, H, O> {
    run: Run,
    began: Instant,
    hosts: Arc<H>,
    telling: Telling<'a, O>,
    catalogs: Arc<Catalogs>,
    gates: Arc<Gates<H>>,
    /// In which order hosts are acted on.
    stages: Vec<Stage>,
    /// Where each host stands.
    standings: Standings,
    /// The machines that run, and the host that stands for each.
    machines: HashMap<(String, String), HostName>,
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

    /// Ends a host as its report says.
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

    /// Whether the run is to begin nothing any more.
    fn is_stopped(&self) -> bool {
        *self.run.stop.borrow() != Stop::No
    }

    /// Whether the plan is to be carried out, as far as the user can be asked before the run is stopped.
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

    /// Leaves all hosts as they were found.
    fn leave_pending(&mut self) {
        for host in self.standings.which(Standing::is_due) {
            if let Some(&Standing::Due(Work { in_sync, otherwise: state, .. })) = self.standings.of(&host) {
                self.finish(HostReport { host, state, results: Vec::new(), in_sync, problems: Vec::new() });
            }
        }
    }

    /// `is_declined`: whether the plan was not carried out because the user did not agree.
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

/// Waits until the run is to stop at least as urgently as `level`; for ever where nobody can say so any more.
async fn stopped(stop: &mut watch::Receiver<Stop>, level: Stop) {
    if stop.wait_for(|stop| *stop >= level).await.is_err() {
        std::future::pending::<()>().await;
    }
}

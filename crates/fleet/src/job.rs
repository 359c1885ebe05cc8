//! The two jobs of an agent: a look, which ends in a plan, and an act, which ends in a report.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use converge_model::event::EventKind;
use converge_model::wire::{CATALOG_LIMIT, FromAgent, Guard, Job, Refusal, Task, ToAgent, Verdict};
use converge_model::{Catalog, Cell, Content, Digest, HostPlan, HostReport, RunId, Value};
use tokio::sync::{mpsc, watch};

use crate::content::ContentStore;
use crate::deadline::{Deadline, Limits};
use crate::session::{Allowance, Session, SessionError};

/// The most events of one act. The agent limits output long before; only a hostile agent comes near.
const MOST_EVENTS: usize = 250_000;
/// The most bytes of events of one act: several times the limit of a report, plus output.
const MOST_EVENT_BYTES: usize = 128 * 1024 * 1024;

/// The caller of a job: its run, its channels and its settings.
#[derive(Clone)]
pub struct Ask {
    /// The run.
    pub run: RunId,
    /// The user and the machine that started the run: `ada@laptop`.
    pub by: String,
    /// Receives events in order: phases ([`Phase`]) and the agent's events. If the channel is full, the sender waits.
    pub events: mpsc::Sender<EventKind>,
    /// Becomes true when the agent should stop after the running step.
    pub stop: watch::Receiver<bool>,
    /// How access-critical changes are guarded.
    pub guard: Guard,
}

/// The desired state of a host, and the source of the content that the host lacks.
pub struct Prepared {
    /// The catalog.
    pub catalog: Catalog,
    /// The content that it names.
    pub content: Arc<dyn ContentStore>,
}

/// Why a host's catalog could not be compiled. The caller defines the error.
pub type CompileError = Box<dyn Error + Send + Sync>;

/// The current phase of a host, as events report it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The controller connects to the host.
    Connecting,
    /// The controller uploads the agent.
    Uploading,
    /// The agent looks.
    Looking,
    /// The agent acts.
    Applying,
    /// The controller makes a new connection to confirm the changes.
    Confirming,
    /// The agent runs a command.
    Running,
}

impl Phase {
    /// The word for the phase in events.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Uploading => "uploading",
            Self::Looking => "looking",
            Self::Applying => "applying",
            Self::Confirming => "confirming",
            Self::Running => "running",
        }
    }
}

impl Ask {
    /// Reports a phase. It is no error if the receiver is gone.
    pub(crate) async fn phase(&self, phase: Phase) {
        let _ = self.events.send(EventKind::HostState { phase: phase.word().to_owned() }).await;
    }
}

/// How a job ended.
pub(crate) enum Done {
    Plan(Box<HostPlan>),
    Report(Box<HostReport>),
    Refused(Refusal),
}

/// The need of a working agent, or its end.
pub(crate) enum Said {
    Done(Done),
    /// A new connection, within this time.
    Confirm(Duration),
}

/// A running task of an agent. Everything that the agent sends is checked against the catalog that it was given. An
/// agent speaks only for its own host and its own resources.
pub(crate) struct Work<'a> {
    ask: &'a Ask,
    task: Task,
    prepared: &'a Prepared,
    allowance: Allowance,
    events: Events,
    stop: watch::Receiver<bool>,
    /// The bytes of each content that the catalog names.
    lengths: HashMap<Digest, u64>,
    /// The deadline of an act. None for a look: its caller limits it.
    deadline: Option<Deadline>,
    /// Until when the host waits for a confirmation. None if it waits for none.
    armed: Option<Instant>,
}

impl<'a> Work<'a> {
    /// Gives the agent of `session` its task.
    pub(crate) fn begin(
        session: &Session,
        ask: &'a Ask,
        task: Task,
        root: Option<String>,
        prepared: &'a Prepared,
        limits: Limits,
    ) -> Result<Self, SessionError> {
        order(session, ask, task.clone(), root, &prepared.catalog)?;
        let lengths = content(&prepared.catalog);
        let allowance = Allowance::new(lengths.keys().copied().collect());
        let is_act = matches!(task, Task::Act { .. });
        let deadline = is_act.then(|| Deadline::new(&prepared.catalog, limits, Instant::now()));
        let (events, stop) = (Events::default(), ask.stop.clone());
        Ok(Self { ask, task, prepared, allowance, events, stop, lengths, deadline, armed: None })
    }

    /// Until when the host waits for a confirmation. None if it waits for none.
    pub(crate) fn armed(&self) -> Option<Instant> {
        self.armed
    }

    /// Serves the agent until it is done or needs a new connection.
    pub(crate) async fn next(&mut self, session: &mut Session) -> Result<Said, SessionError> {
        loop {
            let said = tokio::select! {
                // The deadline comes first. Otherwise a host that sends without end would never be stopped.
                biased;
                () = over(self.deadline.as_ref().map(Deadline::until)) => return Err(self.overdue()),
                () = stopped(&mut self.stop) => {
                    session.send(&ToAgent::Stop)?;
                    self.deadline.iter_mut().for_each(|deadline| deadline.stop(Instant::now()));
                    continue;
                }
                said = session.next() => said?,
            };
            match (said, &self.task) {
                (FromAgent::Need(digests), _) => {
                    provide(session, &digests, &mut self.allowance, self.prepared)?;
                    let lengths = digests.iter().filter_map(|digest| self.lengths.get(digest));
                    let length = lengths.fold(0, |sum: u64, length| sum.saturating_add(*length));
                    self.deadline.iter_mut().for_each(|deadline| deadline.sends(length));
                }
                (FromAgent::Event(event), Task::Act { .. }) => self.tell(*event).await?,
                (FromAgent::Confirm { seconds }, Task::Act { .. }) if self.armed.is_some() => {
                    return Ok(Said::Confirm(self.window(seconds)));
                }
                (FromAgent::Plan(plan), Task::Look) => {
                    return fitting_plan(plan, &self.prepared.catalog).map(Said::Done);
                }
                (FromAgent::Report(report), Task::Act { .. }) => {
                    return fitting_report(report, &self.prepared.catalog).map(Said::Done);
                }
                (FromAgent::Refused(refusal), _) => return Ok(Said::Done(Done::Refused(refusal))),
                _ => return Err(SessionError::unasked()),
            }
        }
    }

    async fn tell(&mut self, event: EventKind) -> Result<(), SessionError> {
        self.events.count(&event)?;
        let now = Instant::now();
        match (&event, &mut self.deadline) {
            (EventKind::StepStarted { address, .. }, Some(deadline)) => deadline.started(address, now),
            (EventKind::StepFinished { result }, Some(deadline)) => deadline.finished(&result.address, now),
            _ => {}
        }
        match &event {
            EventKind::Armed { seconds } => self.armed = Some(Instant::now() + self.window(*seconds)),
            EventKind::Confirmed | EventKind::Reverted => self.armed = None,
            _ => {}
        }
        let _ = self.ask.events.send(event).await;
        Ok(())
    }

    fn overdue(&self) -> SessionError {
        let missed = self.deadline.as_ref().map(|deadline| deadline.missed(Instant::now()));
        let (what, seconds) = missed.unwrap_or_default();
        SessionError::Overdue { what, seconds }
    }

    /// Limits the window to the configured one, so that a host cannot make the controller wait longer.
    fn window(&self, seconds: u32) -> Duration {
        Duration::from_secs(seconds.min(self.ask.guard.seconds).into())
    }
}

/// Lets the agent of `session` confirm the changes that another agent of the same run has armed.
pub(crate) async fn confirm(session: &mut Session, ask: &Ask) -> Result<Verdict, SessionError> {
    let (run, by) = (ask.run.clone(), ask.by.clone());
    let job = Job { run, by, task: Task::Confirm, root: None, catalog: 0, secrets: 0, guard: ask.guard };
    session.send(&ToAgent::Job(job))?;
    match session.next().await? {
        FromAgent::Verdict(verdict) => Ok(verdict),
        FromAgent::Refused(Refusal::Broken { message, .. }) => Err(SessionError::Protocol(message)),
        _ => Err(SessionError::unasked()),
    }
}

/// Waits for the order to stop. Returns only once. Never returns if the sender is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_ok() {
        // The order was received. The new channel has no sender, so a second call never returns.
        *stop = watch::channel(false).1;
    } else {
        std::future::pending::<()>().await;
    }
}

/// Waits for the deadline. Never returns if there is none.
pub(crate) async fn over(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn order(
    session: &Session,
    ask: &Ask,
    task: Task,
    root: Option<String>,
    catalog: &Catalog,
) -> Result<(), SessionError> {
    let bytes = encode(catalog)?;
    let secrets = catalog.secrets.to_channel();
    if bytes.len().max(secrets.len()) > CATALOG_LIMIT {
        return Err(SessionError::Protocol(format!("the catalog is larger than {CATALOG_LIMIT} bytes")));
    }
    session.send(&ToAgent::Job(Job {
        run: ask.run.clone(),
        by: ask.by.clone(),
        task,
        root,
        catalog: bytes.len() as u64,
        secrets: secrets.len() as u64,
        guard: ask.guard,
    }))?;
    session.send_parts(&bytes)?;
    session.send_parts(&secrets)
}

/// Encodes the catalog for the agent: a message like any other, but larger than a frame.
fn encode(catalog: &Catalog) -> Result<Vec<u8>, SessionError> {
    postcard::to_allocvec(catalog).map_err(|error| SessionError::Protocol(error.to_string()))
}

/// Returns the content that a catalog names, with its length in bytes.
fn content(catalog: &Catalog) -> HashMap<Digest, u64> {
    let mut digests = HashMap::new();
    let mut note = |content: &Content| {
        if let Content::Plain { digest, length } = content {
            digests.insert(*digest, *length);
        }
    };
    for (_, value) in catalog.resources.iter().flat_map(|resource| &resource.params.0) {
        match value {
            Value::Content(content) => note(content),
            Value::Rows(rows) => rows.iter().flat_map(|row| &row.0).for_each(|(_, cell)| {
                if let Cell::Content(content) = cell {
                    note(content);
                }
            }),
            Value::Scalar(_) | Value::List(_) | Value::Map(_) | Value::Tree(_) => {}
        }
    }
    digests
}

/// Answers each request in order. Content that is not in the host's catalog is reported as missing.
fn provide(
    session: &Session,
    digests: &[Digest],
    allowance: &mut Allowance,
    prepared: &Prepared,
) -> Result<(), SessionError> {
    for digest in digests {
        if allowance.grant(*digest)? {
            session.send_content(*digest, prepared.content.clone());
        } else {
            session.send(&ToAgent::Content { digest: *digest, length: None })?;
        }
    }
    Ok(())
}

fn fitting_plan(plan: Box<HostPlan>, catalog: &Catalog) -> Result<Done, SessionError> {
    let places = plan.steps.iter().map(|step| step.resource);
    let mut places = places.chain(plan.blocked.iter().map(|blocked| blocked.resource));
    let known = places.all(|place| (place as usize) < catalog.resources.len());
    if known { Ok(Done::Plan(plan)) } else { Err(foreign()) }
}

fn fitting_report(report: Box<HostReport>, catalog: &Catalog) -> Result<Done, SessionError> {
    let known = report.results.iter().all(|result| (result.resource as usize) < catalog.resources.len());
    if known && report.host == catalog.host { Ok(Done::Report(report)) } else { Err(foreign()) }
}

fn foreign() -> SessionError {
    SessionError::Protocol("it names a host or a resource that is not in its catalog".to_owned())
}

/// How many events an act has sent.
#[derive(Default)]
struct Events {
    count: usize,
    bytes: usize,
}

impl Events {
    fn count(&mut self, event: &EventKind) -> Result<(), SessionError> {
        if matches!(
            event,
            EventKind::RunStarted { .. }
                | EventKind::RunFinished { .. }
                | EventKind::HostFinished { .. }
                | EventKind::Planned { .. }
        ) {
            return Err(SessionError::Protocol(
                "it sent an event that only the controller may send".to_owned(),
            ));
        }
        self.count += 1;
        self.bytes += postcard::experimental::serialized_size(event).unwrap_or(MOST_EVENT_BYTES);
        if self.count > MOST_EVENTS || self.bytes > MOST_EVENT_BYTES {
            return Err(SessionError::Protocol("it sent too many events".to_owned()));
        }
        Ok(())
    }
}

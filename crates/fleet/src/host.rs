//! One host: the connection to it, the agent on it, and the requests to that agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use converge_model::wire::{Hello, Refusal, Task};
use converge_model::{Digest, Facts, HostPlan, HostReport, HostState};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::bootstrap::{Booted, Bootstrap, BootstrapError};
use crate::counters::{Counters, Traffic};
use crate::deadline::Limits;
use crate::gates::{pause, random};
use crate::job::{Ask, CompileError, Done, Phase, Prepared, Said, Work};
use crate::link::{self, Link};
use crate::options::{Patience, Shared};
use crate::session::{self, Session, SessionError};
use crate::ssh::{self, ConnectError, Connected};
use crate::target::{Reach, Target};

/// How often a command is tried again if the connection does not accept it. A host may allow one command at a time
/// and notice late that the last one has ended.
const BUSY_RETRIES: u32 = 4;

/// Why a host gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No agent runs on the host.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The conversation failed. The host was not changed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The conversation failed during an act. The host's journal has what was done.
    #[error("interrupted: {0}")]
    Interrupted(#[source] SessionError),
    /// The conversation failed while guarded changes were armed, and the host could not be reached since.
    #[error("interrupted, and unreachable since: {0}")]
    Lost(#[source] SessionError),
    /// The catalog could not be compiled.
    #[error("failed to compile the catalog: {0}")]
    Compile(CompileError),
    /// The agent refused the job.
    #[error("{}", refusal(.0))]
    Refused(Refusal),
    /// The process could not be started, or the connection did not accept the command.
    #[error("failed to start a command on the host: {0}")]
    Start(String),
}

impl HostError {
    /// Returns the state of the host's run after this error.
    pub fn state(&self) -> HostState {
        match self {
            // These hosts were reached, so the user should not search for a network fault.
            Self::Bootstrap(error) if error.is_of_host() => HostState::Unplannable,
            Self::Connect(_) | Self::Bootstrap(_) | Self::Session(_) | Self::Start(_) => {
                HostState::Unreachable
            }
            Self::Interrupted(_) | Self::Lost(_) => HostState::Interrupted,
            Self::Compile(_) => HostState::Unplannable,
            Self::Refused(Refusal::Locked(_)) => HostState::Locked,
            Self::Refused(Refusal::Stale(_)) => HostState::Stale,
            Self::Refused(Refusal::Broken { .. }) => HostState::Failed,
        }
    }

    /// Returns the advice for the user.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Connect(error) => error.help(),
            Self::Bootstrap(error) => error.help(),
            Self::Refused(Refusal::Broken { help, .. }) => help.clone(),
            Self::Interrupted(SessionError::Overdue { .. }) => Some(
                "look on the host for a program that still runs; the next run reads its journal and goes on from there"
                    .to_owned(),
            ),
            Self::Interrupted(_) => {
                Some("the next run reads the host's journal and goes on from there".to_owned())
            }
            Self::Lost(_) => Some(
                "the host reverts its guarded steps by itself, at its next boot at the latest"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// Whether the host refuses the login. Another attempt would not change that.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_refusal(),
            Self::Bootstrap(error) => matches!(error, BootstrapError::Escalation { .. }),
            _ => false,
        }
    }
}

fn refusal(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Locked(holder) => format!("{holder}; `--wait 10m` waits for it"),
        Refusal::Stale(why) => format!("the host changed since its plan was shown: {why}"),
        Refusal::Broken { message, .. } => message.clone(),
    }
}

/// Which connection is used for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// The open connection, if there is one.
    Kept,
    /// A new connection. It uses nothing that an earlier one left: neither its ssh master nor its sudo credentials.
    Fresh,
}

/// One host of a fleet.
pub struct Host {
    target: Target,
    shared: Arc<Shared>,
    connection: Connection,
    counters: Arc<Counters>,
    connected: Mutex<Option<Connected>>,
    /// Seconds by which the host's clock is ahead of the controller's.
    skew: AtomicI64,
}

impl Host {
    pub(crate) fn new(target: Target, shared: Arc<Shared>, connection: Connection) -> Self {
        Self {
            target,
            shared,
            connection,
            counters: Arc::default(),
            connected: Mutex::new(None),
            skew: AtomicI64::new(0),
        }
    }

    /// The settings of the host.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the same host over a completely new connection, which proves that the host can still be reached. It
    /// does not wait for another session to end.
    pub fn afresh(&self) -> Self {
        Self::new(self.target.clone(), self.shared.clone(), Connection::Fresh)
    }

    /// The cost of the conversations with the host so far.
    pub fn traffic(&self) -> Traffic {
        self.counters.traffic()
    }

    /// Seconds by which the host's clock was ahead of the controller's at the last contact. Negative if it is behind.
    pub fn skew(&self) -> i64 {
        self.skew.load(Ordering::Relaxed)
    }

    /// Returns the facts of the host.
    pub async fn facts(&self) -> Result<Facts, HostError> {
        let _leave = self.leave().await?;
        let (session, hello) = self.agent(None).await?;
        session.end().await;
        Ok(hello.facts)
    }

    /// Looks at the host under the catalog that `compile` makes from its facts. Changes nothing.
    pub async fn look<C>(&self, ask: &Ask, compile: C) -> Result<(Facts, HostPlan), HostError>
    where
        C: FnOnce(&Facts) -> Result<Prepared, CompileError> + Send + 'static,
    {
        let _leave = self.leave().await?;
        let (mut session, facts, prepared) = self.prepared(ask, compile).await?;
        ask.phase(Phase::Looking).await;
        let limit = self.shared.options.patience.look;
        let mut work = Work::begin(&session, ask, Task::Look, self.root(), &prepared, self.limits())?;
        let looked = timeout(limit, work.next(&mut session)).await;
        let said = looked.unwrap_or(Err(SessionError::Slow(limit.as_secs())))?;
        session.end().await;
        match said {
            Said::Done(Done::Plan(plan)) => Ok((facts, *plan)),
            Said::Done(Done::Refused(refusal)) => Err(HostError::Refused(refusal)),
            _ => Err(SessionError::Protocol("it must answer a look with a plan".to_owned()).into()),
        }
    }

    /// Carries out the plan with the digest `token`, under the catalog that `compile` makes from the current facts.
    /// It has no fixed timeout. It ends if the host is silent, or if a step exceeds its own timeout.
    pub async fn act<C>(&self, ask: &Ask, token: Digest, compile: C) -> Result<HostReport, HostError>
    where
        C: FnOnce(&Facts) -> Result<Prepared, CompileError> + Send + 'static,
    {
        let _leave = self.leave().await?;
        let (mut session, _facts, prepared) = self.prepared(ask, compile).await?;
        ask.phase(Phase::Applying).await;
        let task = Task::Act { token };
        let begun = Work::begin(&session, ask, task, self.root(), &prepared, self.limits());
        let mut work = begun.map_err(HostError::Interrupted)?;
        let mut unconfirmed = None;
        let done = loop {
            match work.next(&mut session).await {
                Ok(Said::Done(done)) => break done,
                Ok(Said::Confirm(window)) => unconfirmed = self.confirm(ask, window).await.err(),
                Err(error) => match work.armed() {
                    Some(deadline) => return self.aftermath(ask, deadline, error).await,
                    None => return Err(HostError::Interrupted(error)),
                },
            }
        };
        session.end().await;
        match done {
            Done::Report(mut report) => {
                report.problems.extend(unconfirmed.filter(|_| report.state != HostState::Changed));
                Ok(*report)
            }
            Done::Refused(refusal) => Err(HostError::Refused(refusal)),
            Done::Plan(_) => Err(HostError::Interrupted(SessionError::Protocol(
                "it answered an act with a plan".to_owned(),
            ))),
        }
    }

    /// Ends the connection, unless it is kept for later runs.
    pub async fn close(self) {
        if let Some(connected) = self.connected.into_inner() {
            connected.close().await;
        }
    }

    /// The account name for messages. ssh_config may set another one.
    fn user(&self) -> &str {
        match &self.target.reach {
            Reach::Ssh(settings) => settings.user.as_deref().unwrap_or("USER"),
            Reach::Local => "USER",
        }
    }

    fn limits(&self) -> Limits {
        let patience = &self.shared.options.patience;
        Limits { look: patience.look, step: patience.step, stop: patience.stop }
    }

    pub(crate) fn patience(&self) -> Patience {
        self.shared.options.patience
    }

    pub(crate) fn root(&self) -> Option<String> {
        self.target.root.as_ref().map(|root| root.to_string_lossy().into_owned())
    }

    /// Waits for permission to hold a session. A fresh connection needs none: another session waits for it, so the
    /// two would deadlock.
    pub(crate) async fn leave(&self) -> Result<Option<tokio::sync::OwnedSemaphorePermit>, HostError> {
        match self.connection {
            Connection::Fresh => Ok(None),
            Connection::Kept => self
                .shared
                .gates
                .session()
                .await
                .map(Some)
                .map_err(|_| HostError::Start("the fleet is closed".into())),
        }
    }

    /// Returns an agent that waits for its job, the facts, and the result of `compile`, which may block.
    async fn prepared<C>(&self, ask: &Ask, compile: C) -> Result<(Session, Facts, Arc<Prepared>), HostError>
    where
        C: FnOnce(&Facts) -> Result<Prepared, CompileError> + Send + 'static,
    {
        ask.phase(Phase::Connecting).await;
        let (session, hello) = self.agent(Some(ask)).await?;
        let facts = hello.facts;
        let compiled =
            tokio::task::spawn_blocking(move || compile(&facts).map(|prepared| (facts, prepared))).await;
        match compiled {
            Ok(Ok((facts, prepared))) => Ok((session, facts, Arc::new(prepared))),
            Ok(Err(error)) => Err(HostError::Compile(error)),
            Err(error) => Err(HostError::Compile(error.into())),
        }
    }

    /// Returns an agent that has said hello. It must be an agent that this fleet carries.
    pub(crate) async fn agent(&self, ask: Option<&Ask>) -> Result<(Session, Box<Hello>), HostError> {
        let mut skip = 0;
        for afresh in [false, true] {
            let (session, hello) = loop {
                match self.boot(skip, afresh, ask).await? {
                    Begun::Hello(begun) => break *begun,
                    Begun::Full(folder) if folder > skip => skip = folder,
                    Begun::Full(_) => return Err(BootstrapError::Nowhere("all are full".to_owned()).into()),
                }
            };
            if self.shared.agents.holds(hello.agent) {
                self.skew.store(ahead(hello.clock), Ordering::Relaxed);
                return Ok((session, hello));
            }
            session.end().await;
        }
        Err(BootstrapError::Tampered.into())
    }

    /// Starts the agent and reads its hello.
    async fn boot(&self, skip: usize, afresh: bool, ask: Option<&Ask>) -> Result<Begun, HostError> {
        let options = &self.shared.options;
        let mut bootstrap = Bootstrap {
            agents: &self.shared.agents,
            escalation: self.target.escalation,
            user: self.user(),
            password: None,
            folders: &options.agent_folders,
            skip,
            afresh,
            anew: self.connection == Connection::Fresh,
            nonce: random(),
            start: options.patience.start,
            upload: options.patience.upload,
        };
        let mut tried = self.converse(&bootstrap, ask).await;
        if let (Err(HostError::Bootstrap(BootstrapError::Escalation { .. })), Some(password)) =
            (&tried, &options.become_password)
        {
            bootstrap.password = Some(password);
            tried = self.converse(&bootstrap, ask).await;
        }
        let (link, booted) = tried?;
        let ahead = match booted {
            Booted::Speaks(ahead) => ahead,
            Booted::Full(folder) => return Ok(Begun::Full(folder)),
        };
        let patience = session::Patience { silence: options.patience.silence, ping: options.patience.ping };
        let mut session = Session::new(link, ahead, patience, self.counters.clone());
        let hello = timeout(options.patience.start, session.hello()).await;
        let hello = hello.unwrap_or(Err(SessionError::Slow(options.patience.start.as_secs())))?;
        Ok(Begun::Hello(Box::new((session, hello))))
    }

    /// Starts the bootstrap and talks with it. If it ends too early, the error says why.
    async fn converse(
        &self,
        bootstrap: &Bootstrap<'_>,
        ask: Option<&Ask>,
    ) -> Result<(Link, Booted), HostError> {
        let line = bootstrap.line();
        let mut link = self.start(&line).await?;
        self.counters.started(&line);
        let uploading = || async {
            if let Some(ask) = ask {
                ask.phase(Phase::Uploading).await;
            }
        };
        match bootstrap.converse(&mut link, &self.counters, uploading).await {
            Ok(booted) => Ok((link, booted)),
            Err(BootstrapError::Ended { said, .. }) => {
                let Link { stdin, process, stderr, .. } = link;
                drop(stdin);
                let code = timeout(self.shared.options.patience.start, process.wait()).await.ok().flatten();
                stderr.settled().await;
                Err(bootstrap.explain(code, &stderr, &said).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Starts a command. If the connection died while it was idle, connects once more.
    async fn start(&self, line: &str) -> Result<Link, HostError> {
        let Reach::Ssh(settings) = &self.target.reach else {
            return link::local(line).map_err(|error| HostError::Start(error.to_string()));
        };
        let mut renewed = false;
        let mut attempt = 0;
        loop {
            let mut connected = self.connected.lock().await;
            let session = match &*connected {
                Some(connected) => connected.session.clone(),
                None => {
                    let fresh = self.connection == Connection::Fresh;
                    let Shared { ssh, folder, gates, .. } = &*self.shared;
                    let new = ssh::connect(settings, ssh, folder, fresh, gates, &self.counters).await?;
                    connected.insert(new).session.clone()
                }
            };
            let limit = self.shared.options.patience.start;
            let started = timeout(limit, link::remote(&session, line)).await;
            let Ok(started) = started else {
                return Err(HostError::Start(format!("the host did not answer for {} s", limit.as_secs())));
            };
            match started {
                Ok(link) => return Ok(link),
                Err(openssh::Error::Disconnected) if !renewed => {
                    renewed = true;
                    *connected = None;
                }
                Err(openssh::Error::SshMux(_)) if attempt < BUSY_RETRIES => {
                    drop(connected);
                    tokio::time::sleep(pause(attempt)).await;
                    attempt += 1;
                }
                Err(error) => return Err(HostError::Start(chain(&error))),
            }
        }
    }
}

/// Returns the seconds by which `clock`, a host's clock, is ahead of the controller's.
fn ahead(clock: u64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    clock.checked_signed_diff(now).unwrap_or(i64::MAX)
}

/// The result of starting an agent.
enum Begun {
    Hello(Box<(Session, Box<Hello>)>),
    /// The folder with this number (from 1) is full.
    Full(usize),
}

/// Returns an error with its causes as text.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

//! One host: the connection to it, the agent on it, and what can be asked of that.

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

/// How many times a command is tried again that the connection would not take: a host may allow one at a time, and be
/// slow to see that the last one has ended.
const BUSY_RETRIES: u32 = 4;

/// Why a host gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No agent runs there.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The conversation failed; the host was not touched.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The conversation failed in the middle of an act: what was done is in the host's journal.
    #[error("interrupted: {0}")]
    Interrupted(#[source] SessionError),
    /// The conversation failed while the host held access-critical changes ready to take back, and it was not reached
    /// since.
    #[error("interrupted, and not to be reached since: {0}")]
    Lost(#[source] SessionError),
    /// What the host should be could not be compiled.
    #[error("failed to compile the catalog: {0}")]
    Compile(CompileError),
    /// The agent would not do it.
    #[error("{}", refusal(.0))]
    Refused(Refusal),
    /// The process could not be started, or the connection would take no command.
    #[error("failed to start a command on the host: {0}")]
    Start(String),
}

impl HostError {
    /// The state in which it leaves the host's run.
    pub fn state(&self) -> HostState {
        match self {
            // These hosts were reached: it is no use to look for what is wrong with the line.
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

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Connect(error) => error.help(),
            Self::Bootstrap(error) => error.help(),
            Self::Refused(Refusal::Broken { help, .. }) => help.clone(),
            Self::Interrupted(SessionError::Overdue { .. }) => Some(
                "see on the host what still runs there; the next run reads its journal and goes on from there"
                    .to_owned(),
            ),
            Self::Interrupted(_) => {
                Some("the next run reads the host's journal and goes on from there".to_owned())
            }
            Self::Lost(_) => Some(
                "the host takes its access-critical changes back by itself, at its next boot at the latest"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// Whether the host knows the login and does not let it in, which another attempt would not change.
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

/// Which connection a host is reached over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// The one that is open, if one is.
    Kept,
    /// A new one, that rests on nothing that an earlier one left: neither its master nor its sudo.
    Fresh,
}

/// One host of a fleet.
pub struct Host {
    target: Target,
    shared: Arc<Shared>,
    connection: Connection,
    counters: Arc<Counters>,
    connected: Mutex<Option<Connected>>,
    /// Seconds by which the host's clock is ahead.
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

    /// The settings that it was made with.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The same host over a connection of its own, new from the bottom up: what proves that a host can still be
    /// reached. It waits for no other session to end.
    pub fn afresh(&self) -> Self {
        Self::new(self.target.clone(), self.shared.clone(), Connection::Fresh)
    }

    /// What the conversations with it cost so far.
    pub fn traffic(&self) -> Traffic {
        self.counters.traffic()
    }

    /// The seconds by which the host's clock was ahead of this one when it was last heard; negative where it is behind.
    pub fn skew(&self) -> i64 {
        self.skew.load(Ordering::Relaxed)
    }

    /// What the host says of itself.
    pub async fn facts(&self) -> Result<Facts, HostError> {
        let _leave = self.leave().await?;
        let (session, hello) = self.agent(None).await?;
        session.end().await;
        Ok(hello.facts)
    }

    /// Looks at the host under the catalog that `compile` makes of its facts; changes nothing.
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
            _ => Err(SessionError::Protocol("no plan of a look".to_owned()).into()),
        }
    }

    /// Carries out the plan that `token` stands for, under the catalog that `compile` makes of the facts of now. It
    /// takes as long as the host's steps take: silence ends it, and so does a step that takes longer than it may.
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
            Done::Plan(_) => {
                Err(HostError::Interrupted(SessionError::Protocol("a plan of an act".to_owned())))
            }
        }
    }

    /// Ends the connection where it is not kept for later runs.
    pub async fn close(self) {
        if let Some(connected) = self.connected.into_inner() {
            connected.close().await;
        }
    }

    /// Whom an administrator would have to name; ssh_config may know better.
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

    /// Leave to hold a session; a fresh connection needs none, for it is asked for while another session waits for it.
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

    /// An agent that waits for its job, the facts, and what `compile` makes of them where blocking is allowed.
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

    /// An agent that has said hello: one that this fleet carries, and no other.
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

    /// Starts the agent and hears its hello.
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

    /// Starts the bootstrap and talks with it; where it ends too early, says why.
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

    /// Starts a command. A connection that died while it was not used is made again, once.
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

/// The seconds by which `clock`, of a host, is ahead of this one's.
fn ahead(clock: u64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    clock.checked_signed_diff(now).unwrap_or(i64::MAX)
}

/// How far the start of an agent came.
enum Begun {
    Hello(Box<(Session, Box<Hello>)>),
    /// The folder of this number, from 1, is full.
    Full(usize),
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

//! Jobs without a catalog: run a command, and check that the host answers.
//!
//! Output is masked here, because the controller sends no secret to a host for a command. Output is counted here,
//! because a hostile host could send it without end.

use std::time::{Duration, Instant};

use converge_model::ad_hoc::{LINES_LIMIT, OUTPUT_LIMIT};
use converge_model::wire::{FromAgent, Job, Task, ToAgent};
use converge_model::{AdHoc, Answer, EventKind, Exit, Facts, Masker, Ran};
use tokio::time::timeout;

use crate::host::{Host, HostError};
use crate::job::{Ask, Phase, over, stopped};
use crate::session::{Session, SessionError};

/// How long an agent may need to end a command, beside the command's own timeout.
const AFTER: Duration = Duration::from_secs(60);

impl Host {
    /// Runs a command and sends its output as events. `learn` makes a masker from the facts; the output is masked
    /// with it. Returns None if the run was stopped before the command began.
    ///
    /// # Errors
    /// [`HostError::Interrupted`] if the conversation ended while the command ran.
    pub async fn exec<L>(&self, ask: &Ask, asked: AdHoc, learn: L) -> Result<Option<Ran>, HostError>
    where
        L: FnOnce(&Facts) -> Masker + Send + 'static,
    {
        let _leave = self.leave().await?;
        ask.phase(Phase::Connecting).await;
        let (mut session, hello) = self.agent(Some(ask)).await?;
        let masker = tokio::task::spawn_blocking(move || learn(&hello.facts)).await;
        let masker = masker.map_err(|error| HostError::Compile(error.into()))?;
        if *ask.stop.borrow() {
            session.end().await;
            return Ok(None);
        }
        ask.phase(Phase::Running).await;
        let time = asked.timeout.map(Duration::from_millis);
        session.send(&ToAgent::Job(self.job(ask, Task::Exec(asked))))?;
        let stop = self.patience().stop;
        let mut watch = Watch { ask, masker, lines: 0, bytes: 0, began: Instant::now(), until: None, stop };
        watch.until = time.map(|time| watch.began + time + AFTER);
        let ran = watch.until_done(&mut session).await?;
        session.end().await;
        Ok(Some(ran))
    }

    /// Asks whether the host answers. An agent starts there, as in any run.
    ///
    /// # Errors
    /// If the host does not answer.
    pub async fn ping(&self, ask: &Ask) -> Result<Answer, HostError> {
        let _leave = self.leave().await?;
        ask.phase(Phase::Connecting).await;
        let began = Instant::now();
        let (mut session, hello) = self.agent(Some(ask)).await?;
        session.send(&ToAgent::Job(self.job(ask, Task::Ping)))?;
        let limit = self.patience().start;
        let said = timeout(limit, session.next()).await;
        let said = said.unwrap_or(Err(SessionError::Slow(limit.as_secs())))?;
        let took = began.elapsed().as_millis() as u64;
        session.end().await;
        match said {
            FromAgent::Answer { login, busy } => {
                let account = hello.facts.user;
                // A uid without a name is still an account.
                let user = if account.name.is_empty() { account.uid.to_string() } else { account.name };
                Ok(Answer { user, login, busy, took })
            }
            FromAgent::Refused(refusal) => Err(HostError::Refused(refusal)),
            _ => Err(SessionError::unasked().into()),
        }
    }

    fn job(&self, ask: &Ask, task: Task) -> Job {
        let (run, by, root) = (ask.run.clone(), ask.by.clone(), self.root());
        Job { run, by, task, root, catalog: 0, secrets: 0, guard: ask.guard }
    }
}

/// A command that runs, and how much output it has sent.
struct Watch<'a> {
    ask: &'a Ask,
    masker: Masker,
    lines: u64,
    bytes: u64,
    began: Instant,
    /// Deadline of the command. None: it ends with its connection, or when it is told to stop.
    until: Option<Instant>,
    /// How long the command may continue after it is told to stop.
    stop: Duration,
}

impl Watch<'_> {
    async fn until_done(&mut self, session: &mut Session) -> Result<Ran, HostError> {
        let mut stop = self.ask.stop.clone();
        loop {
            let said = tokio::select! {
                biased;
                () = over(self.until) => return Err(HostError::Interrupted(self.overdue())),
                () = stopped(&mut stop) => {
                    session.send(&ToAgent::Stop)?;
                    self.until = Some(Instant::now() + self.stop);
                    continue;
                }
                said = session.next() => said.map_err(HostError::Interrupted)?,
            };
            match said {
                FromAgent::Event(event) => self.tell(*event).await.map_err(HostError::Interrupted)?,
                FromAgent::Ran(ran) => return Ok(self.masked(ran)),
                FromAgent::Refused(refusal) => return Err(HostError::Refused(refusal)),
                _ => return Err(HostError::Interrupted(SessionError::unasked())),
            }
        }
    }

    /// Passes on the command's output and rejects all other events.
    async fn tell(&mut self, event: EventKind) -> Result<(), SessionError> {
        let event = match event {
            EventKind::CommandOutput { stream, line } => {
                self.lines += 1;
                self.bytes += line.len() as u64;
                // A replaced character takes three bytes instead of one.
                if self.lines > LINES_LIMIT || self.bytes > 3 * OUTPUT_LIMIT {
                    return Err(SessionError::Protocol("it sent too much output".to_owned()));
                }
                EventKind::CommandOutput { stream, line: self.masker.mask(line.as_bytes()) }
            }
            busy @ EventKind::Busy { .. } if self.lines == 0 => busy,
            _ => return Err(SessionError::unasked()),
        };
        let _ = self.ask.events.send(event).await;
        Ok(())
    }

    /// The reason contains the words of the user's command, which may hold a secret.
    fn masked(&self, ran: Ran) -> Ran {
        match ran.exit {
            Exit::NotStarted(why) => Ran { exit: Exit::NotStarted(self.masker.mask(why.as_bytes())), ..ran },
            _ => ran,
        }
    }

    fn overdue(&self) -> SessionError {
        SessionError::Overdue { what: "the command".to_owned(), seconds: self.began.elapsed().as_secs() }
    }
}

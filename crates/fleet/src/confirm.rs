//! Confirms guarded changes that the host would otherwise revert. It uses a completely new connection, because a
//! connection that was open before proves nothing.

use std::time::{Duration, Instant};

use converge_model::wire::Verdict;
use converge_model::{EventKind, HostReport, HostState, Problem};
use tokio::time::{sleep, timeout};

use crate::host::{Host, HostError};
use crate::job::{self, Ask, Phase};
use crate::session::SessionError;

/// How long to wait before a new connection is tried again. The service that accepts it may just be starting.
const PAUSE: Duration = Duration::from_secs(1);
/// How long to wait at most before a host that has not settled is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// How long a host may take to revert everything and to accept logins again.
const RECOVERY: Duration = Duration::from_secs(90);

impl Host {
    /// Confirms within `window` the changes that the run has armed. The error says why no new connection succeeded.
    pub(crate) async fn confirm(&self, ask: &Ask, window: Duration) -> Result<(), Problem> {
        ask.phase(Phase::Confirming).await;
        let deadline = Instant::now() + window;
        let mut last = None;
        while Instant::now() < deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            match timeout(left, self.verdict(ask)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => {
                    let is_refusal = error.is_refusal();
                    last = Some(unconfirmed(&error));
                    if is_refusal {
                        break;
                    }
                    sleep(PAUSE).await;
                }
                Err(_) => break,
            }
        }
        let slow = || format!("no new connection was made within {} s", window.as_secs());
        Err(last.unwrap_or_else(|| Problem { address: None, message: slow(), help: None }))
    }

    /// Called if the connection of an act ended while its changes were armed. Gives the host time to revert them,
    /// then returns what became of them.
    pub(crate) async fn aftermath(
        &self,
        ask: &Ask,
        deadline: Instant,
        error: SessionError,
    ) -> Result<HostReport, HostError> {
        ask.phase(Phase::Confirming).await;
        let (end, mut pause) = (deadline + RECOVERY, PAUSE);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let state = match timeout(left, self.verdict(ask)).await {
                Ok(Ok(verdict @ (Verdict::Confirmed | Verdict::Nothing))) => {
                    if verdict == Verdict::Confirmed {
                        let _ = ask.events.send(EventKind::Confirmed).await;
                    }
                    return Err(HostError::Interrupted(error));
                }
                Ok(Ok(Verdict::Reverted)) => (HostState::Reverted, None),
                Ok(Ok(Verdict::Stuck(why))) => (HostState::Failed, Some(why)),
                Ok(Ok(Verdict::Waiting | Verdict::Reverting) | Err(_)) if !left.is_zero() => {
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
                _ => return Err(HostError::Lost(error)),
            };
            let _ = ask.events.send(EventKind::Reverted).await;
            return Ok(self.reverted(state, &error));
        }
    }

    /// Starts a new agent that confirms the changes which another agent of this run has armed.
    async fn verdict(&self, ask: &Ask) -> Result<Verdict, HostError> {
        let fresh = self.afresh();
        let (mut session, _hello) = fresh.agent(None).await?;
        let verdict = job::confirm(&mut session, ask).await;
        session.end().await;
        fresh.close().await;
        Ok(verdict?)
    }

    fn reverted(&self, (state, why): (HostState, Option<String>), error: &SessionError) -> HostReport {
        let (message, help) = match why {
            None => (
                format!("{error}; the host reverted the changes that had cut it off"),
                "correct the change that shut out the new connection, and plan again",
            ),
            Some(why) => (
                format!("{error}; the host could not revert the changes that had cut it off: {why}"),
                "restore the named files by hand, from the copies there, and then remove that folder",
            ),
        };
        let problems = vec![Problem { address: None, message, help: Some(help.to_owned()) }];
        HostReport { host: self.target().name.clone(), state, results: Vec::new(), in_sync: 0, problems }
    }
}

fn unconfirmed(error: &HostError) -> Problem {
    Problem { address: None, message: format!("no new connection: {error}"), help: None }
}

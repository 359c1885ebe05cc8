//! Keeps many connections from harming each other: limits logins in progress, and stops offering identities that
//! hosts refuse.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// How many logins may be in progress through one jump host: sshd drops some beyond ten (`MaxStartups`).
const PER_JUMP: usize = 8;
/// After how many refusals without an acceptance an identity is not offered any more. sshd locks out addresses that
/// it refuses again and again (`PerSourcePenalties`).
const REFUSALS: u32 = 3;

/// The limits of one fleet.
pub(crate) struct Gates {
    handshakes: Arc<Semaphore>,
    sessions: Arc<Semaphore>,
    jumps: Mutex<HashMap<String, Arc<Semaphore>>>,
    identities: Mutex<HashMap<String, Identity>>,
}

#[derive(Clone, Copy, Default)]
struct Identity {
    accepted: bool,
    refused: u32,
}

/// Permission to log in. It ends when it is dropped.
pub(crate) struct Leave {
    _handshake: OwnedSemaphorePermit,
    _jump: Option<OwnedSemaphorePermit>,
}

impl Gates {
    pub(crate) fn new(handshakes: usize, sessions: usize) -> Self {
        let gate = |places: usize| Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS)));
        Self {
            handshakes: gate(handshakes),
            sessions: gate(sessions),
            jumps: Mutex::default(),
            identities: Mutex::default(),
        }
    }

    /// Waits for permission to log in through `jump`. The jump host comes first, so that a login which waits for it
    /// delays no other login.
    pub(crate) async fn login(&self, jump: Option<&str>) -> Result<Leave, AcquireError> {
        let jump = match jump.map(|jump| self.jump(jump)) {
            Some(gate) => Some(gate.acquire_owned().await?),
            None => None,
        };
        Ok(Leave { _handshake: self.handshakes.clone().acquire_owned().await?, _jump: jump })
    }

    /// Waits for permission to hold a session.
    pub(crate) async fn session(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.sessions.clone().acquire_owned().await
    }

    fn jump(&self, jump: &str) -> Arc<Semaphore> {
        let mut jumps = self.jumps.lock().unwrap_or_else(PoisonError::into_inner);
        jumps.entry(jump.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(PER_JUMP))).clone()
    }

    /// Whether `identity` was refused too often and never accepted. Then it is not offered again.
    pub(crate) fn given_up(&self, identity: &str) -> bool {
        let identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        identities.get(identity).is_some_and(|known| !known.accepted && known.refused >= REFUSALS)
    }

    pub(crate) fn accepted(&self, identity: &str) {
        self.identity(identity, |known| known.accepted = true);
    }

    pub(crate) fn refused(&self, identity: &str) {
        self.identity(identity, |known| known.refused += 1);
    }

    fn identity(&self, identity: &str, change: impl FnOnce(&mut Identity)) {
        let mut identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        change(identities.entry(identity.to_owned()).or_default());
    }
}

/// Returns how long to wait before a dropped login is tried again. `attempt` counts from 0; each pause is twice as
/// long. A random part is added, so that logins that were dropped together do not return together.
pub(crate) fn pause(attempt: u32) -> Duration {
    let step = 250u64 << attempt.min(5);
    Duration::from_millis(step + random() % step)
}

/// Returns a random number, to avoid collisions. It is not safe for secrets.
pub(crate) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_that_only_meets_refusals_is_given_up() {
        let gates = Gates::new(1, 1);
        for _ in 0..REFUSALS {
            assert!(!gates.given_up("ada"));
            gates.refused("ada");
        }
        assert!(gates.given_up("ada"));
        assert!(!gates.given_up("bob"));
        gates.accepted("ada");
        assert!(!gates.given_up("ada"));
    }

    #[test]
    fn pauses_grow_and_differ() {
        for attempt in 0..8 {
            let step = Duration::from_millis(250 << attempt.min(5));
            assert!((step..step * 2).contains(&pause(attempt)));
        }
    }

    #[tokio::test]
    async fn a_jump_host_lets_eight_through_at_a_time() {
        let gates = Gates::new(100, 1);
        let mut held = Vec::new();
        for _ in 0..PER_JUMP {
            held.push(gates.login(Some("bastion")).await.unwrap());
        }
        let ninth = tokio::time::timeout(Duration::from_millis(20), gates.login(Some("bastion"))).await;
        assert!(ninth.is_err());
        assert!(gates.login(Some("other")).await.is_ok());
        held.pop();
        assert!(gates.login(Some("bastion")).await.is_ok());
    }
}

//! Why no agent runs on a host, and what to do about it.

use std::io;

use converge_model::wire::NOISE_LIMIT;

use crate::agent::Agent;

/// Why no agent runs.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The host is not one that there is an agent for.
    #[error("the host is {system} on {arch}; there is an agent for {} on {} only", Agent::SYSTEM.0, Agent::SYSTEM.1)]
    WrongArch {
        /// What `uname -s` says.
        system: String,
        /// What `uname -m` says.
        arch: String,
    },
    /// The account may not become root.
    #[error("failed to become root with {with}: {said}")]
    Escalation {
        /// The program.
        with: &'static str,
        /// What it said.
        said: String,
        /// What to do about it: the line to write, where.
        help: String,
    },
    /// No folder on the host can hold the agent.
    #[error("no folder on the host can hold the agent: {0}")]
    Nowhere(String),
    /// What came before the agent's first word was too much, or nothing.
    #[error("the host printed {NOISE_LIMIT} bytes and no agent: {0}")]
    Noise(String),
    /// The command ended before the agent spoke.
    #[error("the command that starts the agent ended{}: {said}", .code.map(|code| format!(" with {code}")).unwrap_or_default())]
    Ended {
        /// Its exit code, if it has one.
        code: Option<i32>,
        /// What it said.
        said: String,
    },
    /// The agent that answers is another than the one that was sent, and was so again after a second upload.
    #[error("the host runs another agent than the one that was sent")]
    Tampered,
    /// Nothing in time.
    #[error("the agent did not start within {0} s")]
    Slow(u64),
    /// The connection failed.
    #[error("failed to talk to the command that starts the agent")]
    Io(#[from] io::Error),
}

impl BootstrapError {
    /// Whether the host answered, and what it is or allows is in the way.
    pub(crate) fn is_of_host(&self) -> bool {
        matches!(self, Self::WrongArch { .. } | Self::Escalation { .. } | Self::Nowhere(_))
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Escalation { help, .. } => Some(help.clone()),
            Self::Nowhere(_) => Some(
                "make room in a file system that is not mounted `noexec`, or unmount `noexec`".to_owned(),
            ),
            Self::Noise(_) => Some(
                "make the login quiet where there is no terminal: `~/.bashrc`, `/etc/profile.d`".to_owned(),
            ),
            _ => None,
        }
    }
}

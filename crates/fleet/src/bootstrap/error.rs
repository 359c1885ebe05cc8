//! Why no agent runs on a host, and what the user can do about it.

use std::io;

use converge_model::wire::NOISE_LIMIT;

use crate::agent::{AgentSet, Platform};
use crate::link::excerpt;

/// Why no agent runs.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The controller carries no agent for the host.
    #[error("the host is {system} on {arch}; this converge carries {carried}")]
    WrongArch {
        /// The output of `uname -s`.
        system: String,
        /// The output of `uname -m`.
        arch: String,
        /// The agents that the controller carries, as text for a message.
        carried: String,
    },
    /// The account may not become root.
    #[error("failed to become root with {with}: {said}")]
    Escalation {
        /// The program for the escalation.
        with: &'static str,
        /// Its output.
        said: String,
        /// The advice for the user: which line to write to which file.
        help: String,
    },
    /// No folder on the host can hold the agent.
    #[error("no folder on the host can hold the agent: {0}")]
    Nowhere(String),
    /// The host printed too much before the agent's first word, or the agent never spoke.
    #[error("the host printed {NOISE_LIMIT} bytes before the agent started: {0}")]
    Noise(String),
    /// The command ended before the agent spoke.
    #[error("the command that starts the agent ended{}: {said}", .code.map(|code| format!(" with {code}")).unwrap_or_default())]
    Ended {
        /// Its exit code, if it has one.
        code: Option<i32>,
        /// Its output.
        said: String,
    },
    /// The agent that answers is not the one that was sent. A second upload did not help.
    #[error("the host runs another agent than the one that was sent")]
    Tampered,
    /// The agent did not start in time.
    #[error("the agent did not start within {0} s")]
    Slow(u64),
    /// The connection failed.
    #[error("failed to talk to the command that starts the agent")]
    Io(#[from] io::Error),
}

impl BootstrapError {
    /// Returns the error for a host with this system and processor, for which `agents` has no agent.
    pub(super) fn wrong_arch(system: &str, arch: &str, agents: &AgentSet) -> Self {
        let [system, arch] = [system, arch].map(excerpt);
        let names: Vec<_> = agents.iter().map(|agent| agent.platform().to_string()).collect();
        let carried = match names.as_slice() {
            [] => "no agent".to_owned(),
            [one] => format!("an agent for {one} only"),
            [.., last] => format!("agents for {} and {last} only", names[..names.len() - 1].join(", ")),
        };
        Self::WrongArch { system, arch, carried }
    }

    /// Whether the host answered, and its platform or its settings prevent the start.
    pub(crate) fn is_of_host(&self) -> bool {
        matches!(self, Self::WrongArch { .. } | Self::Escalation { .. } | Self::Nowhere(_))
    }

    /// Returns the advice for the user.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::WrongArch { system, arch, .. } => Some(another(system, arch)),
            Self::Escalation { help, .. } => Some(help.clone()),
            Self::Nowhere(_) => Some(
                "make room in a file system that is not mounted `noexec`, or unmount `noexec`".to_owned(),
            ),
            Self::Noise(_) => Some(
                "let logins without a terminal print nothing: see `~/.bashrc` and `/etc/profile.d`"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// Returns the help: how to build a converge that carries the agent for this platform.
fn another(system: &str, arch: &str) -> String {
    match Platform::of(system, arch) {
        Some(platform) => format!(
            "compile converge with CONVERGE_AGENTS=FOLDER, where FOLDER holds the agent for {platform} as `{}`",
            platform.file
        ),
        None => "there is no agent for such hosts yet".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{Agent, BUILT};

    #[test]
    fn another_processor_is_named_with_the_agents_that_are_carried() {
        let agent = |name| Agent::new(Platform::of("Linux", name).unwrap(), b"x".as_slice());
        let check = |agents: AgentSet, arch, told: &str, help: &str| {
            let error = BootstrapError::wrong_arch("Linux", arch, &agents);
            assert_eq!(error.to_string(), told);
            assert_eq!(error.help().unwrap_or_default(), help);
        };
        check(
            Agent::new(BUILT, b"x".as_slice()).into(),
            "arm64",
            "the host is Linux on arm64; this converge carries an agent for Linux on x86_64 only",
            "compile converge with CONVERGE_AGENTS=FOLDER, where FOLDER holds the agent for Linux on aarch64 as \
             `converge-agent-aarch64-linux`",
        );
        check(
            AgentSet::new(["x86_64", "aarch64", "riscv64"].map(agent)),
            "mips",
            "the host is Linux on mips; this converge carries agents for Linux on x86_64, Linux on aarch64 and Linux \
             on riscv64 only",
            "there is no agent for such hosts yet",
        );
    }
}

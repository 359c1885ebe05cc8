//! The settings of a fleet: how it reaches its hosts, and what its hosts share.

use std::path::PathBuf;
use std::time::Duration;

use converge_model::Secret;
use converge_model::wire::{PING_SECONDS, SILENCE_SECONDS};

use crate::agent::AgentSet;
use crate::gates::Gates;
use crate::ssh::{Folder, Settings};

/// The settings of a fleet.
#[derive(Clone)]
pub struct Options {
    /// The user's ssh_config(5), instead of `~/.ssh/config` and the system's.
    pub ssh_config: Option<PathBuf>,
    /// How long an idle connection is kept for the next run. Zero: it is not kept.
    pub keep_connections: Duration,
    /// How many sessions are open at the same time.
    pub parallel: usize,
    /// How many logins are in progress at the same time. More of them would not be faster.
    pub handshakes: usize,
    /// The timeouts.
    pub patience: Patience,
    /// The password for sudo or su. It is used if the host asks for it.
    pub become_password: Option<Secret>,
    /// Folders on the hosts for the agent, instead of the usual ones.
    pub agent_folders: Vec<String>,
    /// The private folder of control sockets on the controller, instead of the usual one.
    pub control_folder: Option<PathBuf>,
}

/// The timeouts after which the controller gives up a host.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For each message of a starting agent. It includes a slow sudo.
    pub start: Duration,
    /// For each started megabyte of an agent's upload.
    pub upload: Duration,
    /// For a look, including the look at the start of an act.
    pub look: Duration,
    /// For one attempt at a step, in addition to the timeout of its resource. It is longer than any kind needs.
    pub step: Duration,
    /// For the end of an act that should stop, while no step runs.
    pub stop: Duration,
    /// For a message or a ping from a working agent.
    pub silence: Duration,
    /// How long the controller is silent before it sends a ping.
    pub ping: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            start: Duration::from_secs(30),
            upload: Duration::from_secs(150),
            look: Duration::from_secs(600),
            step: Duration::from_secs(2 * 3600),
            stop: Duration::from_secs(30),
            silence: Duration::from_secs(SILENCE_SECONDS),
            ping: Duration::from_secs(PING_SECONDS),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ssh_config: None,
            keep_connections: Duration::from_secs(60),
            parallel: 256,
            handshakes: 16,
            patience: Patience::default(),
            become_password: None,
            agent_folders: Vec::new(),
            control_folder: None,
        }
    }
}

/// The parts that the hosts of a fleet share.
pub(crate) struct Shared {
    pub(crate) agents: AgentSet,
    pub(crate) options: Options,
    pub(crate) ssh: Settings,
    pub(crate) folder: Folder,
    pub(crate) gates: Gates,
}

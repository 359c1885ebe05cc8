//! Many hosts at once: what they share, and the limits that keep one from harming another.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use converge_model::Secret;
use converge_model::wire::{PING_SECONDS, SILENCE_SECONDS};

use crate::agent::Agent;
use crate::bootstrap;
use crate::gates::Gates;
use crate::host::{Connection, Host};
use crate::ssh::{Folder, Settings};
use crate::target::Target;

/// Hosts that share an agent, limits and a folder of kept connections.
pub struct Fleet(Arc<Shared>);

/// How a fleet reaches its hosts.
#[derive(Clone)]
pub struct Options {
    /// The user's ssh_config(5), instead of `~/.ssh/config` and the system's.
    pub ssh_config: Option<PathBuf>,
    /// How long an idle connection is kept for the next run; zero: not at all.
    pub keep_connections: Duration,
    /// How many sessions are held at once.
    pub parallel: usize,
    /// How many logins are under way at once: more of them make none faster.
    pub handshakes: usize,
    /// How long to wait for what.
    pub patience: Patience,
    /// The password for sudo or su, used where it is asked for.
    pub become_password: Option<Secret>,
    /// Folders on the hosts to keep the agent in, instead of the usual ones.
    pub agent_folders: Vec<String>,
    /// The private folder of control sockets, instead of the usual one.
    pub control_folder: Option<PathBuf>,
}

/// How long to wait for what, before a host is given up.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For each word of a starting agent; a slow sudo is part of it.
    pub start: Duration,
    /// For the upload of the agent.
    pub upload: Duration,
    /// For a look, also for the one that an act begins with.
    pub look: Duration,
    /// For an attempt at one step, beside the time that its resource names: more than any kind takes by itself.
    pub step: Duration,
    /// For the end of an act that is to stop, while no step is in hand.
    pub stop: Duration,
    /// For a sign of life from an agent at work.
    pub silence: Duration,
    /// Before this side gives one.
    pub ping: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            start: Duration::from_secs(30),
            upload: Duration::from_secs(300),
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

/// A fleet cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The folder of control sockets cannot be used.
    #[error("failed to prepare the folder of control sockets")]
    Folder(#[from] io::Error),
    /// A folder for the agent has a name that is not safe to write into a command.
    #[error(
        "{0:?} cannot hold the agent: the name of its folder is absolute, of letters, digits, `.`, `_`, `-` and `/`"
    )]
    AgentFolder(String),
}

pub(crate) struct Shared {
    pub(crate) agent: Agent,
    pub(crate) options: Options,
    pub(crate) ssh: Settings,
    pub(crate) folder: Folder,
    pub(crate) gates: Gates,
}

impl Fleet {
    /// A fleet whose hosts run `agent`.
    pub fn new(agent: Agent, options: Options) -> Result<Self, FleetError> {
        if let Some(unsafe_name) = options.agent_folders.iter().find(|folder| !bootstrap::is_plain(folder)) {
            return Err(FleetError::AgentFolder(unsafe_name.clone()));
        }
        let folder = match &options.control_folder {
            Some(path) => Folder::at(path.clone())?,
            None => Folder::usual()?,
        };
        let ssh = Settings {
            ssh_config: options.ssh_config.clone(),
            keep: options.keep_connections,
            connect: options.patience.connect,
        };
        let gates = Gates::new(options.handshakes, options.parallel);
        Ok(Self(Arc::new(Shared { agent, options, ssh, folder, gates })))
    }

    /// One host of it. Nothing is connected until something is asked of the host.
    pub fn host(&self, target: Target) -> Host {
        Host::new(target, self.0.clone(), Connection::Kept)
    }
}

//! How a fleet reaches its hosts, and what the hosts of one share.

use std::path::PathBuf;
use std::time::Duration;

use converge_model::Secret;
use converge_model::wire::{PING_SECONDS, SILENCE_SECONDS};

use crate::agent::AgentSet;
use crate::gates::Gates;
use crate::ssh::{Folder, Settings};

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
    /// For each megabyte of an agent's upload that is begun.
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

/// What the hosts of a fleet share.
pub(crate) struct Shared {
    pub(crate) agents: AgentSet,
    pub(crate) options: Options,
    pub(crate) ssh: Settings,
    pub(crate) folder: Folder,
    pub(crate) gates: Gates,
}

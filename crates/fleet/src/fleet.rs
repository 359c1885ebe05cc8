//! Many hosts at once: the parts that they share, and the limits that keep one host from harming another.

use std::io;
use std::sync::Arc;

use crate::agent::AgentSet;
use crate::bootstrap;
use crate::gates::Gates;
use crate::host::{Connection, Host};
use crate::options::{Options, Shared};
use crate::ssh::{Folder, Settings};
use crate::target::Target;

/// Hosts that share agents, limits and a folder of kept connections.
pub struct Fleet(Arc<Shared>);

/// Why a fleet cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The folder of control sockets cannot be used.
    #[error("failed to prepare the folder of control sockets")]
    Folder(#[from] io::Error),
    /// A folder for the agent has a name that is not safe to write into a command.
    #[error(
        "the folder of the agent must be an absolute path of letters, digits, `.`, `_`, `-` and `/`, found {0:?}"
    )]
    AgentFolder(String),
}

impl Fleet {
    /// Creates a fleet. Each host runs the agent of `agents` for its platform.
    pub fn new(agents: impl Into<AgentSet>, options: Options) -> Result<Self, FleetError> {
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
        Ok(Self(Arc::new(Shared { agents: agents.into(), options, ssh, folder, gates })))
    }

    /// Returns one host of the fleet. The first request connects it.
    pub fn host(&self, target: Target) -> Host {
        Host::new(target, self.0.clone(), Connection::Kept)
    }
}

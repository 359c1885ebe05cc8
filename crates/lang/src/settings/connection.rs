//! The settings of a connection. They are merged property by property, by precedence. `evaluate::host_settings` reads
//! them, and the engine uses them.

use converge_model::Become;
use serde::Serialize;

/// The connection to a host. A setting without a value is left to the user's ssh_config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// Whether to use ssh or this machine.
    pub transport: Transport,
    /// The address to connect to. None means: the host's name.
    pub address: Option<String>,
    /// The account to log in as.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The identity file: relative to the project, absolute, or with a leading `~`.
    pub key: Option<String>,
    /// The jump host, in the form of `ssh -J`.
    pub jump: Option<String>,
    /// The tool to become root after the login.
    #[serde(rename = "become")]
    pub escalation: Become,
}

/// The transport of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// The system's ssh.
    #[default]
    Ssh,
    /// A local process on the controller.
    Local {
        /// The folder that is used as `/`, relative to the project. None for the system itself.
        root: Option<String>,
    },
}

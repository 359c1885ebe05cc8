//! How a host is reached: settings that are merged property by property, nearest first. How they are read is in
//! `evaluate::host_settings`; what they do is the engine's.

use converge_model::Become;
use serde::Serialize;

/// How a host is reached. What is not set here is the user's ssh_config's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// Over ssh, or on this machine.
    pub transport: Transport,
    /// The address to connect to; the host's name where there is none.
    pub address: Option<String>,
    /// Whom to log in as.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The identity file: relative to the project, absolute, or with a leading `~`.
    pub key: Option<String>,
    /// The jump host, as `ssh -J` takes it.
    pub jump: Option<String>,
    /// How to become root after the login.
    #[serde(rename = "become")]
    pub escalation: Become,
}

/// What a connection runs over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// The system's ssh.
    #[default]
    Ssh,
    /// A process on the controller.
    Local {
        /// The folder that stands for `/`, relative to the project; none for the system itself.
        root: Option<String>,
    },
}

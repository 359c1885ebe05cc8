//! How a host is reached and what is done when it drifts: the settings that are merged property by property, nearest
//! first. How an inventory writes them is in `inventory`; what they do is the engine's.

use std::time::Duration;

use converge_model::catalog::DriftMode;
use serde::{Serialize, Serializer};

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

/// How to become root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Become {
    /// Not at all: the login is what it is.
    #[default]
    None,
    /// `sudo`.
    Sudo,
    /// `doas`.
    Doas,
    /// `su`.
    Su,
}

impl Become {
    /// Every way, by the name that an inventory gives it.
    pub const ALL: [(&'static str, Self); 4] =
        [("none", Self::None), ("sudo", Self::Sudo), ("doas", Self::Doas), ("su", Self::Su)];
}

/// What the daemon does about a host, and how often it looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DriftPolicy {
    /// How often to look, in seconds where it is shown as data; none: as the daemon is told.
    #[serde(serialize_with = "seconds")]
    pub every: Option<Duration>,
    /// By how much the looks of several hosts are spread.
    #[serde(serialize_with = "seconds")]
    pub splay: Option<Duration>,
    /// What to do about what drifted.
    pub mode: DriftMode,
}

fn seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_some(&duration.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}

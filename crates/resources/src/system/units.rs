//! Units of the service manager: their state, and changing it.

use std::io;

/// The state of a unit, as systemd has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitState {
    /// Whether a unit file (or a generated one) is loaded. One that is not found is absent.
    pub load: Load,
    /// Whether it is running.
    pub active: Active,
    /// Whether it is started at boot.
    pub enabled: Enabled,
    /// Changes with every start: the InvocationID, 32 hexadecimal digits, or empty.
    pub invocation: String,
    /// The units that are part of it: active only if they are.
    pub parts: Vec<String>,
}

/// Whether a unit is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Load {
    /// There is none of this name.
    #[default]
    NotFound,
    /// It is loaded.
    Loaded,
    /// It is linked to `/dev/null`.
    Masked,
    /// Its file is broken.
    Bad,
}

/// Whether a unit runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Active {
    /// It does not.
    #[default]
    Inactive,
    /// It does.
    Active,
    /// It is on its way up, or reloading.
    Activating,
    /// It is on its way down.
    Deactivating,
    /// It ended in failure.
    Failed,
}

/// Whether a unit is started at boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enabled {
    /// It is not.
    #[default]
    No,
    /// It is: links in `.wants` or `.requires` say so.
    Yes,
    /// It has no `[Install]` section, or is generated: there is nothing to enable.
    Static,
}

/// What can be done to a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Start it, if it is not running.
    Start,
    /// Stop it.
    Stop,
    /// Stop and start it; start it if it is not running.
    Restart,
    /// Let it read its configuration again; start it if it is not running.
    Reload,
    /// Start it at boot.
    Enable,
    /// Do not.
    Disable,
    /// Make it impossible to start.
    Mask,
    /// Make it possible again.
    Unmask,
}

/// Why the service manager did not do it.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// The manager could not be reached.
    #[error("failed to reach systemd: {0}")]
    Unreachable(#[from] io::Error),
    /// This host has no service manager that Converge knows.
    #[error("this host does not run systemd")]
    Unsupported,
    /// The manager answered with an error, or the job failed.
    #[error("failed to {verb} {unit}: {why}")]
    Failed {
        /// `start`, `enable`, ….
        verb: String,
        /// The unit.
        unit: String,
        /// The manager's words, or the result of the job.
        why: String,
    },
}

/// A host's service manager.
pub trait Units: Send + Sync {
    /// The states of `units` (full names, `nginx.service`), in that order, in one call and without starting a process.
    fn states(&self, units: &[String]) -> Result<Vec<UnitState>, UnitError>;
    /// Does it and waits for the end of the job.
    fn act(&self, verb: Verb, unit: &str) -> Result<(), UnitError>;
    /// Lets the manager read all unit files again.
    fn reload_files(&self) -> Result<(), UnitError>;
    /// The last `lines` of the unit's journal, oldest first; empty where there is no journal.
    fn journal(&self, unit: &str, lines: u32) -> String;
}

impl Verb {
    /// The word for people and for systemctl(1).
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Mask => "mask",
            Self::Unmask => "unmask",
        }
    }
}

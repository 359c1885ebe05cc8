//! Units of the service manager: their state, and changing it.

pub mod backends;
pub mod clock;
pub mod systemd;

use std::io;
use std::time::Duration;

use clock::Clock;

use crate::system::backend::Parts;

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
    /// The units that are part of it and start with it: it is active only if they are.
    pub parts: Vec<String>,
    /// Whether its files changed since the manager read them.
    pub stale: bool,
    /// How long ago the manager started it again by itself, because it had ended; none where it has been running since
    /// somebody started it.
    pub revived: Option<Duration>,
}

/// How the main process of a service ended that nobody had stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How long after its start.
    pub after: Duration,
    /// Whether a signal ended it, which any other process may have sent.
    pub by_signal: bool,
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
    /// It does; also while it reloads.
    Active,
    /// It is on its way up, or waits to be started again.
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
    /// As static, and links that a package brings or a generator makes start it: there is nothing to disable either.
    Always,
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
    /// The unit files could not be read.
    #[error("failed to read the unit files: {0}")]
    Files(#[source] io::Error),
    /// This host has no service manager that Converge knows.
    #[error("this host does not run systemd")]
    Unsupported,
    /// The manager could not read the unit files again.
    #[error("failed to let systemd read its unit files again: {0}")]
    Reload(String),
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

/// Opens a service manager on a host.
pub type Open = fn(Parts) -> Box<dyn Units>;

/// A host's service manager.
pub trait Units: Send + Sync {
    /// The states of `units` (full names, `nginx.service`), in that order, in one call and without starting a process.
    fn states(&self, units: &[String]) -> Result<Vec<UnitState>, UnitError>;
    /// Does it and waits for the end of the job.
    fn act(&self, verb: Verb, unit: &str) -> Result<(), UnitError>;
    /// How the main process of `unit` ended, if it did before anything stopped the unit. None if the unit runs, if a job
    /// of the manager stopped it, and if that is not known.
    fn ended(&self, unit: &str) -> Option<Ended>;
    /// Lets the manager read all unit files again.
    fn reload_files(&self) -> Result<(), UnitError>;
    /// The last `lines` that the unit's present invocation wrote into its journal since this run began, oldest first; empty
    /// where there is no journal.
    fn journal(&self, unit: &str, lines: u32) -> String;
    /// What starts a program after a time and at the next boot; none if this host has no such thing.
    fn clock(&self) -> Option<Box<dyn Clock + '_>>;
}

impl Verb {
    /// Whether it is about the running unit, and not about its files.
    pub const fn is_job(self) -> bool {
        matches!(self, Self::Start | Self::Stop | Self::Restart | Self::Reload)
    }

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

/// The types of units, each the end of a unit's name.
pub const UNIT_TYPES: [&str; 11] = [
    "service",
    "socket",
    "target",
    "timer",
    "path",
    "mount",
    "automount",
    "swap",
    "slice",
    "scope",
    "device",
];

/// The full name of a unit: without a type it is a service.
pub fn full_name(given: &str) -> String {
    let typed = given.rsplit_once('.').is_some_and(|(_, end)| UNIT_TYPES.contains(&end));
    if typed { given.to_owned() } else { format!("{given}.service") }
}

/// Whether `name` is the full name of a unit, as systemd.unit(5) has it; a template is one.
pub fn is_unit_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let Some((prefix, end)) = name.rsplit_once('.') else { return false };
    let named = !prefix.is_empty() && !prefix.starts_with('@');
    name.len() <= 255 && named && UNIT_TYPES.contains(&end) && name.bytes().all(allowed)
}

/// The name of the template of an instance: `app@.service` for `app@one.service`.
pub fn template_of(unit: &str) -> Option<String> {
    let (prefix, rest) = unit.split_once('@')?;
    let (instance, end) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| format!("{prefix}@.{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_a_type_are_services() {
        let check = |given: &str, full: &str| assert_eq!(full_name(given), full);
        check("nginx", "nginx.service");
        check("backup.timer", "backup.timer");
        check("org.example.app", "org.example.app.service");
        check("app@1.2", "app@1.2.service");
    }

    #[test]
    fn only_valid_names_are_sent_to_systemd() {
        let check = |name: &str, valid: bool| assert_eq!(is_unit_name(name), valid, "{name}");
        check("nginx.service", true);
        check("postgresql@15-main.service", true);
        check("app@.service", true);
        check(r"dev-disk-by\x2duuid.device", true);
        check("@x.service", false);
        check(".service", false);
        check("nginx", false);
        check("a/b.service", false);
        check("a b.service", false);
        check(&format!("{}.service", "x".repeat(250)), false);
    }
}

//! Units of the service manager: reading and changing their state.

pub mod backends;
pub mod clock;
pub mod systemd;

use std::io;
use std::time::Duration;

use clock::Clock;

use crate::system::backend::Parts;

/// The state of a unit, as systemd reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitState {
    /// Whether a unit file, or a generated one, is loaded. A unit that is not found is absent.
    pub load: Load,
    /// Whether it is running.
    pub active: Active,
    /// Whether it is started at boot.
    pub enabled: Enabled,
    /// The InvocationID, which changes with every start: 32 hexadecimal digits, or empty.
    pub invocation: String,
    /// The units that are part of it and start with it. It is active only if they are.
    pub parts: Vec<String>,
    /// Whether its files changed since the manager read them.
    pub stale: bool,
    /// How long ago the manager restarted it automatically after it had ended. None if that did not happen since it
    /// was last started.
    pub revived: Option<Duration>,
}

/// How the main process of a service ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The time since its start.
    pub after: Duration,
    /// Whether a signal ended it. Any other process may have sent that signal.
    pub by_signal: bool,
}

/// Whether a unit is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Load {
    /// There is no unit of this name.
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
    /// It does not run.
    #[default]
    Inactive,
    /// It runs. A unit that reloads counts as running.
    Active,
    /// It is starting, or waits for a restart.
    Activating,
    /// It is stopping.
    Deactivating,
    /// It ended in failure.
    Failed,
}

/// Whether a unit is started at boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enabled {
    /// It is not enabled.
    #[default]
    No,
    /// It is enabled by links in `.wants` or `.requires`.
    Yes,
    /// It has no `[Install]` section, or is generated. It cannot be enabled.
    Static,
    /// Like static, but started by links of a package or a generator. It cannot be disabled either.
    Always,
}

/// The actions on a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Start it, if it is not running.
    Start,
    /// Stop the unit.
    Stop,
    /// Stop and start it. Start it if it is not running.
    Restart,
    /// Let it read its configuration again. Start it if it is not running.
    Reload,
    /// Start it at boot.
    Enable,
    /// Do not start it at boot.
    Disable,
    /// Make it impossible to start.
    Mask,
    /// Make it possible to start again.
    Unmask,
}

/// Why the service manager failed.
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
    /// Returns the states of `units` (full names, `nginx.service`), in that order, in one call and without starting a
    /// process.
    fn states(&self, units: &[String]) -> Result<Vec<UnitState>, UnitError>;
    /// Does the action and waits for the end of the job.
    fn act(&self, verb: Verb, unit: &str) -> Result<(), UnitError>;
    /// Returns how the main process of `unit` ended, if it ended before the unit was stopped. None if the unit runs,
    /// if a job of the manager stopped it, or if that is not known.
    fn ended(&self, unit: &str) -> Option<Ended>;
    /// Makes the manager read all unit files again.
    fn reload_files(&self) -> Result<(), UnitError>;
    /// Returns the last `lines` of the unit's current invocation in its journal since this run began, oldest first.
    /// Empty if there is no journal.
    fn journal(&self, unit: &str, lines: u32) -> String;
    /// Returns the clock, which starts a program after a time and at the next boot. None if this host has none.
    fn clock(&self) -> Option<Box<dyn Clock + '_>>;
}

impl Verb {
    /// Whether the verb acts on the running unit, and not on its files.
    pub const fn is_job(self) -> bool {
        matches!(self, Self::Start | Self::Stop | Self::Restart | Self::Reload)
    }

    /// Returns the word for people and for systemctl(1).
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

/// The types of units. Each is a suffix of a unit's name.
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

/// Returns the full name of a unit. A name without a type is a service.
pub fn full_name(given: &str) -> String {
    let typed = given.rsplit_once('.').is_some_and(|(_, end)| UNIT_TYPES.contains(&end));
    if typed { given.to_owned() } else { format!("{given}.service") }
}

/// Whether `name` is the full name of a unit, by systemd.unit(5). Templates are included.
pub fn is_unit_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let Some((prefix, end)) = name.rsplit_once('.') else { return false };
    let named = !prefix.is_empty() && !prefix.starts_with('@');
    name.len() <= 255 && named && UNIT_TYPES.contains(&end) && name.bytes().all(allowed)
}

/// Returns the name of the template of an instance: `app@.service` for `app@one.service`.
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

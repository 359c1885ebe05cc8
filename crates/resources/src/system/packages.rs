//! Packages: what is installed, what a transaction would do, and doing it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Every package that the manager knows of as installed or half so, by name (`nginx`, `libc6:arm64` for a foreign
/// architecture).
pub type PackageTable = BTreeMap<String, Installed>;

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Its version, as the manager writes it.
    pub version: String,
    /// Whether it is held at that version.
    pub held: bool,
    /// Whether it is installed and configured. One that is not needs repair first.
    pub whole: bool,
}

/// What is asked of one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageRequest {
    /// Its name.
    pub name: String,
    /// What it should be.
    pub goal: PackageGoal,
    /// Whether it is to be held at its version afterwards; none: as it is.
    pub hold: Option<bool>,
}

impl PackageRequest {
    /// Asks for the package `name` in any version.
    pub fn present(name: &str) -> Self {
        Self { name: name.to_owned(), goal: PackageGoal::Present, hold: None }
    }
}

/// What a package should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackageGoal {
    /// Installed, in any version.
    Present,
    /// Installed in the newest version that the lists offer.
    Latest,
    /// Installed in exactly this version, or one that matches a glob (`15.*`).
    Version(String),
    /// Not installed; with `purge` its configuration goes too.
    Absent {
        /// Whether the configuration goes too.
        purge: bool,
    },
    /// As it is: only its hold changes.
    Kept,
}

/// What a transaction would do, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulation {
    /// What comes, or changes its version.
    pub installed: Vec<(String, String)>,
    /// What goes.
    pub removed: Vec<String>,
    /// Asked for, but in no list: the lists need a refresh, or the name is wrong.
    pub unknown: Vec<String>,
}

/// Why the package manager did not do it.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The manager's files cannot be read.
    #[error("failed to read the package database: {0}")]
    Database(#[from] io::Error),
    /// This host has no package manager that Converge knows.
    #[error("no package manager that Converge knows is on this host")]
    Unsupported,
    /// The lock was held for the whole time allowed.
    #[error("the package lock is held by {holder} since before {waited:?}")]
    Locked {
        /// Process name and number.
        holder: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The manager failed.
    #[error("{what}")]
    Failed {
        /// What, as a fragment, with the manager's own last words.
        what: String,
    },
}

/// A host's package manager.
pub trait Packages: Send + Sync {
    /// What is installed, read anew without starting a process.
    fn installed(&self) -> Result<Arc<PackageTable>, PackageError>;
    /// The newest version on offer for each of `names`, from the lists as they are.
    fn candidates(&self, names: &[String]) -> Result<BTreeMap<String, String>, PackageError>;
    /// What carrying out `requests` would do.
    fn simulate(&self, requests: &[PackageRequest]) -> Result<Simulation, PackageError>;
    /// Carries `requests` out in one transaction, never asking anything; output goes to `output` as it comes.
    fn transact(
        &self,
        requests: &[PackageRequest],
        output: &mut dyn FnMut(&[u8]),
    ) -> Result<(), PackageError>;
    /// Fetches the lists anew.
    fn refresh(&self, output: &mut dyn FnMut(&[u8])) -> Result<(), PackageError>;
}

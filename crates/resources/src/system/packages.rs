//! Packages: what is installed, what a transaction would do, and doing it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
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
    /// Whether the packages that it recommends come with it; none: as the manager is configured.
    pub recommends: Option<bool>,
    /// Whether its version may become a lower one.
    pub downgrade: bool,
    /// Whether the lists are fetched anew before it.
    pub refresh: bool,
}

impl PackageRequest {
    /// A request without further wishes.
    pub fn new(name: impl Into<String>, goal: PackageGoal) -> Self {
        Self { name: name.into(), goal, hold: None, recommends: None, downgrade: false, refresh: false }
    }

    /// Asks for the package `name` in any version.
    pub fn present(name: &str) -> Self {
        Self::new(name, PackageGoal::Present)
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

/// What earlier transactions left behind, and how old the lists are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Whether a transaction died half-way: the next one repairs the database first.
    pub interrupted: bool,
    /// Packages that were removed, and whose configuration is still there.
    pub leftovers: BTreeSet<String>,
    /// How long ago the lists were fetched; none where they never were.
    pub lists_age: Option<Duration>,
    /// Whether the sources changed since the lists were fetched.
    pub sources_newer: bool,
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
    /// What earlier transactions left behind, and how old the lists are; without starting a process.
    fn upkeep(&self) -> Result<Upkeep, PackageError>;
    /// The version that would be installed of each of `names`, from the lists as they are.
    fn candidates(&self, names: &[String]) -> Result<BTreeMap<String, String>, PackageError>;
    /// What carrying out `requests` would do. What is asked after a refresh of the lists is unknown.
    fn simulate(&self, requests: &[PackageRequest]) -> Result<Simulation, PackageError>;
    /// Carries `requests` out in one transaction, never asking anything; output goes to `output` as it comes.
    fn transact(
        &self,
        requests: &[PackageRequest],
        output: &mut dyn FnMut(&[u8]),
    ) -> Result<(), PackageError>;
    /// What came along with others, and nothing needs any more, by name.
    fn unneeded(&self) -> Result<Vec<String>, PackageError>;
    /// Removes what nothing needs any more; as [`Packages::transact`].
    fn remove_unneeded(&self, output: &mut dyn FnMut(&[u8])) -> Result<(), PackageError>;
    /// Fetches the lists anew: all of them, as far as they can be had; or those of the file of sources `only`, where one
    /// that cannot be fetched, or whose signature is not good, is an error.
    fn refresh(&self, only: Option<&Path>, output: &mut dyn FnMut(&[u8])) -> Result<(), PackageError>;
    /// How two versions follow each other by the manager's rules.
    fn compare(&self, one: &str, other: &str) -> std::cmp::Ordering;
}

//! Packages: what is installed, what a transaction would do, and carrying it out.

pub mod apt;
pub mod backends;
mod manager;
mod none;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use converge_model::PropertyChange;

pub use manager::{EntryPackages, Features, Manager, is_package_name};
pub use none::NoPackages;

use crate::system::backend::Parts;

/// Every package that the manager lists as installed or half-installed, by name (`nginx`, `libc6:arm64` for a foreign
/// architecture).
pub type PackageTable = BTreeMap<String, Installed>;

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Its version, as the manager writes it.
    pub version: String,
    /// Whether it is held at that version.
    pub held: bool,
    /// Whether it is fully installed and configured. Otherwise it needs repair first.
    pub whole: bool,
}

impl Installed {
    /// Returns its version, with a remark if it is half-installed.
    fn shown(&self) -> String {
        if self.whole { self.version.clone() } else { format!("{} (half-installed)", self.version) }
    }
}

/// The request for one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageRequest {
    /// Its name.
    pub name: String,
    /// The desired state.
    pub goal: PackageGoal,
    /// Whether it should be held at its version afterwards. None: unchanged.
    pub hold: Option<bool>,
    /// Whether the packages that it recommends are installed with it. None: as the manager is configured.
    pub recommends: Option<bool>,
    /// Whether a lower version may be installed.
    pub downgrade: bool,
    /// Whether the lists are refreshed before it.
    pub refresh: bool,
}

impl PackageRequest {
    /// Makes a request without further options.
    pub fn new(name: impl Into<String>, goal: PackageGoal) -> Self {
        Self { name: name.into(), goal, hold: None, recommends: None, downgrade: false, refresh: false }
    }

    /// Asks for the package `name` in any version.
    pub fn present(name: &str) -> Self {
        Self::new(name, PackageGoal::Present)
    }
}

/// The desired state of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackageGoal {
    /// Installed, in any version.
    Present,
    /// Installed in the newest version in the lists.
    Latest,
    /// Installed in exactly this version, or one that matches a glob (`15.*`).
    Version(String),
    /// Not installed.
    Absent {
        /// Whether its configuration is removed too.
        purge: bool,
    },
    /// Unchanged: only its hold changes.
    Kept,
}

impl PackageGoal {
    /// Whether the request makes sure that the package is installed.
    pub fn installs(&self) -> bool {
        !matches!(self, Self::Absent { .. } | Self::Kept)
    }
}

/// The effect of a transaction, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulation {
    /// Packages that are installed or change their version.
    pub installed: Vec<(String, String)>,
    /// Packages that are removed.
    pub removed: Vec<String>,
    /// Requested packages that are in no list: the lists need a refresh, or the name is wrong.
    pub unknown: Vec<String>,
}

/// The effects that the plan of a run allows its transactions. A transaction is compared with it right before it
/// changes anything. Refreshed lists, new sources and a repaired database may have changed its effect since the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// The host's own architecture: `NAME:ARCHITECTURE` is the same as `NAME`.
    architecture: String,
    /// Packages that may be installed or change their version. The version is None if the plan could not know it.
    comes: BTreeMap<String, Option<String>>,
    /// Packages that may be removed.
    goes: BTreeSet<String>,
    /// Packages that every login needs.
    ways_in: BTreeSet<String>,
}

impl Allowance {
    /// Makes an empty allowance for a host of this architecture.
    pub fn on(architecture: impl Into<String>) -> Self {
        Self { architecture: architecture.into(), ..Self::default() }
    }

    /// Allows the requests themselves, and the effect that the plan found.
    pub fn allow(&mut self, requests: &[PackageRequest], foreseen: &Simulation) {
        for request in requests {
            let name = self.plain(&request.name).to_owned();
            match request.goal {
                PackageGoal::Absent { .. } => drop(self.goes.insert(name)),
                PackageGoal::Kept => {}
                _ => drop(self.comes.entry(name).or_default()),
            }
        }
        let known = |(name, version): &(String, String)| (name.clone(), Some(version.clone()));
        self.comes.extend(foreseen.installed.iter().map(known));
        self.allow_removal(&foreseen.removed);
    }

    /// Allows the removal of these packages.
    pub fn allow_removal(&mut self, names: &[String]) {
        self.goes.extend(names.iter().cloned());
    }

    /// Sets the packages that every login needs.
    pub fn keep_ways_in(&mut self, names: &[&str]) {
        self.ways_in.extend(names.iter().map(|name| (*name).to_owned()));
    }

    /// Stops a transaction that would remove packages that the plan does not name. A package that is removed and
    /// installed again does not count.
    pub fn check(&self, foreseen: &Simulation) -> Result<(), PackageError> {
        let comes_again = |name: &str| foreseen.installed.iter().any(|(other, _)| other == name);
        let is_beyond = |name: &&String| !self.goes.contains(*name) && !comes_again(name);
        let names: Vec<_> = foreseen.removed.iter().filter(is_beyond).cloned().collect();
        if names.is_empty() {
            return Ok(());
        }
        let shuts_out = names.iter().any(|name| self.ways_in.contains(name));
        Err(PackageError::Unplanned { names: names.join(", "), shuts_out })
    }

    /// Returns the changes of packages between `before` and `after` that the plan does not name.
    pub fn unforeseen(&self, before: &PackageTable, after: &PackageTable) -> Vec<PropertyChange> {
        let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let mut beyond = Vec::new();
        for name in names.into_iter().filter(|name| self.plain(name) == name.as_str()) {
            let (old, new) = (before.get(name).map(Installed::shown), after.get(name).map(Installed::shown));
            // The plan already shows the repair of a half-installed package.
            if before.get(name).is_some_and(|old| {
                !old.whole && after.get(name).is_some_and(|new| old.version == new.version)
            }) {
                continue;
            }
            let is_foreseen = match (&new, self.comes.get(name)) {
                (None, _) => self.goes.contains(name),
                (Some(new), Some(Some(known))) => new == known,
                (Some(_), known) => known.is_some(),
            };
            if old != new && !is_foreseen {
                beyond.push(PropertyChange::new(name, old, new));
            }
        }
        beyond
    }

    /// Returns a name in the form of the table and of a simulation.
    fn plain<'n>(&self, name: &'n str) -> &'n str {
        let own = name.strip_suffix(&self.architecture).and_then(|name| name.strip_suffix(':'));
        own.unwrap_or(name)
    }
}

/// The packages that provide a name that is not their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Providers {
    /// The providers that are fully installed.
    pub installed: Vec<String>,
    /// The providers in the lists.
    pub offered: Vec<String>,
}

/// Returns the requests without those for a name that an installed or requested package provides. If only other
/// packages provide the name, that is an error. The user must choose one of them, not the manager.
pub fn resolve(
    packages: &(impl Packages + ?Sized),
    requests: &[PackageRequest],
) -> Result<Vec<PackageRequest>, PackageError> {
    let installed = packages.installed()?;
    let news = requests.iter().filter(|one| one.goal.installs() && !installed.contains_key(&one.name));
    let names: Vec<_> = news.map(|one| one.name.clone()).collect();
    if names.is_empty() {
        return Ok(requests.to_vec());
    }
    let real = packages.candidates(&names)?;
    let mut provided = BTreeSet::new();
    for name in names.into_iter().filter(|name| !real.contains_key(name)) {
        let providers = packages.providers(&name)?;
        let is_asked = |other: &String| requests.iter().any(|one| one.goal.installs() && one.name == *other);
        if !providers.installed.is_empty() || providers.offered.iter().any(is_asked) {
            provided.insert(name);
        } else if !providers.offered.is_empty() {
            return Err(PackageError::Virtual { name, providers: providers.offered });
        }
    }
    Ok(requests.iter().filter(|one| !provided.contains(&one.name)).cloned().collect())
}

/// The state that earlier transactions left, and the age of the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Whether a transaction died midway. The next one repairs the database first.
    pub interrupted: bool,
    /// The holder of a transaction that did not end while the look waited. The state may have been read in the middle
    /// of it.
    pub busy: Option<String>,
    /// Packages that were removed, but whose configuration is still there.
    pub leftovers: BTreeSet<String>,
    /// The age of the lists. None if they were never refreshed.
    pub lists_age: Option<Duration>,
    /// Whether the sources changed since the last refresh.
    pub sources_newer: bool,
}

/// Why the package manager failed.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The manager's files cannot be read.
    #[error("failed to read the package database: {0}")]
    Database(#[from] io::Error),
    /// This host has no package manager that Converge knows.
    #[error("this host has no package manager that Converge supports")]
    Unsupported,
    /// The lock was held for the whole time allowed.
    #[error("the package lock is held by {holder} since before {waited:?}")]
    Locked {
        /// Process name and number.
        holder: String,
        /// How long the run waited.
        waited: Duration,
    },
    /// The name is not a package, but other packages provide it.
    #[error("{name} is a virtual package, provided by {}; declare one of them", providers.join(", "))]
    Virtual {
        /// The name.
        name: String,
        /// The packages that provide it.
        providers: Vec<String>,
    },
    /// It would remove packages that the plan does not name. Nothing was changed.
    #[error("{}", unplanned(names, *shuts_out))]
    Unplanned {
        /// The packages, joined.
        names: String,
        /// Whether a login needs one of them.
        shuts_out: bool,
    },
    /// The manager failed.
    #[error("{what}")]
    Failed {
        /// The failure, as a fragment, with the manager's own last words.
        what: String,
    },
}

fn unplanned(names: &str, shuts_out: bool) -> String {
    let danger = if shuts_out { ", and without which no user can log in" } else { "" };
    format!(
        "it would remove {names}, which the plan does not name{danger}; no package changed: plan again, and apply the new plan"
    )
}

/// Opens a package manager on a host.
pub type Open = fn(Parts) -> Box<dyn Packages>;

/// A host's package manager.
pub trait Packages: Send + Sync {
    /// Returns its name and features on any host.
    fn manager(&self) -> &'static Manager;
    /// Reads the installed packages again, without starting a process.
    fn installed(&self) -> Result<Arc<PackageTable>, PackageError>;
    /// Returns the state that earlier transactions left and the age of the lists, without starting a process.
    fn upkeep(&self) -> Result<Upkeep, PackageError>;
    /// Returns the host's own architecture, in the manager's words: `NAME:ARCHITECTURE` is the same as `NAME`.
    fn architecture(&self) -> Result<String, PackageError>;
    /// Returns the version that would be installed of each of `names`, from the current lists.
    fn candidates(&self, names: &[String]) -> Result<BTreeMap<String, String>, PackageError>;
    /// Returns the packages that provide `name`, which is not the name of an available package.
    fn providers(&self, name: &str) -> Result<Providers, PackageError>;
    /// Returns the effect of `requests`. It is unknown for requests after a refresh of the lists.
    fn simulate(&self, requests: &[PackageRequest]) -> Result<Simulation, PackageError>;
    /// Carries out `requests` in one transaction, without questions. Its output goes to `output` as it comes. It is
    /// simulated once more right before, and stops if [`Allowance::check`] refuses it.
    fn transact(
        &self,
        requests: &[PackageRequest],
        allowed: &Allowance,
        output: &mut dyn FnMut(&[u8]),
    ) -> Result<(), PackageError>;
    /// Returns the names of packages that came with others and are no longer needed after the requests `after`.
    fn unneeded(&self, after: &[PackageRequest]) -> Result<Vec<String>, PackageError>;
    /// Removes packages that are no longer needed, like [`Packages::transact`].
    fn remove_unneeded(&self, allowed: &Allowance, output: &mut dyn FnMut(&[u8]))
    -> Result<(), PackageError>;
    /// Refreshes the lists: all that are available, or those of the file of sources `only`. With `only`, a list that
    /// cannot be fetched, or without a good signature, is an error.
    fn refresh(&self, only: Option<&Path>, output: &mut dyn FnMut(&[u8])) -> Result<(), PackageError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a table from `NAME VERSION`. A `!` before the version means half-installed.
    fn table(packages: &[&str]) -> PackageTable {
        let package = |text: &&str| {
            let (name, version) = text.split_once(' ').unwrap();
            let (version, whole) =
                version.strip_prefix('!').map_or((version, true), |version| (version, false));
            (name.to_owned(), Installed { version: version.to_owned(), held: false, whole })
        };
        packages.iter().map(package).collect()
    }

    fn foreseen(installed: &[(&str, &str)], removed: &[&str]) -> Simulation {
        let installed = installed.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned()));
        let removed = removed.iter().map(|name| (*name).to_owned());
        Simulation { installed: installed.collect(), removed: removed.collect(), unknown: Vec::new() }
    }

    #[test]
    fn what_the_plan_knew_is_foreseen_and_nothing_else() {
        let mut allowed = Allowance::on("amd64");
        let requests = [PackageRequest::present("new:amd64"), PackageRequest::new("kept", PackageGoal::Kept)];
        allowed.allow(&requests, &foreseen(&[("lib", "2")], &["old"]));
        let check = |before: &[&str], after: &[&str], expected: &[&str]| {
            let beyond = allowed.unforeseen(&table(before), &table(after));
            let shown = |shown: &converge_model::Shown| match shown {
                converge_model::Shown::Text(text) => text.clone(),
                _ => "-".to_owned(),
            };
            let lines = beyond
                .iter()
                .map(|one| format!("{} {} {}", one.property, shown(&one.before), shown(&one.after)));
            assert_eq!(lines.collect::<Vec<_>>(), expected, "{before:?} {after:?}");
        };
        check(&["old 1", "libc 2"], &["libc 2", "new 7", "new:amd64 7", "lib 2", "lib:amd64 2"], &[]);
        check(&[], &["lib 3"], &["lib - 3"]);
        check(&["kept 1"], &["kept 2"], &["kept 1 2"]);
        check(&["libc 2", "libc:i386 2"], &["libc 2"], &["libc:i386 2 -"]);
        check(&["mail 1"], &["mail !1"], &["mail 1 1 (half-installed)"]);
        check(&["mail !1"], &["mail 1"], &[]);
        check(&["mail !1"], &["mail 2"], &["mail 1 (half-installed) 2"]);
        check(&["mail !1"], &[], &["mail 1 (half-installed) -"]);
    }

    #[test]
    fn what_the_plan_names_may_go_and_nothing_else() {
        let mut allowed = Allowance::on("amd64");
        let absent = |name: &str| PackageRequest::new(name, PackageGoal::Absent { purge: false });
        allowed.allow(&[absent("telnet:amd64"), PackageRequest::present("new")], &foreseen(&[], &["old"]));
        let check = |removed: &[&str], stopped: Option<&str>| {
            let checked = allowed.check(&foreseen(&[("again", "2")], removed));
            assert_eq!(
                checked.err().map(|error| error.to_string().contains(stopped.unwrap())),
                stopped.map(|_| true)
            );
        };
        check(&[], None);
        check(&["telnet", "old", "again"], None);
        check(&["new"], Some("would remove new, which"));
        check(&["old", "mail", "libc:i386"], Some("would remove mail, libc:i386, which"));
    }
}

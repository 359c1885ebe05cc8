//! Packages: what is installed, what a transaction would do, and doing it.

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

impl Installed {
    /// Its version, with a word where it is not whole.
    fn shown(&self) -> String {
        if self.whole { self.version.clone() } else { format!("{} (half-installed)", self.version) }
    }
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

impl PackageGoal {
    /// Whether the package is there afterwards because of it.
    pub fn installs(&self) -> bool {
        !matches!(self, Self::Absent { .. } | Self::Kept)
    }
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

/// What the plan of a run lets its transactions do. A transaction is held against it right before it changes anything:
/// lists that were fetched, sources that were written and a database that was repaired since may have changed what it
/// comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// The host's own architecture: `NAME:ARCHITECTURE` is `NAME`.
    architecture: String,
    /// What comes or changes its version, by name; without a version where the plan could not know it.
    comes: BTreeMap<String, Option<String>>,
    /// What goes.
    goes: BTreeSet<String>,
    /// Packages without which nobody gets in.
    ways_in: BTreeSet<String>,
}

impl Allowance {
    /// Nothing is allowed yet, on a host of this architecture.
    pub fn on(architecture: impl Into<String>) -> Self {
        Self { architecture: architecture.into(), ..Self::default() }
    }

    /// Allows what is asked itself, and what the plan saw that it comes to.
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

    /// Allows that these go.
    pub fn allow_removal(&mut self, names: &[String]) {
        self.goes.extend(names.iter().cloned());
    }

    /// Says without which packages nobody gets in.
    pub fn keep_ways_in(&mut self, names: &[&str]) {
        self.ways_in.extend(names.iter().map(|name| (*name).to_owned()));
    }

    /// Stops a transaction that would remove what the plan does not name. What goes and comes again is not removed.
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

    /// What became of the packages between `before` and `after` that the plan does not name.
    pub fn unforeseen(&self, before: &PackageTable, after: &PackageTable) -> Vec<PropertyChange> {
        let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let mut beyond = Vec::new();
        for name in names.into_iter().filter(|name| self.plain(name) == name.as_str()) {
            let (old, new) = (before.get(name).map(Installed::shown), after.get(name).map(Installed::shown));
            // That a broken one is whole by now is what the plan says of the database.
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

    /// A name as the table and a simulation have it.
    fn plain<'n>(&self, name: &'n str) -> &'n str {
        let own = name.strip_suffix(&self.architecture).and_then(|name| name.strip_suffix(':'));
        own.unwrap_or(name)
    }
}

/// Which packages provide a name that is not their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Providers {
    /// Those that are installed and whole.
    pub installed: Vec<String>,
    /// Those that the lists know.
    pub offered: Vec<String>,
}

/// The requests without those for a name that an installed package provides, or one that is asked for with them. A name
/// that others provide is an error: which of them comes, and what goes for it, is not for the manager to choose.
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

/// What earlier transactions left behind, and how old the lists are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upkeep {
    /// Whether a transaction died half-way: the next one repairs the database first.
    pub interrupted: bool,
    /// Who is in the middle of a transaction that did not end while the look waited: what was read may be half of it.
    pub busy: Option<String>,
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
    /// The name is that of no package, and others provide it.
    #[error("{name} is no package of its own, and is provided by {}; declare one of them", providers.join(", "))]
    Virtual {
        /// The name.
        name: String,
        /// The packages that provide it.
        providers: Vec<String>,
    },
    /// It would remove what the plan does not name; nothing was changed.
    #[error("{}", unplanned(names, *shuts_out))]
    Unplanned {
        /// The packages, joined.
        names: String,
        /// Whether one of them keeps the way in.
        shuts_out: bool,
    },
    /// The manager failed.
    #[error("{what}")]
    Failed {
        /// What, as a fragment, with the manager's own last words.
        what: String,
    },
}

fn unplanned(names: &str, shuts_out: bool) -> String {
    let danger = if shuts_out { ", and without which nobody gets in" } else { "" };
    format!(
        "it would remove {names}, which the plan does not name{danger}; it stopped before any package changed: plan \
         again, and apply what that plan shows"
    )
}

/// Opens a package manager on a host.
pub type Open = fn(Parts) -> Box<dyn Packages>;

/// A host's package manager.
pub trait Packages: Send + Sync {
    /// What it is and can, on any host.
    fn manager(&self) -> &'static Manager;
    /// What is installed, read anew without starting a process.
    fn installed(&self) -> Result<Arc<PackageTable>, PackageError>;
    /// What earlier transactions left behind, and how old the lists are; without starting a process.
    fn upkeep(&self) -> Result<Upkeep, PackageError>;
    /// The host's own architecture, as the manager calls it: `NAME:ARCHITECTURE` is `NAME`.
    fn architecture(&self) -> Result<String, PackageError>;
    /// The version that would be installed of each of `names`, from the lists as they are.
    fn candidates(&self, names: &[String]) -> Result<BTreeMap<String, String>, PackageError>;
    /// Which packages provide `name`, which no package on offer is called.
    fn providers(&self, name: &str) -> Result<Providers, PackageError>;
    /// What carrying out `requests` would do. What is asked after a refresh of the lists is unknown.
    fn simulate(&self, requests: &[PackageRequest]) -> Result<Simulation, PackageError>;
    /// Carries `requests` out in one transaction, never asking anything; output goes to `output` as it comes. It is
    /// simulated once more right before, and stops where [`Allowance::check`] says so.
    fn transact(
        &self,
        requests: &[PackageRequest],
        allowed: &Allowance,
        output: &mut dyn FnMut(&[u8]),
    ) -> Result<(), PackageError>;
    /// What came along with others, and nothing needs any more once `after` was carried out, by name.
    fn unneeded(&self, after: &[PackageRequest]) -> Result<Vec<String>, PackageError>;
    /// Removes what nothing needs any more; as [`Packages::transact`].
    fn remove_unneeded(&self, allowed: &Allowance, output: &mut dyn FnMut(&[u8]))
    -> Result<(), PackageError>;
    /// Fetches the lists anew: all of them, as far as they can be had; or those of the file of sources `only`, where one
    /// that cannot be fetched, or whose signature is not good, is an error.
    fn refresh(&self, only: Option<&Path>, output: &mut dyn FnMut(&[u8])) -> Result<(), PackageError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packages as `NAME VERSION`; a `!` stands before the version of one that is not whole.
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

//! The effects of earlier steps of a plan: the layer over the host that later steps see.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::brought::Brought;
use crate::system::accounts::Shadow;
use crate::system::packages::PackageRequest;
pub use crate::view::seen::Bytes;
use crate::view::seen::{Body, Place, is_read_by_systemd};

/// One thing that a step will do.
#[derive(Clone)]
pub enum Effect {
    /// The path will be this. None: nothing will be there or below it.
    Path(PathBuf, Option<Place>),
    /// The package will be installed, in this version if it is known. None: it will not be installed.
    Package(String, Option<Version>),
    /// The user will exist. None: it will not.
    User(String, Option<PlannedUser>),
    /// The group will exist. None: it will not.
    Group(String, Option<PlannedGroup>),
    /// The unit will be in this state, as far as it is known.
    Unit(String, PlannedUnit),
    /// A command of this name will be on `PATH`.
    Program(String),
    /// The thing will be there; nothing else about it is known. If it is there already, it stays as it is.
    Brings(Brought),
    /// A file system will be mounted or unmounted at the path. Everything below it changes.
    Mount(PathBuf, PlannedMount),
    /// Unnamed paths, packages, users or units may come. Existing ones are assumed to stay.
    Open,
    /// Unnamed things that the step does not own may change or go. Example: the files and units of a removed package.
    /// Nothing new comes. A later step may therefore find its work done.
    Elsewhere,
    /// Used beside [`Effect::Open`]: only the packages that the step names may come.
    PackagesNamed,
}

/// The version of a package that a step brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// This version.
    Known(String),
    /// Not known: the package lists are refreshed first, or another step decides.
    Unknown,
}

/// A user that a step brings: what later steps need to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedUser {
    /// The number, if one was asked for.
    pub uid: Option<u32>,
    /// The name of the primary group.
    pub group: Option<String>,
    /// The home folder.
    pub home: Option<String>,
    /// All other groups, if they are known.
    pub groups: Option<Vec<String>>,
    /// The comment, if it is known.
    pub comment: Option<String>,
    /// The login shell, if it is known.
    pub shell: Option<String>,
    /// The entry in `/etc/shadow`, if it is known.
    pub shadow: Option<Shadow>,
}

/// A group that a step brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedGroup {
    /// The number, if it is known.
    pub gid: Option<u32>,
    /// All members, if they are known.
    pub members: Option<Vec<String>>,
}

/// A unit that a step changes. None: the step does not change that property.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedUnit {
    /// Whether it will be running.
    pub active: Option<bool>,
    /// Whether the step itself starts the unit. A unit that already runs has not read the latest changes.
    pub starts: bool,
    /// Whether it will be enabled.
    pub enabled: Option<bool>,
    /// Whether it will be masked.
    pub masked: Option<bool>,
}

/// The effect of a step on a mount point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlannedMount {
    /// A file system without any content yet is mounted.
    Empty,
    /// A file system with any content is mounted.
    Mounted,
    /// Nothing is mounted any more.
    Unmounted,
    /// The same file system stays mounted, with other options.
    Kept,
}

/// The layer. Steps are added in plan order. A later step replaces what an earlier one set.
#[derive(Clone, Default)]
pub struct Overlay {
    pub(crate) paths: BTreeMap<PathBuf, Option<Place>>,
    /// Unit files by the alias that they were planned with. A later step may have planned some of them differently
    /// since.
    aliases: BTreeMap<String, BTreeSet<PathBuf>>,
    pub(crate) packages: BTreeMap<String, Option<Version>>,
    pub(crate) users: BTreeMap<String, Option<PlannedUser>>,
    pub(crate) groups: BTreeMap<String, Option<PlannedGroup>>,
    pub(crate) units: BTreeMap<String, PlannedUnit>,
    pub(crate) programs: BTreeMap<String, u32>,
    /// Declared things, each with the step that brings it.
    brought: BTreeMap<Brought, u32>,
    /// Mount points, each with the step that mounts or unmounts.
    pub(crate) mounts: BTreeMap<PathBuf, (u32, PlannedMount)>,
    pub(crate) open: Vec<u32>,
    pub(crate) packages_named: Vec<u32>,
    /// The steps that bring a package, by its name.
    pub(crate) packaging: BTreeMap<String, u32>,
    /// All that transactions ask of the package manager.
    pub(crate) requests: Vec<PackageRequest>,
}

impl Overlay {
    /// Adds the effects of the step at `place` in the plan.
    pub fn add(&mut self, place: u32, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            self.add_one(place, effect);
        }
    }

    /// Adds the requests of a transaction to the package manager, to compute what follows from all of them.
    pub fn ask(&mut self, requests: &[PackageRequest]) {
        self.requests.extend_from_slice(requests);
    }

    fn add_one(&mut self, place: u32, effect: Effect) {
        match effect {
            Effect::Path(path, state) => {
                if state.is_none() {
                    self.forget_below(&path);
                    self.brought
                        .retain(|what, _| !matches!(what, Brought::Path(known) if known.starts_with(&path)));
                }
                for alias in state.iter().flat_map(|place| aliases(&path, place)) {
                    self.aliases.entry(alias).or_default().insert(path.clone());
                }
                self.paths.insert(path, state);
            }
            Effect::Package(name, version) => {
                match version {
                    Some(_) => drop(self.packaging.entry(name.clone()).or_insert(place)),
                    None => drop(self.packaging.remove(&name)),
                }
                self.packages.insert(name, version);
            }
            Effect::User(name, user) => {
                self.users.insert(name, user);
            }
            Effect::Group(name, group) => {
                self.groups.insert(name, group);
            }
            Effect::Unit(name, unit) => {
                let known = self.units.entry(name).or_default();
                known.active = unit.active.or(known.active);
                known.enabled = unit.enabled.or(known.enabled);
                known.masked = unit.masked.or(known.masked);
            }
            Effect::Program(name) => {
                self.programs.insert(name, place);
            }
            Effect::Brings(what) => {
                if let Brought::Path(path) = &what {
                    self.paths.remove(path);
                }
                self.brought.insert(what, place);
            }
            Effect::Mount(path, mount) => {
                if mount != PlannedMount::Kept {
                    self.paths.retain(|known, _| known == &path || !known.starts_with(&path));
                    self.mounts.retain(|known, _| !known.starts_with(&path));
                }
                self.mounts.insert(path, (place, mount));
            }
            Effect::Open => self.open.push(place),
            Effect::Elsewhere => {}
            Effect::PackagesNamed => self.packages_named.push(place),
        }
    }

    /// Forgets everything planned at `path` and below it. It visits no other path.
    fn forget_below(&mut self, path: &Path) {
        let planned = self.paths.range(path.to_path_buf()..).map(|(known, _)| known);
        let below: Vec<_> = planned.take_while(|known| known.starts_with(path)).cloned().collect();
        for known in below {
            self.paths.remove(&known);
        }
    }

    /// Returns the steps that bring one of `packages`, as far as known.
    pub(crate) fn bringing(&self, packages: &[&str]) -> Vec<u32> {
        let plain = |name: &str| name.split(':').next().is_some_and(|name| packages.contains(&name));
        let steps: BTreeSet<u32> =
            self.packaging.iter().filter(|(name, _)| plain(name)).map(|(_, step)| *step).collect();
        steps.into_iter().collect()
    }

    /// Whether a step names what it brings.
    pub(crate) fn brings_something(&self) -> bool {
        !self.brought.is_empty()
    }

    /// Returns the step that brings `what`, as declared.
    pub(crate) fn brings(&self, what: &Brought) -> Option<u32> {
        self.brought.get(what).copied()
    }

    /// Returns the step that brings a folder above `path`, as declared.
    pub(crate) fn brings_above(&self, path: &Path) -> Option<u32> {
        if !self.brings_something() {
            return None;
        }
        path.ancestors().skip(1).find_map(|above| self.brings(&Brought::Path(above.to_owned())))
    }

    /// The open steps so far.
    pub fn open(&self) -> &[u32] {
        &self.open
    }

    /// Returns the open steps that may bring packages that they do not name.
    pub(crate) fn open_to_packages(&self) -> Vec<u32> {
        self.open.iter().copied().filter(|step| !self.packages_named.contains(step)).collect()
    }

    /// Whether something is planned at `path` or below it.
    pub(crate) fn touches(&self, path: &Path) -> bool {
        self.paths.range(path.to_path_buf()..).next().is_some_and(|(planned, _)| planned.starts_with(path))
    }

    /// Returns the plan for `path`: its own entry, or the removal of a folder above it.
    pub(crate) fn path(&self, path: &Path) -> Option<Option<&Place>> {
        if let Some(state) = self.paths.get(path) {
            return Some(state.as_ref());
        }
        let above = path.ancestors().skip(1).find_map(|above| self.paths.get(above));
        match above {
            Some(None) => Some(None),
            _ => None,
        }
    }

    /// Returns the mount or unmount step that decides what is below a folder above `path`.
    pub(crate) fn mount_above(&self, path: &Path) -> Option<(u32, PlannedMount)> {
        let mut above = path.ancestors().skip(1).filter_map(|above| self.mounts.get(above));
        above.find(|(_, mount)| *mount != PlannedMount::Kept).copied()
    }

    /// Returns the planned unit file that gives its unit the alias `name`.
    pub(crate) fn alias(&self, name: &str) -> Option<&Path> {
        let is_so = |path: &&PathBuf| match self.paths.get(*path) {
            Some(Some(place)) => aliases(path, place).iter().any(|alias| alias == name),
            _ => false,
        };
        self.aliases.get(name)?.iter().find(is_so).map(PathBuf::as_path)
    }

    /// Returns the paths planned directly below `folder`, and whether each will be there.
    pub(crate) fn children<'a>(&'a self, folder: &'a Path) -> impl Iterator<Item = (&'a Path, bool)> {
        self.paths
            .range(folder.to_path_buf()..)
            .take_while(move |(path, _)| path.starts_with(folder))
            .filter(move |(path, _)| path.parent() == Some(folder))
            .map(|(path, state)| (path.as_path(), state.is_some()))
    }
}

/// The aliases that the unit file `place` at `path` gives its unit. Empty if it is not a unit file, or its text is
/// not known.
fn aliases(path: &Path, place: &Place) -> Vec<String> {
    let Body::Text(text) = &place.body else { return Vec::new() };
    if !is_read_by_systemd(path) {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("Alias="));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// Returns the packages that these effects remove.
pub fn removed(effects: &[Effect]) -> Vec<String> {
    let gone = effects.iter().filter_map(|effect| match effect {
        Effect::Package(name, None) => Some(name.clone()),
        _ => None,
    });
    gone.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_goes_takes_what_is_below_it_and_nothing_beside_it() {
        let mut overlay = Overlay::default();
        let gone = |path: &str| Effect::Path(PathBuf::from(path), None);
        overlay.add(0, ["/a/b", "/a/b/c", "/a-b", "/b"].map(gone));
        overlay.add(1, [gone("/a")]);
        let known: Vec<_> = overlay.paths.keys().map(|path| path.display().to_string()).collect();
        assert_eq!(known, ["/a", "/a-b", "/b"]);
        assert!(matches!(overlay.path(Path::new("/a/b/c")), Some(None)));
    }
}

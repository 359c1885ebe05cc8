//! What earlier steps of a plan will have done: the layer over the host that later steps see.

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
    /// The path will be this; none: nothing will be there, nor below it.
    Path(PathBuf, Option<Place>),
    /// The package will be there, in this version where it is known; none: it will not.
    Package(String, Option<Version>),
    /// The user will be there; none: will not.
    User(String, Option<PlannedUser>),
    /// The group will be there; none: will not.
    Group(String, Option<PlannedGroup>),
    /// The unit will be in this state, as far as it is known.
    Unit(String, PlannedUnit),
    /// A command of this name will be on the path.
    Program(String),
    /// It will be there, and nothing more is known of it. What is there already stays as it is.
    Brings(Brought),
    /// Something will be mounted at the path, or no more: all below it is other than it is now.
    Mount(PathBuf, PlannedMount),
    /// Paths, packages, users or units may come that nobody can name beforehand. What exists is presumed to stay.
    Open,
    /// What the step does not own may change or go, and nobody can name it beforehand: the files and units of a package
    /// that is removed. Nothing comes; a later step that finds its work done is no surprise.
    Elsewhere,
    /// Beside [`Effect::Open`]: of packages, only those may come that the step names.
    PackagesNamed,
}

/// The version of a package that a step brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// This one.
    Known(String),
    /// The lists are refreshed first, or another step decides it.
    Unknown,
}

/// A user that a step brings: what later steps need to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedUser {
    /// The number, where it was asked for.
    pub uid: Option<u32>,
    /// The name of the primary group.
    pub group: Option<String>,
    /// The home folder.
    pub home: Option<String>,
    /// All other groups, where they are known.
    pub groups: Option<Vec<String>>,
    /// The comment, where it is known.
    pub comment: Option<String>,
    /// The login shell, where it is known.
    pub shell: Option<String>,
    /// What `/etc/shadow` will say, where it is known.
    pub shadow: Option<Shadow>,
}

/// A group that a step brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedGroup {
    /// The number, where it is known.
    pub gid: Option<u32>,
    /// All its members, where they are known.
    pub members: Option<Vec<String>>,
}

/// A unit that a step changes; none where the step leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedUnit {
    /// Whether it will be running.
    pub active: Option<bool>,
    /// Whether the step itself starts it: one that runs already has not read anew what changed before.
    pub starts: bool,
    /// Whether it will be enabled.
    pub enabled: Option<bool>,
    /// Whether it will be masked.
    pub masked: Option<bool>,
}

/// What a step does to a mount point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlannedMount {
    /// A file system is mounted that has nothing in it yet.
    Empty,
    /// One is mounted that may hold anything.
    Mounted,
    /// None is any more.
    Unmounted,
    /// What is mounted stays, with other options.
    Kept,
}

/// The layer. Steps are added in the order of the plan; what a later one says replaces what an earlier one said.
#[derive(Clone, Default)]
pub struct Overlay {
    pub(crate) paths: BTreeMap<PathBuf, Option<Place>>,
    /// By another name of a unit: the unit files that were planned with it, some of which may be planned otherwise by now.
    aliases: BTreeMap<String, BTreeSet<PathBuf>>,
    pub(crate) packages: BTreeMap<String, Option<Version>>,
    pub(crate) users: BTreeMap<String, Option<PlannedUser>>,
    pub(crate) groups: BTreeMap<String, Option<PlannedGroup>>,
    pub(crate) units: BTreeMap<String, PlannedUnit>,
    pub(crate) programs: BTreeMap<String, u32>,
    /// What is said to come, each with the step that brings it.
    brought: BTreeMap<Brought, u32>,
    /// Mount points, each with the step that mounts or unmounts.
    pub(crate) mounts: BTreeMap<PathBuf, (u32, PlannedMount)>,
    pub(crate) open: Vec<u32>,
    pub(crate) packages_named: Vec<u32>,
    /// The steps that bring a package, by its name.
    pub(crate) packaging: BTreeMap<String, u32>,
    /// What transactions ask of the package manager.
    pub(crate) requests: Vec<PackageRequest>,
}

impl Overlay {
    /// Adds the effects of the step at `place` in the plan.
    pub fn add(&mut self, place: u32, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            self.add_one(place, effect);
        }
    }

    /// Adds what a transaction asks of the package manager, for what follows from all of it.
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

    /// Forgets what is planned at `path` and below it; it does not look at any other path.
    fn forget_below(&mut self, path: &Path) {
        let planned = self.paths.range(path.to_path_buf()..).map(|(known, _)| known);
        let below: Vec<_> = planned.take_while(|known| known.starts_with(path)).cloned().collect();
        for known in below {
            self.paths.remove(&known);
        }
    }

    /// The steps that bring one of `packages`, as far as that is foreseen.
    pub(crate) fn bringing(&self, packages: &[&str]) -> Vec<u32> {
        let plain = |name: &str| name.split(':').next().is_some_and(|name| packages.contains(&name));
        let steps: BTreeSet<u32> =
            self.packaging.iter().filter(|(name, _)| plain(name)).map(|(_, step)| *step).collect();
        steps.into_iter().collect()
    }

    /// The step that is said to bring `what`.
    pub(crate) fn brings(&self, what: &Brought) -> Option<u32> {
        self.brought.get(what).copied()
    }

    /// The step that is said to bring a folder above `path`.
    pub(crate) fn brings_above(&self, path: &Path) -> Option<u32> {
        if self.brought.is_empty() {
            return None;
        }
        path.ancestors().skip(1).find_map(|above| self.brings(&Brought::Path(above.to_owned())))
    }

    /// The open steps so far.
    pub fn open(&self) -> &[u32] {
        &self.open
    }

    /// The open steps that may bring packages which they do not name.
    pub(crate) fn open_to_packages(&self) -> Vec<u32> {
        self.open.iter().copied().filter(|step| !self.packages_named.contains(step)).collect()
    }

    /// Whether something is planned at `path` or below it.
    pub(crate) fn touches(&self, path: &Path) -> bool {
        self.paths.range(path.to_path_buf()..).next().is_some_and(|(planned, _)| planned.starts_with(path))
    }

    /// What is planned at `path`: itself, or that a folder above it goes.
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

    /// The mount or unmount that decides what is below a folder that `path` is in.
    pub(crate) fn mount_above(&self, path: &Path) -> Option<(u32, PlannedMount)> {
        let mut above = path.ancestors().skip(1).filter_map(|above| self.mounts.get(above));
        above.find(|(_, mount)| *mount != PlannedMount::Kept).copied()
    }

    /// The unit file, planned, that gives its unit the other name `name`.
    pub(crate) fn alias(&self, name: &str) -> Option<&Path> {
        let is_so = |path: &&PathBuf| match self.paths.get(*path) {
            Some(Some(place)) => aliases(path, place).iter().any(|alias| alias == name),
            _ => false,
        };
        self.aliases.get(name)?.iter().find(is_so).map(PathBuf::as_path)
    }

    /// The paths planned directly below `folder`, with whether they will be there.
    pub(crate) fn children<'a>(&'a self, folder: &'a Path) -> impl Iterator<Item = (&'a Path, bool)> {
        self.paths
            .range(folder.to_path_buf()..)
            .take_while(move |(path, _)| path.starts_with(folder))
            .filter(move |(path, _)| path.parent() == Some(folder))
            .map(|(path, state)| (path.as_path(), state.is_some()))
    }
}

/// The other names that the unit file `place` at `path` gives its unit; none if it is no unit file, or its text is not
/// known.
fn aliases(path: &Path, place: &Place) -> Vec<String> {
    let Body::Text(text) = &place.body else { return Vec::new() };
    if !is_read_by_systemd(path) {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("Alias="));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// The packages that steps with these effects take away.
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

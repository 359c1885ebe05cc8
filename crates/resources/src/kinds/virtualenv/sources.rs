//! What the sources of an environment ask for: requirements files with those that they name, a list, a lock.
//!
//! A source that names every distribution makes the plan exact: hashes do (the installer then refuses all that is not
//! named), `exact=#true` does, a lock does. Anything else may bring dependencies that only the installer finds.

use std::path::{Component, Path, PathBuf};

use super::lock;
use super::marker::{self, Target};
use super::requirement::{self, Line, Requirement};
use super::{Source, Wish};
use crate::view::{LookError, Need, Seen, View};

/// What is asked for.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// Normalised names, in order, each with the version that alone will do.
    pub(super) pins: Vec<Pin>,
    /// What any version of will do.
    pub(super) loose: Vec<String>,
    /// Why nobody can name every distribution yet; none: these are all.
    pub(super) open: Option<String>,
    /// What the sources need: their files.
    pub(super) needs: Vec<Need>,
    /// What is wrong with them, as a fragment.
    pub(super) problem: Option<String>,
    /// Whether everything that is installed from an index must have a hash.
    pub(super) hashed: bool,
    /// A lock as requirements with hashes.
    pub(super) locked: Option<String>,
    /// Stands for all that the sources say.
    pub(super) digest: blake3::Hasher,
}

/// A name and a version.
pub(super) type Pin = (String, String);

/// How many files of requirements may name each other.
const FILES: usize = 64;

/// Reads all sources of `wish`.
pub(super) fn read(view: &View<'_>, wish: &Wish, target: &Target) -> Result<Demand, LookError> {
    let mut reading = Reading {
        view,
        target,
        wish,
        demand: Demand::default(),
        limits: Vec::new(),
        seen: Vec::new(),
        hashed: false,
        wide: None,
    };
    for path in &wish.constraints {
        reading.file(path, true)?;
    }
    match &wish.source {
        Source::Lock(path) => reading.lock(path)?,
        Source::Requirements { files, content, list } => {
            for path in files {
                reading.file(path, false)?;
            }
            if let Some(content) = content {
                let text = view.content(content)?;
                reading.text(&String::from_utf8_lossy(&text), None, false)?;
            }
            reading.text(&list.join("\n"), None, false)?;
        }
    }
    if let Some(project) = &wish.project {
        reading.project(project)?;
    }
    Ok(reading.finish())
}

impl Demand {
    /// Whether `name` must be there in one version.
    pub(super) fn names(&self, name: &str) -> bool {
        self.pins.iter().any(|(pinned, _)| pinned == name)
    }
}

struct Reading<'a> {
    view: &'a View<'a>,
    target: &'a Target,
    wish: &'a Wish,
    demand: Demand,
    /// The versions that constraints name.
    limits: Vec<Pin>,
    seen: Vec<(PathBuf, bool)>,
    /// Whether hashes are given, and so wanted of everything.
    hashed: bool,
    /// A requirement that may bring others.
    wide: Option<String>,
}

impl Reading<'_> {
    /// The text of a file; none, with a need noted, where it is not there or not known.
    fn read(&mut self, path: &Path) -> Result<Option<String>, LookError> {
        let what = format!("the file {}", path.display());
        let seen = match self.view.followed(path)? {
            Seen::Known((path, _)) => self.view.text(&path)?,
            other => other.map(|_| Vec::new()),
        };
        if let Seen::Known(text) = seen {
            self.demand.digest.update(&(text.len() as u64).to_le_bytes()).update(&text);
            return Ok(Some(String::from_utf8_lossy(&text).into_owned()));
        }
        if !matches!(seen, Seen::Absent) {
            self.open(format!("{} comes with an earlier step", path.display()));
        }
        let need = Need::of(seen, what, || "let an earlier step bring it, or correct the path".to_owned());
        self.demand.needs.push(need);
        Ok(None)
    }

    fn open(&mut self, why: String) {
        self.demand.open.get_or_insert(why);
    }

    fn file(&mut self, path: &Path, is_limit: bool) -> Result<(), LookError> {
        let read = (path.to_owned(), is_limit);
        if self.seen.contains(&read) {
            return Ok(());
        }
        self.seen.push(read);
        if self.seen.len() > FILES {
            self.demand.problem = Some(format!("more than {FILES} requirements files name each other"));
            return Ok(());
        }
        match self.read(path)? {
            Some(text) => self.text(&text, path.parent(), is_limit),
            None => Ok(()),
        }
    }

    fn text(&mut self, text: &str, folder: Option<&Path>, is_limit: bool) -> Result<(), LookError> {
        self.demand.digest.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        let mut later = Vec::new();
        for line in requirement::lines(text) {
            match line {
                Line::Hashes => self.hashed = true,
                Line::Require(requirement) if is_limit => {
                    self.limits.extend(requirement.pin.map(|pin| (requirement.name, pin)));
                }
                // What constraints say must be known before what they limit.
                Line::Require(requirement) => later.push(requirement),
                Line::Opaque(line) => self.open(format!("only the installer knows what `{line}` is")),
                Line::Include(name) => self.named(&name, folder, is_limit)?,
                Line::Constraints(name) => self.named(&name, folder, true)?,
            }
        }
        later.into_iter().for_each(|requirement| self.require(requirement));
        Ok(())
    }

    /// A file that another one names.
    fn named(&mut self, name: &str, folder: Option<&Path>, is_limit: bool) -> Result<(), LookError> {
        match folder {
            Some(_) if name.contains("://") => {
                self.open(format!("{name} is not read before it is used"));
                Ok(())
            }
            Some(folder) => self.file(&below(folder, name), is_limit),
            None => {
                self.demand.problem = Some(format!(
                    "names {name}, which the host does not have: only a file on the host can name others"
                ));
                Ok(())
            }
        }
    }

    fn require(&mut self, requirement: Requirement) {
        match requirement.marker.as_deref().map(|marker| marker::holds(marker, self.target)) {
            Some(Some(false)) => return,
            Some(None) => {
                let marker = requirement.marker.unwrap_or_default();
                return self.open(format!("whether {} is wanted depends on `{marker}`", requirement.name));
            }
            _ => {}
        }
        self.hashed |= requirement.hashed;
        let limit = self.limits.iter().find(|(name, _)| *name == requirement.name);
        let pin = requirement.pin.or_else(|| limit.map(|(_, version)| version.clone()));
        match pin {
            Some(pin) => {
                self.wide.get_or_insert_with(|| requirement.name.clone());
                self.demand.pins.push((requirement.name, pin));
            }
            None => {
                self.open(format!("{} has no fixed version", requirement.name));
                self.demand.loose.push(requirement.name);
            }
        }
    }

    fn lock(&mut self, path: &Path) -> Result<(), LookError> {
        let Some(text) = self.read(path)? else { return Ok(()) };
        let resolved = match lock::resolve(&text, &self.wish.extras, &self.wish.groups, self.target) {
            Ok(resolved) => resolved,
            Err(why) => {
                self.demand.problem = Some(format!("{} {why}", path.display()));
                return Ok(());
            }
        };
        let mut lines = String::new();
        for lock::Locked { name, version, hashes } in resolved.pins {
            lines.push_str(&format!("{name}=={version}"));
            hashes.iter().for_each(|hash| lines.push_str(&format!(" --hash={hash}")));
            lines.push('\n');
            self.demand.pins.push((name, version));
        }
        self.hashed = true;
        self.demand.locked = Some(lines);
        resolved.open.into_iter().for_each(|why| self.open(why));
        Ok(())
    }

    /// The project itself: what it needs, and which version it has, is in files that only the installer understands.
    fn project(&mut self, path: &Path) -> Result<(), LookError> {
        if path.extension().is_some_and(|extension| extension == "whl") {
            return self.wheel(path);
        }
        let text = self.read(&path.join("pyproject.toml"))?;
        if text.is_some() {
            self.open(format!("only the installer knows what {} comes to", path.display()));
        }
        Ok(())
    }

    /// A wheel, whose name says what it is: `NAME-VERSION-PYTHON-ABI-PLATFORM.whl`.
    fn wheel(&mut self, path: &Path) -> Result<(), LookError> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let parts: Vec<_> = stem.split('-').collect();
        let [name, version, _, _, _, ..] = parts[..] else {
            self.demand.problem = Some(format!("{} is not named as a wheel is", path.display()));
            return Ok(());
        };
        let name = requirement::normal_name(name);
        self.wide.get_or_insert_with(|| name.clone());
        self.demand.pins.push((name, version.to_owned()));
        let seen = self.view.followed(path)?;
        if let Seen::Known((path, place)) = &seen {
            let stamp = format!("{} {:?}\n", place.size, self.view.modified(path)?);
            self.demand.digest.update(stem.as_bytes()).update(stamp.as_bytes());
        }
        let what = format!("the wheel {}", path.display());
        let need = Need::of(seen, what, || "let an earlier step bring it, or correct the path".to_owned());
        self.demand.needs.push(need);
        Ok(())
    }

    fn finish(self) -> Demand {
        let mut demand = self.demand;
        demand.hashed = self.hashed || self.wish.require_hashes;
        demand.pins.sort();
        demand.pins.dedup();
        let wish = self.wish;
        let complete = demand.hashed || wish.exact;
        if let (Some(name), false, None) = (self.wide, complete, &demand.open) {
            demand.open = Some(format!(
                "{name} may need others, which no source names; with hashes or a lock the plan is exact"
            ));
        }
        if let (true, Some(name)) = (wish.exact, demand.loose.first()) {
            demand.problem =
                Some(format!("`exact` wants the version of every distribution, and {name} has none"));
        }
        for flag in [wish.exact, wish.require_hashes] {
            demand.digest.update(&[u8::from(flag)]);
        }
        for text in wish.extras.iter().chain(&wish.groups) {
            demand.digest.update(text.as_bytes()).update(b"\n");
        }
        demand
    }
}

/// `name` as a file in `folder` means it.
fn below(folder: &Path, name: &str) -> PathBuf {
    let mut path = folder.to_owned();
    for part in Path::new(name).components() {
        match part {
            Component::RootDir => path = PathBuf::from("/"),
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(part) => path.push(part),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path
}

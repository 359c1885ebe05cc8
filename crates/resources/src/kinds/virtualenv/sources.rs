//! What the sources of an environment ask for: requirements files with those that they name, a list, a lock.
//!
//! A source that names every distribution makes the plan exact: hashes do (the installer then refuses all that is not
//! named), `exact=#true` does, a lock does. Anything else may bring dependencies that only the installer finds.

use std::path::{Path, PathBuf};

use super::lock;
use super::marker::{self, Target};
use super::origin::{Reference, below};
use super::project::{self, State};
use super::requirement::{self, Line, Requirement, same_version};
use super::{Source, Wish};
use crate::view::{LookError, Need, Seen, View};

/// What is asked for.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// Normalised names, in order, each with the version that alone will do.
    pub(super) pins: Vec<Pin>,
    /// What any version of will do.
    pub(super) loose: Vec<String>,
    /// Why nobody can tell every distribution with its version yet; none: these are all.
    pub(super) open: Option<String>,
    /// Whether there may be others than those that are named, and not only other versions.
    pub(super) hidden: bool,
    /// Whether the sources name all that the project needs, so that it is installed apart and alone.
    pub(super) complete: bool,
    /// What is taken from a place of its own, each name once.
    pub(super) directs: Vec<Direct>,
    /// The normalised name of the project, if there is one and it says its name.
    pub(super) project: Option<String>,
    /// What the sources need: their files.
    pub(super) needs: Vec<Need>,
    /// What is wrong with them, as a fragment.
    pub(super) problem: Option<String>,
    /// A lock as requirements with hashes.
    pub(super) locked: Option<String>,
    /// Stands for all that the sources say.
    pub(super) digest: blake3::Hasher,
}

/// A distribution that is taken from a place of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Direct {
    /// The normalised name.
    pub(super) name: String,
    /// The place.
    pub(super) from: Reference,
    /// What is there now, if it is on the host.
    pub(super) state: Option<State>,
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
        places: Vec::new(),
        seen: Vec::new(),
        hashed: false,
        wide: None,
        vague: None,
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
    /// Whether `name` is asked for.
    pub(super) fn names(&self, name: &str) -> bool {
        self.pins.iter().map(|(pinned, _)| pinned).chain(&self.loose).any(|asked| asked == name)
    }
}

struct Reading<'a> {
    view: &'a View<'a>,
    target: &'a Target,
    wish: &'a Wish,
    demand: Demand,
    /// The versions that constraints name.
    limits: Vec<Pin>,
    /// The places that constraints name.
    places: Vec<(String, Reference)>,
    seen: Vec<(PathBuf, bool)>,
    /// Whether hashes are given, and so wanted of everything.
    hashed: bool,
    /// A requirement that may bring others.
    wide: Option<String>,
    /// Why not even every name is known with `exact`, or not every version: what to do about it.
    vague: Option<String>,
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

    /// There may be distributions that nobody can name.
    fn open(&mut self, why: String) {
        self.demand.hidden = true;
        self.demand.open.get_or_insert(why);
    }

    /// The version of what is taken from its place is known when it is there.
    fn unversioned(&mut self, name: String) {
        self.demand.open.get_or_insert_with(|| format!("only the installer knows the version of {name}"));
        self.demand.loose.push(name);
    }

    /// Notes where a distribution is taken from, and what is there.
    fn direct(&mut self, name: &str, from: Reference) -> Result<(), LookError> {
        if self.demand.directs.iter().all(|direct| direct.name != name) {
            let state = project::state(self.view, &from, &self.wish.path)?;
            self.demand.directs.push(Direct { name: name.to_owned(), from, state });
        }
        Ok(())
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
                    let Requirement { name, pin, direct, .. } = requirement;
                    self.limits.extend(pin.map(|pin| (name.clone(), pin)));
                    self.places.extend(direct.map(|from| (name, from)));
                }
                // What constraints say must be known before what they limit.
                Line::Require(requirement) => later.push(requirement),
                Line::Opaque(line, from) => {
                    if let Some(requirement) = self.folder(from.filter(|_| !is_limit))? {
                        later.push(requirement);
                        continue;
                    }
                    self.vague.get_or_insert_with(|| {
                        format!(
                            "the name of every distribution: write `NAME @ {line}`, or `#egg=NAME` behind it"
                        )
                    });
                    self.open(format!("only the installer knows what `{line}` is"));
                }
                Line::Include(name) => self.named(&name, folder, is_limit)?,
                Line::Constraints(name) => self.named(&name, folder, true)?,
            }
        }
        later.into_iter().try_for_each(|requirement| self.require(requirement))
    }

    /// The requirement of a folder on the host whose `pyproject.toml` says its name.
    fn folder(&self, from: Option<Reference>) -> Result<Option<Requirement>, LookError> {
        let Some(from) = from else { return Ok(None) };
        let Some(path) = from.path(&self.wish.path) else { return Ok(None) };
        let Ok(Seen::Known(text)) = self.view.text(&path.join("pyproject.toml")) else { return Ok(None) };
        let (name, _) = project::named(&String::from_utf8_lossy(&text));
        Ok(name.map(|name| Requirement { name, pin: None, hashed: false, marker: None, direct: Some(from) }))
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

    fn require(&mut self, requirement: Requirement) -> Result<(), LookError> {
        match requirement.marker.as_deref().map(|marker| marker::holds(marker, self.target)) {
            Some(Some(false)) => return Ok(()),
            Some(None) => {
                let marker = requirement.marker.unwrap_or_default();
                self.open(format!("whether {} is wanted depends on `{marker}`", requirement.name));
                return Ok(());
            }
            _ => {}
        }
        self.hashed |= requirement.hashed;
        let Requirement { name, pin, direct, .. } = requirement;
        let limit = self.limits.iter().find(|(limited, _)| *limited == name).map(|(_, version)| version);
        if let (Some(pin), Some(limit)) = (&pin, limit)
            && !same_version(limit, pin)
        {
            let problem = format!("asks for {name} {pin}, and the constraints for {limit}");
            self.demand.problem.get_or_insert(problem);
        }
        let pin = pin.or_else(|| limit.cloned());
        self.wide.get_or_insert_with(|| name.clone());
        let place = || self.places.iter().find(|(limited, _)| *limited == name).map(|(_, from)| from.clone());
        let direct = direct.or_else(place);
        let is_direct = direct.is_some();
        direct.map_or(Ok(()), |from| self.direct(&name, from))?;
        match pin {
            Some(pin) => self.demand.pins.push((name, pin)),
            None if is_direct => self.unversioned(name),
            None => {
                self.vague
                    .get_or_insert_with(|| format!("the version of every distribution, and {name} has none"));
                self.open(format!("{name} has no fixed version"));
                self.demand.loose.push(name);
            }
        }
        Ok(())
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

    /// The project itself. What it needs is in a file that only the installer understands, but for name and version.
    fn project(&mut self, path: &Path) -> Result<(), LookError> {
        if path.extension().is_some_and(|extension| extension == "whl") {
            return self.wheel(path);
        }
        let Some(text) = self.read(&path.join("pyproject.toml"))? else { return Ok(()) };
        let (name, version) = project::named(&text);
        match (&name, version) {
            (Some(name), version) => {
                self.wide.get_or_insert_with(|| name.clone());
                self.direct(name, Reference::of(&path.to_string_lossy(), false, Vec::new()))?;
                match version {
                    Some(version) => self.demand.pins.push((name.clone(), version)),
                    None => self.unversioned(name.clone()),
                }
            }
            (None, _) => {
                self.vague.get_or_insert_with(|| {
                    format!("the name of every distribution, and {}/pyproject.toml has none", path.display())
                });
                self.open(format!("only the installer knows what {} comes to", path.display()));
            }
        }
        self.demand.project = name;
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
        self.direct(&name, Reference::of(&path.to_string_lossy(), false, Vec::new()))?;
        self.demand.digest.update(stem.as_bytes());
        self.demand.pins.push((name, version.to_owned()));
        let seen = self.view.followed(path)?;
        let what = format!("the wheel {}", path.display());
        let need = Need::of(seen, what, || "let an earlier step bring it, or correct the path".to_owned());
        self.demand.needs.push(need);
        Ok(())
    }

    /// Takes a distribution that is asked for twice once, if it can be one.
    fn merge_pins(&mut self) {
        self.demand.pins.sort();
        let mut merged: Vec<Pin> = Vec::new();
        for (name, version) in std::mem::take(&mut self.demand.pins) {
            match merged.last() {
                Some((known, other)) if *known == name => {
                    if !same_version(other, &version) && !same_version(&version, other) {
                        let problem = format!("asks for {name} {other} and {version}");
                        self.demand.problem.get_or_insert(problem);
                    }
                }
                _ => merged.push((name, version)),
            }
        }
        self.demand.pins = merged;
        let Demand { pins, loose, .. } = &mut self.demand;
        loose.retain(|name| pins.iter().all(|(pinned, _)| pinned != name));
    }

    fn finish(mut self) -> Demand {
        self.merge_pins();
        let (mut demand, wish) = (self.demand, self.wish);
        demand.complete = self.hashed || wish.require_hashes || wish.exact;
        if let (Some(name), false) = (self.wide, demand.complete) {
            demand.hidden = true;
            demand.open.get_or_insert_with(|| {
                format!(
                    "{name} may need others, which no source names; with hashes or a lock the plan is exact"
                )
            });
        }
        if let (true, Some(wanted)) = (wish.exact, self.vague) {
            demand.problem.get_or_insert_with(|| format!("`exact` wants {wanted}"));
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

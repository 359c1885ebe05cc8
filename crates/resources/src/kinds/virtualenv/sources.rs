//! The sources of an environment: requirements files with included files, a list, a lock.
//!
//! If the sources name every distribution, the plan is exact. Hashes do this (the installer then refuses any other
//! distribution), `exact=#true` does, and a lock does. Other sources may need dependencies that only the installer
//! finds.

use std::path::{Path, PathBuf};

use super::lock;
use super::marker::{self, Target};
use super::origin::{Reference, below};
use super::project::{self, State};
use super::requirement::{self, Line, Requirement, same_version};
use super::{Source, Wish};
use crate::view::{LookError, Need, Seen, View};

/// The distributions that the sources ask for.
#[derive(Debug, Default)]
pub(super) struct Demand {
    /// Normalised names in order, each with the only accepted version.
    pub(super) pins: Vec<Pin>,
    /// Names for which any version is accepted.
    pub(super) loose: Vec<String>,
    /// The reason why some names or versions are still unknown. None: all are known.
    pub(super) open: Option<String>,
    /// Whether there may be more distributions than the named ones, not only other versions.
    pub(super) hidden: bool,
    /// Whether the sources name all dependencies of the project, so that it is installed separately without any.
    pub(super) complete: bool,
    /// Distributions from a source other than an index, one for each name.
    pub(super) directs: Vec<Direct>,
    /// The normalised name of the project, if there is one with a name.
    pub(super) project: Option<String>,
    /// The needs of the sources: their files.
    pub(super) needs: Vec<Need>,
    /// A problem of the sources, as a fragment of a sentence.
    pub(super) problem: Option<String>,
    /// A lock as requirements with hashes.
    pub(super) locked: Option<String>,
    /// A digest of all sources.
    pub(super) digest: blake3::Hasher,
}

/// A distribution from a source other than an index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Direct {
    /// The normalised name.
    pub(super) name: String,
    /// The source.
    pub(super) from: Reference,
    /// The present state of the source, if it is on the host.
    pub(super) state: Option<State>,
}

/// A name and a version.
pub(super) type Pin = (String, String);

/// The most requirements files that may include each other.
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
    /// Whether a source names `name`.
    pub(super) fn names(&self, name: &str) -> bool {
        self.pins.iter().map(|(pinned, _)| pinned).chain(&self.loose).any(|asked| asked == name)
    }
}

struct Reading<'a> {
    view: &'a View<'a>,
    target: &'a Target,
    wish: &'a Wish,
    demand: Demand,
    /// The versions in constraints.
    limits: Vec<Pin>,
    /// The sources in constraints.
    places: Vec<(String, Reference)>,
    seen: Vec<(PathBuf, bool)>,
    /// Whether any requirement has a hash. Then all need one.
    hashed: bool,
    /// A requirement that may have dependencies.
    wide: Option<String>,
    /// A help text if `exact` is impossible, because a name or a version is unknown.
    vague: Option<String>,
}

impl Reading<'_> {
    /// The text of a file. None, with a need, if the file is missing or its content unknown.
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
        let need = Need::of(seen, what, || "create it in an earlier step, or correct the path".to_owned());
        self.demand.needs.push(need);
        Ok(None)
    }

    /// Notes that there may be distributions with unknown names.
    fn open(&mut self, why: String) {
        self.demand.hidden = true;
        self.demand.open.get_or_insert(why);
    }

    /// Notes a distribution with a version that is only known after its installation.
    fn unversioned(&mut self, name: String) {
        self.demand.open.get_or_insert_with(|| format!("only the installer knows the version of {name}"));
        self.demand.loose.push(name);
    }

    /// Notes the source of a distribution, and its state.
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
            self.demand.problem = Some(format!("more than {FILES} requirements files include each other"));
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
                // Constraints must be read before the requirements that they limit.
                Line::Require(requirement) => later.push(requirement),
                Line::Opaque(line, from) => {
                    if let Some(requirement) = self.folder(from.filter(|_| !is_limit))? {
                        later.push(requirement);
                        continue;
                    }
                    self.vague.get_or_insert_with(|| {
                        format!(
                            "the name of every distribution: write `NAME @ {line}`, or append `#egg=NAME`"
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

    /// The requirement for a folder on the host, if its `pyproject.toml` has the name.
    fn folder(&self, from: Option<Reference>) -> Result<Option<Requirement>, LookError> {
        let Some(from) = from else { return Ok(None) };
        let Some(path) = from.path(&self.wish.path) else { return Ok(None) };
        let Ok(Seen::Known(text)) = self.view.text(&path.join("pyproject.toml")) else { return Ok(None) };
        let (name, _) = project::named(&String::from_utf8_lossy(&text));
        Ok(name.map(|name| Requirement { name, pin: None, hashed: false, marker: None, direct: Some(from) }))
    }

    /// Reads a file that another file includes.
    fn named(&mut self, name: &str, folder: Option<&Path>, is_limit: bool) -> Result<(), LookError> {
        match folder {
            Some(_) if name.contains("://") => {
                self.open(format!("only the installer reads {name}"));
                Ok(())
            }
            Some(folder) => self.file(&below(folder, name), is_limit),
            None => {
                self.demand.problem = Some(format!(
                    "includes {name}, but only a requirements file on the host can include other files"
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
                self.open(format!("{} is needed only if `{marker}`", requirement.name));
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
            let problem = format!("asks for {name} {pin}, but the constraints for {limit}");
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
                self.vague.get_or_insert_with(|| {
                    format!("the version of every distribution, but {name} has no version")
                });
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

    /// Reads the project itself: only its name and version. Only the installer understands its dependencies.
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
                    format!(
                        "the name of every distribution, but {}/pyproject.toml has no name",
                        path.display()
                    )
                });
                self.open(format!("only the installer knows the name of {}", path.display()));
            }
        }
        self.demand.project = name;
        Ok(())
    }

    /// Reads the name of a wheel: `NAME-VERSION-PYTHON-ABI-PLATFORM.whl`.
    fn wheel(&mut self, path: &Path) -> Result<(), LookError> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let parts: Vec<_> = stem.split('-').collect();
        let [name, version, _, _, _, ..] = parts[..] else {
            self.demand.problem =
                Some(format!("{} must be named `NAME-VERSION-PYTHON-ABI-PLATFORM.whl`", path.display()));
            return Ok(());
        };
        let name = requirement::normal_name(name);
        self.wide.get_or_insert_with(|| name.clone());
        self.direct(&name, Reference::of(&path.to_string_lossy(), false, Vec::new()))?;
        self.demand.digest.update(stem.as_bytes());
        self.demand.pins.push((name, version.to_owned()));
        let seen = self.view.followed(path)?;
        let what = format!("the wheel {}", path.display());
        let need = Need::of(seen, what, || "create it in an earlier step, or correct the path".to_owned());
        self.demand.needs.push(need);
        Ok(())
    }

    /// Merges repeated distributions. Different versions are a problem.
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
                format!("{name} may need packages that no source names; hashes or a lock make the plan exact")
            });
        }
        if let (true, Some(wanted)) = (wish.exact, self.vague) {
            demand.problem.get_or_insert_with(|| format!("`exact` needs {wanted}"));
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

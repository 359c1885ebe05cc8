//! Creates and changes an environment with pip or uv.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::environment::{self, UNFINISHED};
use super::index::Index;
use super::plan::{Work, again, surplus, work};
use super::{Found, Source, Wish, key, local, reason};
use crate::actor::{Actor, ApplyError, Attributes};
use crate::system::files::Sort;
use crate::system::processes::Command;
use crate::system::receipts::Receipt;
use crate::view::{Base, LookError, Seen, View};
use crate::wish::{Filling, Text};

/// The timeout of an installer.
const TIME: Duration = Duration::from_secs(30 * 60);

pub(super) fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
    let path = outside(actor, &wish.path);
    let owned = Attributes { owner: wish.owner.clone(), ..Attributes::default() };
    let work = work(wish, found);
    match work {
        Work::Make if matches!(&found.place, Seen::Known(place) if place.sort == Sort::Folder) => {
            actor.keep_tree(&wish.path)?;
            actor.set_attributes(&wish.path, &owned)?;
        }
        Work::Make => {
            actor.make_folder(&wish.path, &owned)?;
            actor.keep_empty(&wish.path)?;
        }
        Work::Rebuild => {
            actor.keep_tree(&wish.path)?;
            actor.empty(&wish.path)?;
            actor.set_attributes(&wish.path, &owned)?;
        }
        Work::Change => actor.keep_tree(&wish.path)?,
    }
    let mark = wish.path.join(UNFINISHED);
    let fail = |error: std::io::Error| ApplyError::at("write", &mark, &error);
    actor.files().create_beside(&mark, OsStr::new(UNFINISHED)).map_err(fail)?;
    actor.scratch(|actor, scratch| {
        let installer = Installer { wish, found, scratch, path: &path };
        installer.prepare(actor)?;
        match (&found.environment, work) {
            (Some(there), Work::Change) if !found.uv && !there.has_pip() => installer.bring_pip(actor)?,
            (_, Work::Change) => {}
            _ => installer.make(actor)?,
        }
        if work == Work::Change && !found.uv {
            installer.make_way(actor)?;
        }
        installer.install(actor)?;
        if work == Work::Change { installer.remove(actor) } else { Ok(()) }
    })?;
    actor.files().remove(&mark).map_err(|error| ApplyError::at("remove", &mark, &error))?;
    actor.sync(&wish.path)?;
    note(actor, wish, found)
}

fn outside(actor: &Actor<'_>, path: &Path) -> String {
    actor.files().outside(path).to_string_lossy().into_owned()
}

/// Notes the present state in the receipt.
fn note(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
    let base = Base::new(actor.system);
    let view = View::bare(&base);
    let fail = |error: LookError| ApplyError::new(error.to_string());
    let environment = environment::read(&view, &wish.path).map_err(fail)?.unwrap_or_default();
    let text = local::note(&view, wish, &found.demand, &environment).map_err(fail)?;
    let paths: Vec<PathBuf> = environment.installed.into_iter().map(|there| there.folder).collect();
    let seen = actor.files().trace(&wish.path, &paths);
    let seen = seen.map_err(|error| ApplyError::at("read", &wish.path, &error))?;
    let source = found.demand.digest.finalize().into();
    actor.set_receipt(&key(wish), Some(&Receipt { source, seen, paths, text }))
}

struct Installer<'a> {
    wish: &'a Wish,
    found: &'a Found,
    /// A private folder for the installer's input files.
    scratch: &'a Path,
    /// The path of the environment as processes see it.
    path: &'a str,
}

impl Installer<'_> {
    /// Gives the private folder to the owner. Writes the files that the host does not have: requirements of the
    /// controller, a lock as requirements, passwords of indexes.
    fn prepare(&self, actor: &mut Actor<'_>) -> Result<(), ApplyError> {
        self.own(actor, self.scratch)?;
        if let Some(text) = &self.found.demand.locked {
            self.write(actor, LOCKED, text.as_bytes())?;
        }
        if let Source::Requirements { content, list, .. } = &self.wish.source {
            if let Some(Filling::Plain { digest, length }) = content {
                let mut text = Vec::new();
                if *length > 0 {
                    let mut from = actor.contents.open(*digest)?;
                    std::io::copy(&mut from, &mut text)
                        .map_err(|error| ApplyError::new(error.to_string()))?;
                }
                self.write(actor, CONTENT, &text)?;
            }
            if !list.is_empty() {
                self.write(actor, LIST, list.join("\n").as_bytes())?;
            }
        }
        let logins: String = self.indexes().filter_map(|index| index.login).collect();
        if logins.is_empty() { Ok(()) } else { self.write(actor, LOGINS, logins.as_bytes()) }
    }

    fn write(&self, actor: &mut Actor<'_>, name: &str, text: &[u8]) -> Result<(), ApplyError> {
        let path = self.scratch.join(name);
        let made = actor.files().create_beside(&path, OsStr::new(name));
        let written = made.and_then(|mut file| file.write_all(text));
        written.map_err(|error| ApplyError::at("write", &path, &error))?;
        self.own(actor, &path)
    }

    fn own(&self, actor: &mut Actor<'_>, path: &Path) -> Result<(), ApplyError> {
        let owned = Attributes { owner: self.wish.owner.clone(), ..Attributes::default() };
        if owned.owner.is_some() { actor.set_attributes(path, &owned) } else { Ok(()) }
    }

    fn indexes(&self) -> impl Iterator<Item = Index> {
        self.wish.index.iter().chain(&self.wish.extra_index).filter_map(|index| Index::of(index).ok())
    }

    fn make(&self, actor: &mut Actor<'_>) -> Result<(), ApplyError> {
        let chosen = self.found.interpreter.as_ref();
        let chosen =
            chosen.ok_or_else(|| ApplyError::new(format!("there is no program {}", self.wish.python)))?;
        // Use the given name, not the target of the link: `/usr/bin/python3` outlives `/usr/bin/python3.11`.
        let python = if self.wish.python.starts_with('/') { &self.wish.python } else { &chosen.shown };
        let mut words = match self.found.uv {
            true => vec!["uv", "venv", "--quiet", "--allow-existing", "--python", python],
            false => vec![python.as_str(), "-m", "venv"],
        };
        if self.wish.system_site_packages {
            words.push("--system-site-packages");
        }
        words.push(self.path);
        self.run(actor, words)
    }

    /// Installs pip into an environment from uv.
    fn bring_pip(&self, actor: &mut Actor<'_>) -> Result<(), ApplyError> {
        self.run(actor, [&*format!("{}/bin/python", self.path), "-m", "ensurepip"])
    }

    fn install(&self, actor: &mut Actor<'_>) -> Result<(), ApplyError> {
        let demand = &self.found.demand;
        let in_scratch = |name: &str| outside(actor, &self.scratch.join(name));
        let mut named = Vec::new();
        if demand.locked.is_some() {
            named.extend(["-r".to_owned(), in_scratch(LOCKED)]);
        }
        if let Source::Requirements { files, content, list } = &self.wish.source {
            named.extend(files.iter().flat_map(|file| ["-r".to_owned(), outside(actor, file)]));
            named.extend(content.iter().flat_map(|_| ["-r".to_owned(), in_scratch(CONTENT)]));
            if !list.is_empty() {
                named.extend(["-r".to_owned(), in_scratch(LIST)]);
            }
        }
        let mut alone = None;
        if let Some(project) = &self.wish.project {
            let extras = match self.wish.extras.join(",") {
                extras if extras.is_empty() || demand.complete => String::new(),
                extras => format!("[{extras}]"),
            };
            let project = format!("{}{extras}", outside(actor, project));
            // uv compares the settings of a project, not its code. So tell it to reinstall the project.
            let name = demand.project.iter().filter(|_| self.found.uv).cloned();
            let words = name.flat_map(|name| ["--reinstall-package".to_owned(), name]).chain([project]);
            if demand.complete {
                // A project has no hash. With hashes, pip refuses a requirement without one.
                alone = Some(words);
            } else {
                named.extend(words);
            }
        }
        if !named.is_empty() {
            self.install_named(actor, named)?;
        }
        match alone {
            Some(words) => self.tool(actor, "install", ["--no-deps".to_owned()].into_iter().chain(words)),
            None => Ok(()),
        }
    }

    /// Removes distributions to be reinstalled in the same version, because pip would skip them. A project in a
    /// folder is reinstalled anyway.
    fn make_way(&self, actor: &mut Actor<'_>) -> Result<(), ApplyError> {
        let mut names = again(self.wish, self.found);
        names.retain(|name| self.found.demand.project.as_ref() != Some(name));
        if names.is_empty() {
            return Ok(());
        }
        self.tool(actor, "uninstall", ["--yes".to_owned()].into_iter().chain(names))
    }

    /// Installs the requirements. Installs their dependencies as well, unless the requirements are complete.
    fn install_named(&self, actor: &mut Actor<'_>, named: Vec<String>) -> Result<(), ApplyError> {
        let alone = self.wish.exact || self.found.demand.locked.is_some();
        let mut words: Vec<String> = Vec::new();
        words.extend(alone.then(|| "--no-deps".to_owned()));
        words.extend(self.wish.require_hashes.then(|| "--require-hashes".to_owned()));
        words.extend(self.wish.constraints.iter().flat_map(|file| ["-c".to_owned(), outside(actor, file)]));
        if self.found.uv {
            let again = again(self.wish, self.found).into_iter();
            words.extend(again.flat_map(|name| ["--reinstall-package".to_owned(), name]));
        }
        words.extend(named);
        self.tool(actor, "install", words)
    }

    /// Removes distributions that no source names.
    fn remove(&self, actor: &mut Actor<'_>) -> Result<(), ApplyError> {
        let names = surplus(self.wish, self.found, self.found.environment.as_ref());
        if names.is_empty() {
            return Ok(());
        }
        let yes = (!self.found.uv).then(|| "--yes".to_owned());
        self.tool(actor, "uninstall", yes.into_iter().chain(names.into_iter().map(|(name, _)| name)))
    }

    fn tool(
        &self,
        actor: &mut Actor<'_>,
        verb: &str,
        words: impl IntoIterator<Item = String>,
    ) -> Result<(), ApplyError> {
        let python = format!("{}/bin/python", self.path);
        let mut all: Vec<String> = match self.found.uv {
            true => ["uv", "pip", verb, "--python", &python].map(str::to_owned).to_vec(),
            false => [python.as_str(), "-m", "pip", verb].map(str::to_owned).to_vec(),
        };
        if verb == "install" {
            let has_index = self.indexes().next().is_some();
            if !self.wish.wheelhouse.is_empty() && !has_index {
                all.push("--no-index".to_owned());
            }
            let houses = self.wish.wheelhouse.iter();
            all.extend(houses.flat_map(|house| ["--find-links".to_owned(), outside(actor, house)]));
            if self.wish.cache.is_none() {
                all.push(if self.found.uv { "--no-cache" } else { "--no-cache-dir" }.to_owned());
            }
        }
        all.extend(words);
        self.run(actor, all).map_err(|mut error| {
            error.message.extend(reason::of(&error.output).map(|reason| format!(": {reason}")));
            if error.output.contains("(from versions: none)") && self.has_login() {
                error.message.push_str("; the index may also have refused the user and password");
            }
            error
        })
    }

    fn has_login(&self) -> bool {
        self.indexes().any(|index| index.login.is_some())
    }

    fn run<S: Into<String>>(
        &self,
        actor: &mut Actor<'_>,
        words: impl IntoIterator<Item = S>,
    ) -> Result<(), ApplyError> {
        let command = Command {
            user: self.wish.owner.clone(),
            folder: Some(self.wish.path.clone()),
            environment: self.environment(actor),
            timeout: TIME,
            ..Command::new(words)
        };
        actor.run(&command).map(drop)
    }

    fn environment(&self, actor: &Actor<'_>) -> Vec<(String, Text)> {
        let prefix = if self.found.uv { "UV" } else { "PIP" };
        let settings: &[(&str, &str)] = match self.found.uv {
            true => &[
                ("NO_PROGRESS", "1"),
                ("LINK_MODE", "copy"),
                ("PYTHON_DOWNLOADS", "never"),
                // Trust the host's certificate authorities, like pip. The second name is for older versions of uv.
                ("SYSTEM_CERTS", "1"),
                ("NATIVE_TLS", "1"),
            ],
            false => &[
                ("DISABLE_PIP_VERSION_CHECK", "1"),
                ("NO_INPUT", "1"),
                ("NO_COLOR", "1"),
                ("PROGRESS_BAR", "off"),
                ("ROOT_USER_ACTION", "ignore"),
            ],
        };
        let mut environment: Vec<_> =
            settings.iter().map(|(name, value)| (format!("{prefix}_{name}"), (*value).to_owned())).collect();
        let urls: Vec<_> = self.indexes().map(|index| index.url).collect();
        let (first, others) = urls.split_at(usize::from(self.wish.index.is_some()));
        environment.extend(first.iter().map(|url| (format!("{prefix}_INDEX_URL"), url.clone())));
        if !others.is_empty() {
            environment.push((format!("{prefix}_EXTRA_INDEX_URL"), others.join(" ")));
        }
        if let Some(cache) = &self.wish.cache {
            environment.push((format!("{prefix}_CACHE_DIR"), outside(actor, cache)));
        }
        if self.has_login() {
            environment.push(("NETRC".to_owned(), outside(actor, &self.scratch.join(LOGINS))));
        }
        environment.into_iter().map(|(name, value)| (name, Text::Plain(value))).collect()
    }
}

/// The file names in the private folder.
const LOCKED: &str = "locked.txt";
const CONTENT: &str = "content.txt";
const LIST: &str = "list.txt";
const LOGINS: &str = "netrc";

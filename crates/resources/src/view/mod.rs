//! How kinds read a host: its current state when they act, verify and look for drift, and under an overlay when they
//! plan.

mod accounts;
mod base;
mod needs;
pub mod seen;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use base::{Base, Claims};
use converge_model::{Claim, Digest};
use seen::READ_BY_SYSTEMD;
pub use seen::{Body, Claimed, LookError, Need, Place, Seen, is_read_by_systemd};

use crate::brought::Brought;
use crate::overlay::{Overlay, PlannedMount, PlannedUnit, PlannedUser, Version};
use crate::system::accounts::{AccountTable, User};
use crate::system::files::{Entry, Sort};
use crate::system::firewall::Firewall;
use crate::system::packages::{Installed, Manager, PackageError, Upkeep};
use crate::system::processes::{Command, Finished, ProcessError};
use crate::system::receipts::Receipt;
use crate::system::services::{Active, Enabled, Load, UnitState, template_of};
use crate::wish::Filling;

/// The space of claims on files with several hard links.
pub const INODE: &str = "inode";

/// The longest text that a kind edits or a diff shows in full, in bytes.
pub const TEXT_LIMIT: usize = 8 * 1024 * 1024;

/// The longest content of the controller that a kind reads for a plan, in bytes.
pub const CONTENT_LIMIT: u64 = 1024 * 1024;

/// A host as a kind sees it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    base: &'a Base<'a>,
    overlay: Option<&'a Overlay>,
}

/// The answer of a guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It succeeded.
    Yes,
    /// It failed.
    No,
    /// It failed, and reported that it could not write. A guard may only read.
    WantedToWrite,
}

impl<'a> View<'a> {
    /// Returns a view of the host's current state.
    pub fn bare(base: &'a Base<'a>) -> Self {
        Self { base, overlay: None }
    }

    /// Returns a view of the host after the steps of `overlay`.
    pub fn under(base: &'a Base<'a>, overlay: &'a Overlay) -> Self {
        Self { base, overlay: Some(overlay) }
    }

    /// Returns what is at `path`. Links are not followed.
    pub fn place(&self, path: &Path) -> Result<Seen<Place>, LookError> {
        match self.planned(path) {
            Some(planned) => Ok(planned),
            None => self.found(path, self.base.entry(path)?),
        }
    }

    /// Like [`View::place`], without keeping the answer: for walks through folders of any size.
    pub fn glance(&self, path: &Path) -> Result<Seen<Place>, LookError> {
        match self.planned(path) {
            Some(planned) => Ok(planned),
            None => {
                let entry = self.base.system.files().entry(path);
                let entry = entry.map_err(|source| LookError::Path { path: path.to_owned(), source })?;
                self.found(path, entry)
            }
        }
    }

    /// Returns a claim that all hard links of the file at `path` share. None if it has only one name.
    pub fn twin(&self, path: &Path) -> Result<Option<Claim>, LookError> {
        if self.planned(path).is_some() {
            return Ok(None);
        }
        let twin = self.base.entry(path)?.filter(|entry| entry.sort == Sort::File && entry.links > 1);
        Ok(twin
            .map(|Entry { inode: (device, number), .. }| Claim::named(INODE, format!("{device}:{number}"))))
    }

    /// Returns the effect of earlier steps on `path`: they write it, remove it, or mount something above it. None if
    /// there is no effect.
    fn planned(&self, path: &Path) -> Option<Seen<Place>> {
        match self.overlay?.path(path) {
            Some(Some(place)) => Some(Seen::Known(place.clone())),
            Some(None) => Some(self.absent_at(path)),
            None => self.hidden(path),
        }
    }

    /// Returns what the host itself has.
    fn found(&self, path: &Path, entry: Option<Entry>) -> Result<Seen<Place>, LookError> {
        match entry {
            Some(entry) => Ok(Seen::Known(self.named(entry)?)),
            None => Ok(self.absent_at(path)),
        }
    }

    /// Returns the answer for `path` if an earlier step mounts or unmounts something above it. None if no step does.
    fn hidden<T>(&self, path: &Path) -> Option<Seen<T>> {
        let (step, mount) = self.overlay?.mount_above(path)?;
        Some(if mount == PlannedMount::Empty { self.absent() } else { Seen::MayCome(vec![step]) })
    }

    /// Returns what an earlier step does to the mount point `path`.
    pub fn planned_mount(&self, path: &Path) -> Option<PlannedMount> {
        Some(self.overlay?.mounts.get(path)?.1)
    }

    /// Returns the path without links before its last part, and without `..`. Parts that do not exist stay as
    /// written.
    pub fn resolved(&self, path: &Path) -> Result<PathBuf, LookError> {
        let mut links = 0;
        let mut resolved = PathBuf::from("/");
        let mut todo: Vec<OsString> = path.iter().rev().map(OsString::from).collect();
        while let Some(part) = todo.pop() {
            if part == "/" || part == "." {
                continue;
            }
            if part == ".." {
                resolved.pop();
                continue;
            }
            let next = resolved.join(&part);
            let target = match self.place(&next)? {
                Seen::Known(place) if !todo.is_empty() => place.target,
                _ => None,
            };
            match target {
                None => resolved = next,
                Some(_) if links == 40 => {
                    return Err(LookError::Other(format!(
                        "the path to {} has too many links",
                        path.display()
                    )));
                }
                Some(target) => {
                    links += 1;
                    todo.extend(target.iter().rev().map(OsString::from));
                    if target.is_absolute() {
                        resolved = PathBuf::from("/");
                    }
                }
            }
        }
        Ok(resolved)
    }

    /// Returns which claims of the catalog concern `path`.
    pub fn claimed(&self, path: &Path) -> Claimed {
        let first = self.base.claims.0.range(path.to_path_buf()..).next();
        match first {
            Some(claim) if claim == path => Claimed::Itself,
            Some(claim) if claim.starts_with(path) => Claimed::Below,
            _ => Claimed::Nothing,
        }
    }

    /// Whether a file system is mounted at the folder `path`. False if nothing is there.
    pub fn is_mount(&self, path: &Path) -> Result<bool, LookError> {
        match self.base.system.files().is_mount(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            other => other.map_err(|source| LookError::Path { path: path.to_owned(), source }),
        }
    }

    /// Returns a digest of the current state at `paths` below `folder`, without reading content.
    pub fn trace(&self, folder: &Path, paths: &[PathBuf]) -> Result<Digest, LookError> {
        let fail = |source| LookError::Path { path: folder.to_owned(), source };
        self.base.system.files().trace(folder, paths).map_err(fail)
    }

    /// Returns when the thing at `path` on the host was last modified. None if nothing is there.
    pub fn modified(&self, path: &Path) -> Result<Option<SystemTime>, LookError> {
        let fail = |source| LookError::Path { path: path.to_owned(), source };
        self.base.system.files().modified(path).map_err(fail)
    }

    /// Returns the receipt for `key`, the key of a claim, from its last apply.
    pub fn receipt(&self, key: &str) -> Result<Option<Receipt>, LookError> {
        let fail =
            |error: io::Error| LookError::Other(format!("failed to read the receipt of {key}: {error}"));
        self.base.system.receipts().get(key).map_err(fail)
    }

    /// Returns the end of the path, with up to 40 links followed.
    pub fn followed(&self, path: &Path) -> Result<Seen<(PathBuf, Place)>, LookError> {
        let mut path = path.to_owned();
        for _ in 0..40 {
            let place = match self.place(&path)? {
                Seen::Known(place) => place,
                Seen::Absent => return Ok(Seen::Absent),
                Seen::MayCome(steps) => return Ok(Seen::MayCome(steps)),
                Seen::Unknown(steps) => return Ok(Seen::Unknown(steps)),
            };
            let Some(target) = &place.target else { return Ok(Seen::Known((path, place))) };
            path = joined(path.parent().unwrap_or(Path::new("/")), target);
        }
        Err(LookError::Other(format!("{} leads through too many links", path.display())))
    }

    /// Returns the BLAKE3 digest of the file at `path`. It must not be shown if a secret is planned there.
    pub fn digest(&self, path: &Path) -> Result<Seen<Digest>, LookError> {
        Ok(match self.place(path)? {
            Seen::Known(place) => match place.body {
                Body::OnDisk => Seen::Known(self.base.digest(path)?),
                Body::Planned(Filling::Plain { digest, .. }) => Seen::Known(digest),
                Body::Planned(Filling::Secret(secret)) => Seen::Known(Digest::of(secret.expose())),
                Body::Text(text) => Seen::Known(Digest::of(&text)),
                Body::Unknown(steps) => Seen::Unknown(steps),
            },
            Seen::Absent => Seen::Absent,
            Seen::MayCome(steps) => Seen::MayCome(steps),
            Seen::Unknown(steps) => Seen::Unknown(steps),
        })
    }

    /// Returns the SHA-256 of the file at `path`. Links are not followed. It is unknown for content that a step
    /// writes.
    pub fn sha256(&self, path: &Path) -> Result<Seen<[u8; 32]>, LookError> {
        Ok(match self.place(path)? {
            Seen::Known(place) => match place.body {
                Body::OnDisk => {
                    let fail = |source| LookError::Path { path: path.to_owned(), source };
                    Seen::Known(self.base.system.files().sha256(path).map_err(fail)?)
                }
                Body::Unknown(steps) => Seen::Unknown(steps),
                Body::Planned(_) | Body::Text(_) => Seen::Unknown(Vec::new()),
            },
            other => other.map(|_| [0; 32]),
        })
    }

    /// Returns what the file or folder at `path` loses when it becomes `after`. Also returns where its mode does not
    /// show the real permissions. If an earlier step writes it, that step has reported this.
    pub fn losses(&self, path: &Path, after: &Place) -> Result<Vec<String>, LookError> {
        let is_written = self.overlay.is_some_and(|overlay| overlay.path(path).is_some());
        let before = if is_written { None } else { self.base.entry(path)? };
        let is_same =
            |entry: &Entry| entry.sort == after.sort && matches!(entry.sort, Sort::File | Sort::Folder);
        let Some(before) = before.filter(is_same) else { return Ok(Vec::new()) };
        let fail = |source| LookError::Path { path: path.to_owned(), source };
        let extended = self.base.system.files().metadata(path).map_err(fail)?.unwrap_or_default().extended;
        let (shown, mut losses) = (path.display(), Vec::new());
        if extended.has_acl() && before.mode & 0o777 != after.mode & 0o777 {
            losses.push(format!("{shown} has an ACL: the group bits of its mode set the ACL's mask"));
        }
        let has_several = before.sort == Sort::File && before.links > 1;
        if extended.has_capabilities() && self.named(before.clone())?.owner != after.owner {
            losses.push(format!("{shown} loses its capabilities with its owner"));
        }
        let mut lost = extended.lost().peekable();
        if (!has_several && lost.peek().is_none()) || !self.is_replaced(path, after)? {
            return Ok(losses);
        }
        if has_several {
            let others = before.links - 1;
            losses.push(format!("{shown} has {others} other names (hard links), which keep the old content"));
        }
        if lost.peek().is_some() {
            let names: Vec<_> = lost.collect();
            losses.push(format!(
                "{shown} loses {}, which Converge cannot set on the new file",
                names.join(", ")
            ));
        }
        Ok(losses)
    }

    /// Whether the file at `path` gets new content when it becomes `after`. It is then a new file.
    fn is_replaced(&self, path: &Path, after: &Place) -> Result<bool, LookError> {
        let after = match &after.body {
            Body::OnDisk => return Ok(false),
            Body::Unknown(_) => return Ok(true),
            Body::Planned(Filling::Plain { digest, .. }) => *digest,
            Body::Planned(Filling::Secret(secret)) => Digest::of(secret.expose()),
            Body::Text(text) => Digest::of(text),
        };
        Ok(self.base.digest(path)? != after)
    }

    /// Returns the bytes of the file at `path`. Links are not followed. A file larger than [`TEXT_LIMIT`] is an
    /// error.
    pub fn text(&self, path: &Path) -> Result<Seen<Vec<u8>>, LookError> {
        Ok(match self.place(path)? {
            Seen::Known(place) => match place.body {
                Body::OnDisk => Seen::Known(self.read(path)?),
                Body::Text(text) => Seen::Known(text.to_vec()),
                Body::Planned(filling) => {
                    self.content(&filling).map_or_else(|_| Seen::Unknown(Vec::new()), Seen::Known)
                }
                Body::Unknown(steps) => Seen::Unknown(steps),
            },
            Seen::Absent => Seen::Absent,
            Seen::MayCome(steps) => Seen::MayCome(steps),
            Seen::Unknown(steps) => Seen::Unknown(steps),
        })
    }

    /// Returns content of the controller, or a secret: at most [`CONTENT_LIMIT`] bytes. It is fetched each time, so
    /// only a kind whose plan depends on it should ask.
    pub fn content(&self, filling: &Filling) -> Result<Vec<u8>, LookError> {
        let (digest, length) = match filling {
            Filling::Secret(secret) => return Ok(secret.expose().to_vec()),
            Filling::Plain { length: 0, .. } => return Ok(Vec::new()),
            Filling::Plain { digest, length } => (*digest, *length),
        };
        if length > CONTENT_LIMIT {
            return Err(LookError::Other(format!("the content is larger than {CONTENT_LIMIT} bytes")));
        }
        let absent = || LookError::Other("the controller's content cannot be read here".to_owned());
        let fail = |why: String| LookError::Other(format!("failed to read the controller's content: {why}"));
        let mut from =
            self.base.contents.ok_or_else(absent)?.open(digest).map_err(|error| fail(error.to_string()))?;
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).map_err(|error| fail(error.to_string()))?;
        Ok(bytes)
    }

    /// Returns the names in the folder at `path`, in byte order.
    pub fn list(&self, path: &Path) -> Result<Seen<Vec<OsString>>, LookError> {
        match self.place(path)? {
            Seen::Known(_) => {}
            Seen::Absent => return Ok(Seen::Absent),
            Seen::MayCome(steps) => return Ok(Seen::MayCome(steps)),
            Seen::Unknown(steps) => return Ok(Seen::Unknown(steps)),
        }
        let is_other = self.planned_mount(path).is_some_and(|mount| mount != PlannedMount::Kept)
            || self.hidden::<()>(path).is_some();
        let on_disk = match self.base.system.files().list(path) {
            Ok(_) if is_other => Vec::new(),
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(LookError::Path { path: path.to_owned(), source }),
        };
        let mut names: BTreeSet<_> = on_disk.into_iter().collect();
        for (child, there) in self.overlay.into_iter().flat_map(|overlay| overlay.children(path)) {
            let Some(name) = child.file_name() else { continue };
            if there {
                names.insert(name.to_owned());
            } else {
                names.remove(name);
            }
        }
        Ok(Seen::Known(names.into_iter().collect()))
    }

    /// Returns the installed package `name`. If its version is not known, the answer is `Unknown`.
    pub fn package(&self, name: &str) -> Result<Seen<Installed>, LookError> {
        match self.overlay.and_then(|overlay| overlay.packages.get(name)) {
            Some(Some(Version::Known(version))) => {
                return Ok(Seen::Known(Installed { version: version.clone(), held: false, whole: true }));
            }
            Some(Some(Version::Unknown)) => return Ok(Seen::Unknown(Vec::new())),
            Some(None) => return Ok(self.absent_package()),
            None => {}
        }
        Ok(self.base.packages()?.get(name).cloned().map_or_else(|| self.absent_package(), Seen::Known))
    }

    /// Returns the newest version of the package `name` in the lists. None if the lists do not have it.
    pub fn candidate(&self, name: &str) -> Result<Option<String>, LookError> {
        let found = self.base.candidates.get(name, || {
            let names = [name.to_owned()];
            let found = self.base.system.packages().candidates(&names).map_err(|error| error.to_string())?;
            Ok(found.get(name).cloned())
        });
        found.map_err(LookError::Other)
    }

    /// Returns the package that provides `name`, which is not the name of an available package. It is installed, or
    /// an earlier step brings it. Otherwise returns all available packages that provide it.
    pub fn provider(&self, name: &str) -> Result<Result<String, Vec<String>>, LookError> {
        let fail = |error: PackageError| LookError::Other(error.to_string());
        let providers = self.base.system.packages().providers(name).map_err(fail)?;
        for provider in providers.installed.iter().chain(&providers.offered) {
            if let Seen::Known(_) | Seen::Unknown(_) = self.package(provider)? {
                return Ok(Ok(provider.clone()));
            }
        }
        Ok(Err(providers.offered))
    }

    /// Returns the user `name`.
    pub fn user(&self, name: &str) -> Result<Seen<User>, LookError> {
        match self.overlay.and_then(|overlay| overlay.users.get(name)) {
            Some(Some(planned)) => {
                Ok(planned.as_user(self)?.map_or_else(|| Seen::Unknown(Vec::new()), Seen::Known))
            }
            Some(None) => Ok(self.absent()),
            None => {
                let coming = || self.coming(|| Brought::User(name.to_owned()));
                Ok(self.base.user(name)?.map_or_else(coming, Seen::Known))
            }
        }
    }

    /// Returns the number of the group `name`. If the group will exist but its number is not known, the answer is
    /// `Unknown`.
    pub fn group(&self, name: &str) -> Result<Seen<u32>, LookError> {
        match self.overlay.and_then(|overlay| overlay.groups.get(name)) {
            Some(Some(planned)) => Ok(planned.gid.map_or_else(|| Seen::Unknown(Vec::new()), Seen::Known)),
            Some(None) => Ok(self.absent()),
            None => {
                let group = self.base.group(name)?;
                let coming = || self.coming(|| Brought::Group(name.to_owned()));
                Ok(group.map_or_else(coming, |group| Seen::Known(group.gid)))
            }
        }
    }

    /// Returns all accounts as they are on the host now, without planned ones.
    pub fn accounts(&self) -> Result<&'a AccountTable, LookError> {
        Ok(self.base.accounts()?)
    }

    /// Returns the unit `name` (full: `nginx.service`).
    pub fn unit(&self, name: &str) -> Result<Seen<UnitState>, LookError> {
        let planned = self.overlay.and_then(|overlay| overlay.units.get(name));
        let mut state = self.base.unit(name)?;
        if state.load == Load::NotFound {
            if planned.is_none() && !self.has_unit_file(name)? {
                return Ok(self.coming(|| Brought::Unit(name.to_owned())));
            }
            state.load = Load::Loaded;
        }
        if matches!(state.enabled, Enabled::Static | Enabled::Always) && self.plans_unit_file(name) {
            // The new file may have an `[Install]` section.
            state.enabled = Enabled::No;
        }
        if let Some(planned) = planned {
            planned.lay_over(&mut state);
            // Before a step acts on a unit, systemd reads its files again.
            state.stale = false;
        }
        Ok(Seen::Known(state))
    }

    /// Returns the unit that has the alias `name` in a unit file from an earlier step.
    pub fn planned_alias(&self, name: &str) -> Option<String> {
        self.overlay?.alias(name)?.file_name()?.to_str().map(str::to_owned)
    }

    /// Whether an earlier step may make systemd read its unit files again.
    pub fn may_reload_units(&self) -> bool {
        self.overlay.is_some_and(|overlay| {
            !overlay.units.is_empty() || READ_BY_SYSTEMD.iter().any(|path| overlay.touches(Path::new(path)))
        })
    }

    /// Runs `command` on the host as it is now: for guards, which only read. If its program or user may come, it is
    /// not run.
    pub fn guard(&self, command: &Command) -> Result<Seen<Answer>, LookError> {
        for need in [self.guard_user(command)?, self.guard_folder(command)?] {
            match need {
                Seen::Known(()) => {}
                Seen::Absent => return Ok(Seen::Absent),
                Seen::MayCome(steps) | Seen::Unknown(steps) => return Ok(Seen::MayCome(steps)),
            }
        }
        match self.base.system.processes().ask(command) {
            Ok(finished) if finished.code == Some(127) || finished.code == Some(126) => {
                match self.absent::<Answer>() {
                    Seen::Absent => Ok(Seen::Known(Answer::No)),
                    other => Ok(other),
                }
            }
            Ok(finished) => Ok(Seen::Known(match finished.success() {
                true => Answer::Yes,
                false if finished.was_fenced_off() => Answer::WantedToWrite,
                false => Answer::No,
            })),
            Err(error) => match self.absent::<Answer>() {
                Seen::Absent => Err(LookError::Other(error.to_string())),
                other => Ok(other),
            },
        }
    }

    /// Runs `command` on the host as it is now, and returns its end with the first [`TEXT_LIMIT`] bytes of output. It
    /// is for questions that a kind cannot answer itself and that change nothing. If its program, user or folder is
    /// absent or may come, so is the answer.
    pub fn ask(&self, command: &Command) -> Result<Seen<Finished>, LookError> {
        for need in [self.guard_user(command)?, self.guard_folder(command)?] {
            match need {
                Seen::Known(()) => {}
                Seen::Absent => return Ok(Seen::Absent),
                Seen::MayCome(steps) | Seen::Unknown(steps) => return Ok(Seen::MayCome(steps)),
            }
        }
        let mut output = Vec::new();
        let finished = self.base.system.processes().run(command, &mut |piece| {
            let room = TEXT_LIMIT - output.len();
            output.extend_from_slice(&piece[..piece.len().min(room)]);
        });
        match finished {
            Ok(finished) if matches!(finished.code, Some(126 | 127)) => Ok(self.absent()),
            Ok(finished) => Ok(Seen::Known(Finished { output, ..finished })),
            Err(ProcessError::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(self.absent())
            }
            Err(error) => Err(LookError::Other(error.to_string())),
        }
    }

    /// Whether the user of a guard exists now. A user that is only planned may come.
    fn guard_user(&self, command: &Command) -> Result<Seen<()>, LookError> {
        let Some(user) = &command.user else { return Ok(Seen::Known(())) };
        let table = self.base.accounts()?;
        let number = user.parse().ok().and_then(|uid| table.user_name(uid));
        if table.users.contains_key(user) || number.is_some() {
            return Ok(Seen::Known(()));
        }
        Ok(match self.user(user)? {
            Seen::Known(_) => Seen::MayCome(Vec::new()),
            other => other.map(drop),
        })
    }

    /// Whether the folder of a guard exists now, as for the user.
    fn guard_folder(&self, command: &Command) -> Result<Seen<()>, LookError> {
        let Some(folder) = &command.folder else { return Ok(Seen::Known(())) };
        if let Seen::Known(_) = View::bare(self.base).followed(folder)? {
            return Ok(Seen::Known(()));
        }
        Ok(match self.followed(folder)? {
            Seen::Known(_) => Seen::MayCome(Vec::new()),
            other => other.map(drop),
        })
    }

    /// Returns the program `name` on the usual path.
    pub fn program(&self, name: &str) -> Result<Seen<PathBuf>, LookError> {
        if name.starts_with('/') {
            return Ok(match self.place(Path::new(name))? {
                Seen::Known(_) => Seen::Known(PathBuf::from(name)),
                Seen::Absent => Seen::Absent,
                Seen::MayCome(steps) => Seen::MayCome(steps),
                Seen::Unknown(steps) => Seen::Unknown(steps),
            });
        }
        let mut coming = None;
        for folder in PATH {
            let path = Path::new(folder).join(name);
            match self.followed(&path)? {
                Seen::Known(_) => return Ok(Seen::Known(path)),
                Seen::Unknown(steps) => coming = coming.or(Some(Seen::Unknown(steps))),
                Seen::Absent | Seen::MayCome(_) => {}
            }
        }
        if let Some(coming) = coming {
            return Ok(coming);
        }
        match self.overlay.and_then(|overlay| overlay.programs.get(name)) {
            Some(step) => Ok(Seen::MayCome(vec![*step])),
            None => Ok(self.absent()),
        }
    }

    /// Returns the name of a user given by name or number. A number without a name stays a number.
    pub fn user_name(&self, given: &str) -> Result<String, LookError> {
        let Ok(uid) = given.parse::<u32>() else { return Ok(given.to_owned()) };
        Ok(self.base.accounts()?.user_name(uid).unwrap_or(given).to_owned())
    }

    /// Returns the name of a group given by name or number. A number without a name stays a number.
    pub fn group_name(&self, given: &str) -> Result<String, LookError> {
        let Ok(gid) = given.parse::<u32>() else { return Ok(given.to_owned()) };
        Ok(self.base.accounts()?.group_name(gid).unwrap_or(given).to_owned())
    }

    /// Returns the user and group of the agent. They own what it creates, if the resource does not ask for others.
    pub fn own_names(&self) -> Result<(String, String), LookError> {
        let uid = rustix::process::geteuid().as_raw().to_string();
        let gid = rustix::process::getegid().as_raw().to_string();
        Ok((self.user_name(&uid)?, self.group_name(&gid)?))
    }

    /// Returns the root folder of the host as this machine sees it, if a folder stands for the host; else `/`.
    pub fn root(&self) -> &'a Path {
        self.base.system.files().root()
    }

    /// Reads a file of the host that no resource owns: `/proc`, `/sys`, a state of the system.
    pub fn raw(&self, path: &Path) -> Result<Option<Vec<u8>>, LookError> {
        match self.base.system.files().read(path, TEXT_LIMIT) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(source) => Err(LookError::Path { path: path.to_owned(), source }),
        }
    }

    /// Returns why what is or could be at `path` cannot be changed although the permissions allow it.
    pub fn obstacle(&self, path: &Path) -> Option<String> {
        if self.hidden::<()>(path).is_some() {
            return None;
        }
        self.base.system.files().obstacle(path)
    }

    /// Returns the state that transactions of the package manager left, and the age of its lists.
    pub fn upkeep(&self) -> Result<&'a Upkeep, LookError> {
        let upkeep = self
            .base
            .upkeep
            .get_or_init(|| self.base.system.packages().upkeep().map_err(|error| error.to_string()));
        upkeep.as_ref().map_err(|why| LookError::Other(why.clone()))
    }

    /// Returns the packages that are no longer needed, after earlier steps.
    pub fn unneeded_packages(&self) -> Result<Vec<String>, LookError> {
        let after = self.overlay.map_or(&[][..], |overlay| &overlay.requests);
        self.base.system.packages().unneeded(after).map_err(|error| LookError::Other(error.to_string()))
    }

    /// Whether an earlier step decides about the package `name`.
    pub fn is_package_planned(&self, name: &str) -> bool {
        self.overlay.is_some_and(|overlay| overlay.packages.contains_key(name))
    }

    /// Returns the packet filter of the host, or the one to use if it has none.
    pub fn firewall(&self) -> &'static dyn Firewall {
        self.base.system.firewall()
    }

    /// Returns the name and features of the host's package manager.
    pub fn package_manager(&self) -> &'static Manager {
        self.base.system.packages().manager()
    }

    /// Whether an earlier step changes something at `path` or below it.
    pub fn is_touched(&self, path: &Path) -> bool {
        self.overlay.is_some_and(|overlay| overlay.touches(path))
    }

    fn absent_package<T>(&self) -> Seen<T> {
        match self.overlay.map(Overlay::open_to_packages) {
            Some(steps) if !steps.is_empty() => Seen::MayCome(steps),
            _ => Seen::Absent,
        }
    }

    /// Returns the answer for a missing thing: it is absent, or an open step may bring it.
    pub fn absent<T>(&self) -> Seen<T> {
        match self.overlay {
            Some(overlay) if !overlay.open.is_empty() => Seen::MayCome(overlay.open.clone()),
            _ => Seen::Absent,
        }
    }

    /// Like [`View::absent`], for a thing that a step may declare in `brings`.
    fn coming<T>(&self, what: impl FnOnce() -> Brought) -> Seen<T> {
        // Every absent path of every plan is asked for here, and few plans bring anything.
        let overlay = self.overlay.filter(|overlay| overlay.brings_something());
        match overlay.and_then(|overlay| overlay.brings(&what())) {
            Some(step) => Seen::Unknown(vec![step]),
            None => self.absent(),
        }
    }

    /// Like [`View::coming`], for a path. If a step brings a folder above it, only that step may bring the path.
    fn absent_at<T>(&self, path: &Path) -> Seen<T> {
        let seen = self.coming(|| Brought::Path(path.to_owned()));
        match self.overlay.and_then(|overlay| overlay.brings_above(path)) {
            Some(step) if matches!(seen, Seen::MayCome(_)) => Seen::MayCome(vec![step]),
            _ => seen,
        }
    }

    /// Limits `seen` to steps of packages, because only a package is expected to bring the thing.
    pub fn packaged<T>(&self, seen: Seen<T>) -> Seen<T> {
        let Seen::MayCome(mut steps) = seen else { return seen };
        steps.retain(|step| {
            self.overlay.is_some_and(|overlay| overlay.packaging.values().any(|by| by == step))
        });
        if steps.is_empty() { Seen::Absent } else { Seen::MayCome(steps) }
    }

    fn has_unit_file(&self, unit: &str) -> Result<bool, LookError> {
        for path in unit_files(unit) {
            if let Seen::Known(_) = self.place(&path)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn plans_unit_file(&self, unit: &str) -> bool {
        let planned = |path: &PathBuf| self.overlay.is_some_and(|overlay| overlay.paths.contains_key(path));
        unit_files(unit).any(|path| planned(&path))
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, LookError> {
        let fail = |source| LookError::Path { path: path.to_owned(), source };
        self.base.system.files().read(path, TEXT_LIMIT).map_err(fail)
    }

    fn named(&self, entry: Entry) -> Result<Place, LookError> {
        Ok(Place {
            sort: entry.sort,
            mode: entry.mode,
            owner: self.user_name(&entry.uid.to_string())?,
            group: self.group_name(&entry.gid.to_string())?,
            size: entry.size,
            target: entry.target,
            body: Body::OnDisk,
        })
    }
}

/// The folders in which commands are searched, and their PATH.
pub const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The folders of unit files, in systemd's order.
pub const UNIT_FOLDERS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Returns the possible paths of the file of a unit, or of its template.
fn unit_files(unit: &str) -> impl Iterator<Item = PathBuf> {
    let names = [Some(unit.to_owned()), template_of(unit)];
    let below = |name: String| UNIT_FOLDERS.into_iter().map(move |folder| Path::new(folder).join(&name));
    names.into_iter().flatten().flat_map(below)
}

/// Returns `target` relative to `folder`, without `.` and `..`.
fn joined(folder: &Path, target: &Path) -> PathBuf {
    let mut path = PathBuf::from("/");
    for part in folder.join(target).components() {
        match part {
            std::path::Component::Normal(name) => path.push(name),
            std::path::Component::ParentDir => {
                path.pop();
            }
            _ => {}
        }
    }
    path
}

impl PlannedUser {
    fn as_user(&self, view: &View<'_>) -> Result<Option<User>, LookError> {
        let (Some(uid), Some(group)) = (self.uid, &self.group) else { return Ok(None) };
        let Seen::Known(gid) = view.group(group)? else { return Ok(None) };
        Ok(Some(User {
            uid,
            gid,
            comment: self.comment.clone().unwrap_or_default(),
            home: self.home.clone().unwrap_or_default(),
            shell: self.shell.clone().unwrap_or_default(),
            shadow: self.shadow.clone(),
        }))
    }
}

impl PlannedUnit {
    fn lay_over(&self, state: &mut UnitState) {
        state.load = if self.masked == Some(true) { Load::Masked } else { Load::Loaded };
        if let Some(active) = self.active {
            state.active = if active { Active::Active } else { Active::Inactive };
        }
        if let Some(enabled) = self.enabled {
            state.enabled = if enabled { Enabled::Yes } else { Enabled::No };
        }
    }
}

//! How kinds change a host: everything that a step replaces is kept until the host's run ends, and put back in reverse
//! when the step, or what it notified, fails.

mod accounts;
mod packages;
mod rehearsal;
mod restore;
pub mod revert;
mod standby;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use converge_model::{Digest, PropertyChange};

pub use crate::apply_error::ApplyError;
use crate::contents::Contents;
use crate::system::System;
use crate::system::accounts::{AccountChange, AccountTable};
use crate::system::files::{Entry, Files, Metadata, Sort, in_pieces, temporary_name};
use crate::system::packages::Allowance;
use crate::system::processes::{Command, Finished};
use crate::system::receipts::Receipt;
use crate::system::services::Verb;
use crate::view::seen::is_read_by_systemd;
use crate::wish::Filling;

pub use standby::Standby;

/// Where the agent notes what must be cleaned up if it dies.
pub trait Journal {
    /// A temporary is about to be made at `path`.
    fn temporary(&self, path: &Path) -> Result<(), ApplyError>;
}

/// What a file should be when it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The mode; none: that of what was there, else that of something new.
    pub mode: Option<u32>,
    /// The owner by name or number; none: that of what was there, else the agent's.
    pub owner: Option<String>,
    /// The group by name or number; none: as for the owner.
    pub group: Option<String>,
    /// Whether the content is a secret: a new file is for its owner alone, if no mode is given.
    pub secret: bool,
}

impl Attributes {
    /// The mode of a new file for which none is given.
    pub fn new_file(&self) -> u32 {
        if self.secret { 0o600 } else { 0o644 }
    }
}

/// The hands of a step.
pub struct Actor<'a> {
    /// The host.
    pub system: &'a dyn System,
    /// Where content comes from.
    pub contents: &'a dyn Contents,
    /// Where temporaries are noted.
    pub journal: &'a dyn Journal,
    /// Receives output of commands as it comes.
    pub output: &'a mut dyn FnMut(&[u8]),
    /// What was replaced so far.
    pub undo: &'a mut Undo,
    /// Whether what is replaced may be kept only in memory.
    pub sensitive: bool,
    /// The time that the step may take, where its resource says so.
    pub timeout: Option<Duration>,
    /// What the plan lets transactions of packages do.
    pub allowance: &'a Allowance,
    /// What the step turned out to do beyond what was planned.
    pub unforeseen: &'a mut Vec<PropertyChange>,
}

/// What the steps of a run replaced, in order, each with the resource that it belongs to.
#[derive(Default)]
pub struct Undo {
    /// The private folder that keeps replaced files; none: memory alone.
    store: Option<Files>,
    /// By resource: what was replaced for it, each with its place in the order of the run.
    kept: BTreeMap<u32, Vec<(u64, Kept)>>,
    /// The place of what is kept next.
    place: u64,
    owner: u32,
    /// Whether what is kept now is noted for the host to put back by itself.
    guarded: bool,
    standby: Option<Standby>,
    next: u64,
    /// Whether something changed that systemd makes its units of, and has not read since.
    unread: bool,
}

/// Where a file is written, and what the file that it replaces has beside its content.
struct Target<'p> {
    path: &'p Path,
    before: Option<Metadata>,
}

/// How a content is written.
#[derive(Clone, Copy)]
struct Content {
    /// What was promised.
    digest: Option<Digest>,
    /// Whether it is synced at once.
    sync: bool,
}

/// One thing that was replaced.
enum Kept {
    /// Nothing was at the path.
    Nothing(PathBuf),
    /// A file was, and is kept here.
    File { path: PathBuf, metadata: Metadata, content: Copy },
    /// A link was, that led there.
    Link { path: PathBuf, metadata: Metadata, target: PathBuf },
    /// A folder was, empty by the time it went.
    Folder { path: PathBuf, metadata: Metadata },
    /// A folder with all that was in it, which is kept here.
    Tree { path: PathBuf, kept: PathBuf },
    /// The folder was empty.
    Empty(PathBuf),
    /// It stayed, with another mode or owner.
    Metadata { path: PathBuf, metadata: Metadata },
    /// A unit was acted on; this brings it back.
    Unit { verb: Verb, unit: String },
    /// A value of the running kernel was this.
    Kernel { path: PathBuf, before: Vec<u8> },
    /// Unit files were changed: the manager must read them again.
    UnitFiles,
    /// This command brings it back.
    Command(Box<Command>),
    /// This was noted before, or nothing was.
    Receipt { key: String, receipt: Option<Receipt> },
    /// Accounts were changed; these changes, in order, bring them back.
    Accounts(Vec<AccountChange>),
}

/// A kept content.
enum Copy {
    Memory(Vec<u8>),
    Stored(PathBuf),
    TooLarge,
}

/// The largest content that is kept in memory.
const MEMORY_LIMIT: usize = 16 * 1024 * 1024;

/// The longest value of the kernel that is kept, in bytes.
const KERNEL_LIMIT: usize = 64 * 1024;

impl Undo {
    /// Keeps replaced files below the root of `store`, a private folder.
    pub fn in_store(store: Files) -> Self {
        Self { store: Some(store), ..Self::default() }
    }

    /// What is kept from now on belongs to the resource at `owner` in the catalog. `guarded`: it is noted in what
    /// stands by, too.
    pub fn begin(&mut self, owner: u32, guarded: bool) {
        (self.owner, self.guarded, self.unread) = (owner, guarded, false);
    }

    /// Puts back, in reverse, all that was kept for the resources in `owners`; the first failure is told, the rest is
    /// tried all the same. Whether there was anything: a note of ours is nothing on the host.
    pub fn put_back(&mut self, system: &dyn System, owners: &[u32]) -> Result<bool, ApplyError> {
        let mut theirs: Vec<_> = owners.iter().flat_map(|owner| self.kept.remove(owner)).flatten().collect();
        theirs.sort_by_key(|(place, _)| *place);
        let any = theirs.iter().any(|(_, kept)| !matches!(kept, Kept::Receipt { .. }));
        let outcomes: Vec<_> =
            theirs.into_iter().rev().map(|(_, kept)| kept.put_back(system, self.store.as_ref())).collect();
        outcomes.into_iter().find(Result::is_err).unwrap_or(Ok(())).map(|()| any)
    }

    /// Keeps what is about to be replaced.
    fn push(&mut self, system: &dyn System, kept: Kept) -> Result<(), ApplyError> {
        let path = match &kept {
            Kept::Nothing(path) | Kept::File { path, .. } | Kept::Link { path, .. } => Some(path),
            _ => None,
        };
        if !self.unread && path.is_some_and(|path| is_read_by_systemd(path)) {
            // What is kept last is put back first: the files, and then this.
            self.note(system, &Kept::UnitFiles)?;
            self.hold(Kept::UnitFiles);
            self.unread = true;
        }
        self.note(system, &kept)?;
        self.hold(kept);
        Ok(())
    }

    fn hold(&mut self, kept: Kept) {
        self.kept.entry(self.owner).or_default().push((self.place, kept));
        self.place += 1;
    }
}

impl<'a> Actor<'a> {
    /// The host's files, to read.
    pub fn files(&self) -> &'a Files {
        self.system.files()
    }

    /// Writes the file at `path` whole: into a temporary beside it, synced, renamed. `check` sees the temporary before
    /// it takes its place, as the path that processes know it by.
    pub fn write(
        &mut self,
        path: &Path,
        content: &Filling,
        attributes: &Attributes,
        check: impl FnOnce(&mut Self, &Path) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let (contents, target) = (self.contents, self.target(path)?);
        match content {
            Filling::Plain { length: 0, .. } => {
                self.write_from(target, &mut io::empty(), None, attributes, check)
            }
            Filling::Plain { digest, .. } => {
                let mut from = contents.open(*digest)?;
                self.write_from(target, &mut from, Some(*digest), attributes, check)
            }
            Filling::Secret(secret) => {
                let before = std::mem::replace(&mut self.sensitive, true);
                let attributes = Attributes { secret: true, ..attributes.clone() };
                let done = self.write_from(target, &mut secret.expose(), None, &attributes, check);
                self.sensitive = before;
                done
            }
        }
    }

    /// As [`Actor::write`], with text that the kind made itself.
    pub fn write_text(
        &mut self,
        path: &Path,
        text: &[u8],
        attributes: &Attributes,
        check: impl FnOnce(&mut Self, &Path) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let (mut from, target) = (text, self.target(path)?);
        self.write_from(target, &mut from, None, attributes, check)
    }

    /// As [`Actor::write_text`], with what was made of the text `old` that the file held when it was looked at. It must
    /// hold it still: else its owner has put another file there, and would be given what that one holds.
    pub fn write_edited(
        &mut self,
        path: &Path,
        [old, new]: [&[u8]; 2],
        attributes: &Attributes,
        check: impl FnOnce(&mut Self, &Path) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let fail = |error: io::Error| ApplyError::at("read", path, &error);
        let mut file = self.files().open(path).map_err(fail)?;
        let mut now = Vec::new();
        (&mut file).take(old.len() as u64 + 1).read_to_end(&mut now).map_err(fail)?;
        if now != old {
            return Err(ApplyError::at("write", path, &"it was changed since it was looked at"));
        }
        let target = Target { path, before: Some(Metadata::of(&file).map_err(fail)?) };
        let mut from = new;
        self.write_from(target, &mut from, None, attributes, check)
    }

    /// As [`Actor::write_text`], read from `from`, for one of many files that are made together: it is on the disk for
    /// good only after [`Actor::sync`]. One that is new is written in its place, without a temporary: until all are
    /// there, none counts.
    pub fn write_one_of_many(
        &mut self,
        path: &Path,
        from: &mut dyn Read,
        attributes: &Attributes,
    ) -> Result<(), ApplyError> {
        let content = Content { digest: None, sync: false };
        if self.entry(path)?.is_some() {
            let fill = |actor: &mut Self, name: &OsString| actor.fill(path, name, from, content);
            return self.put(self.target(path)?, attributes, false, fill, |_, _| Ok(()));
        }
        self.undo.push(self.system, Kept::Nothing(path.to_owned()))?;
        let name = path.file_name().unwrap_or_default().to_owned();
        self.fill(path, &name, from, content).and_then(|file| self.dress(file, path, None, attributes))
    }

    /// Syncs the file system that holds the folder at `path`.
    pub fn sync(&self, path: &Path) -> Result<(), ApplyError> {
        self.files().sync(path).map_err(|error| ApplyError::at("sync", path, &error))
    }

    /// The whole content, as a file without a name on the file system of `path`: it goes with the last who holds it.
    pub fn spool(&mut self, path: &Path, content: &Filling) -> Result<File, ApplyError> {
        let name = temporary_name(path.file_name().unwrap_or(OsStr::new("root")));
        let beside = path.with_file_name(&name);
        self.journal.temporary(&beside)?;
        let contents = self.contents;
        let fill =
            |from: &mut dyn Read, digest| self.fill(path, &name, from, Content { digest, sync: false });
        let filled = match content {
            Filling::Plain { length: 0, .. } => fill(&mut io::empty(), None),
            Filling::Plain { digest, .. } => {
                contents.open(*digest).and_then(|mut from| fill(&mut from, Some(*digest)))
            }
            Filling::Secret(secret) => fill(&mut secret.expose(), None),
        };
        let file = filled.and_then(|_written| {
            self.files().open(&beside).map_err(|error| ApplyError::at("read", &beside, &error))
        });
        let removed = self.files().remove_beside(&name, path);
        let file = file?;
        removed.map_err(|error| ApplyError::at("remove", &beside, &error)).map(|()| file)
    }

    /// As [`Actor::write_text`], with content that `fill` writes into the new file, itself or by a process that it
    /// starts.
    pub fn write_by(
        &mut self,
        path: &Path,
        attributes: &Attributes,
        fill: impl FnOnce(&mut Self, &mut File) -> Result<(), ApplyError>,
        check: impl FnOnce(&mut Self, &Path) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let fill = |actor: &mut Self, name: &OsString| {
            let fail = |error: io::Error| ApplyError::at("write", path, &error);
            let mut file = actor.files().create_beside(path, name).map_err(fail)?;
            fill(actor, &mut file)?;
            file.sync_all().map_err(fail).map(|()| file)
        };
        self.put(self.target(path)?, attributes, true, fill, check)
    }

    fn write_from(
        &mut self,
        target: Target<'_>,
        from: &mut dyn Read,
        digest: Option<Digest>,
        attributes: &Attributes,
        check: impl FnOnce(&mut Self, &Path) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let (path, content) = (target.path, Content { digest, sync: true });
        let fill = |actor: &mut Self, name: &OsString| actor.fill(path, name, from, content);
        self.put(target, attributes, true, fill, check)
    }

    /// Lets `fill` make a file beside the target, and puts it in its place.
    fn put(
        &mut self,
        Target { path, before }: Target<'_>,
        attributes: &Attributes,
        sync: bool,
        fill: impl FnOnce(&mut Self, &OsString) -> Result<File, ApplyError>,
        check: impl FnOnce(&mut Self, &Path) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let name = temporary_name(path.file_name().unwrap_or(OsStr::new("root")));
        let beside = path.with_file_name(&name);
        self.journal.temporary(&beside)?;
        let done = fill(self, &name)
            .and_then(|file| self.dress(file, &beside, before, attributes))
            .and_then(|()| check(self, &self.files().outside(&beside)))
            .and_then(|()| self.keep(path))
            .and_then(|()| {
                let rename = if sync { Files::rename_beside } else { Files::rename_unsynced };
                rename(self.files(), &name, path).map_err(|error| ApplyError::at("write", path, &error))
            });
        if done.is_err() {
            // The reason of the failure is what counts; a temporary that stays is named in the journal.
            let _ = self.files().remove_beside(&name, path);
        }
        done
    }

    /// Fills the temporary, syncs it, and holds the digest against what was promised.
    fn fill(
        &self,
        path: &Path,
        name: &OsString,
        from: &mut dyn Read,
        content: Content,
    ) -> Result<File, ApplyError> {
        let fail = |error: io::Error| {
            let free = match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => path
                    .parent()
                    .and_then(|folder| self.files().free_space(folder).ok())
                    .map(|free| format!(" ({free} bytes are free there)"))
                    .unwrap_or_default(),
                _ => String::new(),
            };
            ApplyError::at("write", path, &format!("{error}{free}"))
        };
        let mut file = self.files().create_beside(path, name).map_err(fail)?;
        let mut hasher = blake3::Hasher::new();
        let copied = in_pieces(from, |piece| {
            hasher.update(piece);
            file.write_all(piece)
        });
        copied.map_err(fail)?;
        if content.sync {
            file.sync_all().map_err(fail)?;
        }
        match content.digest {
            Some(wanted) if wanted != hasher.finalize().into() => {
                Err(ApplyError::at("write", path, &"the content that arrived is not what was promised"))
            }
            _ => Ok(file),
        }
    }

    /// Gives a new file what it should have: what is asked, else what the file in its place had, else the agent's own
    /// account and the usual mode. It is dressed as it was opened, whatever somebody has put under its name since, and
    /// closed.
    fn dress(
        &self,
        file: File,
        path: &Path,
        before: Option<Metadata>,
        attributes: &Attributes,
    ) -> Result<(), ApplyError> {
        let fail = |error: io::Error| ApplyError::at("set owner and mode of", path, &error);
        let before = match before {
            Some(before) => before,
            None => Metadata::fresh(&file, attributes.new_file()).map_err(fail)?,
        };
        self.asked(before, attributes)?.give(&file).map_err(fail)
    }

    /// `before` with what is asked laid over it.
    fn asked(&self, before: Metadata, attributes: &Attributes) -> Result<Metadata, ApplyError> {
        let (uid, gid) = self.owner_numbers(attributes)?;
        let (uid, gid) = (uid.unwrap_or(before.uid), gid.unwrap_or(before.gid));
        let asked = before.owned_by(uid, gid);
        Ok(Metadata { mode: attributes.mode.unwrap_or(asked.mode), ..asked })
    }

    /// Sets mode and owner of what is at `path`, as far as they are asked.
    pub fn set_attributes(&mut self, path: &Path, attributes: &Attributes) -> Result<(), ApplyError> {
        let fail = |error: io::Error| ApplyError::at("set owner and mode of", path, &error);
        let (Some(entry), Some(before)) = (self.entry(path)?, self.files().metadata(path).map_err(fail)?)
        else {
            return Err(ApplyError::at("change", path, &"it is not there"));
        };
        let mut asked = self.asked(before.clone(), attributes)?;
        if entry.sort == Sort::Folder && attributes.mode.is_none() {
            // What a folder gives to all that is made in it stays: no program acts by it.
            asked.mode = before.mode;
        }
        self.undo.push(self.system, Kept::Metadata { path: path.to_owned(), metadata: before })?;
        self.files().set_metadata(path, &asked).map_err(fail)
    }

    /// Makes a folder; its parent must be there.
    pub fn make_folder(&mut self, path: &Path, attributes: &Attributes) -> Result<(), ApplyError> {
        let kept = Kept::Nothing(path.to_owned());
        self.undo.note(self.system, &kept)?;
        self.files().make_folder(path).map_err(|error| ApplyError::at("make the directory", path, &error))?;
        self.undo.hold(kept);
        let fail = |error: io::Error| ApplyError::at("set owner and mode of", path, &error);
        let made = self.files().metadata(path).map_err(fail)?.unwrap_or_default();
        let own = Metadata { extended: made.extended, ..Metadata::own(0o755) };
        let asked = self.asked(own, attributes)?;
        self.files().set_metadata(path, &asked).map_err(fail)
    }

    /// Makes a link that leads to `target`, in the place of a file or a link.
    pub fn link(&mut self, path: &Path, target: &Path) -> Result<(), ApplyError> {
        let name = temporary_name(path.file_name().unwrap_or(OsStr::new("root")));
        self.journal.temporary(&path.with_file_name(name))?;
        let before = self.entry(path)?.filter(|entry| entry.sort == Sort::Link);
        self.keep(path)?;
        let fail = |error: io::Error| ApplyError::at("make the link", path, &error);
        self.files().link(path, target).map_err(fail)?;
        let own = Metadata::own(0o777);
        let (uid, gid) = before.map_or((own.uid, own.gid), |before| (before.uid, before.gid));
        self.files().set_metadata(path, &Metadata { uid, gid, ..own }).map_err(fail)
    }

    /// Removes what is at `path`: a file, a link, an empty folder. What is not there is no error.
    pub fn remove(&mut self, path: &Path) -> Result<(), ApplyError> {
        let Some(entry) = self.entry(path)? else { return Ok(()) };
        self.keep(path)?;
        let removed = match entry.sort {
            Sort::Folder => self.files().remove_folder(path),
            _ => self.files().remove(path),
        };
        removed.map_err(|error| ApplyError::at("remove", path, &error))
    }

    /// Removes what is at `path` with all that is below it, links not followed; a mount in it is an error.
    pub fn remove_tree(&mut self, path: &Path) -> Result<(), ApplyError> {
        let mut todo = vec![(path.to_owned(), false)];
        while let Some((path, emptied)) = todo.pop() {
            let folder = !emptied && self.entry(&path)?.is_some_and(|entry| entry.sort == Sort::Folder);
            if !folder {
                self.remove(&path)?;
                continue;
            }
            let fail = |error: io::Error| ApplyError::at("read", &path, &error);
            if self.files().is_mount(&path).map_err(fail)? {
                return Err(ApplyError::at("remove", &path, &"something is mounted there"));
            }
            let names = self.files().list_itself(&path).map_err(fail)?;
            let below: Vec<_> = names.into_iter().map(|name| (path.join(name), false)).collect();
            todo.push((path, true));
            todo.extend(below);
        }
        Ok(())
    }

    /// As [`Actor::remove_tree`], but nothing of it is kept: it cannot be put back.
    pub fn discard_tree(&mut self, path: &Path) -> Result<(), ApplyError> {
        self.files().remove_all(path).map_err(|error| ApplyError::at("remove", path, &error))
    }

    /// Notes what was applied to the claim with `key`; none: that nothing is.
    pub fn set_receipt(&mut self, key: &str, receipt: Option<&Receipt>) -> Result<(), ApplyError> {
        let fail =
            |error: io::Error| ApplyError::new(format!("failed to note the receipt of {key}: {error}"));
        let before = self.system.receipts().get(key).map_err(fail)?;
        self.undo.push(self.system, Kept::Receipt { key: key.to_owned(), receipt: before })?;
        self.system.receipts().set(key, receipt).map_err(fail)
    }

    /// Copies the file `from` over `to`, with all that it has beside its content; what was at `to` is not kept.
    pub fn copy_file(&mut self, from: &Path, to: &Path) -> Result<(), ApplyError> {
        let fail = |error: io::Error| ApplyError::at("copy", from, &error);
        if self.entry(from)?.is_none() {
            return Ok(());
        }
        // What it has and what it holds are those of one file, whatever takes its name meanwhile.
        let mut source = self.files().open(from).map_err(fail)?;
        let metadata = Metadata::of(&source).map_err(fail)?;
        let name = temporary_name(to.file_name().unwrap_or_default());
        self.journal.temporary(&to.with_file_name(&name))?;
        let mut copy = self.files().create_beside(to, &name).map_err(fail)?;
        io::copy(&mut source, &mut copy).map_err(fail)?;
        copy.sync_all().map_err(fail)?;
        metadata.give(&copy).map_err(fail)?;
        self.files().rename_beside(&name, to).map_err(fail)
    }

    /// Runs a command to its end, its output going to the run's events; a failure is an error with the last of it.
    pub fn run(&mut self, command: &Command) -> Result<Finished, ApplyError> {
        let finished = self.try_run(command)?;
        if finished.success() {
            return Ok(finished);
        }
        let how =
            finished.code.map_or("was ended by a signal".to_owned(), |code| format!("ended with {code}"));
        Err(ApplyError::new(format!("{} {how}", command.program())).output(&finished.output))
    }

    /// As [`Actor::run`], but how it ended is the caller's to judge.
    pub fn try_run(&mut self, command: &Command) -> Result<Finished, ApplyError> {
        let mut command = command.clone();
        command.timeout = self.timeout.unwrap_or(command.timeout);
        let finished = self.system.processes().run(&command, self.output);
        finished.map_err(|error| ApplyError::new(error.to_string()))
    }

    /// Does `verb` to a unit; `back` is what brings it back. Where nothing does, it is done again once what it was done
    /// for is put back.
    pub fn unit(&mut self, verb: Verb, unit: &str, back: Option<Verb>) -> Result<(), ApplyError> {
        let kept = back.map(|verb| Kept::Unit { verb, unit: unit.to_owned() });
        match &kept {
            Some(kept) => self.undo.note(self.system, kept)?,
            None => self.undo.note_again(verb, unit)?,
        }
        self.system.units().act(verb, unit).map_err(|error| {
            let journal = if verb.is_job() { self.system.units().journal(unit, 20) } else { String::new() };
            ApplyError::new(error.to_string()).output(journal.as_bytes())
        })?;
        kept.into_iter().for_each(|kept| self.undo.hold(kept));
        Ok(())
    }

    /// Sets a value of the running kernel, a file in `/proc` or `/sys`.
    pub fn set_kernel(&mut self, path: &Path, value: &str) -> Result<(), ApplyError> {
        let fail = |error: io::Error| ApplyError::at(&format!("write {value:?} into"), path, &error);
        let before = self.files().read(path, KERNEL_LIMIT).map_err(fail)?;
        let kept = Kept::Kernel { path: path.to_owned(), before };
        self.undo.note(self.system, &kept)?;
        self.files().set_kernel(path, format!("{value}\n").as_bytes()).map_err(fail)?;
        self.undo.hold(kept);
        Ok(())
    }

    /// Lets the service manager read the unit files that `change` writes, and again should they be put back.
    pub fn change_unit_files(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        // What is kept last is put back first: the files, and then this.
        self.undo.push(self.system, Kept::UnitFiles)?;
        self.undo.unread = true;
        change(self)?;
        self.read_unit_files()
    }

    /// Lets the service manager read the unit files that the step wrote and that it has not read yet, whatever kind wrote
    /// them.
    pub fn read_unit_files(&mut self) -> Result<(), ApplyError> {
        if !std::mem::take(&mut self.undo.unread) {
            return Ok(());
        }
        self.system.units().reload_files().map_err(|error| ApplyError::new(error.to_string()))
    }

    /// A private folder for the time of `work`, to be filled with files; it goes with all that is in it.
    pub fn scratch<T>(
        &mut self,
        work: impl FnOnce(&mut Self, &Path) -> Result<T, ApplyError>,
    ) -> Result<T, ApplyError> {
        let folder = Path::new("/run").join(temporary_name(OsStr::new("converge")));
        self.journal.temporary(&folder)?;
        self.discard_tree(&folder)?;
        self.files()
            .make_folder(&folder)
            .map_err(|error| ApplyError::at("make the directory", &folder, &error))?;
        let done = work(self, &folder);
        let cleared = self.discard_tree(&folder);
        let done = done?;
        cleared.map(|()| done)
    }

    /// Notes a command that takes back what the kind is about to do by another.
    pub fn keep_command(&mut self, back: Command) -> Result<(), ApplyError> {
        self.undo.push(self.system, Kept::Command(Box::new(back)))
    }

    /// Notes that the kind is about to run `command` because of a notification: it is run again once what notified it is
    /// put back.
    pub fn note_again(&mut self, command: &Command) -> Result<(), ApplyError> {
        self.undo.note_again_command(command)
    }

    /// Keeps all of the folder at `path` as it is now, so that the whole of it can be put back. Its files get second names
    /// where they can: what replaces them, and does not write into them, leaves the kept ones as they are, and a full disk
    /// has room for them when they are put back.
    pub fn keep_tree(&mut self, path: &Path) -> Result<(), ApplyError> {
        let fail = |error: io::Error| ApplyError::at("keep a copy of", path, &error);
        self.undo.next += 1;
        let kept = Path::new("/").join(self.undo.next.to_string());
        let Some(store) = &self.undo.store else {
            return Err(ApplyError::at("keep a copy of", path, &"there is no place for it"));
        };
        store.remove_all(&kept).map_err(fail)?;
        self.files().copy_tree(path, store, &kept).map_err(fail)?;
        self.undo.push(self.system, Kept::Tree { path: path.to_owned(), kept })
    }

    /// Notes that the folder at `path` is empty before the kind fills it.
    pub fn keep_empty(&mut self, path: &Path) -> Result<(), ApplyError> {
        self.undo.push(self.system, Kept::Empty(path.to_owned()))
    }

    /// Empties the folder at `path`; what was in it is not kept.
    pub fn empty(&mut self, path: &Path) -> Result<(), ApplyError> {
        self.files().empty(path).map_err(|error| ApplyError::at("empty", path, &error))
    }

    /// Keeps what is at `path`, so that it can be put back.
    pub fn keep(&mut self, path: &Path) -> Result<(), ApplyError> {
        let path = path.to_owned();
        let kept = match self.entry(&path)? {
            None => Kept::Nothing(path),
            Some(entry) => match entry.sort {
                Sort::Link => {
                    let metadata = self.metadata(&path)?.unwrap_or_default();
                    Kept::Link { path, metadata, target: entry.target.unwrap_or_default() }
                }
                Sort::Folder => {
                    let metadata = self.metadata(&path)?.unwrap_or_default();
                    Kept::Folder { path, metadata }
                }
                Sort::File => {
                    let (metadata, content) = self.copy(&path)?;
                    Kept::File { path, metadata, content }
                }
                Sort::Special => {
                    return Err(ApplyError::at("replace", &path, &"it is a device, a socket or a FIFO"));
                }
            },
        };
        self.undo.push(self.system, kept)
    }

    /// What the file has, with a second name for it in the store, or a copy there, or in memory. All of it is of the file
    /// that was opened: its owner may put another one under its name, and must not be given what that one holds.
    fn copy(&mut self, path: &Path) -> Result<(Metadata, Copy), ApplyError> {
        let fail = |error: io::Error| ApplyError::at("keep a copy of", path, &error);
        let mut file = self.files().open(path).map_err(fail)?;
        let metadata = Metadata::of(&file).map_err(fail)?;
        if let (Some(store), false) = (&self.undo.store, self.sensitive) {
            self.undo.next += 1;
            let stored = Path::new("/").join(self.undo.next.to_string());
            if store.link_open(&file, &stored).is_err() {
                let name = stored.file_name().unwrap_or_default();
                let mut to = store.create_beside(&stored, name).map_err(fail)?;
                io::copy(&mut file, &mut to).map_err(fail)?;
            }
            return Ok((metadata, Copy::Stored(stored)));
        }
        if file.metadata().map_err(fail)?.len() > MEMORY_LIMIT as u64 {
            return Ok((metadata, Copy::TooLarge));
        }
        let mut bytes = Vec::new();
        file.take(MEMORY_LIMIT as u64).read_to_end(&mut bytes).map_err(fail)?;
        Ok((metadata, Copy::Memory(bytes)))
    }

    fn entry(&self, path: &Path) -> Result<Option<Entry>, ApplyError> {
        self.files().entry(path).map_err(|error| ApplyError::at("read", path, &error))
    }

    fn metadata(&self, path: &Path) -> Result<Option<Metadata>, ApplyError> {
        self.files().metadata(path).map_err(|error| ApplyError::at("read", path, &error))
    }

    fn target<'p>(&self, path: &'p Path) -> Result<Target<'p>, ApplyError> {
        Ok(Target { path, before: self.metadata_of_file(path)? })
    }

    /// What the regular file at `path` has beside its content; none if none is there.
    fn metadata_of_file(&self, path: &Path) -> Result<Option<Metadata>, ApplyError> {
        match self.entry(path)? {
            Some(entry) if entry.sort == Sort::File => self.metadata(path),
            _ => Ok(None),
        }
    }

    fn owner_numbers(&self, attributes: &Attributes) -> Result<(Option<u32>, Option<u32>), ApplyError> {
        if attributes.owner.is_none() && attributes.group.is_none() {
            return Ok((None, None));
        }
        let table = self.system.accounts().table().map_err(|error| ApplyError::new(error.to_string()))?;
        let uid = attributes.owner.as_deref().map(|name| self.uid(&table, name)).transpose()?;
        let gid = attributes.group.as_deref().map(|name| self.gid(&table, name)).transpose()?;
        Ok((uid, gid))
    }
}

/// The number of a user given by name or number.
pub fn uid_of(table: &AccountTable, given: &str) -> Result<u32, ApplyError> {
    let known = table.users.get(given).map(|user| user.uid).or_else(|| given.parse().ok());
    known.ok_or_else(|| ApplyError::new(format!("there is no user {given}")))
}

/// The number of a group given by name or number.
pub fn gid_of(table: &AccountTable, given: &str) -> Result<u32, ApplyError> {
    let known = table.groups.get(given).map(|group| group.gid).or_else(|| given.parse().ok());
    known.ok_or_else(|| ApplyError::new(format!("there is no group {given}")))
}

impl Kept {
    fn put_back(self, system: &dyn System, store: Option<&Files>) -> Result<(), ApplyError> {
        let files = system.files();
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| ApplyError::at("put back", &path, &error)
        };
        match self {
            Self::Nothing(path) => match files.entry(&path).map_err(fail(&path))? {
                None => Ok(()),
                Some(entry) if entry.sort == Sort::Folder => files.remove_folder(&path).map_err(fail(&path)),
                Some(_) => files.remove(&path).map_err(fail(&path)),
            },
            Self::File { path, metadata, content } => {
                put_back_file(files, store, &path, &metadata, &content).map_err(fail(&path))
            }
            Self::Link { path, metadata, target } => {
                restore::link(files, &path, &metadata, &target).map_err(fail(&path))
            }
            Self::Folder { path, metadata } => restore::folder(files, &path, &metadata).map_err(fail(&path)),
            Self::Metadata { path, metadata } => restore::dress(files, &path, &metadata).map_err(fail(&path)),
            Self::Tree { path, kept } => {
                let store = store.ok_or_else(|| fail(&path)(io::ErrorKind::NotFound.into()))?;
                files.put_tree_back(&path, store, &kept).map_err(fail(&path))
            }
            Self::Empty(path) => files.empty(&path).map_err(fail(&path)),
            Self::Unit { verb, unit } => {
                system.units().act(verb, &unit).map_err(|error| ApplyError::new(error.to_string()))
            }
            Self::Receipt { key, receipt } => {
                system.receipts().set(&key, receipt.as_ref()).map_err(|error| {
                    ApplyError::new(format!("failed to put back the receipt of {key}: {error}"))
                })
            }
            Self::Accounts(changes) => accounts::put_back(system, &changes),
            Self::Kernel { path, before } => files.set_kernel(&path, &before).map_err(fail(&path)),
            Self::UnitFiles => {
                system.units().reload_files().map_err(|error| ApplyError::new(error.to_string()))
            }
            Self::Command(command) => match system.processes().run(&command, &mut |_| {}) {
                Ok(finished) if finished.success() => Ok(()),
                Ok(finished) => {
                    Err(ApplyError::new(format!("failed to take back with {}", command.program()))
                        .output(&finished.output))
                }
                Err(error) => Err(ApplyError::new(error.to_string())),
            },
        }
    }
}

fn put_back_file(
    files: &Files,
    store: Option<&Files>,
    path: &Path,
    metadata: &Metadata,
    content: &Copy,
) -> io::Result<()> {
    restore::file(files, path, metadata, |to| match content {
        Copy::TooLarge => {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, "it was too large to be kept in memory"))
        }
        Copy::Memory(bytes) => to.write_all(bytes),
        Copy::Stored(stored) => {
            let store = store.ok_or(io::ErrorKind::NotFound)?;
            io::copy(&mut store.open(stored)?, to).map(drop)
        }
    })
}

//! The revert: restores what a run changed and no login confirmed, without that run. A timer, the next boot or the
//! next agent starts it. It needs neither the controller nor the network.
//!
//! The kept things are in the folder `armed`. The revert, or the agent that disarms, claims that folder by renaming
//! it; the first one wins. During the revert it is `reverting`, and at the end `reverted`. If something could not be
//! restored, it is `revert-failed`: it stays with everything saved, and no revert tries it again. A revert that was
//! killed midway starts again. All its actions may be done twice, and every copy stays until everything is restored.
//!
//! It works as root in folders of other users, by the same descriptors as the agent's own undo ([`Files`]).

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use converge_model::Secret;
use rustix::fs::FlockOperation;

use super::restore;
use super::standby::{BACK, Back, Line, Place, backs};
use crate::system::System;
use crate::system::files::{Files, Sort};
use crate::system::processes::Command;
use crate::wish::Text;

/// The file name, in the state folder, of the program that a timer or a boot starts.
pub const PROGRAM: &str = "reverter";

/// Restores what is noted in a folder of `state`, if there is one. `at_boot`: it waits for no unit and repeats no
/// action.
pub fn revert(system: &dyn System, state: &Path, at_boot: bool) -> io::Result<()> {
    match Taken::take(state)? {
        Some(taken) => {
            let is_whole = taken.restore(system, at_boot)?;
            taken.finish(is_whole)
        }
        None => Ok(()),
    }
}

/// The folder, claimed for this revert and locked against others.
pub(super) struct Taken {
    state: PathBuf,
    folder: PathBuf,
    files: Files,
    _held: File,
}

impl Taken {
    /// Claims the folder, or continues with one that was claimed before. None if there is none, or another process
    /// has finished it.
    pub(super) fn take(state: &Path) -> io::Result<Option<Self>> {
        let folder = state.join("reverting");
        // An error is ignored: the folder may have been claimed before.
        let _ = fs::rename(state.join("armed"), &folder);
        let held = match File::open(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        rustix::fs::flock(&held, FlockOperation::LockExclusive)?;
        // Only one process at a time: one that had to wait finds the folder renamed.
        let of = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let is_there = fs::metadata(&folder).map(of).ok() == Some(of(held.metadata()?));
        let files = Files::new("/")?;
        Ok(is_there.then(|| Self { state: state.to_owned(), folder, files, _held: held }))
    }

    /// Returns what is restored, in order.
    pub(super) fn backs(&self) -> io::Result<Vec<Back>> {
        backs(&fs::read(self.folder.join(BACK))?)
    }

    /// Restores everything and logs each failure. Returns whether everything was restored.
    fn restore(&self, system: &dyn System, at_boot: bool) -> io::Result<bool> {
        let log = self.folder.join("log");
        let mut log = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
        let backs = match self.backs() {
            Ok(backs) => backs,
            Err(error) => {
                writeln!(log, "failed to restore the noted changes: {error}")?;
                return Ok(false);
            }
        };
        let mut is_whole = true;
        for back in &backs {
            if let Err(error) = self.restore_one(system, back, at_boot) {
                writeln!(log, "failed to restore {}: {error}", back.name())?;
                is_whole = false;
            }
        }
        Ok(is_whole)
    }

    pub(super) fn restore_one(&self, system: &dyn System, back: &Back, at_boot: bool) -> io::Result<()> {
        let files = &self.files;
        match back {
            Back::Gone { path: Place(path) } => self.remove(path),
            Back::File { path: Place(path), metadata, copy } => {
                let mut kept = File::open(self.folder.join(copy))?;
                restore::file(files, path, metadata, |to| io::copy(&mut kept, to).map(drop))
            }
            Back::Link { path: Place(path), metadata, target: Place(target) } => {
                restore::link(files, path, metadata, target)
            }
            Back::Folder { path: Place(path), metadata } => restore::folder(files, path, metadata),
            Back::Dress { path: Place(path), metadata } => restore::dress(files, path, metadata),
            Back::Tree { path: Place(path), kept: Place(kept) } => files.restore_tree(path, files, kept),
            Back::Empty { path: Place(path) } => files.empty(path),
            Back::Kernel { path: Place(path), copy } => {
                files.set_kernel(path, &fs::read(self.folder.join(copy))?)
            }
            // At boot it does not wait for units: this runs before other units do.
            Back::Unit { words } => {
                let first = ["systemctl", "--no-block"].into_iter().take(if at_boot { 2 } else { 1 });
                run(system, &Command::new(first.chain(words.iter().map(String::as_str))))
            }
            Back::Run(line) => run(system, &self.command(line)?),
            Back::Again(_) if at_boot => Ok(()),
            Back::Again(back) => self.restore_one(system, back, at_boot),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match self.files.entry(path)? {
            None => Ok(()),
            Some(entry) if entry.sort != Sort::Folder => self.files.remove(path),
            Some(_) => match self.files.remove_folder(path) {
                // Something in the folder was made by another program since.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
                removed => removed,
            },
        }
    }

    fn command(&self, line: &Line) -> io::Result<Command> {
        let text =
            |copy: &String| fs::read(self.folder.join(copy)).map(|bytes| Text::Secret(Secret::new(bytes)));
        let environment = line.environment.iter().map(|(name, copy)| Ok((name.clone(), text(copy)?)));
        Ok(Command {
            user: line.user.clone(),
            folder: line.folder.clone().map(|Place(path)| path),
            environment: environment.collect::<io::Result<_>>()?,
            input: line.input.as_ref().map(text).transpose()?,
            ..Command::new(&line.words)
        })
    }

    /// Renames the folder to show the outcome.
    fn finish(self, is_whole: bool) -> io::Result<()> {
        rustix::fs::sync();
        // The running program does not need its file name any more.
        let _ = fs::remove_file(self.state.join(PROGRAM));
        if !is_whole {
            return fs::rename(&self.folder, self.state.join("revert-failed"));
        }
        let reverted = self.state.join("reverted");
        let _ = fs::remove_dir_all(&reverted);
        fs::rename(&self.folder, &reverted)?;
        let is_kept = |name: &std::ffi::OsStr| name == "run" || name == "log";
        for entry in
            fs::read_dir(&reverted)?.filter_map(Result::ok).filter(|entry| !is_kept(&entry.file_name()))
        {
            fs::remove_file(entry.path())?;
        }
        Ok(())
    }
}

impl Back {
    /// Returns the name, for people, of what could not be restored.
    fn name(&self) -> String {
        match self {
            Self::Gone { path }
            | Self::File { path, .. }
            | Self::Link { path, .. }
            | Self::Folder { path, .. }
            | Self::Dress { path, .. }
            | Self::Tree { path, .. }
            | Self::Empty { path }
            | Self::Kernel { path, .. } => path.0.display().to_string(),
            Self::Unit { words } => format!("the unit: systemctl {}", words.join(" ")),
            Self::Run(line) => format!("the changes of {}", line.words.first().map_or("", String::as_str)),
            Self::Again(back) => back.name(),
        }
    }
}

fn run(system: &dyn System, command: &Command) -> io::Result<()> {
    match system.processes().run(command, &mut |_| {}) {
        Ok(finished) if finished.success() => Ok(()),
        Ok(finished) => {
            let output = String::from_utf8_lossy(&finished.output);
            let last = output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it failed");
            Err(io::Error::other(last.to_owned()))
        }
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

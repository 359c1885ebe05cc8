//! What is kept, as a shell script that puts it back without this process: for changes that may cut the host off from
//! whoever made them. Who starts the script, and when, is left to the agent.
//!
//! The folder holds `revert`, the script, which is always the same; `back`, which it reads, written anew before each
//! change: a line a change, the last first; and a numbered copy of each file that is replaced.

use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{ApplyError, Copy, Kept, Undo};
use crate::system::System;
use crate::system::files::{Files, Metadata};
use crate::system::processes::Command;
use crate::system::units::Verb;

/// The script.
pub const SCRIPT: &str = include_str!("revert.sh");

/// Where accounts are kept: put back whole, as `useradd` and its like write them whole.
const ACCOUNTS: [&str; 6] =
    ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid"];

/// A script that grows with the changes.
pub struct Standby {
    folder: PathBuf,
    /// Whether what cannot be put back is passed over.
    lenient: bool,
    /// A line a change, the first first.
    back: Vec<Vec<u8>>,
    /// What is done again after all was put back: each line once, by its last time.
    again: Vec<Vec<u8>>,
    /// Units that are stopped: nothing is done again to them.
    stopped: Vec<String>,
    /// What goes with the script when it has run.
    trace: Vec<PathBuf>,
    copies: u32,
}

impl Standby {
    /// A script in `folder`, a private one that is there, which when it has run removes `trace` too. `lenient`: what
    /// cannot be put back is passed over, and is no error.
    pub fn begin(folder: PathBuf, trace: Vec<PathBuf>, lenient: bool) -> io::Result<Self> {
        let (back, again, stopped) = (Vec::new(), Vec::new(), Vec::new());
        let standby = Self { folder, lenient, back, again, stopped, trace, copies: 0 };
        standby.replace("revert", SCRIPT.as_bytes())?;
        standby.write().map(|()| standby)
    }

    /// The folder has another name from now on.
    pub fn moved(&mut self, folder: PathBuf) {
        self.folder = folder;
    }

    /// Adds what is about to be replaced.
    fn note(&mut self, kept: &Kept, system: &dyn System, store: Option<&Files>) -> Result<(), ApplyError> {
        let noted = match self.line(kept, system, store) {
            Ok(Some(line)) => {
                self.back.push(line);
                self.write()
            }
            Ok(None) if self.lenient => Ok(()),
            Ok(None) => {
                let message = "the host could not put it back by itself";
                return Err(ApplyError::new(message));
            }
            Err(error) => Err(error),
        };
        noted.map_err(|error| ApplyError::new(format!("failed to note how it is put back: {error}")))
    }

    /// Adds something to be done again once all was put back.
    fn again(&mut self, line: Vec<u8>) -> Result<(), ApplyError> {
        self.again.retain(|known| *known != line);
        self.again.push(line);
        self.write().map_err(|error| ApplyError::new(format!("failed to note what is done again: {error}")))
    }

    /// The line that puts `kept` back; none where no script can.
    fn line(
        &mut self,
        kept: &Kept,
        system: &dyn System,
        store: Option<&Files>,
    ) -> io::Result<Option<Vec<u8>>> {
        let at = |path: &Path| system.files().outside(path);
        let dressed = |word: &str, path: &Path, metadata: &Metadata| {
            words(&[word.as_ref(), &owner(metadata), &mode(metadata), at(path).as_os_str().as_bytes()])
        };
        Ok(Some(match kept {
            Kept::Nothing(path) => words(&[b"gone", at(path).as_os_str().as_bytes()]),
            Kept::File { path, metadata, content } => {
                let Some(copy) = self.copy_of(content, store)? else { return Ok(None) };
                words(&[b"file", &copy, &owner(metadata), &mode(metadata), at(path).as_os_str().as_bytes()])
            }
            Kept::Link { path, metadata, target } => {
                let (path, owner) = (at(path), owner(metadata));
                words(&[b"link", target.as_os_str().as_bytes(), &owner, path.as_os_str().as_bytes()])
            }
            Kept::Folder { path, metadata } => dressed("folder", path, metadata),
            Kept::Metadata { path, metadata } => dressed("dress", path, metadata),
            Kept::Unit { verb, unit } => {
                if *verb == Verb::Stop {
                    self.stopped.push(unit.clone());
                }
                words(&[b"unit", verb.word().as_bytes(), unit.as_bytes()])
            }
            Kept::UnitFiles => words(&[b"unit", b"daemon-reload"]),
            Kept::Kernel { path, before } => {
                let copy = self.copy(before)?;
                words(&[b"kernel", &copy, at(path).as_os_str().as_bytes()])
            }
            Kept::Command(command) => return self.command(command),
            Kept::Receipt { key, .. } => self.whole(&system.receipts().path(key))?,
            Kept::Accounts(_) => {
                let lines: io::Result<Vec<_>> =
                    ACCOUNTS.iter().map(|path| self.whole(&at(Path::new(path)))).collect();
                lines?.join(&b'\n')
            }
        }))
    }

    /// The line that puts back the file at `path`, as this machine knows it, or its absence.
    fn whole(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        use std::os::unix::fs::MetadataExt;
        let text = path.as_os_str().as_bytes();
        let found = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(words(&[b"gone", text])),
            found => found?,
        };
        let copy = self.copy(&fs::read(path)?)?;
        let (owner, mode) =
            (format!("{}:{}", found.uid(), found.gid()), format!("{:o}", found.mode() & 0o7777));
        Ok(words(&[b"file", &copy, owner.as_bytes(), mode.as_bytes(), text]))
    }

    /// A command that needs no other user, folder or environment than the script has.
    fn command(&mut self, command: &Command) -> io::Result<Option<Vec<u8>>> {
        let Command { words: of_it, user, folder, environment, input, .. } = command;
        if user.is_some() || folder.is_some() || !environment.is_empty() {
            return Ok(None);
        }
        let input = match input {
            Some(input) => self.copy(input.expose())?,
            None => b"/dev/null".to_vec(),
        };
        let first: [&[u8]; 2] = [b"run", &input];
        let all: Vec<_> = first.into_iter().chain(of_it.iter().map(String::as_bytes)).collect();
        Ok(Some(words(&all)))
    }

    /// The name of a copy of a kept content; none where there is none on the disk, nor may be.
    fn copy_of(&mut self, content: &Copy, store: Option<&Files>) -> io::Result<Option<Vec<u8>>> {
        let (Copy::Stored(stored), Some(store)) = (content, store) else { return Ok(None) };
        let (from, name) = (store.outside(stored), self.next());
        let to = self.folder.join(&name);
        // A second name for the same content, where the file system has such; it is replaced by all, written by none.
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
            fs::File::open(&to)?.sync_all()?;
        }
        Ok(Some(name.into_bytes()))
    }

    fn copy(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let name = self.next();
        self.replace(&name, bytes)?;
        Ok(name.into_bytes())
    }

    fn next(&mut self) -> String {
        self.copies += 1;
        self.copies.to_string()
    }

    /// Writes `back` as it is by now. A folder that the script has taken for itself takes no more.
    fn write(&self) -> io::Result<()> {
        let concerns = |line: &[u8], unit: &String| line.ends_with(words(&[unit.as_bytes()]).as_slice());
        let again = self.again.iter().filter(|line| !self.stopped.iter().any(|unit| concerns(line, unit)));
        let trace = self.trace.iter().map(|path| words(&[b"gone", path.as_os_str().as_bytes()]));
        let lines = self.back.iter().rev().chain(again).cloned().chain(trace);
        self.replace(
            "back",
            &lines.map(|line| [line.as_slice(), b"\n"].concat()).collect::<Vec<_>>().concat(),
        )
    }

    /// Writes a file of the folder whole.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = self.folder.join("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes).and_then(|()| file.sync_all())?;
        fs::rename(&new, self.folder.join(name))?;
        fs::File::open(&self.folder)?.sync_all()
    }
}

impl Undo {
    /// From now on what is kept for a guarded resource is noted in `standby` as well, before the change is made; none:
    /// nowhere else.
    pub fn stand_by(&mut self, standby: Option<Standby>) {
        self.standby = standby;
    }

    /// Notes `kept` where the resource in hand is guarded.
    pub(super) fn note(&mut self, system: &dyn System, kept: &Kept) -> Result<(), ApplyError> {
        match &mut self.standby {
            Some(standby) if self.guarded => standby.note(kept, system, self.store.as_ref()),
            _ => Ok(()),
        }
    }

    /// Notes that `verb` is done to `unit`: once all was put back, it is done again.
    pub(super) fn note_again(&mut self, verb: Verb, unit: &str) -> Result<(), ApplyError> {
        let word = if verb == Verb::Reload { "reload-or-restart" } else { verb.word() };
        self.add_again(words(&[b"again", b"unit", word.as_bytes(), unit.as_bytes()]))
    }

    /// As [`Undo::note_again`], for a command that is run.
    pub(super) fn note_again_command(&mut self, command: &Command) -> Result<(), ApplyError> {
        let Some(standby) = self.standby.as_mut().filter(|_| self.guarded) else { return Ok(()) };
        let fail = |error: io::Error| ApplyError::new(format!("failed to note what is done again: {error}"));
        match standby.command(command).map_err(fail)? {
            Some(line) => self.add_again([b"again ", line.as_slice()].concat()),
            None if standby.lenient => Ok(()),
            None => Err(ApplyError::new("the host could not run it again by itself")),
        }
    }

    fn add_again(&mut self, line: Vec<u8>) -> Result<(), ApplyError> {
        let standby = self.standby.as_mut().filter(|_| self.guarded);
        standby.map_or(Ok(()), |standby| standby.again(line))
    }
}

fn owner(metadata: &Metadata) -> Vec<u8> {
    format!("{}:{}", metadata.uid, metadata.gid).into_bytes()
}

fn mode(metadata: &Metadata) -> Vec<u8> {
    format!("{:o}", metadata.mode).into_bytes()
}

/// A line of words, each as it stands: in single quotes, a quote in it outside of them.
fn words(all: &[&[u8]]) -> Vec<u8> {
    let quoted = |word: &&[u8]| {
        let mut quoted = vec![b'\''];
        for byte in *word {
            match byte {
                b'\'' => quoted.extend_from_slice(b"'\\''"),
                byte => quoted.push(*byte),
            }
        }
        quoted.push(b'\'');
        quoted
    };
    all.iter().map(quoted).collect::<Vec<_>>().join(&b' ')
}

#[cfg(test)]
mod tests;

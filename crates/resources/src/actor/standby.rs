//! What is kept, noted on the disk so that another process puts it back: for changes that may cut the host off from
//! whoever made them. What puts it back is [`revert`](super::revert::revert); who starts that, and when, is left to the
//! agent.
//!
//! The folder holds `back`, written anew before each change, and a numbered copy of each file that is replaced.

use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ApplyError, Copy, Kept, Undo};
use crate::system::System;
use crate::system::files::{Files, Metadata};
use crate::system::processes::Command;
use crate::system::units::Verb;

/// Where accounts are kept: put back whole, as `useradd` and its like write them whole.
const ACCOUNTS: [&str; 6] =
    ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid"];

/// The name of the file of what is put back.
pub(super) const BACK: &str = "back";

/// The format of that file.
pub(super) const VERSION: u32 = 1;

/// What is put back, in order, and then done again.
#[derive(Serialize, Deserialize)]
pub(super) struct Backs {
    pub(super) version: u32,
    pub(super) back: Vec<Back>,
}

/// One thing that is put back. Each may be done twice. Paths are those of this machine; a copy is a file of the folder.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Back {
    /// Nothing was there; a folder that somebody uses by now stays.
    Gone { path: Place },
    /// A file was.
    File { path: Place, metadata: Metadata, copy: String },
    /// A link was.
    Link { path: Place, metadata: Metadata, target: Place },
    /// A folder was.
    Folder { path: Place, metadata: Metadata },
    /// It stayed, with another owner or mode.
    Dress { path: Place, metadata: Metadata },
    /// A folder was, with all that is in `kept`.
    Tree { path: Place, kept: Place },
    /// A folder was empty.
    Empty { path: Place },
    /// A value of the running kernel was this.
    Kernel { path: Place, copy: String },
    /// `systemctl` is told these words.
    Unit { words: Vec<String> },
    /// A command is run.
    Run(Line),
    /// What was told of the new state is told of the old one; at boot nobody was told yet.
    Again(Box<Back>),
}

/// A command with all that it needs. What may be secret is a copy, and goes with the folder.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) words: Vec<String>,
    pub(super) user: Option<String>,
    pub(super) folder: Option<Place>,
    /// The names of its variables, each with the copy of its value.
    pub(super) environment: Vec<(String, String)>,
    pub(super) input: Option<String>,
}

/// A path, also one that is no text.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Place(pub(super) PathBuf);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes(Vec<u8>),
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let bytes = || self.0.as_os_str().as_bytes().to_vec();
        let written =
            self.0.to_str().map_or_else(|| Written::Bytes(bytes()), |text| Written::Text(text.to_owned()));
        written.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(match Written::deserialize(from)? {
            Written::Text(text) => PathBuf::from(text),
            Written::Bytes(bytes) => PathBuf::from(std::ffi::OsString::from_vec(bytes)),
        }))
    }
}

/// What stands by; it grows with the changes.
pub struct Standby {
    folder: PathBuf,
    /// Whether what cannot be put back is passed over.
    lenient: bool,
    /// A change each, the first first.
    back: Vec<Vec<Back>>,
    /// What is done again after all was put back: each once, by its last time.
    again: Vec<Back>,
    /// Units that are stopped: nothing is done again to them.
    stopped: Vec<String>,
    /// What goes when all was put back.
    trace: Vec<PathBuf>,
    copies: u32,
}

impl Standby {
    /// Stands by in `folder`, a private one that is there; when all was put back, `trace` goes too. `lenient`: what cannot
    /// be put back is passed over, and is no error.
    pub fn begin(folder: PathBuf, trace: Vec<PathBuf>, lenient: bool) -> io::Result<Self> {
        let (back, again, stopped) = (Vec::new(), Vec::new(), Vec::new());
        let standby = Self { folder, lenient, back, again, stopped, trace, copies: 0 };
        standby.write().map(|()| standby)
    }

    /// The folder has another name from now on.
    pub fn moved(&mut self, folder: PathBuf) {
        self.folder = folder;
    }

    /// Adds what is about to be replaced.
    fn note(&mut self, kept: &Kept, system: &dyn System, store: Option<&Files>) -> Result<(), ApplyError> {
        let noted = match self.backs(kept, system, store) {
            Ok(Some(backs)) => {
                self.back.push(backs);
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
    fn again(&mut self, back: Back) -> Result<(), ApplyError> {
        self.again.retain(|known| *known != back);
        self.again.push(back);
        self.write().map_err(|error| ApplyError::new(format!("failed to note what is done again: {error}")))
    }

    /// What puts `kept` back; none if nothing but this process can.
    fn backs(
        &mut self,
        kept: &Kept,
        system: &dyn System,
        store: Option<&Files>,
    ) -> io::Result<Option<Vec<Back>>> {
        let at = |path: &Path| Place(system.files().outside(path));
        Ok(Some(vec![match kept {
            Kept::Nothing(path) => Back::Gone { path: at(path) },
            Kept::File { path, metadata, content } => {
                let Some(copy) = self.copy_of(content, store)? else { return Ok(None) };
                Back::File { path: at(path), metadata: metadata.clone(), copy }
            }
            Kept::Link { path, metadata, target } => {
                Back::Link { path: at(path), metadata: metadata.clone(), target: Place(target.clone()) }
            }
            Kept::Folder { path, metadata } => Back::Folder { path: at(path), metadata: metadata.clone() },
            Kept::Metadata { path, metadata } => Back::Dress { path: at(path), metadata: metadata.clone() },
            Kept::Tree { path, kept } => match store {
                Some(store) => Back::Tree { path: at(path), kept: Place(store.outside(kept)) },
                None => return Ok(None),
            },
            Kept::Empty(path) => Back::Empty { path: at(path) },
            Kept::Unit { verb, unit } => {
                if *verb == Verb::Stop {
                    self.stopped.push(unit.clone());
                }
                Back::Unit { words: vec![verb.word().to_owned(), unit.clone()] }
            }
            Kept::UnitFiles => Back::Unit { words: vec!["daemon-reload".to_owned()] },
            Kept::Kernel { path, before } => Back::Kernel { path: at(path), copy: self.copy(before)? },
            Kept::Command(command) => match self.line(command)? {
                Some(line) => Back::Run(line),
                None => return Ok(None),
            },
            Kept::Receipt { key, .. } => self.whole(&system.receipts().path(key))?,
            Kept::Accounts(_) => {
                let whole = ACCOUNTS.iter().map(|path| self.whole(&at(Path::new(path)).0));
                return whole.collect::<io::Result<Vec<_>>>().map(Some);
            }
        }]))
    }

    /// What puts back the file at `path`, as this machine knows it, or its absence.
    fn whole(&mut self, path: &Path) -> io::Result<Back> {
        let machine = Files::new("/")?;
        let place = Place(path.to_owned());
        let Some(metadata) = machine.metadata(path)? else { return Ok(Back::Gone { path: place }) };
        let mut content = Vec::new();
        io::Read::read_to_end(&mut machine.open(path)?, &mut content)?;
        Ok(Back::File { path: place, metadata, copy: self.copy(&content)? })
    }

    /// A command with all that it needs; none if it sees a folder in the place of another.
    fn line(&mut self, command: &Command) -> io::Result<Option<Line>> {
        let Command { words, user, folder, environment, input, substitute, .. } = command;
        if substitute.is_some() {
            return Ok(None);
        }
        let environment =
            environment.iter().map(|(name, value)| Ok((name.clone(), self.copy(value.expose())?)));
        let environment = environment.collect::<io::Result<_>>()?;
        let input = input.as_ref().map(|input| self.copy(input.expose())).transpose()?;
        let folder = folder.clone().map(Place);
        Ok(Some(Line { words: words.clone(), user: user.clone(), folder, environment, input }))
    }

    /// The name of a copy of a kept content; none where there is none on the disk, nor may be.
    fn copy_of(&mut self, content: &Copy, store: Option<&Files>) -> io::Result<Option<String>> {
        let (Copy::Stored(stored), Some(store)) = (content, store) else { return Ok(None) };
        let (from, name) = (store.outside(stored), self.next());
        let to = self.folder.join(&name);
        // A second name for the same content, where the file system has such; it is replaced by all, written by none.
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to)?;
            fs::File::open(&to)?.sync_all()?;
        }
        Ok(Some(name))
    }

    fn copy(&mut self, bytes: &[u8]) -> io::Result<String> {
        let name = self.next();
        self.replace(&name, bytes)?;
        Ok(name)
    }

    fn next(&mut self) -> String {
        self.copies += 1;
        self.copies.to_string()
    }

    /// Writes `back` as it is by now. A folder that the revert has taken for itself takes no more.
    fn write(&self) -> io::Result<()> {
        let is_stopped = |back: &&Back| !self.stopped.iter().any(|unit| back.concerns(unit));
        let again = self.again.iter().filter(is_stopped).map(|back| Back::Again(Box::new(back.clone())));
        let trace = self.trace.iter().map(|path| Back::Gone { path: Place(path.clone()) });
        let back = self.back.iter().rev().flatten().cloned().chain(again).chain(trace).collect();
        let bytes = serde_json::to_vec(&Backs { version: VERSION, back })?;
        self.replace(BACK, &bytes)
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

impl Back {
    /// Whether it is done to `unit`, the last of its words.
    fn concerns(&self, unit: &str) -> bool {
        match self {
            Self::Unit { words } | Self::Run(Line { words, .. }) => {
                words.last().is_some_and(|word| word == unit)
            }
            _ => false,
        }
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
        let Some(standby) = self.standby.as_mut().filter(|_| self.guarded) else { return Ok(()) };
        standby.again(Back::Unit { words: vec![word.to_owned(), unit.to_owned()] })
    }

    /// As [`Undo::note_again`], for a command that is run.
    pub(super) fn note_again_command(&mut self, command: &Command) -> Result<(), ApplyError> {
        let Some(standby) = self.standby.as_mut().filter(|_| self.guarded) else { return Ok(()) };
        let fail = |error: io::Error| ApplyError::new(format!("failed to note what is done again: {error}"));
        match standby.line(command).map_err(fail)? {
            Some(line) => standby.again(Back::Run(line)),
            None if standby.lenient => Ok(()),
            None => Err(ApplyError::new("the host could not run it again by itself")),
        }
    }
}

#[cfg(test)]
mod tests;

//! The notes on disk about kept things, so that another process can restore them. They are for changes that may cut
//! the host off from the controller. [`revert`](super::revert::revert) restores it. The agent decides what starts the
//! revert, and when.
//!
//! The folder holds the file `back`, to which each change adds a line before it is made. It also holds a numbered
//! copy of each replaced file.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ApplyError;
use super::kept::{Copy, Kept};
use crate::system::System;
use crate::system::files::{Files, Metadata};
use crate::system::processes::Command;
use crate::system::services::Verb;

/// The files of accounts. They are restored whole, because `useradd` and similar tools write them whole.
const ACCOUNTS: [&str; 6] =
    ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid"];

/// The name of the file that lists what to restore.
pub(super) const BACK: &str = "back";

/// The format of that file. Since 2 it has one line per entry, so that adding one does not cost more as the file
/// grows.
const VERSION: u32 = 2;

/// A line of that file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Noted {
    /// The first line: the format.
    Version(u32),
    /// The restoring actions of a change that is about to be made.
    Change(Vec<Back>),
    /// An action to repeat after everything was restored. Each is repeated once, at its last position.
    Again(Back),
    /// Paths to remove after everything was restored.
    Trace(Vec<Place>),
}

/// Returns what the text of that file restores, in order, and then the actions to repeat. If the last line was cut
/// short, its change was never made.
pub(super) fn backs(text: &[u8]) -> io::Result<Vec<Back>> {
    let mut lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    match lines.next().map(serde_json::from_slice).transpose()? {
        Some(Noted::Version(VERSION)) => {}
        Some(Noted::Version(other)) => {
            let message = format!("its format must be {VERSION}, found {other}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "its first line must be its format")),
    }
    let (mut changes, mut again, mut trace) = (Vec::new(), Vec::new(), Vec::new());
    for line in lines {
        match serde_json::from_slice(line)? {
            Noted::Change(backs) => changes.push(backs),
            Noted::Again(back) => again.push((line, back)),
            Noted::Trace(places) => trace.extend(places.into_iter().map(|path| Back::Gone { path })),
            Noted::Version(_) => {}
        }
    }
    // No action is repeated on a unit that is stopped.
    let stopped: HashSet<String> = changes.iter().flatten().filter_map(Back::stopped).collect();
    let is_stopped = |back: &Back| back.concerns().is_some_and(|unit| stopped.contains(unit));
    let mut known = HashSet::new();
    again.reverse();
    again.retain(|(line, back)| known.insert(*line) && !is_stopped(back));
    let again = again.into_iter().rev().map(|(_, back)| Back::Again(Box::new(back)));
    Ok(changes.into_iter().rev().flatten().chain(again).chain(trace).collect())
}

/// One thing to restore. Each may be done twice. Paths are those of this machine. A copy is a file of the folder.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Back {
    /// Nothing was there. A folder that another program uses by now stays.
    Gone { path: Place },
    /// A file was there.
    File { path: Place, metadata: Metadata, copy: String },
    /// A link was there.
    Link { path: Place, metadata: Metadata, target: Place },
    /// A folder was there.
    Folder { path: Place, metadata: Metadata },
    /// The thing stayed, with another owner or mode.
    Dress { path: Place, metadata: Metadata },
    /// A folder was there, with everything in `kept`.
    Tree { path: Place, kept: Place },
    /// An empty folder was there.
    Empty { path: Place },
    /// The value that the running kernel had.
    Kernel { path: Place, copy: String },
    /// `systemctl` is called with these words.
    Unit { words: Vec<String> },
    /// A command to run.
    Run(Line),
    /// A notification to repeat, so that the handler sees the old state. At boot it is skipped: no handler has run
    /// yet.
    Again(Box<Back>),
}

/// A command with everything that it needs. Values that may be secret are copies in the folder, and are removed with
/// it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) words: Vec<String>,
    pub(super) user: Option<String>,
    pub(super) folder: Option<Place>,
    /// The names of its variables, each with the name of the copy of its value.
    pub(super) environment: Vec<(String, String)>,
    pub(super) input: Option<String>,
}

/// A path, even if it is not UTF-8.
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

/// The notes for the revert. They grow with the changes.
pub struct Standby {
    folder: PathBuf,
    /// Whether things that cannot be restored are skipped.
    lenient: bool,
    /// The number of bytes of `back` that are whole lines.
    sound: u64,
    copies: u32,
}

impl Standby {
    /// Begins the notes in `folder`, a private folder that exists. After everything was restored, `trace` is removed
    /// too. `lenient`: what cannot be restored is skipped without an error.
    pub fn begin(folder: PathBuf, trace: Vec<PathBuf>, lenient: bool) -> io::Result<Self> {
        let trace = Noted::Trace(trace.into_iter().map(Place).collect());
        let text = [line(&Noted::Version(VERSION))?, line(&trace)?].concat();
        let standby = Self { folder, lenient, sound: text.len() as u64, copies: 0 };
        standby.replace(BACK, &text).map(|()| standby)
    }

    /// Sets the new name of the folder.
    pub fn moved(&mut self, folder: PathBuf) {
        self.folder = folder;
    }

    /// Notes what is about to be replaced.
    pub(super) fn note(
        &mut self,
        kept: &Kept,
        system: &dyn System,
        store: Option<&Files>,
    ) -> Result<(), ApplyError> {
        let noted = match self.backs(kept, system, store) {
            Ok(Some(backs)) => self.append(&Noted::Change(backs)),
            Ok(None) if self.lenient => Ok(()),
            Ok(None) => {
                let message = "the host cannot restore it by itself";
                return Err(ApplyError::new(message));
            }
            Err(error) => Err(error),
        };
        noted.map_err(|error| ApplyError::new(format!("failed to note how to restore it: {error}")))
    }

    /// Notes a unit on which `verb` is repeated after everything was restored.
    pub(super) fn again_unit(&mut self, verb: Verb, unit: &str) -> Result<(), ApplyError> {
        let word = if verb == Verb::Reload { "reload-or-restart" } else { verb.word() };
        self.again(Back::Unit { words: vec![word.to_owned(), unit.to_owned()] })
    }

    /// Notes a command that runs again after everything was restored.
    pub(super) fn again_command(&mut self, command: &Command) -> Result<(), ApplyError> {
        let fail =
            |error: io::Error| ApplyError::new(format!("failed to note the action to repeat: {error}"));
        match self.line(command).map_err(fail)? {
            Some(line) => self.again(Back::Run(line)),
            None if self.lenient => Ok(()),
            None => Err(ApplyError::new("the host cannot run it again by itself")),
        }
    }

    /// Notes an action to repeat after everything was restored.
    fn again(&mut self, back: Back) -> Result<(), ApplyError> {
        let noted = self.append(&Noted::Again(back));
        noted.map_err(|error| ApplyError::new(format!("failed to note the action to repeat: {error}")))
    }

    /// Returns what restores `kept`. None if only this process can restore it.
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
            Kept::Unit { verb, unit } => Back::Unit { words: vec![verb.word().to_owned(), unit.clone()] },
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

    /// Returns what restores the file at `path`, as this machine knows it, or its absence.
    fn whole(&mut self, path: &Path) -> io::Result<Back> {
        let machine = Files::new("/")?;
        let place = Place(path.to_owned());
        let Some(metadata) = machine.metadata(path)? else { return Ok(Back::Gone { path: place }) };
        let mut content = Vec::new();
        io::Read::read_to_end(&mut machine.open(path)?, &mut content)?;
        Ok(Back::File { path: place, metadata, copy: self.copy(&content)? })
    }

    /// Returns a command with everything that it needs. None if it sees one folder in the place of another.
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

    /// Returns the name of a copy of a kept content. None if there is no copy on disk and there may be none.
    fn copy_of(&mut self, content: &Copy, store: Option<&Files>) -> io::Result<Option<String>> {
        let (Copy::Stored(stored), Some(store)) = (content, store) else { return Ok(None) };
        let (from, name) = (store.outside(stored), self.next());
        let to = self.folder.join(&name);
        // A hard link is enough if the file system has them: programs replace this content and never write into it.
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

    /// Adds a line to `back` and syncs it. If the revert has claimed the folder, this fails.
    fn append(&mut self, noted: &Noted) -> io::Result<()> {
        let (path, line) = (self.folder.join(BACK), line(noted)?);
        let mut file = fs::OpenOptions::new().append(true).open(&path)?;
        if file.metadata()?.len() != self.sound {
            // A failed write left half a line. A new line after it would be joined to it.
            file.set_len(self.sound)?;
        }
        file.write_all(&line).and_then(|()| file.sync_data())?;
        // A process that claims the folder from now on reads the line. If it was claimed meanwhile, the path is gone.
        fs::metadata(&path)?;
        self.sound += line.len() as u64;
        Ok(())
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

fn line(noted: &Noted) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(noted)?;
    line.push(b'\n');
    Ok(line)
}

impl Back {
    /// Returns the unit that it acts on, if it acts on one: the last word.
    fn concerns(&self) -> Option<&String> {
        match self {
            Self::Unit { words } | Self::Run(Line { words, .. }) => words.last(),
            _ => None,
        }
    }

    /// Returns the unit that it stops, if it stops one.
    fn stopped(&self) -> Option<String> {
        match self {
            Self::Unit { words } if words.first().is_some_and(|word| word == Verb::Stop.word()) => {
                words.last().cloned()
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;

//! Files for entries that the database cannot store: lines of JSON, which the next recorder imports.
//!
//! The writer of a file holds its lock, so a growing file is not imported. A file is removed after all of it is in
//! the database. Importing a file twice changes nothing.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use converge_model::Event;
use serde::{Deserialize, Serialize};

/// The beginning of the file names.
const PREFIX: &str = "spill-";
/// The end of the file names.
const SUFFIX: &str = ".ndjson";
/// Added to the name of a file that could not be read to its end.
const UNREAD: &str = ".unread";
/// The most bytes of all files in a folder.
const LIMIT: u64 = 256 * 1024 * 1024;
/// The longest line that is read, in bytes: enough for a plan with all its differences.
const LINE_LIMIT: u64 = 64 * 1024 * 1024;

/// An event that should go into the history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its place among all events of its run.
    pub(crate) place: u64,
    /// Milliseconds since the run began, by the monotonic clock.
    pub(crate) at: u64,
    /// The event.
    pub(crate) event: Event,
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct Spill {
    file: File,
    /// How many bytes of the file are complete entries.
    sound: u64,
    /// How many more bytes may be added.
    left: u64,
}

impl Spill {
    /// Creates a file in the first of `folders` that allows it.
    pub(crate) fn create(folders: &[PathBuf]) -> io::Result<Self> {
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for folder in folders {
            match Self::create_in(folder) {
                Ok(spill) => return Ok(spill),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn create_in(folder: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let sizes = files(folder)?.iter().filter_map(|path| Some(fs::metadata(path).ok()?.len())).sum();
        let left = LIMIT.checked_sub(sizes).ok_or(io::ErrorKind::QuotaExceeded)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = folder.join(format!("{PREFIX}{}-{}{SUFFIX}", since.as_micros(), std::process::id()));
        let file = fs::OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        file.lock()?;
        Ok(Self { file, sound: 0, left })
    }

    /// Adds entries and syncs them to disk.
    pub(crate) fn write(&mut self, entries: &[Entry]) -> io::Result<()> {
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        let left = self.left.checked_sub(lines.len() as u64).ok_or(io::ErrorKind::QuotaExceeded)?;
        // Removes the rest of a failed write. An entry after half a line could not be read.
        if self.file.metadata()?.len() != self.sound {
            self.file.set_len(self.sound)?;
        }
        self.file.write_all(&lines)?;
        self.file.sync_data()?;
        self.sound += lines.len() as u64;
        self.left = left;
        Ok(())
    }
}

/// A file that no process writes any more.
pub(crate) struct Left {
    path: PathBuf,
    lines: BufReader<File>,
    is_whole: bool,
}

impl Left {
    /// Returns the left files in `folders`, the oldest first.
    pub(crate) fn all(folders: &[PathBuf]) -> Vec<Self> {
        let mut paths: Vec<_> = folders.iter().flat_map(|folder| files(folder).unwrap_or_default()).collect();
        paths.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
        paths.into_iter().filter_map(Self::open).collect()
    }

    fn open(path: PathBuf) -> Option<Self> {
        let file = File::open(&path).ok()?;
        file.try_lock().ok()?;
        Some(Self { path, lines: BufReader::new(file), is_whole: true })
    }

    /// Returns up to `count` entries. Empty at the end. A last line without a line end is ignored: its writer did not
    /// report it as written.
    pub(crate) fn next(&mut self, count: usize) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut line = Vec::new();
        while entries.len() < count {
            line.clear();
            (&mut self.lines).take(LINE_LIMIT).read_until(b'\n', &mut line)?;
            if line.pop() != Some(b'\n') {
                // A crash does not cut a line exactly at the limit. So this line is too long: the rest is not read,
                // and the file is not removed.
                self.is_whole &= (line.len() as u64) + 1 < LINE_LIMIT;
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(entry) => entries.push(entry),
                Err(_) => self.is_whole = false,
            }
        }
        Ok(entries)
    }

    /// Removes the file. A file with an invalid entry is renamed instead.
    pub(crate) fn done(self) -> io::Result<()> {
        if self.is_whole {
            return fs::remove_file(&self.path);
        }
        let mut aside = self.path.clone().into_os_string();
        aside.push(UNREAD);
        fs::rename(&self.path, aside)
    }
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::{EventKind, RunId};

    fn entry(place: u64) -> Entry {
        let kind = EventKind::HostState { phase: "looking".to_owned() };
        let run = RunId::new("r").unwrap();
        Entry { place, at: 1, event: Event { version: 1, run, host: None, sequence: place, kind } }
    }

    #[test]
    fn what_is_left_is_taken_in_but_not_what_still_grows() {
        let temp = tempfile::tempdir().unwrap();
        let folders = [temp.path().join("none/\0"), temp.path().join("made")];
        let mut spill = Spill::create(&folders).unwrap();
        spill.write(&[entry(0), entry(1)]).unwrap();
        assert!(Left::all(&folders).is_empty(), "it still grows");
        spill.file.write_all(b"{\"place\":").unwrap();
        drop(spill);
        let mut left = Left::all(&folders);
        assert_eq!(left.len(), 1);
        let mut left = left.remove(0);
        assert_eq!(left.next(1).unwrap(), [entry(0)]);
        assert_eq!(left.next(9).unwrap(), [entry(1)]);
        assert_eq!(left.next(9).unwrap(), []);
        left.done().unwrap();
        assert_eq!(fs::read_dir(&folders[1]).unwrap().count(), 0);
    }

    #[test]
    fn entries_stand_behind_no_half_of_another() {
        let temp = tempfile::tempdir().unwrap();
        let folders = [temp.path().to_owned()];
        let mut spill = Spill::create(&folders).unwrap();
        spill.write(&[entry(0)]).unwrap();
        // A full disk accepted half of an entry.
        spill.file.write_all(b"{\"place\":").unwrap();
        spill.write(&[entry(1)]).unwrap();
        drop(spill);
        assert_eq!(Left::all(&folders).remove(0).next(9).unwrap(), [entry(0), entry(1)]);
    }

    #[test]
    fn what_follows_a_line_without_end_is_set_aside() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("spill-1.ndjson");
        File::create(&path).unwrap().set_len(LINE_LIMIT + 1).unwrap();
        let mut left = Left::all(&[temp.path().to_owned()]).remove(0);
        assert_eq!(left.next(9).unwrap(), []);
        left.done().unwrap();
        assert!(path.with_extension("ndjson.unread").exists());
    }

    #[test]
    fn what_cannot_be_read_is_set_aside() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("spill-1.ndjson"), "{\"of\":\"a newer version\"}\n").unwrap();
        let folders = [temp.path().to_owned()];
        let mut left = Left::all(&folders).remove(0);
        assert_eq!(left.next(9).unwrap(), []);
        left.done().unwrap();
        assert!(temp.path().join("spill-1.ndjson.unread").exists());
        assert!(Left::all(&folders).is_empty());
    }
}

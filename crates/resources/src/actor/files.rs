//! How a step makes and removes folders, links and files, and keeps what stands in their place. How files are written is in
//! `write`.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;

use super::kept::{Copy, Kept};
use super::{Actor, ApplyError, Attributes};
use crate::system::files::{Metadata, Sort, temporary_name};

/// The largest content that is kept in memory.
const MEMORY_LIMIT: usize = 16 * 1024 * 1024;

impl Actor<'_> {
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

    /// Empties the folder at `path`; what was in it is not kept.
    pub fn empty(&mut self, path: &Path) -> Result<(), ApplyError> {
        self.files().empty(path).map_err(|error| ApplyError::at("empty", path, &error))
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

    /// Keeps all of the folder at `path` as it is now, so that the whole of it can be put back. Its files get second names
    /// where they can: what replaces them, and does not write into them, leaves the kept ones as they are, and a full disk
    /// has room for them when they are put back.
    pub fn keep_tree(&mut self, path: &Path) -> Result<(), ApplyError> {
        let fail = |error: io::Error| ApplyError::at("keep a copy of", path, &error);
        let files = self.files();
        let Some((store, kept)) = self.undo.next() else {
            return Err(ApplyError::at("keep a copy of", path, &"there is no place for it"));
        };
        store.remove_all(&kept).map_err(fail)?;
        files.copy_tree(path, store, &kept).map_err(fail)?;
        self.undo.push(self.system, Kept::Tree { path: path.to_owned(), kept })
    }

    /// Notes that the folder at `path` is empty before the kind fills it.
    pub fn keep_empty(&mut self, path: &Path) -> Result<(), ApplyError> {
        self.undo.push(self.system, Kept::Empty(path.to_owned()))
    }

    /// What the file has, with a second name for it in the store, or a copy there, or in memory. All of it is of the file
    /// that was opened: its owner may put another one under its name, and must not be given what that one holds.
    fn copy(&mut self, path: &Path) -> Result<(Metadata, Copy), ApplyError> {
        let fail = |error: io::Error| ApplyError::at("keep a copy of", path, &error);
        let mut file = self.files().open(path).map_err(fail)?;
        let metadata = Metadata::of(&file).map_err(fail)?;
        if !self.sensitive
            && let Some((store, stored)) = self.undo.next()
        {
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
}

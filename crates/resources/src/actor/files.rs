//! How a step makes and removes folders, links and files, and keeps what was there before. How files are written is
//! in `write`.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;

use super::kept::{Copy, Kept};
use super::{Actor, ApplyError, Attributes};
use crate::system::files::{Metadata, Sort, temporary_name};

/// The largest content that is kept in memory, in bytes.
const MEMORY_LIMIT: usize = 16 * 1024 * 1024;

impl Actor<'_> {
    /// Makes a folder. Its parent must exist.
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

    /// Makes a link to `target`, in the place of a file or a link.
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

    /// Removes a file, a link or an empty folder. If nothing is at `path`, that is not an error.
    pub fn remove(&mut self, path: &Path) -> Result<(), ApplyError> {
        let Some(entry) = self.entry(path)? else { return Ok(()) };
        self.keep(path)?;
        let removed = match entry.sort {
            Sort::Folder => self.files().remove_folder(path),
            _ => self.files().remove(path),
        };
        removed.map_err(|error| ApplyError::at("remove", path, &error))
    }

    /// Removes the thing at `path` with everything below it. Links are not followed. A mount below it is an error.
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

    /// Like [`Actor::remove_tree`], but keeps nothing: the tree cannot be restored.
    pub fn discard_tree(&mut self, path: &Path) -> Result<(), ApplyError> {
        self.files().remove_all(path).map_err(|error| ApplyError::at("remove", path, &error))
    }

    /// Empties the folder at `path`. Its content is not kept.
    pub fn empty(&mut self, path: &Path) -> Result<(), ApplyError> {
        self.files().empty(path).map_err(|error| ApplyError::at("empty", path, &error))
    }

    /// Makes a private folder for `work` to put files in. It is removed afterwards with everything in it.
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

    /// Keeps what is at `path`, so that it can be restored.
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

    /// Keeps the whole folder at `path`, so that it can be restored. Its files get hard links where possible. A
    /// program that replaces such a file, and does not write into it, leaves the kept one unchanged. A full disk then
    /// still has room to restore them.
    pub fn keep_tree(&mut self, path: &Path) -> Result<(), ApplyError> {
        let fail = |error: io::Error| ApplyError::at("keep a copy of", path, &error);
        let files = self.files();
        let Some((store, kept)) = self.undo.next() else {
            return Err(ApplyError::at("keep a copy of", path, &"there is no folder for copies"));
        };
        store.remove_all(&kept).map_err(fail)?;
        files.copy_tree(path, store, &kept).map_err(fail)?;
        self.undo.push(self.system, Kept::Tree { path: path.to_owned(), kept })
    }

    /// Notes that the folder at `path` is empty before the kind fills it.
    pub fn keep_empty(&mut self, path: &Path) -> Result<(), ApplyError> {
        self.undo.push(self.system, Kept::Empty(path.to_owned()))
    }

    /// Keeps a file: a hard link in the store, or a copy there, or in memory. Metadata and content are of the one
    /// file that was opened. Its owner may put another file under its name, and must not get the content of that one.
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

//! A rehearsal: a copy of a folder, in which changes are made and judged before the folder itself is touched.

use std::io;
use std::path::{Path, PathBuf};

use super::{Actor, ApplyError, Undo};
use crate::system::files::{Files, Metadata, Sort};

/// The most files and folders that are copied.
const ENTRIES: usize = 20_000;

/// The most bytes that are copied.
const BYTES: u64 = 256 * 1024 * 1024;

impl Actor<'_> {
    /// Copies the folder at `path` and lets `work` change the copy, whose path it is given. The copy goes afterwards, and
    /// nothing of it is kept. Devices, sockets and FIFOs are left out.
    pub fn rehearse<T>(
        &mut self,
        path: &Path,
        work: impl FnOnce(&mut Actor<'_>, &Path) -> Result<T, ApplyError>,
    ) -> Result<T, ApplyError> {
        self.scratch(|actor, folder| {
            // Below the private folder: the copy itself has the mode of what it stands for.
            let copy = folder.join("copy");
            copy_folder(actor.files(), path, &copy).map_err(|error| ApplyError::at("copy", path, &error))?;
            let mut undo = Undo::default();
            let mut there = Actor {
                system: actor.system,
                contents: actor.contents,
                journal: actor.journal,
                output: &mut *actor.output,
                undo: &mut undo,
                sensitive: actor.sensitive,
                timeout: actor.timeout,
                allowance: actor.allowance,
                unforeseen: &mut *actor.unforeseen,
            };
            work(&mut there, &copy)
        })
    }
}

fn copy_folder(files: &Files, from: &Path, to: &Path) -> io::Result<()> {
    let (mut entries, mut bytes) = (0, 0);
    let mut folders: Vec<(PathBuf, Metadata)> = Vec::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(name) = todo.pop() {
        let (here, there) = if name.as_os_str().is_empty() {
            (from.to_owned(), to.to_owned())
        } else {
            (from.join(&name), to.join(&name))
        };
        let Some(entry) = files.entry(&here)? else { continue };
        entries += 1;
        bytes += entry.size;
        if entries > ENTRIES || bytes > BYTES {
            let most = format!("it holds more than {ENTRIES} files or {} MiB", BYTES >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, most));
        }
        match entry.sort {
            Sort::Folder => {
                files.make_folder(&there)?;
                todo.extend(files.list_itself(&here)?.into_iter().map(|below| name.join(below)));
                folders.push((there, files.metadata(&here)?.unwrap_or_default()));
            }
            Sort::File => copy_file(files, &here, &there)?,
            Sort::Link => files.link(&there, entry.target.as_deref().unwrap_or(Path::new("")))?,
            Sort::Special => {}
        }
    }
    // Once all is in them: a folder may forbid even its owner to write.
    folders.into_iter().try_for_each(|(folder, metadata)| files.set_metadata(&folder, &metadata))
}

fn copy_file(files: &Files, from: &Path, to: &Path) -> io::Result<()> {
    let mut copy = files.create_beside(to, to.file_name().unwrap_or_default())?;
    io::copy(&mut files.open(from)?, &mut copy)?;
    files.metadata(from)?.unwrap_or_default().give(&copy)
}

//! A rehearsal: a copy of a folder in which changes are made and checked before the folder itself is changed.

use std::io;
use std::path::{Path, PathBuf};

use super::{Actor, ApplyError, Undo};
use crate::system::files::{Files, Metadata, Sort};

/// The limits of a copy.
#[derive(Clone, Copy)]
struct Most {
    /// The number of files and folders, including the copied folder itself.
    entries: usize,
    bytes: u64,
}

const MOST: Most = Most { entries: 20_000, bytes: 256 * 1024 * 1024 };

impl Actor<'_> {
    /// Copies the folder at `path` and lets `work` change the copy, whose path it gets. The copy is removed
    /// afterwards, and nothing of it is kept. Devices, sockets and FIFOs are not copied.
    pub fn rehearse<T>(
        &mut self,
        path: &Path,
        work: impl FnOnce(&mut Actor<'_>, &Path) -> Result<T, ApplyError>,
    ) -> Result<T, ApplyError> {
        self.scratch(|actor, folder| {
            // The copy is inside the private folder, because it has the mode of the original.
            let copy = folder.join("copy");
            copy_folder(actor.files(), path, &copy, MOST)
                .map_err(|error| ApplyError::at("copy", path, &error))?;
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

fn copy_folder(files: &Files, from: &Path, to: &Path, most: Most) -> io::Result<()> {
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
        if entries > most.entries || bytes > most.bytes {
            let why = format!("it holds more than {} files or {} MiB", most.entries, most.bytes >> 20);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
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
    // This comes last: a folder may forbid even its owner to write.
    folders.into_iter().try_for_each(|(folder, metadata)| files.set_metadata(&folder, &metadata))
}

fn copy_file(files: &Files, from: &Path, to: &Path) -> io::Result<()> {
    let mut copy = files.create_beside(to, to.file_name().unwrap_or_default())?;
    io::copy(&mut files.open(from)?, &mut copy)?;
    files.metadata(from)?.unwrap_or_default().give(&copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_refused_and_what_is_just_enough_is_copied() {
        let host = tempfile::tempdir().unwrap();
        let files = Files::new(host.path()).unwrap();
        let folder = host.path().join("srv/from");
        std::fs::create_dir_all(&folder).unwrap();
        let size: u64 = [("a", "12345"), ("b", "6789")]
            .iter()
            .map(|(name, text)| {
                std::fs::write(folder.join(name), text).unwrap();
                text.len() as u64
            })
            .sum();
        let bytes = size + files.entry(Path::new("/srv/from")).unwrap().unwrap().size;
        let copied = |entries: usize, bytes: u64| {
            let to = tempfile::tempdir_in(host.path().join("srv")).unwrap();
            let to = Path::new("/srv").join(to.path().file_name().unwrap()).join("copy");
            let copied = copy_folder(&files, Path::new("/srv/from"), &to, Most { entries, bytes });
            copied.map(|()| files.list(&to).unwrap().len()).map_err(|error| error.kind())
        };
        let refused = Err(io::ErrorKind::FileTooLarge);
        assert_eq!(copied(3, bytes), Ok(2));
        assert_eq!(copied(2, bytes), refused, "three entries");
        assert_eq!(copied(3, bytes - 1), refused, "a byte too many");
    }
}

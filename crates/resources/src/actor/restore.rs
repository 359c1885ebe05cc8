//! How replaced things are restored: the same way for the undo of a run and for the revert in another process. Every
//! action may be done twice. A user who owns a folder on the path cannot redirect it (see [`Files`]).

use std::fs::File;
use std::io;
use std::path::Path;

use crate::system::files::{Files, Metadata, temporary_name};

/// Puts a file at `path` with the content that `fill` writes. If that fails, what is at `path` stays.
pub(super) fn file(
    files: &Files,
    path: &Path,
    metadata: &Metadata,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let name = temporary_name(path.file_name().unwrap_or_default());
    let mut file = files.create_beside(path, &name)?;
    let placed = fill(&mut file)
        .and_then(|()| file.sync_all())
        .and_then(|()| metadata.give(&file))
        .and_then(|()| files.rename_beside(&name, path));
    if placed.is_err() {
        // Ignored: the reason of the failure is what counts.
        let _ = files.remove_beside(&name, path);
    }
    placed
}

/// Puts a link at `path`.
pub(super) fn link(files: &Files, path: &Path, metadata: &Metadata, target: &Path) -> io::Result<()> {
    files.link(path, target)?;
    files.set_metadata(path, metadata)
}

/// Makes the folder at `path`, unless it exists.
pub(super) fn folder(files: &Files, path: &Path, metadata: &Metadata) -> io::Result<()> {
    if files.entry(path)?.is_none() {
        files.make_folder(path)?;
    }
    files.set_metadata(path, metadata)
}

/// Restores owner and mode of what is at `path`. If it is gone, nothing happens.
pub(super) fn dress(files: &Files, path: &Path, metadata: &Metadata) -> io::Result<()> {
    match files.entry(path)? {
        Some(_) => files.set_metadata(path, metadata),
        None => Ok(()),
    }
}

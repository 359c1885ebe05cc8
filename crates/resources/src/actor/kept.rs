//! One thing that a step replaced, and how the run itself restores it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{ApplyError, restore};
use crate::system::System;
use crate::system::accounts::{AccountChange, AccountError};
use crate::system::files::{Files, Metadata, Sort};
use crate::system::processes::Command;
use crate::system::receipts::Receipt;
use crate::system::services::Verb;

/// One thing that a step replaced.
pub(super) enum Kept {
    /// Nothing was at the path.
    Nothing(PathBuf),
    /// A file. Its content is kept here.
    File { path: PathBuf, metadata: Metadata, content: Copy },
    /// A link to `target`.
    Link { path: PathBuf, metadata: Metadata, target: PathBuf },
    /// A folder, empty when it was removed.
    Folder { path: PathBuf, metadata: Metadata },
    /// A folder with everything in it, kept at `kept`.
    Tree { path: PathBuf, kept: PathBuf },
    /// An empty folder.
    Empty(PathBuf),
    /// The thing stayed, with another mode or owner.
    Metadata { path: PathBuf, metadata: Metadata },
    /// A unit was acted on. `verb` restores it.
    Unit { verb: Verb, unit: String },
    /// The value that the running kernel had.
    Kernel { path: PathBuf, before: Vec<u8> },
    /// Unit files were changed. The service manager must read them again.
    UnitFiles,
    /// The command that restores the state.
    Command(Box<Command>),
    /// The receipt before. None: there was none.
    Receipt { key: String, receipt: Option<Receipt> },
    /// Accounts were changed. These changes, in order, restore them.
    Accounts(Vec<AccountChange>),
}

/// A kept content.
pub(super) enum Copy {
    Memory(Vec<u8>),
    Stored(PathBuf),
    TooLarge,
}

impl Kept {
    pub(super) fn restore(self, system: &dyn System, store: Option<&Files>) -> Result<(), ApplyError> {
        let files = system.files();
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| ApplyError::at("restore", &path, &error)
        };
        match self {
            Self::Nothing(path) => match files.entry(&path).map_err(fail(&path))? {
                None => Ok(()),
                Some(entry) if entry.sort == Sort::Folder => files.remove_folder(&path).map_err(fail(&path)),
                Some(_) => files.remove(&path).map_err(fail(&path)),
            },
            Self::File { path, metadata, content } => {
                restore_file(files, store, &path, &metadata, &content).map_err(fail(&path))
            }
            Self::Link { path, metadata, target } => {
                restore::link(files, &path, &metadata, &target).map_err(fail(&path))
            }
            Self::Folder { path, metadata } => restore::folder(files, &path, &metadata).map_err(fail(&path)),
            Self::Metadata { path, metadata } => restore::dress(files, &path, &metadata).map_err(fail(&path)),
            Self::Tree { path, kept } => {
                let store = store.ok_or_else(|| fail(&path)(io::ErrorKind::NotFound.into()))?;
                files.restore_tree(&path, store, &kept).map_err(fail(&path))
            }
            Self::Empty(path) => files.empty(&path).map_err(fail(&path)),
            Self::Unit { verb, unit } => {
                system.units().act(verb, &unit).map_err(|error| ApplyError::new(error.to_string()))
            }
            Self::Receipt { key, receipt } => system
                .receipts()
                .set(&key, receipt.as_ref())
                .map_err(|error| ApplyError::new(format!("failed to restore the receipt of {key}: {error}"))),
            Self::Accounts(changes) => restore_accounts(system, &changes),
            Self::Kernel { path, before } => files.set_kernel(&path, &before).map_err(fail(&path)),
            Self::UnitFiles => {
                system.units().reload_files().map_err(|error| ApplyError::new(error.to_string()))
            }
            Self::Command(command) => match system.processes().run(&command, &mut |_| {}) {
                Ok(finished) if finished.success() => Ok(()),
                Ok(finished) => Err(ApplyError::new(format!("failed to undo with {}", command.program()))
                    .output(&finished.output)),
                Err(error) => Err(ApplyError::new(error.to_string())),
            },
        }
    }
}

fn restore_file(
    files: &Files,
    store: Option<&Files>,
    path: &Path,
    metadata: &Metadata,
    content: &Copy,
) -> io::Result<()> {
    restore::file(files, path, metadata, |to| match content {
        Copy::TooLarge => {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, "it was too large to keep in memory"))
        }
        Copy::Memory(bytes) => to.write_all(bytes),
        Copy::Stored(stored) => {
            let store = store.ok_or(io::ErrorKind::NotFound)?;
            io::copy(&mut store.open(stored)?, to).map(drop)
        }
    })
}

/// Makes the changes that are still needed.
fn restore_accounts(system: &dyn System, changes: &[AccountChange]) -> Result<(), ApplyError> {
    for change in changes {
        let table = system.accounts().table().map_err(|error| ApplyError::new(error.to_string()))?;
        if !change.is_needless(&table) {
            system.accounts().change(change).map_err(refused)?;
        }
    }
    Ok(())
}

/// The error of a change of accounts that was refused.
pub(super) fn refused(error: AccountError) -> ApplyError {
    let message = error.to_string();
    match error {
        AccountError::Refused { output, .. } => ApplyError::new(message).output(&output),
        _ => ApplyError::new(message),
    }
}

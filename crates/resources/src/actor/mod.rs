//! How kinds change a host. Everything that a step replaces is kept until the host's run ends. It is restored in
//! reverse order if the step, or what it notified, fails. This file defines the actor. Its functions are grouped in
//! files by what they change.

mod accounts;
mod attributes;
mod commands;
mod files;
mod kept;
mod packages;
mod rehearsal;
mod restore;
pub mod revert;
mod services;
mod standby;
#[cfg(test)]
mod tests;
mod undo;
mod write;

use std::io;
use std::path::Path;
use std::time::Duration;

use converge_model::PropertyChange;

pub use crate::apply_error::ApplyError;
use crate::contents::Contents;
use crate::system::System;
use crate::system::files::{Entry, Files, Metadata};
use crate::system::packages::Allowance;
use crate::system::receipts::Receipt;
use kept::Kept;

pub use accounts::{gid_of, uid_of};
pub use attributes::Attributes;
pub use standby::Standby;
pub use undo::Undo;

/// The place where the agent notes what must be cleaned up if it dies.
pub trait Journal {
    /// Notes that a temporary is about to be made at `path`.
    fn temporary(&self, path: &Path) -> Result<(), ApplyError>;
}

/// The means by which a step changes the host.
pub struct Actor<'a> {
    /// The host.
    pub system: &'a dyn System,
    /// The source of contents.
    pub contents: &'a dyn Contents,
    /// The place where temporaries are noted.
    pub journal: &'a dyn Journal,
    /// Receives the output of commands as it comes.
    pub output: &'a mut dyn FnMut(&[u8]),
    /// The things that were replaced so far.
    pub undo: &'a mut Undo,
    /// Whether replaced things may be kept only in memory.
    pub sensitive: bool,
    /// The timeout of the step, if its resource sets one.
    pub timeout: Option<Duration>,
    /// The effects that the plan allows transactions of packages.
    pub allowance: &'a Allowance,
    /// The changes of the step beyond the plan.
    pub unforeseen: &'a mut Vec<PropertyChange>,
}

/// The longest kernel value that is kept, in bytes.
const KERNEL_LIMIT: usize = 64 * 1024;

impl<'a> Actor<'a> {
    /// The host's files, for reading.
    pub fn files(&self) -> &'a Files {
        self.system.files()
    }

    /// Notes what was applied to the claim with `key`. None: removes the note.
    pub fn set_receipt(&mut self, key: &str, receipt: Option<&Receipt>) -> Result<(), ApplyError> {
        let fail =
            |error: io::Error| ApplyError::new(format!("failed to note the receipt of {key}: {error}"));
        let before = self.system.receipts().get(key).map_err(fail)?;
        self.undo.push(self.system, Kept::Receipt { key: key.to_owned(), receipt: before })?;
        self.system.receipts().set(key, receipt).map_err(fail)
    }

    /// Sets a value of the running kernel, a file in `/proc` or `/sys`.
    pub fn set_kernel(&mut self, path: &Path, value: &str) -> Result<(), ApplyError> {
        let fail = |error: io::Error| ApplyError::at(&format!("write {value:?} into"), path, &error);
        let before = self.files().read(path, KERNEL_LIMIT).map_err(fail)?;
        let kept = Kept::Kernel { path: path.to_owned(), before };
        self.undo.note(self.system, &kept)?;
        self.files().set_kernel(path, format!("{value}\n").as_bytes()).map_err(fail)?;
        self.undo.hold(kept);
        Ok(())
    }

    fn entry(&self, path: &Path) -> Result<Option<Entry>, ApplyError> {
        self.files().entry(path).map_err(|error| ApplyError::at("read", path, &error))
    }

    fn metadata(&self, path: &Path) -> Result<Option<Metadata>, ApplyError> {
        self.files().metadata(path).map_err(|error| ApplyError::at("read", path, &error))
    }
}

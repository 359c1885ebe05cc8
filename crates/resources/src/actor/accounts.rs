//! How a step changes accounts, and how that is taken back.

use super::{Actor, ApplyError, Kept, gid_of, uid_of};
use crate::system::System;
use crate::system::accounts::{AccountChange, AccountError, AccountTable};

impl Actor<'_> {
    /// Makes a change of the accounts; what takes it back is kept, in memory alone.
    pub fn change_accounts(&mut self, change: &AccountChange) -> Result<(), ApplyError> {
        let table = self.system.accounts().table().map_err(|error| ApplyError::new(error.to_string()))?;
        // Kept beforehand, for a change that fails may have been made in part.
        self.undo.push(self.system, Kept::Accounts(change.inverse(&table)))?;
        self.system.accounts().change(change).map_err(failed)
    }

    /// The number of a user given by name or number; other sources than the host's files are asked where these do not
    /// know it.
    pub(super) fn uid(&self, table: &AccountTable, given: &str) -> Result<u32, ApplyError> {
        uid_of(table, given).or_else(|unknown| {
            let remote = self.system.accounts().remote_user(given);
            remote.map_err(|error| ApplyError::new(error.to_string()))?.map(|user| user.uid).ok_or(unknown)
        })
    }

    /// The number of a group, as for a user.
    pub(super) fn gid(&self, table: &AccountTable, given: &str) -> Result<u32, ApplyError> {
        gid_of(table, given).or_else(|unknown| {
            let remote = self.system.accounts().remote_group(given);
            remote.map_err(|error| ApplyError::new(error.to_string()))?.map(|group| group.gid).ok_or(unknown)
        })
    }
}

/// Carries the changes out, as far as there is something left for them.
pub(super) fn put_back(system: &dyn System, changes: &[AccountChange]) -> Result<(), ApplyError> {
    for change in changes {
        let table = system.accounts().table().map_err(|error| ApplyError::new(error.to_string()))?;
        if !change.is_needless(&table) {
            system.accounts().change(change).map_err(failed)?;
        }
    }
    Ok(())
}

fn failed(error: AccountError) -> ApplyError {
    let message = error.to_string();
    match error {
        AccountError::Refused { output, .. } => ApplyError::new(message).output(&output),
        _ => ApplyError::new(message),
    }
}

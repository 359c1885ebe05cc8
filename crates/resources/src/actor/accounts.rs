//! How a step changes accounts, and finds the numbers of names. How such a change is undone is in
//! [`kept`](super::kept).

use super::kept::{Kept, refused};
use super::{Actor, ApplyError};
use crate::system::accounts::{AccountChange, AccountTable};

impl Actor<'_> {
    /// Changes the accounts. The inverse change is kept in memory only.
    pub fn change_accounts(&mut self, change: &AccountChange) -> Result<(), ApplyError> {
        let table = self.system.accounts().table().map_err(|error| ApplyError::new(error.to_string()))?;
        // This comes before the change: a change that fails may have been made in part.
        self.undo.push(self.system, Kept::Accounts(change.inverse(&table)))?;
        self.system.accounts().change(change).map_err(refused)
    }

    /// Returns the number of a user given by name or number. If the host's files do not know it, other sources are
    /// asked.
    pub(super) fn uid(&self, table: &AccountTable, given: &str) -> Result<u32, ApplyError> {
        uid_of(table, given).or_else(|unknown| {
            let remote = self.system.accounts().remote_user(given);
            remote.map_err(|error| ApplyError::new(error.to_string()))?.map(|user| user.uid).ok_or(unknown)
        })
    }

    /// Returns the number of a group, as for a user.
    pub(super) fn gid(&self, table: &AccountTable, given: &str) -> Result<u32, ApplyError> {
        gid_of(table, given).or_else(|unknown| {
            let remote = self.system.accounts().remote_group(given);
            remote.map_err(|error| ApplyError::new(error.to_string()))?.map(|group| group.gid).ok_or(unknown)
        })
    }
}

/// Returns the number of a user given by name or number.
pub fn uid_of(table: &AccountTable, given: &str) -> Result<u32, ApplyError> {
    let known = table.users.get(given).map(|user| user.uid).or_else(|| given.parse().ok());
    known.ok_or_else(|| ApplyError::new(format!("there is no user {given}")))
}

/// Returns the number of a group given by name or number.
pub fn gid_of(table: &AccountTable, given: &str) -> Result<u32, ApplyError> {
    let known = table.groups.get(given).map(|group| group.gid).or_else(|| given.parse().ok());
    known.ok_or_else(|| ApplyError::new(format!("there is no group {given}")))
}

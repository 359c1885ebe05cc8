//! Owner and mode of what a step writes: what is asked, laid over what was there.

use std::fs::File;
use std::io;
use std::path::Path;

use super::kept::Kept;
use super::{Actor, ApplyError};
use crate::system::files::{Metadata, Sort};

/// What a file should be when it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The mode; none: that of what was there, else that of something new.
    pub mode: Option<u32>,
    /// The owner by name or number; none: that of what was there, else the agent's.
    pub owner: Option<String>,
    /// The group by name or number; none: as for the owner.
    pub group: Option<String>,
    /// Whether the content is a secret: a new file is for its owner alone, if no mode is given.
    pub secret: bool,
}

impl Attributes {
    /// The mode of a new file for which none is given.
    pub fn new_file(&self) -> u32 {
        if self.secret { 0o600 } else { 0o644 }
    }
}

impl Actor<'_> {
    /// Sets mode and owner of what is at `path`, as far as they are asked.
    pub fn set_attributes(&mut self, path: &Path, attributes: &Attributes) -> Result<(), ApplyError> {
        let fail = |error: io::Error| ApplyError::at("set owner and mode of", path, &error);
        let (Some(entry), Some(before)) = (self.entry(path)?, self.files().metadata(path).map_err(fail)?)
        else {
            return Err(ApplyError::at("change", path, &"it is not there"));
        };
        let mut asked = self.asked(before.clone(), attributes)?;
        if entry.sort == Sort::Folder && attributes.mode.is_none() {
            // What a folder gives to all that is made in it stays: no program acts by it.
            asked.mode = before.mode;
        }
        self.undo.push(self.system, Kept::Metadata { path: path.to_owned(), metadata: before })?;
        self.files().set_metadata(path, &asked).map_err(fail)
    }

    /// Gives a new file what it should have: what is asked, else what the file in its place had, else the agent's own
    /// account and the usual mode. It is dressed as it was opened, whatever somebody has put under its name since, and
    /// closed.
    pub(super) fn dress(
        &self,
        file: File,
        path: &Path,
        before: Option<Metadata>,
        attributes: &Attributes,
    ) -> Result<(), ApplyError> {
        let fail = |error: io::Error| ApplyError::at("set owner and mode of", path, &error);
        let before = match before {
            Some(before) => before,
            None => Metadata::fresh(&file, attributes.new_file()).map_err(fail)?,
        };
        self.asked(before, attributes)?.give(&file).map_err(fail)
    }

    /// `before` with what is asked laid over it.
    pub(super) fn asked(&self, before: Metadata, attributes: &Attributes) -> Result<Metadata, ApplyError> {
        let (uid, gid) = self.owner_numbers(attributes)?;
        let (uid, gid) = (uid.unwrap_or(before.uid), gid.unwrap_or(before.gid));
        let asked = before.owned_by(uid, gid);
        Ok(Metadata { mode: attributes.mode.unwrap_or(asked.mode), ..asked })
    }

    fn owner_numbers(&self, attributes: &Attributes) -> Result<(Option<u32>, Option<u32>), ApplyError> {
        if attributes.owner.is_none() && attributes.group.is_none() {
            return Ok((None, None));
        }
        let table = self.system.accounts().table().map_err(|error| ApplyError::new(error.to_string()))?;
        let uid = attributes.owner.as_deref().map(|name| self.uid(&table, name)).transpose()?;
        let gid = attributes.group.as_deref().map(|name| self.gid(&table, name)).transpose()?;
        Ok((uid, gid))
    }
}

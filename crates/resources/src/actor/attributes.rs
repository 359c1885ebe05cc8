//! Owner and mode of what a step writes: the asked values over those that were there.

use std::fs::File;
use std::io;
use std::path::Path;

use super::kept::Kept;
use super::{Actor, ApplyError};
use crate::system::files::{Metadata, Sort};

/// Owner and mode of a file when it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The mode. None: the mode of the old file, or the mode for a new one.
    pub mode: Option<u32>,
    /// The owner by name or number. None: the owner of the old file, or the agent's user.
    pub owner: Option<String>,
    /// The group by name or number. None: as for the owner.
    pub group: Option<String>,
    /// Whether the content is a secret. If no mode is given, a new file is then readable by its owner only.
    pub secret: bool,
}

impl Attributes {
    /// Returns the mode of a new file if none is given.
    pub fn new_file(&self) -> u32 {
        if self.secret { 0o600 } else { 0o644 }
    }
}

impl Actor<'_> {
    /// Sets the asked mode and owner of the thing at `path`.
    pub fn set_attributes(&mut self, path: &Path, attributes: &Attributes) -> Result<(), ApplyError> {
        let fail = |error: io::Error| ApplyError::at("set owner and mode of", path, &error);
        let (Some(entry), Some(before)) = (self.entry(path)?, self.files().metadata(path).map_err(fail)?)
        else {
            return Err(ApplyError::at("change", path, &"it does not exist"));
        };
        let mut asked = self.asked(before.clone(), attributes)?;
        if entry.sort == Sort::Folder && attributes.mode.is_none() {
            // The special bits of a folder stay: they are inherited by what is made in it, and no program gains
            // rights by them.
            asked.mode = before.mode;
        }
        self.undo.push(self.system, Kept::Metadata { path: path.to_owned(), metadata: before })?;
        self.files().set_metadata(path, &asked).map_err(fail)
    }

    /// Sets the attributes of a new file and closes it. They are the asked ones, else those of the old file, else the
    /// agent's user and the usual mode. It works on the open file, so that a file put under its name meanwhile is not
    /// touched.
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

    /// Returns `before` with the asked values over it.
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

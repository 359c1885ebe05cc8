//! How a step acts on units, and makes the service manager read their files.

use super::kept::Kept;
use super::{Actor, ApplyError};
use crate::system::services::Verb;

impl Actor<'_> {
    /// Does `verb` to a unit. `back` restores its state. Without `back`, the verb is done again once its cause is
    /// restored.
    pub fn unit(&mut self, verb: Verb, unit: &str, back: Option<Verb>) -> Result<(), ApplyError> {
        let kept = back.map(|verb| Kept::Unit { verb, unit: unit.to_owned() });
        match &kept {
            Some(kept) => self.undo.note(self.system, kept)?,
            None => self.undo.note_again(verb, unit)?,
        }
        self.system.units().act(verb, unit).map_err(|error| {
            let journal = if verb.is_job() { self.system.units().journal(unit, 20) } else { String::new() };
            ApplyError::new(error.to_string()).output(journal.as_bytes())
        })?;
        kept.into_iter().for_each(|kept| self.undo.hold(kept));
        Ok(())
    }

    /// Makes the service manager read the unit files that `change` writes. If they are restored, it reads them again.
    pub fn change_unit_files(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        // The last kept is restored first: the files, and then this.
        self.undo.push(self.system, Kept::UnitFiles)?;
        self.undo.unread = true;
        change(self)?;
        self.read_unit_files()
    }

    /// Makes the service manager read the unit files that the step wrote and it has not read yet. It does not matter
    /// which kind wrote them.
    pub fn read_unit_files(&mut self) -> Result<(), ApplyError> {
        if !std::mem::take(&mut self.undo.unread) {
            return Ok(());
        }
        self.system.units().reload_files().map_err(|error| ApplyError::new(error.to_string()))
    }
}

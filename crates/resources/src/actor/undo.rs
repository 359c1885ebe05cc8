//! The things that the steps of a run replaced, in order, so that they can be restored by resource. One such thing is
//! defined in [`kept`](super::kept). The part that another process can restore is in [`standby`](super::standby).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ApplyError;
use super::kept::Kept;
use super::standby::Standby;
use crate::system::System;
use crate::system::files::Files;
use crate::system::processes::Command;
use crate::system::services::Verb;
use crate::view::seen::is_read_by_systemd;

/// The things that the steps of a run replaced, in order, each with its resource.
#[derive(Default)]
pub struct Undo {
    /// The private folder that keeps replaced files. None: they are kept in memory only.
    store: Option<Files>,
    /// By resource: the things that were replaced for it, each with its place in the order of the run.
    kept: BTreeMap<u32, Vec<(u64, Kept)>>,
    /// The place of the next kept thing.
    place: u64,
    owner: u32,
    /// Whether kept things are also noted for a revert by the host itself.
    guarded: bool,
    standby: Option<Standby>,
    /// The number of the last place in the store.
    number: u64,
    /// Whether something that systemd reads its units from changed since systemd last read it.
    pub(super) unread: bool,
}

impl Undo {
    /// Keeps replaced files below the root of `store`, a private folder.
    pub fn in_store(store: Files) -> Self {
        Self { store: Some(store), ..Self::default() }
    }

    /// Assigns what is kept from now on to the resource at `owner` in the catalog. `guarded`: it is also noted for
    /// the revert.
    pub fn begin(&mut self, owner: u32, guarded: bool) {
        (self.owner, self.guarded, self.unread) = (owner, guarded, false);
    }

    /// Restores, in reverse order, all that was kept for the resources in `owners`. It tries everything and returns
    /// the first failure. Returns whether there was anything but receipts, which are only notes.
    pub fn restore(&mut self, system: &dyn System, owners: &[u32]) -> Result<bool, ApplyError> {
        let mut theirs: Vec<_> = owners.iter().flat_map(|owner| self.kept.remove(owner)).flatten().collect();
        theirs.sort_by_key(|(place, _)| *place);
        let any = theirs.iter().any(|(_, kept)| !matches!(kept, Kept::Receipt { .. }));
        let outcomes: Vec<_> =
            theirs.into_iter().rev().map(|(_, kept)| kept.restore(system, self.store.as_ref())).collect();
        outcomes.into_iter().find(Result::is_err).unwrap_or(Ok(())).map(|()| any)
    }

    /// Keeps what is about to be replaced.
    pub(super) fn push(&mut self, system: &dyn System, kept: Kept) -> Result<(), ApplyError> {
        let path = match &kept {
            Kept::Nothing(path) | Kept::File { path, .. } | Kept::Link { path, .. } => Some(path),
            _ => None,
        };
        if !self.unread && path.is_some_and(|path| is_read_by_systemd(path)) {
            // The last kept is restored first: the files, and then this.
            self.note(system, &Kept::UnitFiles)?;
            self.hold(Kept::UnitFiles);
            self.unread = true;
        }
        self.note(system, &kept)?;
        self.hold(kept);
        Ok(())
    }

    /// Keeps what was noted, after it was replaced.
    pub(super) fn hold(&mut self, kept: Kept) {
        self.kept.entry(self.owner).or_default().push((self.place, kept));
        self.place += 1;
    }

    /// Returns the store with a new place in it, if there is a store.
    pub(super) fn next(&mut self) -> Option<(&Files, PathBuf)> {
        let store = self.store.as_ref()?;
        self.number += 1;
        Some((store, Path::new("/").join(self.number.to_string())))
    }

    /// Sets where kept things of guarded resources are also noted, before the change is made. None: nowhere else.
    pub fn stand_by(&mut self, standby: Option<Standby>) {
        self.standby = standby;
    }

    /// Notes `kept` if the current resource is guarded.
    pub(super) fn note(&mut self, system: &dyn System, kept: &Kept) -> Result<(), ApplyError> {
        match &mut self.standby {
            Some(standby) if self.guarded => standby.note(kept, system, self.store.as_ref()),
            _ => Ok(()),
        }
    }

    /// Notes that `verb` is done to `unit`. After everything was restored, it is repeated.
    pub(super) fn note_again(&mut self, verb: Verb, unit: &str) -> Result<(), ApplyError> {
        match &mut self.standby {
            Some(standby) if self.guarded => standby.again_unit(verb, unit),
            _ => Ok(()),
        }
    }

    /// Like [`Undo::note_again`], for a command.
    pub(super) fn note_again_command(&mut self, command: &Command) -> Result<(), ApplyError> {
        match &mut self.standby {
            Some(standby) if self.guarded => standby.again_command(command),
            _ => Ok(()),
        }
    }
}

//! What the steps of a run replaced, in order, so that it can be put back by resource. What one replaced thing is, is in
//! [`kept`](super::kept); what another process can put back, in [`standby`](super::standby).

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

/// What the steps of a run replaced, in order, each with the resource that it belongs to.
#[derive(Default)]
pub struct Undo {
    /// The private folder that keeps replaced files; none: memory alone.
    store: Option<Files>,
    /// By resource: what was replaced for it, each with its place in the order of the run.
    kept: BTreeMap<u32, Vec<(u64, Kept)>>,
    /// The place of what is kept next.
    place: u64,
    owner: u32,
    /// Whether what is kept now is noted for the host to put back by itself.
    guarded: bool,
    standby: Option<Standby>,
    /// The number of the last place in the store.
    number: u64,
    /// Whether something changed that systemd makes its units of, and has not read since.
    pub(super) unread: bool,
}

impl Undo {
    /// Keeps replaced files below the root of `store`, a private folder.
    pub fn in_store(store: Files) -> Self {
        Self { store: Some(store), ..Self::default() }
    }

    /// What is kept from now on belongs to the resource at `owner` in the catalog. `guarded`: it is noted in what
    /// stands by, too.
    pub fn begin(&mut self, owner: u32, guarded: bool) {
        (self.owner, self.guarded, self.unread) = (owner, guarded, false);
    }

    /// Puts back, in reverse, all that was kept for the resources in `owners`; the first failure is told, the rest is
    /// tried all the same. Whether there was anything: a note of ours is nothing on the host.
    pub fn put_back(&mut self, system: &dyn System, owners: &[u32]) -> Result<bool, ApplyError> {
        let mut theirs: Vec<_> = owners.iter().flat_map(|owner| self.kept.remove(owner)).flatten().collect();
        theirs.sort_by_key(|(place, _)| *place);
        let any = theirs.iter().any(|(_, kept)| !matches!(kept, Kept::Receipt { .. }));
        let outcomes: Vec<_> =
            theirs.into_iter().rev().map(|(_, kept)| kept.put_back(system, self.store.as_ref())).collect();
        outcomes.into_iter().find(Result::is_err).unwrap_or(Ok(())).map(|()| any)
    }

    /// Keeps what is about to be replaced.
    pub(super) fn push(&mut self, system: &dyn System, kept: Kept) -> Result<(), ApplyError> {
        let path = match &kept {
            Kept::Nothing(path) | Kept::File { path, .. } | Kept::Link { path, .. } => Some(path),
            _ => None,
        };
        if !self.unread && path.is_some_and(|path| is_read_by_systemd(path)) {
            // What is kept last is put back first: the files, and then this.
            self.note(system, &Kept::UnitFiles)?;
            self.hold(Kept::UnitFiles);
            self.unread = true;
        }
        self.note(system, &kept)?;
        self.hold(kept);
        Ok(())
    }

    /// Keeps what was noted, now that it was replaced.
    pub(super) fn hold(&mut self, kept: Kept) {
        self.kept.entry(self.owner).or_default().push((self.place, kept));
        self.place += 1;
    }

    /// The store with a new place in it, if there is a store.
    pub(super) fn next(&mut self) -> Option<(&Files, PathBuf)> {
        let store = self.store.as_ref()?;
        self.number += 1;
        Some((store, Path::new("/").join(self.number.to_string())))
    }

    /// From now on what is kept for a guarded resource is noted in `standby` as well, before the change is made; none:
    /// nowhere else.
    pub fn stand_by(&mut self, standby: Option<Standby>) {
        self.standby = standby;
    }

    /// Notes `kept` where the resource in hand is guarded.
    pub(super) fn note(&mut self, system: &dyn System, kept: &Kept) -> Result<(), ApplyError> {
        match &mut self.standby {
            Some(standby) if self.guarded => standby.note(kept, system, self.store.as_ref()),
            _ => Ok(()),
        }
    }

    /// Notes that `verb` is done to `unit`: once all was put back, it is done again.
    pub(super) fn note_again(&mut self, verb: Verb, unit: &str) -> Result<(), ApplyError> {
        match &mut self.standby {
            Some(standby) if self.guarded => standby.again_unit(verb, unit),
            _ => Ok(()),
        }
    }

    /// As [`Undo::note_again`], for a command that is run.
    pub(super) fn note_again_command(&mut self, command: &Command) -> Result<(), ApplyError> {
        match &mut self.standby {
            Some(standby) if self.guarded => standby.again_command(command),
            _ => Ok(()),
        }
    }
}

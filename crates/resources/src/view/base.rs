//! One pass over a host: what was read, kept for all views of the pass.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use converge_model::{Claim, Digest};

use super::seen::LookError;
use crate::contents::Contents;
use crate::system::System;
use crate::system::accounts::{AccountTable, Group, User};
use crate::system::files::Entry;
use crate::system::packages::{PackageTable, Upkeep};
use crate::system::services::UnitState;

/// The host's current state, with what was read in one pass. After a step changed something, a new pass begins.
pub struct Base<'a> {
    pub(super) system: &'a dyn System,
    pub(super) entries: Memory<PathBuf, Result<Option<Entry>, (io::ErrorKind, String)>>,
    pub(super) digests: Memory<PathBuf, Result<Digest, (io::ErrorKind, String)>>,
    pub(super) accounts: OnceLock<Result<Arc<AccountTable>, String>>,
    pub(super) remote_users: Memory<String, Result<Option<User>, String>>,
    pub(super) remote_groups: Memory<String, Result<Option<Group>, String>>,
    pub(super) packages: OnceLock<Result<Arc<PackageTable>, String>>,
    pub(super) candidates: Memory<String, Result<Option<String>, String>>,
    pub(super) upkeep: OnceLock<Result<Upkeep, String>>,
    pub(super) units: Mutex<BTreeMap<String, UnitState>>,
    pub(super) claims: &'a Claims,
    pub(super) contents: Option<&'a (dyn Contents + Sync)>,
}

/// The paths that the resources of a catalog claim, in order. An act makes one pass per look; all passes share these.
#[derive(Debug, Default)]
pub struct Claims(pub(super) BTreeSet<PathBuf>);

/// The claims of a pass without a catalog: none.
static NO_CLAIMS: Claims = Claims(BTreeSet::new());

impl Claims {
    /// Returns the paths among `claims`.
    pub fn of<'c>(claims: impl IntoIterator<Item = &'c Claim>) -> Self {
        let path = |claim: &'c Claim| match claim {
            Claim::Path { path, .. } => Some(PathBuf::from(path)),
            Claim::Named { .. } => None,
        };
        Self(claims.into_iter().filter_map(path).collect())
    }
}

/// Answers that are kept for the pass.
pub(super) struct Memory<K, V>(Mutex<HashMap<K, V>>);

impl<K: Eq + Hash, V: Clone> Memory<K, V> {
    fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// Returns the answer for `key`. A missing one is computed outside the lock.
    pub(super) fn get<Q: ToOwned<Owned = K> + Hash + Eq + ?Sized>(
        &self,
        key: &Q,
        compute: impl FnOnce() -> V,
    ) -> V
    where
        K: std::borrow::Borrow<Q>,
    {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(key) {
            return known.clone();
        }
        let value = compute();
        lock().insert(key.to_owned(), value.clone());
        value
    }
}

impl<'a> Base<'a> {
    /// Begins a new pass over `system`.
    pub fn new(system: &'a dyn System) -> Self {
        Self {
            system,
            entries: Memory::new(),
            digests: Memory::new(),
            accounts: OnceLock::new(),
            remote_users: Memory::new(),
            remote_groups: Memory::new(),
            packages: OnceLock::new(),
            candidates: Memory::new(),
            upkeep: OnceLock::new(),
            units: Mutex::new(BTreeMap::new()),
            claims: &NO_CLAIMS,
            contents: None,
        }
    }

    /// Lets kinds read the controller's contents, if their plans depend on them.
    pub fn reading(mut self, contents: &'a (dyn Contents + Sync)) -> Self {
        self.contents = Some(contents);
        self
    }

    /// Sets the claims of the catalog. A kind that walks through a folder then skips what another resource claims.
    /// Without them, no folder can be purged.
    pub fn claiming(mut self, claims: &'a Claims) -> Self {
        self.claims = claims;
        self
    }

    /// Asks for the states of all `units` at once, and then for those of their parts.
    pub fn warm_units(&self, units: &[String]) -> Result<(), LookError> {
        let states = self.states(units)?;
        let parts: BTreeSet<_> = states.iter().flat_map(|state| &state.parts).cloned().collect();
        let parts: Vec<_> = parts.into_iter().filter(|part| !units.contains(part)).collect();
        let parts_states = if parts.is_empty() { Vec::new() } else { self.states(&parts)? };
        let mut known = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(parts.into_iter().zip(parts_states));
        known.extend(units.iter().cloned().zip(states));
        Ok(())
    }

    pub(super) fn states(&self, units: &[String]) -> Result<Vec<UnitState>, LookError> {
        self.system.units().states(units).map_err(|error| LookError::Other(error.to_string()))
    }

    pub(super) fn entry(&self, path: &Path) -> Result<Option<Entry>, LookError> {
        let found = self
            .entries
            .get(path, || self.system.files().entry(path).map_err(|error| (error.kind(), error.to_string())));
        found.map_err(|(kind, why)| LookError::Path {
            path: path.to_owned(),
            source: io::Error::new(kind, why),
        })
    }

    pub(super) fn digest(&self, path: &Path) -> Result<Digest, LookError> {
        let found = self.digests.get(path, || {
            self.system
                .files()
                .digest(path)
                .map(|(digest, _)| digest)
                .map_err(|error| (error.kind(), error.to_string()))
        });
        found.map_err(|(kind, why)| LookError::Path {
            path: path.to_owned(),
            source: io::Error::new(kind, why),
        })
    }

    pub(super) fn accounts(&self) -> Result<&Arc<AccountTable>, LookError> {
        let table =
            self.accounts.get_or_init(|| self.system.accounts().table().map_err(|error| error.to_string()));
        table.as_ref().map_err(|why| LookError::Other(format!("failed to read the accounts: {why}")))
    }

    pub(super) fn packages(&self) -> Result<&Arc<PackageTable>, LookError> {
        let table = self
            .packages
            .get_or_init(|| self.system.packages().installed().map_err(|error| error.to_string()));
        table.as_ref().map_err(|why| LookError::Other(why.clone()))
    }

    pub(super) fn unit(&self, name: &str) -> Result<UnitState, LookError> {
        let known = || self.units.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(state) = known() {
            return Ok(state);
        }
        self.warm_units(&[name.to_owned()])?;
        Ok(known().unwrap_or_default())
    }
}

//! The state that all values of one host's catalog share while it is compiled. It has the project, the used secrets,
//! the iterations left for loops, and further mistakes. A session belongs to one thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use minijinja::Value;

use crate::evaluate::facts::Knowledge;
use crate::project::Data;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Files, Span};
use crate::source::ids::HostId;
use crate::source::sources::Sources;
use crate::template::{Evaluated, Later, Marks, ScopeError, unknown};

/// The most iterations of all loops of one host together, nested or not.
pub(crate) const ALL_TURNS: usize = 200_000;

/// The state that all values of one catalog share.
pub(crate) struct Session {
    pub(crate) data: Arc<Data>,
    /// Whether the facts of the host are known.
    pub(crate) facts: Knowledge,
    /// The secrets that were used.
    used: Mutex<Vec<Arc<str>>>,
    /// The iterations that are left for loops. None after the limit was exceeded.
    turns: Mutex<Option<usize>>,
    /// Further mistakes, each with the mistake that was returned instead.
    noted: Mutex<Vec<(Diagnostic, Diagnostic)>>,
    /// The variables, and their keys, that are being evaluated.
    open: Mutex<Vec<(ScopeId, String, Span)>>,
    /// The maps that may have been read, with the scope that they belong to. Maps live as long as their scope.
    maps: Mutex<Vec<(ScopeId, Weak<dyn Later>)>>,
}

/// The id of a scope with its own variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScopeId {
    /// The scope of a host.
    Host(HostId),
    /// The scope of a module instance, by the number of its body.
    Module(u32),
}

impl Session {
    /// Returns a new session.
    pub(crate) fn new(data: Arc<Data>, facts: Knowledge) -> Arc<Self> {
        let turns = Mutex::new(Some(ALL_TURNS));
        Arc::new(Self {
            data,
            facts,
            used: Mutex::default(),
            turns,
            noted: Mutex::default(),
            open: Mutex::default(),
            maps: Mutex::default(),
        })
    }

    pub(crate) fn sources(&self) -> &dyn Sources {
        &*self.data.loader.sources
    }

    pub(crate) fn files(&self) -> &Files {
        &self.data.files
    }

    /// Takes `turns` from the iterations that are left. Returns whether there were enough.
    pub(crate) fn may_turn(&self, turns: usize) -> bool {
        let mut left = lock(&self.turns);
        *left = left.and_then(|left| left.checked_sub(turns));
        left.is_some()
    }

    /// Whether loops exceeded the limit. Then no further loop runs.
    pub(crate) fn has_turned_too_much(&self) -> bool {
        lock(&self.turns).is_none()
    }

    /// Returns a secret by its name.
    pub(crate) fn secret(&self, name: &str, at: Span) -> Result<Evaluated, Diagnostic> {
        match self.data.secrets.get(name, at, self.facts != Knowledge::Unknown)? {
            Some(secret) => {
                lock(&self.used).push(Arc::clone(&secret));
                Ok(Evaluated { value: Value::from(secret), marks: Marks::TAINTED })
            }
            None => Ok(Evaluated { value: unknown(), marks: Marks::TAINTED | Marks::UNKNOWN }),
        }
    }

    /// Records that a variable or a key of one is being evaluated. A cycle is an error.
    pub(crate) fn enter(&self, scope: ScopeId, path: &str, at: Span) -> Result<(), ScopeError> {
        let mut open = lock(&self.open);
        let Some(from) = open.iter().position(|(of, known, _)| *of == scope && known == path) else {
            open.push((scope, path.to_owned(), at));
            return Ok(());
        };
        let names: Vec<&str> = open[from..].iter().map(|(_, name, _)| name.as_str()).collect();
        let message =
            format!("the variable `{}` needs itself: {} -> {}", names[0], names.join(" -> "), names[0]);
        let mut report = Diagnostic::error(Code::Cycle, message);
        for (index, (_, name, at)) in open[from..].iter().enumerate() {
            let next = names.get(index + 1).unwrap_or(&names[0]);
            report = report.label(*at, format!("`{name}` uses `{next}`"));
        }
        Err(ScopeError(Box::new(report)))
    }

    /// Records that the last entered variable is evaluated.
    pub(crate) fn leave(&self) {
        lock(&self.open).pop();
    }

    /// Remembers a map of `scope` whose keys are evaluated when they are read.
    pub(crate) fn keep(&self, scope: ScopeId, map: Weak<dyn Later>) {
        lock(&self.maps).push((scope, map));
    }

    /// Reports mistakes in keys that were never read, in maps of `scope` of which some key was read. The scope must
    /// still exist.
    pub(crate) fn tell_unread(&self, scope: ScopeId, diagnostics: &mut Diagnostics) {
        let next = || {
            let mut maps = lock(&self.maps);
            let index = maps.iter().position(|(of, _)| *of == scope)?;
            Some(maps.swap_remove(index).1)
        };
        // A key that is evaluated now may be another map.
        while let Some(map) = next() {
            if let Some(Err(ScopeError(report))) = map.upgrade().map(|map| map.values()) {
                diagnostics.push(*report);
            }
        }
    }

    /// Notes a further mistake of a value. Its first mistake is reported where the value is used.
    pub(crate) fn note(&self, first: &Diagnostic, mistake: Diagnostic) {
        lock(&self.noted).push((first.clone(), mistake));
    }

    /// Reports the noted mistakes whose first mistake is in `diagnostics`. Mistakes of values that were never used are
    /// dropped.
    pub(crate) fn tell_noted(&self, diagnostics: &mut Diagnostics) {
        let mut left = std::mem::take(&mut *lock(&self.noted));
        // A noted mistake may itself have further mistakes.
        while let Some(index) = left.iter().position(|(first, _)| diagnostics.tells(first)) {
            diagnostics.push(left.remove(index).1);
        }
    }

    /// Returns the secrets that were used so far, without duplicates.
    pub(crate) fn used(&self) -> Vec<Arc<str>> {
        let mut used = lock(&self.used).clone();
        used.sort();
        used.dedup();
        used
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A session belongs to one thread. A poisoned session has panicked and is not used again.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

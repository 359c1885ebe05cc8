//! What all values of one host's catalog share while it is compiled: the project, the secrets that were used, how many
//! turns loops may still take, mistakes beside others. A session belongs to one thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use minijinja::Value;

use crate::evaluate::facts::Knowledge;
use crate::project::Data;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Files, Span};
use crate::source::ids::HostId;
use crate::source::sources::Sources;
use crate::template::{Evaluated, Later, Marks, ScopeError, unknown};

/// The most turns of all loops of one host, in each other and one after the other.
pub(crate) const ALL_TURNS: usize = 200_000;

/// What the values of one catalog share.
pub(crate) struct Session {
    pub(crate) data: Arc<Data>,
    /// What the facts of the host are worth.
    pub(crate) facts: Knowledge,
    /// The secrets that were used.
    used: Mutex<Vec<Arc<str>>>,
    /// How many turns loops may still take; none once they wanted more.
    turns: Mutex<Option<usize>>,
    /// Mistakes beside others, each with the one that was returned.
    noted: Mutex<Vec<(Diagnostic, Diagnostic)>>,
    /// The variables being evaluated, and the keys of them.
    open: Mutex<Vec<(ScopeId, String, Span)>>,
    /// The maps of which something may have been read, with the scope that they belong to. A map goes with its scope.
    maps: Mutex<Vec<(ScopeId, Weak<dyn Later>)>>,
}

/// A scope with variables of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScopeId {
    /// That of a host.
    Host(HostId),
    /// That of a module instance, by the number of its body.
    Module(u32),
}

impl Session {
    /// A session in which nothing was evaluated yet.
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

    /// Takes `turns` from those that the host's loops have; whether there were as many.
    pub(crate) fn may_turn(&self, turns: usize) -> bool {
        let mut left = lock(&self.turns);
        *left = left.and_then(|left| left.checked_sub(turns));
        left.is_some()
    }

    /// Whether loops wanted more turns than there are: all others are left alone.
    pub(crate) fn has_turned_too_much(&self) -> bool {
        lock(&self.turns).is_none()
    }

    /// A secret by its name.
    pub(crate) fn secret(&self, name: &str, at: Span) -> Result<Evaluated, Diagnostic> {
        match self.data.secrets.get(name, at, self.facts != Knowledge::Unknown)? {
            Some(secret) => {
                lock(&self.used).push(Arc::clone(&secret));
                Ok(Evaluated { value: Value::from(secret), marks: Marks::TAINTED })
            }
            None => Ok(Evaluated { value: unknown(), marks: Marks::TAINTED | Marks::UNKNOWN }),
        }
    }

    /// Notes that a variable, or a key of one, is being evaluated; a cycle prints itself.
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

    /// Notes that the one entered last is evaluated.
    pub(crate) fn leave(&self) {
        lock(&self.open).pop();
    }

    /// Remembers a map of `scope` whose keys are evaluated when they are read.
    pub(crate) fn keep(&self, scope: ScopeId, map: Weak<dyn Later>) {
        lock(&self.maps).push((scope, map));
    }

    /// Tells the mistakes of keys that nobody read, in maps of `scope` of which something was read. While the scope is there.
    pub(crate) fn tell_unread(&self, scope: ScopeId, diagnostics: &mut Diagnostics) {
        let next = || {
            let mut maps = lock(&self.maps);
            let index = maps.iter().position(|(of, _)| *of == scope)?;
            Some(maps.swap_remove(index).1)
        };
        // A key that is read now may be a map again.
        while let Some(map) = next() {
            if let Some(Err(ScopeError(report))) = map.upgrade().map(|map| map.values()) {
                diagnostics.push(*report);
            }
        }
    }

    /// Notes a mistake of a value whose first mistake is told where the value is used.
    pub(crate) fn note(&self, first: &Diagnostic, mistake: Diagnostic) {
        lock(&self.noted).push((first.clone(), mistake));
    }

    /// Tells the mistakes that were noted beside those that `diagnostics` tell: a value that nobody used has none.
    pub(crate) fn tell_noted(&self, diagnostics: &mut Diagnostics) {
        let mut left = std::mem::take(&mut *lock(&self.noted));
        // One that was noted may have others beside it in turn.
        while let Some(index) = left.iter().position(|(first, _)| diagnostics.tells(first)) {
            diagnostics.push(left.remove(index).1);
        }
    }

    /// The secrets that were used so far, each once.
    pub(crate) fn used(&self) -> Vec<Arc<str>> {
        let mut used = lock(&self.used).clone();
        used.sort();
        used.dedup();
        used
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A session belongs to one thread; a poisoned one has panicked and is not used again.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

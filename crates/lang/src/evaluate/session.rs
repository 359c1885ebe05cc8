//! What all values of one host's catalog share while it is compiled: the project, the secrets that were used, how many
//! turns loops may still take, mistakes beside others. A session belongs to one thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minijinja::Value;

use crate::evaluate::facts::Knowledge;
use crate::project::Data;
use crate::source::diagnostic::{Diagnostic, Diagnostics, Files, Span};
use crate::source::sources::Sources;
use crate::template::{Evaluated, Marks, unknown};

/// The most turns of all loops of one host, in each other and one after the other.
pub(crate) const ALL_TURNS: usize = 200_000;

/// See above.
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
}

impl Session {
    /// A session in which nothing was evaluated yet.
    pub(crate) fn new(data: Arc<Data>, facts: Knowledge) -> Arc<Self> {
        let turns = Mutex::new(Some(ALL_TURNS));
        Arc::new(Self { data, facts, used: Mutex::default(), turns, noted: Mutex::default() })
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

    /// Notes a mistake of a value whose first mistake is told where the value is used.
    pub(crate) fn note(&self, first: &Diagnostic, mistake: Diagnostic) {
        lock(&self.noted).push((first.clone(), mistake));
    }

    /// Tells the mistakes that were noted beside those that `diagnostics` tell: a value that nobody used has none.
    pub(crate) fn tell_noted(&self, diagnostics: &mut Diagnostics) {
        let mut left = std::mem::take(&mut *lock(&self.noted));
        // One that was noted may have others beside it in turn.
        while let Some(place) = left.iter().position(|(first, _)| diagnostics.tells(first)) {
            diagnostics.push(left.remove(place).1);
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

//! The names of a template, looked up when it gets to them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::Value;
use minijinja::value::Object;

use super::error::Failure;
use super::marks::{Marks, seen};
use super::recording::{mark, observe};
use super::scope::Scope;

/// The scope of one rendering: every name is asked for once.
pub(super) struct Context {
    scope: Arc<dyn Scope>,
    seen: Mutex<HashMap<String, Option<(Value, Marks)>>>,
    /// Names that are not there, in the order asked for.
    missed: Mutex<Vec<String>>,
}

impl Context {
    pub(super) fn new(scope: &Arc<dyn Scope>) -> Arc<Self> {
        Arc::new(Self { scope: Arc::clone(scope), seen: Mutex::default(), missed: Mutex::default() })
    }

    /// All names there are.
    pub(super) fn names(&self) -> Vec<String> {
        self.scope.names()
    }

    /// The names that were asked for and are not there.
    pub(super) fn misses(&self) -> Vec<String> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn find(&self, name: &str) -> Option<(Value, Marks)> {
        let known = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        known.unwrap_or_else(|| {
            // What the scope reads to find a value is in the value's own marks; and it may render, so no lock is held.
            let (found, _) = observe(|| self.scope.get(name));
            let found = found.map(|found| match found {
                Ok(found) => (found.value, found.marks),
                Err(error) => (Value::from(minijinja::Error::from(Failure::Scope(error))), Marks::default()),
            });
            if found.is_none() {
                self.missed.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
            }
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), found.clone());
            found
        })
    }
}

impl Object for Context {
    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let (value, marks) = self.find(key)?;
        let value = seen(&value, &marks);
        mark(marks);
        Some(value)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

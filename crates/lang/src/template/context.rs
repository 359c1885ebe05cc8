//! The names of a template, looked up on demand.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::Value;
use minijinja::value::Object;

use super::error::Failure;
use super::marks::{Marks, seen};
use super::recording::{mark, observe};
use super::scope::Scope;

/// The scope of one rendering. Each name is looked up once.
pub(super) struct Context {
    scope: Arc<dyn Scope>,
    seen: Mutex<HashMap<String, Option<(Value, Marks)>>>,
    /// The names that were not found, in the order of lookup.
    missed: Mutex<Vec<String>>,
}

impl Context {
    pub(super) fn new(scope: &Arc<dyn Scope>) -> Arc<Self> {
        Arc::new(Self { scope: Arc::clone(scope), seen: Mutex::default(), missed: Mutex::default() })
    }

    /// Returns all names in scope.
    pub(super) fn names(&self) -> Vec<String> {
        self.scope.names()
    }

    /// Returns the names that were looked up and not found.
    pub(super) fn misses(&self) -> Vec<String> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn find(&self, name: &str) -> Option<(Value, Marks)> {
        let known = self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        known.unwrap_or_else(|| {
            // The marks of the value already include what the scope reads to find it. The scope may render, so hold no
            // lock.
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

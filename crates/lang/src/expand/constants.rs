//! What is the same on every host is bound once, by whichever host comes to it first.

use std::sync::{Arc, OnceLock};

use crate::source::ids::{ConstantId, Table};

/// What was made once of what is the same on every host.
pub(crate) struct Constants<T>(Table<ConstantId, OnceLock<Arc<T>>>);

impl<T> Constants<T> {
    /// Room for `count` of them.
    pub(crate) fn new(count: usize) -> Self {
        Self((0..count).map(|_| OnceLock::new()).collect())
    }

    /// What was made for `constant`; `make` makes it the first time, and each time for what differs from host to host.
    pub(crate) fn get(&self, constant: Option<ConstantId>, make: impl FnOnce() -> T) -> Arc<T> {
        match constant {
            Some(constant) => Arc::clone(self.0[constant].get_or_init(|| Arc::new(make()))),
            None => Arc::new(make()),
        }
    }
}

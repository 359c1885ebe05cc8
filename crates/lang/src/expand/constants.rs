//! Results that are equal on every host. The first host that needs one computes it for all.

use std::sync::{Arc, OnceLock};

use crate::source::ids::{ConstantId, Table};

/// Results that are equal on every host, each computed once.
pub(crate) struct Constants<T>(Table<ConstantId, OnceLock<Arc<T>>>);

impl<T> Constants<T> {
    /// Returns space for `count` results.
    pub(crate) fn new(count: usize) -> Self {
        Self((0..count).map(|_| OnceLock::new()).collect())
    }

    /// Returns the result for `constant`, which `make` computes the first time. Without a constant, `make` computes it
    /// each time.
    pub(crate) fn get(&self, constant: Option<ConstantId>, make: impl FnOnce() -> T) -> Arc<T> {
        match constant {
            Some(constant) => Arc::clone(self.0[constant].get_or_init(|| Arc::new(make()))),
            None => Arc::new(make()),
        }
    }
}

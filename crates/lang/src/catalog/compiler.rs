//! The data that all catalogs of a project share.

use crate::catalog::lower::Lowered;
use crate::expand::constants::Constants;
use crate::expand::walk::Read;
use crate::resolve::Resolved;

/// The resolved project, and results that are computed once for all hosts.
pub(crate) struct Compiler {
    pub(crate) resolved: Resolved,
    pub(crate) bound: Constants<Read>,
    pub(crate) lowered: Constants<Lowered>,
}

impl Compiler {
    /// Returns a compiler that has not compiled anything.
    pub(crate) fn new(resolved: Resolved) -> Self {
        let (bound, lowered) = (Constants::new(resolved.constants), Constants::new(resolved.constants));
        Self { resolved, bound, lowered }
    }
}

//! What all catalogs of a project share.

use crate::catalog::lower::Lowered;
use crate::expand::constants::Constants;
use crate::expand::walk::Read;
use crate::resolve::Resolved;

/// What the catalogs of all hosts are made from, and what was made once for all of them.
pub(crate) struct Compiler {
    pub(crate) resolved: Resolved,
    pub(crate) bound: Constants<Read>,
    pub(crate) lowered: Constants<Lowered>,
}

impl Compiler {
    /// Nothing is compiled yet.
    pub(crate) fn new(resolved: Resolved) -> Self {
        let (bound, lowered) = (Constants::new(resolved.constants), Constants::new(resolved.constants));
        Self { resolved, bound, lowered }
    }
}

//! What a project is read with.

use std::sync::Arc;

use converge_model::KindInfo;

use crate::source::sources::{Builtin, Sources};

/// What a project is read with.
#[derive(Clone)]
pub struct Loader {
    /// Where its files are.
    pub sources: Arc<dyn Sources>,
    /// The kinds of resources.
    pub kinds: Vec<&'static dyn KindInfo>,
    /// The modules that come with Converge.
    pub builtins: Vec<Builtin>,
}

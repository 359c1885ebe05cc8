//! What a project is read with.

use std::sync::Arc;

use converge_model::KindInfo;

use crate::source::diagnostic::{Diagnostics, FileId};
use crate::source::sources::{Builtin, Sources};
use crate::syntax::parse::{self, Node};
use crate::syntax::parsed::Parsed;

/// What a project is read with.
#[derive(Clone)]
pub struct Loader {
    /// Where its files are.
    pub sources: Arc<dyn Sources>,
    /// The kinds of resources.
    pub kinds: Vec<&'static dyn KindInfo>,
    /// The modules that come with Converge.
    pub builtins: Vec<Builtin>,
    /// What files were parsed to before; `None` if they are read once.
    pub parsed: Option<Arc<Parsed>>,
}

impl Loader {
    /// A loader that reads once.
    pub fn new(sources: Arc<dyn Sources>, kinds: Vec<&'static dyn KindInfo>, builtins: Vec<Builtin>) -> Self {
        Self { sources, kinds, builtins, parsed: None }
    }

    /// The nodes of a file.
    pub(crate) fn parse(&self, file: FileId, text: &str, diagnostics: &mut Diagnostics) -> Vec<Node> {
        match &self.parsed {
            Some(parsed) => parsed.parse(file, text, diagnostics),
            None => parse::parse(file, text, diagnostics),
        }
    }
}

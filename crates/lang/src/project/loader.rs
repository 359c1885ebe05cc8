//! The loader: the inputs for reading a project.

use std::sync::Arc;

use converge_model::KindInfo;

use crate::source::diagnostic::{Diagnostics, FileId};
use crate::source::sources::{Builtin, Sources};
use crate::syntax::parse::{self, Node};
use crate::syntax::parsed::Parsed;

/// The inputs for reading a project.
#[derive(Clone)]
pub struct Loader {
    /// The source of its files.
    pub sources: Arc<dyn Sources>,
    /// The kinds of resources.
    pub kinds: Vec<&'static dyn KindInfo>,
    /// The modules that come with Converge.
    pub builtins: Vec<Builtin>,
    /// A cache of parsed files. `None` if each file is read only once.
    pub parsed: Option<Arc<Parsed>>,
}

impl Loader {
    /// Returns a loader without a cache.
    pub fn new(sources: Arc<dyn Sources>, kinds: Vec<&'static dyn KindInfo>, builtins: Vec<Builtin>) -> Self {
        Self { sources, kinds, builtins, parsed: None }
    }

    /// Parses a file and returns its nodes.
    pub(crate) fn parse(&self, file: FileId, text: &str, diagnostics: &mut Diagnostics) -> Vec<Node> {
        match &self.parsed {
            Some(parsed) => parsed.parse(file, text, diagnostics),
            None => parse::parse(file, text, diagnostics),
        }
    }
}

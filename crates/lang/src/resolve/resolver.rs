//! What resolving a project needs and comes upon; what it does stands in the other files, by what is resolved.

use std::sync::Arc;

use crate::project::Data;
use crate::project::assets::Assets;
use crate::project::library::Library;
use crate::resolve::scope::Names;
use crate::resolve::symbol::Use;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Files, Span};
use crate::source::ids::ModuleId;
use crate::template::Scope;

/// Resolves the bodies of a project, one after the other.
pub(crate) struct Resolver<'a> {
    pub(super) library: &'a Library,
    pub(super) files: &'a Files,
    /// Those of the body in hand.
    pub(super) assets: &'a Arc<Assets>,
    /// The names that the text in hand sees.
    pub(super) scope: Arc<dyn Scope>,
    pub(super) diagnostics: &'a mut Diagnostics,
    /// The module in hand; none for the inventory's own bodies.
    pub(super) module: Option<String>,
    /// What conditions and lists around what is in hand ask for: it may be missing.
    pub(super) asked: Vec<String>,
    /// The names of the loops around what is in hand.
    pub(super) locals: Vec<String>,
    /// The kind or module of the binding in hand, and the children down to it.
    pub(super) path: Vec<String>,
    /// What is named where; unset if the names are not asked for.
    pub(super) uses: Option<Vec<Use>>,
    /// Whether something in the binding in hand is wrong.
    pub(super) is_broken: bool,
    /// The modules that the body in hand calls.
    pub(super) calls: Vec<(ModuleId, Span)>,
    pub(super) constants: usize,
}

impl<'a> Resolver<'a> {
    /// A resolver of the inventory's own texts.
    pub(crate) fn new(data: &'a Data, diagnostics: &'a mut Diagnostics) -> Self {
        Self {
            library: &data.library,
            files: &data.files,
            assets: &data.assets,
            scope: Names::of_inventory(),
            diagnostics,
            module: None,
            asked: Vec::new(),
            locals: Vec::new(),
            path: Vec::new(),
            uses: None,
            is_broken: false,
            calls: Vec::new(),
            constants: 0,
        }
    }

    /// Does `work` where texts see the names of `scope`.
    pub(super) fn seeing<T>(&mut self, scope: Arc<dyn Scope>, work: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.scope, scope);
        let done = work(self);
        self.scope = outer;
        done
    }

    /// Tells a mistake in what is being resolved.
    pub(super) fn refuse(&mut self, report: Diagnostic) {
        self.is_broken = true;
        self.diagnostics.push(report);
    }

    /// Tells that something has another form than it should.
    pub(super) fn refuse_form(&mut self, message: String, at: Span, words: &str) {
        self.refuse(Diagnostic::error(Code::Form, message).label(at, words));
    }
}

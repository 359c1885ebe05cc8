//! The state while a project is resolved. The other files have the methods, by the thing that they resolve.

use std::sync::Arc;

use crate::project::Data;
use crate::project::assets::Assets;
use crate::project::library::Library;
use crate::resolve::scope::Names;
use crate::resolve::symbol::Use;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Files, Span};
use crate::source::ids::ModuleId;
use crate::template::Scope;

/// Resolves the bodies of a project one after another.
pub(crate) struct Resolver<'a> {
    pub(super) library: &'a Library,
    pub(super) files: &'a Files,
    /// The files and templates of the current body.
    pub(super) assets: &'a Arc<Assets>,
    /// The names in scope in the current text.
    pub(super) scope: Arc<dyn Scope>,
    pub(super) diagnostics: &'a mut Diagnostics,
    /// The current module. None for the inventory's own bodies.
    pub(super) module: Option<String>,
    /// Values that surrounding conditions and lists test. They may be missing.
    pub(super) asked: Vec<String>,
    /// The names of the surrounding loops.
    pub(super) locals: Vec<String>,
    /// The kind or module of the current binding, and the path of children in it.
    pub(super) path: Vec<String>,
    /// The uses of names. None if they are not collected.
    pub(super) uses: Option<Vec<Use>>,
    /// Whether the current binding has a mistake.
    pub(super) is_broken: bool,
    /// The modules that the current body calls.
    pub(super) calls: Vec<(ModuleId, Span)>,
    pub(super) constants: usize,
}

impl<'a> Resolver<'a> {
    /// Returns a resolver for the inventory's own texts.
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

    /// Runs `work` with the names of `scope` in scope.
    pub(super) fn seeing<T>(&mut self, scope: Arc<dyn Scope>, work: impl FnOnce(&mut Self) -> T) -> T {
        let outer = std::mem::replace(&mut self.scope, scope);
        let done = work(self);
        self.scope = outer;
        done
    }

    /// Reports a mistake in the current binding.
    pub(super) fn refuse(&mut self, report: Diagnostic) {
        self.is_broken = true;
        self.diagnostics.push(report);
    }

    /// Reports that something has the wrong form.
    pub(super) fn refuse_form(&mut self, message: String, at: Span, words: &str) {
        self.refuse(Diagnostic::error(Code::Form, message).label(at, words));
    }
}

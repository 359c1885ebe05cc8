//! The calls between modules. A module that calls itself is an error.

use crate::project::library::Library;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::source::ids::{ModuleId, Table};

/// The maximum depth of module calls.
const DEPTH: usize = 64;

/// Returns the modules so that each comes before those that it calls. `calls` has the calls of each module.
pub(super) fn order(
    library: &Library,
    calls: &Table<ModuleId, Vec<(ModuleId, Span)>>,
    diagnostics: &mut Diagnostics,
) -> Vec<ModuleId> {
    let done = calls.iter().map(|_| false).collect();
    let mut walk = Walk { library, calls, diagnostics, done, open: Vec::new(), order: Vec::new() };
    library.by_name().for_each(|module| walk.visit(module));
    walk.order.reverse();
    walk.order
}

struct Walk<'a> {
    library: &'a Library,
    calls: &'a Table<ModuleId, Vec<(ModuleId, Span)>>,
    diagnostics: &'a mut Diagnostics,
    done: Table<ModuleId, bool>,
    open: Vec<(ModuleId, Span)>,
    order: Vec<ModuleId>,
}

impl Walk<'_> {
    /// Reports calls that nest too deep for the stack. Without the error, an unvisited module would be missing in the
    /// order, and its resources would be lost.
    fn visit(&mut self, module: ModuleId) {
        if self.done[module] {
            return;
        }
        if self.open.len() > DEPTH {
            return self.too_deep();
        }
        let calls = self.calls;
        for (callee, at) in &calls[module] {
            self.open.push((module, *at));
            match self.open.iter().position(|(open, _)| open == callee) {
                Some(from) => self.cycle(from, *callee),
                None => self.visit(*callee),
            }
            self.open.pop();
        }
        if !std::mem::replace(&mut self.done[module], true) {
            self.order.push(module);
        }
    }

    fn too_deep(&mut self) {
        let report =
            Diagnostic::error(Code::Limit, format!("modules call each other more than {DEPTH} levels deep"));
        let last = self.open.last().map(|(_, at)| *at);
        self.diagnostics.push(last.into_iter().fold(report, |report, at| report.label(at, "called here")));
    }

    fn cycle(&mut self, from: usize, module: ModuleId) {
        let name = |module: ModuleId| &self.library.modules[module].schema.name;
        let mut report =
            Diagnostic::error(Code::Cycle, format!("the module `{}` calls itself", name(module)));
        for (caller, at) in &self.open[from..] {
            report = report.label(*at, format!("`{}` calls it here", name(*caller)));
        }
        self.diagnostics.push(report);
    }
}

//! The kinds and modules of a project: where modules are found, and which are read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use converge_model::KindInfo;

use crate::project::assets::{AssetRoot, Assets};
use crate::project::declarations::Block;
use crate::project::loader::Loader;
use crate::project::module::{self, Module, ModuleOrigin};
use crate::schema::Schema;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, FileId, Files, Span};
use crate::source::foreign_terms;
use crate::source::ids::{BlockId, KindId, Table};
use crate::source::sources::EntryKind;
use crate::source::suggest::did_you_mean;
use crate::syntax::parse::{self, Node};
use crate::syntax::prescan;

/// Kinds and modules, by name: one name space.
#[derive(Default)]
pub(crate) struct Library {
    pub(crate) kinds: Table<KindId, Kind>,
    kinds_by_name: HashMap<String, KindId>,
    pub(crate) modules: BTreeMap<String, Arc<Module>>,
    /// Modules, each before those that it calls.
    pub(crate) order: Vec<String>,
}

/// A kind of resource.
pub(crate) struct Kind {
    pub(crate) info: &'static dyn KindInfo,
    pub(crate) schema: Schema,
}

impl Library {
    /// The kind of this name.
    pub(crate) fn kind(&self, name: &str) -> Option<KindId> {
        self.kinds_by_name.get(name).copied()
    }

    /// Everything that may be written as a resource.
    pub(crate) fn names(&self) -> Vec<&str> {
        let modules = self.modules.keys().map(String::as_str);
        self.kinds.iter().map(|kind| kind.schema.name.as_str()).chain(modules).collect()
    }

    /// A name that is neither a kind's nor a module's.
    pub(crate) fn unknown(&self, node: &Node) -> Diagnostic {
        Diagnostic::error(Code::Unknown, format!("there is no kind or module `{}`", node.name))
            .label(node.at, "unknown")
            .maybe_help(foreign_terms::kind(&node.name).or_else(|| did_you_mean(&node.name, self.names())))
    }
}

/// Reads the kinds, the project's modules, and those built-in ones that something calls.
pub(crate) fn library(
    loader: &Loader,
    blocks: &Table<BlockId, Block>,
    files: &mut Files,
    diagnostics: &mut Diagnostics,
) -> Library {
    let mut library = Library::default();
    for info in &loader.kinds {
        let schema = Schema::of_kind(info.schema());
        let name = schema.name.clone();
        let id = library.kinds.push(Kind { info: *info, schema });
        library.kinds_by_name.insert(name, id);
    }
    let mut shelf = Shelf { loader, files, diagnostics, library };
    for name in shelf.own_names() {
        shelf.read_own(&name);
    }
    let mut wanted: Vec<Arc<str>> = Vec::new();
    blocks.iter().for_each(|block| names_in(&block.body, &mut wanted));
    for module in shelf.library.modules.values() {
        names_in(&module.body, &mut wanted);
    }
    while let Some(name) = wanted.pop() {
        if let Some(module) = shelf.read_builtin(&name) {
            names_in(&module.body, &mut wanted);
        }
    }
    let Shelf { mut library, diagnostics, .. } = shelf;
    library.order = order(&library, diagnostics);
    library
}

/// All built-in modules too, whether something calls them or not.
pub(crate) fn whole_library(loader: &Loader, files: &mut Files, diagnostics: &mut Diagnostics) -> Library {
    let library = library(loader, &Table::default(), files, diagnostics);
    let mut shelf = Shelf { loader, files, diagnostics, library };
    for builtin in &loader.builtins {
        shelf.read_builtin(builtin.name);
    }
    shelf.library
}

struct Shelf<'a> {
    loader: &'a Loader,
    files: &'a mut Files,
    diagnostics: &'a mut Diagnostics,
    library: Library,
}

impl Shelf<'_> {
    /// The names of the project's own modules.
    fn own_names(&self) -> Vec<String> {
        let mut names = self.loader.sources.list("modules").unwrap_or_default();
        let is_module = |name: &String| {
            matches!(self.loader.sources.kind(&format!("modules/{name}/module.kdl")), Ok(EntryKind::File))
        };
        names.retain(is_module);
        names.sort();
        names
    }

    fn read_own(&mut self, name: &str) {
        let builtin = self.loader.builtins.iter().any(|builtin| builtin.name == name);
        let origin = if builtin { ModuleOrigin::Replacement } else { ModuleOrigin::Project };
        if let Some(file) = self.read(name, AssetRoot::Folder(format!("modules/{name}")), origin) {
            let start = Span::new(file, 0, 0);
            if self.library.kind(name).is_some() {
                self.diagnostics.push(
                    Diagnostic::error(Code::Module, format!("`{name}` is a kind of resource"))
                        .label(start, "a module of the same name")
                        .help("kinds cannot be replaced; give the module another name"),
                );
                self.library.modules.remove(name);
            } else if builtin {
                let note = format!("the project's module `{name}` replaces the built-in one");
                self.diagnostics.push(Diagnostic::note(Code::Module, note).label(start, "used instead"));
            }
        }
    }

    /// Reads a built-in module, unless it is there already.
    fn read_builtin(&mut self, name: &str) -> Option<Arc<Module>> {
        if self.library.modules.contains_key(name) {
            return None;
        }
        let builtin = *self.loader.builtins.iter().find(|builtin| builtin.name == name)?;
        self.read(name, AssetRoot::Builtin(builtin), ModuleOrigin::Builtin)?;
        self.library.modules.get(name).cloned()
    }

    fn read(&mut self, name: &str, root: AssetRoot, origin: ModuleOrigin) -> Option<FileId> {
        let sources = &self.loader.sources;
        let shown = root.path("module.kdl");
        let bytes = match root.read(&**sources, "module.kdl", prescan::SIZE as u64) {
            Ok(bytes) => bytes,
            Err(error) => {
                let report = Diagnostic::error(Code::Read, format!("failed to read `{shown}`: {error}"));
                self.diagnostics.push(report);
                return None;
            }
        };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            self.diagnostics.push(Diagnostic::error(Code::Utf8, format!("`{shown}` is not UTF-8 text")));
            return None;
        };
        let file = self.files.add(shown, text);
        let nodes = parse::parse(file, text, self.diagnostics);
        let readme = root.read(&**sources, "README.md", prescan::SIZE as u64).ok();
        let assets = Arc::new(Assets::new(root, sources, self.files, self.diagnostics));
        let mut module = module::read(name, nodes, assets, origin, self.diagnostics);
        module.readme = readme.and_then(|bytes| std::str::from_utf8(&bytes).ok().map(Arc::from));
        self.library.modules.insert(name.to_owned(), Arc::new(module));
        Some(file)
    }
}

/// The names of all resources in a body, however deep in `for` and `when`.
fn names_in(body: &[Node], names: &mut Vec<Arc<str>>) {
    for node in body {
        match &*node.name {
            "for" | "when" => names_in(node.body(), names),
            _ => names.push(node.name.clone()),
        }
    }
}

/// The modules, each before those that it calls; a module that calls itself is an error.
fn order(library: &Library, diagnostics: &mut Diagnostics) -> Vec<String> {
    let mut walk = Walk { library, diagnostics, done: BTreeSet::new(), open: Vec::new(), order: Vec::new() };
    for name in library.modules.keys() {
        walk.visit(name);
    }
    walk.order.reverse();
    walk.order
}

struct Walk<'a> {
    library: &'a Library,
    diagnostics: &'a mut Diagnostics,
    done: BTreeSet<String>,
    open: Vec<(String, Span)>,
    order: Vec<String>,
}

impl Walk<'_> {
    /// Refuses what would take the stack too deep: a module that is not visited has no place in the order, and what it
    /// asks for would be lost.
    fn visit(&mut self, name: &str) {
        const DEPTH: usize = 64;
        let Some(module) = self.library.modules.get(name).cloned() else { return };
        if self.done.contains(name) {
            return;
        }
        if self.open.len() > DEPTH {
            return self.too_deep(DEPTH);
        }
        for (callee, at) in calls(&module.body, self.library) {
            self.open.push((name.to_owned(), at));
            match self.open.iter().position(|(open, _)| *open == callee) {
                Some(from) => self.cycle(from, &callee),
                None => self.visit(&callee),
            }
            self.open.pop();
        }
        if self.done.insert(name.to_owned()) {
            self.order.push(name.to_owned());
        }
    }

    fn too_deep(&mut self, depth: usize) {
        let message = format!("modules call each other over {depth} deep");
        let report = Diagnostic::error(Code::Limit, message);
        let last = self.open.last().map(|(_, at)| *at);
        self.diagnostics.push(last.into_iter().fold(report, |report, at| report.label(at, "called here")));
    }

    fn cycle(&mut self, from: usize, name: &str) {
        let mut report = Diagnostic::error(Code::Cycle, format!("the module `{name}` calls itself"));
        for (caller, at) in &self.open[from..] {
            report = report.label(*at, format!("`{caller}` calls it here"));
        }
        self.diagnostics.push(report);
    }
}

fn calls(body: &[Node], library: &Library) -> Vec<(String, Span)> {
    let mut calls = Vec::new();
    for node in body {
        match &*node.name {
            "for" | "when" => calls.extend(self::calls(node.body(), library)),
            name if library.modules.contains_key(name) => calls.push((name.to_owned(), node.at)),
            _ => {}
        }
    }
    calls
}

//! The kinds and modules of a project: where modules are found, and which ones are read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use converge_model::KindInfo;

use crate::project::assets::{AssetRoot, Assets};
use crate::project::declarations::Block;
use crate::project::loader::Loader;
use crate::project::module::{self, Module, ModuleOrigin};
use crate::schema::Schema;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, FileId, Files, Span};
use crate::source::foreign_terms;
use crate::source::ids::{BlockId, KindId, ModuleId, Table};
use crate::source::sources::EntryKind;
use crate::source::suggest::{did_you_mean, there_are};
use crate::syntax::parse::Node;
use crate::syntax::prescan;

/// Kinds and modules by name. They share one name space.
#[derive(Default)]
pub(crate) struct Library {
    pub(crate) kinds: Table<KindId, Kind>,
    kinds_by_name: HashMap<String, KindId>,
    pub(crate) modules: Table<ModuleId, Arc<Module>>,
    modules_by_name: BTreeMap<String, ModuleId>,
}

/// A kind of resource.
pub(crate) struct Kind {
    pub(crate) info: &'static dyn KindInfo,
    pub(crate) schema: Schema,
}

impl Library {
    /// Returns the kind called `name`.
    pub(crate) fn kind(&self, name: &str) -> Option<KindId> {
        self.kinds_by_name.get(name).copied()
    }

    /// Returns the module called `name`.
    pub(crate) fn module(&self, name: &str) -> Option<ModuleId> {
        self.modules_by_name.get(name).copied()
    }

    /// Returns the modules in alphabetical order.
    pub(crate) fn by_name(&self) -> impl Iterator<Item = ModuleId> {
        self.modules_by_name.values().copied()
    }

    /// Returns all names that may be written as a resource.
    pub(crate) fn names(&self) -> Vec<&str> {
        let modules = self.modules_by_name.keys().map(String::as_str);
        self.kinds.iter().map(|kind| kind.schema.name.as_str()).chain(modules).collect()
    }

    /// Returns the error for a name that is neither a kind nor a module.
    pub(crate) fn unknown(&self, node: &Node) -> Diagnostic {
        let all = || there_are(self.names()).map(|all| format!("{all}; `converge docs` describes each"));
        Diagnostic::error(Code::Unknown, format!("there is no kind or module `{}`", node.name))
            .label(node.at, "unknown")
            .maybe_help(all())
            .maybe_help(foreign_terms::kind(&node.name).or_else(|| did_you_mean(&node.name, self.names())))
    }
}

/// Reads the kinds, the project's modules, and the built-in modules that are called.
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
    for block in blocks {
        names_in(&block.body, &mut wanted);
        block.rollout.iter().for_each(|rollout| names_in(rollout.body(), &mut wanted));
    }
    for module in &shelf.library.modules {
        names_in(&module.body, &mut wanted);
    }
    while let Some(name) = wanted.pop() {
        if let Some(module) = shelf.read_builtin(&name) {
            names_in(&module.body, &mut wanted);
        }
    }
    shelf.library
}

/// Reads all built-in modules, too, even if nothing calls them.
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
    /// Returns the names of the project's own modules.
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
        let Some((file, module)) = self.read(name, AssetRoot::Folder(format!("modules/{name}")), origin)
        else {
            return;
        };
        let start = Span::new(file, 0, 0);
        if self.library.kind(name).is_some() {
            self.diagnostics.push(
                Diagnostic::error(Code::Module, format!("`{name}` is a kind of resource"))
                    .label(start, "a module of the same name")
                    .help("kinds cannot be replaced; give the module another name"),
            );
            return;
        }
        if builtin {
            let note = format!("the project's module `{name}` replaces the built-in one");
            self.diagnostics.push(Diagnostic::note(Code::Module, note).label(start, "used instead"));
        }
        self.add(name, module);
    }

    fn add(&mut self, name: &str, module: Module) -> Arc<Module> {
        let module = Arc::new(module);
        let id = self.library.modules.push(Arc::clone(&module));
        self.library.modules_by_name.insert(name.to_owned(), id);
        module
    }

    /// Reads a built-in module, unless it was already read.
    fn read_builtin(&mut self, name: &str) -> Option<Arc<Module>> {
        if self.library.module(name).is_some() {
            return None;
        }
        let builtin = *self.loader.builtins.iter().find(|builtin| builtin.name == name)?;
        let (_, module) = self.read(name, AssetRoot::Builtin(builtin), ModuleOrigin::Builtin)?;
        Some(self.add(name, module))
    }

    fn read(&mut self, name: &str, root: AssetRoot, origin: ModuleOrigin) -> Option<(FileId, Module)> {
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
        let nodes = self.loader.parse(file, text, self.diagnostics);
        let readme = root.read(&**sources, "README.md", prescan::SIZE as u64).ok();
        let assets = Arc::new(Assets::new(root, sources, self.files, self.diagnostics));
        let mut module = module::read(name, file, nodes, assets, origin, self.diagnostics);
        module.readme = readme.and_then(|bytes| std::str::from_utf8(&bytes).ok().map(Arc::from));
        Some((file, module))
    }
}

/// Collects the names of all nodes at any depth. Names of modules are among them.
fn names_in(nodes: &[Node], names: &mut Vec<Arc<str>>) {
    for node in nodes {
        names.push(node.name.clone());
        names_in(node.body(), names);
    }
}

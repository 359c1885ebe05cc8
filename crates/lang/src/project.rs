//! A project read and put together: hosts with their variables, blocks with their hosts, modules, secrets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use converge_model::{HostName, KindInfo};

use crate::base::{Base, Place};
use crate::diagnostic::{Diagnostic, Diagnostics, FileId, Files, Span};
use crate::document::{self, Literal, Node, Origin, Written};
use crate::inventory::Loader;
use crate::layers::{self, Layer, Level, Nearness};
use crate::membership::{self, Membership};
use crate::module::{self, Module, ModuleOrigin};
use crate::nearest::did_you_mean;
use crate::reading::{self, Block, Reading};
use crate::rollout::Rollout;
use crate::schema::Schema;
use crate::secrets::Secrets;
use crate::sources::EntryKind;
use crate::template::fold;
use crate::tree::{Entry, Shape, Tree};
use crate::{guard, rollouts};

/// Everything that a project says, read and checked as far as it can be without looking at one host.
pub(crate) struct Data {
    pub(crate) loader: Loader,
    pub(crate) files: Arc<Files>,
    pub(crate) project: String,
    pub(crate) reading: Reading,
    pub(crate) membership: Membership,
    pub(crate) nearness: Nearness,
    /// The hosts of each `on` block, ascending.
    pub(crate) block_hosts: Vec<Vec<usize>>,
    /// The hosts that each block waits for, ascending.
    pub(crate) block_after: Vec<Vec<usize>>,
    /// For each host, the blocks that it is in.
    pub(crate) blocks_of: Vec<Vec<usize>>,
    pub(crate) rollouts: Vec<Rollout>,
    pub(crate) base: Arc<Base>,
    pub(crate) library: Library,
    pub(crate) secrets: Secrets,
    tables: Vec<OnceLock<Arc<Table>>>,
    /// Tables of hosts without layers of their own, by their groups.
    shared: std::sync::Mutex<HashMap<BTreeSet<usize>, Arc<Table>>>,
}

/// Kinds and modules, by name: one name space.
#[derive(Default)]
pub(crate) struct Library {
    pub(crate) kinds: Vec<Kind>,
    kinds_by_name: HashMap<String, usize>,
    pub(crate) modules: BTreeMap<String, Arc<Module>>,
    /// Modules, each before those that it calls.
    pub(crate) order: Vec<String>,
}

/// A kind of resource.
pub(crate) struct Kind {
    pub(crate) info: &'static dyn KindInfo,
    pub(crate) schema: Schema,
}

/// The variables of a host: the definitions that count.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
    places: HashMap<String, usize>,
}

impl Table {
    fn new(entries: Vec<Entry>) -> Self {
        let places = entries.iter().enumerate().map(|(place, entry)| (fold(&entry.key), place)).collect();
        Self { entries, places }
    }

    /// The place of a variable, by its name as an expression spells it.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.places.get(&fold(name)).copied()
    }
}

impl Library {
    /// The place of a kind.
    pub(crate) fn kind(&self, name: &str) -> Option<usize> {
        self.kinds_by_name.get(name).copied()
    }

    /// Everything that may be written as a resource.
    pub(crate) fn names(&self) -> Vec<&str> {
        let modules = self.modules.keys().map(String::as_str);
        self.kinds.iter().map(|kind| kind.schema.name.as_str()).chain(modules).collect()
    }
}

impl Data {
    /// The variables of a host.
    pub(crate) fn table(&self, host: usize) -> Arc<Table> {
        Arc::clone(self.tables[host].get_or_init(|| self.build_table(host, &mut Diagnostics::default())))
    }

    /// Merges the definitions of one host, and says where they contradict each other.
    pub(crate) fn build_table(&self, host: usize, diagnostics: &mut Diagnostics) -> Arc<Table> {
        let of_host = &self.membership.hosts[host];
        let own = &self.reading.hosts[of_host.node].vars;
        let layers = self.membership.layers_of(host, &self.reading.vars, own);
        let build = |diagnostics: &mut Diagnostics| {
            Arc::new(Table::new(layers::merge(&layers, &self.nearness, diagnostics)))
        };
        if !own.is_empty() {
            return build(diagnostics);
        }
        let known = || self.shared.lock().ok()?.get(&of_host.groups).cloned();
        if let Some(table) = known() {
            return table;
        }
        let table = build(diagnostics);
        if let Ok(mut shared) = self.shared.lock() {
            shared.insert(of_host.groups.clone(), Arc::clone(&table));
        }
        table
    }

    /// The layers of variables of a host, for `explain`.
    pub(crate) fn var_layers(&self, host: usize) -> Vec<&Layer> {
        let own = &self.reading.hosts[self.membership.hosts[host].node].vars;
        self.membership.layers_of(host, &self.reading.vars, own)
    }

    /// The place of a host.
    pub(crate) fn host(&self, name: &HostName) -> Option<usize> {
        self.membership.host(name.as_str())
    }

    /// `file:line` of a span.
    pub(crate) fn place(&self, at: Span) -> String {
        self.files.place(at).map_or_else(String::new, |(file, line, _)| format!("{file}:{line}"))
    }
}

/// Reads a project. What it returns is whole even where there are mistakes, so that all of them can be found.
pub(crate) fn load(loader: &Loader, entry: &str, sets: &[(String, String)]) -> (Data, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let mut files = Files::default();
    let sources = &*loader.sources;
    let mut reading = reading::read(sources, entry, &mut files, &mut diagnostics);
    set(&mut reading, sets, &mut files, &mut diagnostics);
    let membership = membership::build(&reading, &mut diagnostics);
    shapes(&reading, &mut diagnostics);
    let nearness = Nearness { outer: membership.outer.clone(), includes: reading.includes.clone() };
    let base = Base::new(Place::Folder(String::new()), &loader.sources, &mut files, &mut diagnostics);
    let library = library(loader, &reading.blocks, &mut files, &mut diagnostics);
    let secrets = Secrets::load(&reading.secrets, sources, &mut diagnostics);
    let mut select = |patterns: &[Written]| membership.select(patterns, &mut diagnostics);
    let block_hosts: Vec<Vec<usize>> = reading.blocks.iter().map(|block| select(&block.patterns)).collect();
    let block_after: Vec<Vec<usize>> = reading
        .blocks
        .iter()
        .map(|block| if block.after.is_empty() { Vec::new() } else { select(&block.after) })
        .collect();
    let mut blocks_of = vec![Vec::new(); membership.hosts.len()];
    for (block, hosts) in block_hosts.iter().enumerate() {
        hosts.iter().for_each(|host| blocks_of[*host].push(block));
    }
    let hosts = membership.hosts.len();
    let mut data = Data {
        loader: loader.clone(),
        project: reading.project.clone().unwrap_or_else(|| entry.to_owned()),
        files: Arc::new(files),
        reading,
        membership,
        nearness,
        block_hosts,
        block_after,
        blocks_of,
        rollouts: Vec::new(),
        base: Arc::new(base),
        library,
        secrets,
        tables: (0..hosts).map(|_| OnceLock::new()).collect(),
        shared: std::sync::Mutex::default(),
    };
    data.rollouts = rollouts::read(&data, &mut diagnostics);
    rollouts::cycles(&data, &mut diagnostics);
    for host in 0..hosts {
        let table = data.build_table(host, &mut diagnostics);
        // Nobody else has seen the data yet, so the cell is empty.
        let _ = data.tables[host].set(table);
    }
    if data.membership.hosts.is_empty() && !diagnostics.has_errors() {
        let report = Diagnostic::error("lang::inventory", "the inventory defines no host")
            .help("write `host \"web1\"`, or `host \"here\"` with `connection \"local\"`");
        diagnostics.push(report);
    }
    (data, diagnostics)
}

fn shapes(reading: &Reading, diagnostics: &mut Diagnostics) {
    let of_hosts = reading.hosts.iter().flat_map(|host| &host.vars);
    layers::shapes(reading.vars.iter().chain(of_hosts), diagnostics);
}

/// Adds `--set` as the nearest layer. A value takes the type of what it overrides.
fn set(reading: &mut Reading, sets: &[(String, String)], files: &mut Files, diagnostics: &mut Diagnostics) {
    for (name, value) in sets {
        let text = format!("--set {name}={value}");
        let file = files.add("--set", text.clone());
        let at = Span::new(file, 6, name.len() + 1 + value.len());
        let path: Vec<&str> = name.split('.').collect();
        let layers = reading.vars.iter().chain(reading.hosts.iter().flat_map(|host| &host.vars));
        let mut found = layers.filter_map(|layer| find(&layer.entries, &path));
        let Some(overridden) = found.next() else {
            let names: Vec<String> =
                reading.vars.iter().flat_map(|l| &l.entries).map(|e| e.key.to_string()).collect();
            diagnostics.push(
                Diagnostic::error("lang::set", format!("there is no variable `{name}`"))
                    .label(at, "to be set")
                    .maybe_help(did_you_mean(path[0], names.iter().map(String::as_str))),
            );
            continue;
        };
        match literal(value, &overridden.value) {
            Ok(literal) => {
                let leaf = Tree::Leaf(Written { literal, origin: Origin::Raw, at });
                let entry = nest(&path, leaf, at);
                reading.vars.push(Layer { level: Level::Set, file, entries: vec![entry] });
            }
            Err(what) => diagnostics.push(
                Diagnostic::error("lang::set", format!("`{name}` is {what}"))
                    .label(at, "does not fit")
                    .label(overridden.at, "defined here"),
            ),
        }
    }
}

fn find<'a>(entries: &'a [Entry], path: &[&str]) -> Option<&'a Entry> {
    let (first, rest) = path.split_first()?;
    let entry = entries.iter().find(|entry| fold(&entry.key) == fold(first))?;
    match (&entry.value, rest) {
        (_, []) => Some(entry),
        (Tree::Map(inner, _), _) => find(inner, rest),
        _ => None,
    }
}

fn nest(path: &[&str], leaf: Tree, at: Span) -> Entry {
    let mut path = path.iter().rev();
    let key = |name: Option<&&str>| Arc::from(name.copied().unwrap_or_default());
    let mut entry = Entry { key: key(path.next()), at, value: leaf };
    for outer in path {
        entry = Entry { key: key(Some(outer)), at, value: Tree::Map(vec![entry], at) };
    }
    entry
}

/// The text of `--set` as the type of what it overrides.
fn literal(text: &str, overridden: &Tree) -> Result<Literal, &'static str> {
    let written = match overridden {
        Tree::Leaf(written) => written,
        other if other.shape() == Shape::List => return Err("a list, which `--set` cannot give"),
        _ => return Err("a map; set one of its keys: `app.workers=4`"),
    };
    let text_literal = || Literal::Text(text.into());
    Ok(match (&written.literal, written.origin) {
        (Literal::Int(..), _) => Literal::Int(text.parse().map_err(|_| "a whole number")?, text.into()),
        (Literal::Float(..), _) => Literal::Float(text.parse().map_err(|_| "a number")?, text.into()),
        (Literal::Bool(_), _) => Literal::Bool(text.parse().map_err(|_| "`true` or `false`")?),
        // What an expression would come to is not known: the text says by its form what it is.
        (_, Origin::Expr) | (Literal::Null, _) => match (text.parse::<i64>(), text.parse::<bool>()) {
            (Ok(number), _) => Literal::Int(number, text.into()),
            (_, Ok(value)) => Literal::Bool(value),
            _ => text_literal(),
        },
        _ => text_literal(),
    })
}

/// Reads the kinds, the project's modules, and those built-in ones that something calls.
pub(crate) fn library(
    loader: &Loader,
    blocks: &[Block],
    files: &mut Files,
    diagnostics: &mut Diagnostics,
) -> Library {
    let mut library = Library::default();
    for info in &loader.kinds {
        let schema = Schema::of_kind(info.schema());
        library.kinds_by_name.insert(schema.name.clone(), library.kinds.len());
        library.kinds.push(Kind { info: *info, schema });
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
    let library = library(loader, &[], files, diagnostics);
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
        if let Some(file) = self.read(name, Place::Folder(format!("modules/{name}")), origin) {
            let start = Span::new(file, 0, 0);
            if self.library.kind(name).is_some() {
                self.diagnostics.push(
                    Diagnostic::error("lang::module", format!("`{name}` is a kind of resource"))
                        .label(start, "a module of the same name")
                        .help("kinds cannot be replaced; give the module another name"),
                );
                self.library.modules.remove(name);
            } else if builtin {
                let note = format!("the project's module `{name}` replaces the built-in one");
                self.diagnostics.push(Diagnostic::note("lang::module", note).label(start, "used instead"));
            }
        }
    }

    /// Reads a built-in module, unless it is there already.
    fn read_builtin(&mut self, name: &str) -> Option<Arc<Module>> {
        if self.library.modules.contains_key(name) {
            return None;
        }
        let builtin = *self.loader.builtins.iter().find(|builtin| builtin.name == name)?;
        self.read(name, Place::Builtin(builtin), ModuleOrigin::Builtin)?;
        self.library.modules.get(name).cloned()
    }

    fn read(&mut self, name: &str, place: Place, origin: ModuleOrigin) -> Option<FileId> {
        let sources = &self.loader.sources;
        let shown = place.path("module.kdl");
        let bytes = match place.read(&**sources, "module.kdl", guard::SIZE as u64) {
            Ok(bytes) => bytes,
            Err(error) => {
                let report = Diagnostic::error("lang::read", format!("failed to read `{shown}`: {error}"));
                self.diagnostics.push(report);
                return None;
            }
        };
        let Ok(text) = std::str::from_utf8(&bytes) else {
            self.diagnostics.push(Diagnostic::error("lang::utf8", format!("`{shown}` is not UTF-8 text")));
            return None;
        };
        let file = self.files.add(shown, text);
        let nodes = document::parse(file, text, self.diagnostics);
        let readme = place.read(&**sources, "README.md", guard::SIZE as u64).ok();
        let base = Arc::new(Base::new(place, sources, self.files, self.diagnostics));
        let mut module = module::read(name, nodes, base, origin, self.diagnostics);
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
        let report = Diagnostic::error("lang::limit", message);
        let last = self.open.last().map(|(_, at)| *at);
        self.diagnostics.push(last.into_iter().fold(report, |report, at| report.label(at, "called here")));
    }

    fn cycle(&mut self, from: usize, name: &str) {
        let mut report = Diagnostic::error("lang::cycle", format!("the module `{name}` calls itself"));
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

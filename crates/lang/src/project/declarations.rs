//! Reads all files of a project, from its entry, and collects their top-level nodes in reading order.
//!
//! It reads each file once, only inside the project, and within limits. `hosts` makes the hosts and groups from the
//! result.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::project::loader::Loader;
use crate::project::precedence::{Layer, Level};
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, FileId, Files, Span};
use crate::source::foreign_terms;
use crate::source::ids::{BlockId, DeclaredHostId, GroupId, Table};
use crate::source::sources::{EntryKind, SourceError, Sources, folder_of, join};
use crate::source::suggest::did_you_mean;
use crate::syntax::parse::{Node, Origin, Written};
use crate::syntax::prescan;
use crate::syntax::value_tree::{self, Entry, Tree};
use crate::template;

/// The most files of an inventory.
const FILES: usize = 256;
/// The most nodes in all files of an inventory.
const NODES: usize = 400_000;

/// The only setting that may have several values.
const WINDOW: &str = "window";

/// The nodes of all files.
#[derive(Default)]
pub(crate) struct Declarations {
    /// The name in `converge.kdl`.
    pub(crate) project: Option<String>,
    /// Layers of variables: `vars` at top level, and in groups and hosts.
    pub(crate) vars: Vec<Layer>,
    pub(crate) connection: Vec<Layer>,
    pub(crate) drift: Vec<Layer>,
    /// Hosts as written, in order. Ranges are not expanded yet.
    pub(crate) hosts: Table<DeclaredHostId, DeclaredHost>,
    /// Groups by name, in the order of first appearance.
    pub(crate) groups: Table<GroupId, DeclaredGroup>,
    /// `on` blocks in reading order.
    pub(crate) blocks: Table<BlockId, Block>,
    /// Files of secrets: the path, and where it is named.
    pub(crate) secrets: Vec<(String, Span)>,
    /// The files that each file includes, directly or indirectly.
    pub(crate) includes: HashMap<FileId, HashSet<FileId>>,
    /// The files that were read, by path.
    pub(crate) paths: BTreeMap<String, FileId>,
}

/// A `host` node.
pub(crate) struct DeclaredHost {
    /// The names; each may be a range.
    pub(crate) names: Vec<Written>,
    /// `address=`.
    pub(crate) address: Option<Written>,
    /// The group that contains the node.
    pub(crate) group: Option<GroupId>,
    pub(crate) vars: Vec<Layer>,
    pub(crate) connection: Vec<Layer>,
    pub(crate) drift: Vec<Layer>,
}

/// A group: all nodes with one name.
pub(crate) struct DeclaredGroup {
    pub(crate) name: Arc<str>,
    pub(crate) at: Span,
    /// The groups that contain one of its nodes.
    pub(crate) outer: Vec<(GroupId, Span)>,
    /// The arguments of its `members` nodes, one list for each node.
    pub(crate) members: Vec<Vec<Written>>,
}

/// An `on` block.
pub(crate) struct Block {
    pub(crate) patterns: Vec<Written>,
    pub(crate) after: Vec<Written>,
    pub(crate) rollout: Option<Node>,
    pub(crate) body: Arc<[Node]>,
    pub(crate) at: Span,
}

impl Block {
    /// Returns its name for users: `on "web" "!web3"`.
    pub(crate) fn name(&self) -> String {
        let patterns: Vec<String> = self.patterns.iter().map(|pattern| pattern.literal.to_string()).collect();
        format!("on {}", patterns.join(" "))
    }
}

/// Reads all files, starting at `entry`.
pub(crate) fn read(
    loader: &Loader,
    entry: &str,
    files: &mut Files,
    diagnostics: &mut Diagnostics,
) -> Declarations {
    let mut reader = Reader {
        loader,
        sources: &*loader.sources,
        files,
        diagnostics,
        declarations: Declarations::default(),
        stack: Vec::new(),
        read: HashMap::new(),
        group_names: HashMap::new(),
        nodes: 0,
        full: false,
    };
    reader.project();
    reader.entry(entry);
    reader.declarations
}

struct Reader<'a> {
    loader: &'a Loader,
    sources: &'a dyn Sources,
    files: &'a mut Files,
    diagnostics: &'a mut Diagnostics,
    declarations: Declarations,
    /// The files that are being read, and where each was named.
    stack: Vec<(FileId, Option<Span>)>,
    read: HashMap<String, FileId>,
    group_names: HashMap<Arc<str>, GroupId>,
    nodes: usize,
    full: bool,
}

/// Where a path is named. None for the entry itself.
type Named = Option<Span>;

impl Reader<'_> {
    fn project(&mut self) {
        if let Ok(EntryKind::File) = self.sources.kind("converge.kdl") {
            self.mark("converge.kdl");
        }
    }

    /// Reads a `converge.kdl`. Returns the path of the inventory that it names.
    fn mark(&mut self, path: &str) -> Option<(String, Span)> {
        let (id, text) = self.text(path, None)?;
        let mut inventory = None;
        for node in self.loader.parse(id, &text, self.diagnostics) {
            let value = node.args.first().and_then(Written::plain_text).cloned();
            match (&*node.name, value) {
                ("project", Some(name)) => self.declarations.project = Some(name.to_string()),
                ("inventory", Some(named)) => match join(folder_of(path), &named) {
                    Some(path) => inventory = Some((path, node.args[0].at)),
                    None => self.outside(node.args[0].at),
                },
                ("project" | "inventory", None) => self.wants(&node, "a string"),
                _ => self.unknown(&node, &["project", "inventory"]),
            }
        }
        inventory
    }

    fn entry(&mut self, entry: &str) {
        let Some(path) = join("", entry) else {
            let report = Diagnostic::error(Code::Path, format!("`{entry}` leads out of the project"));
            return self.diagnostics.push(report);
        };
        let mark = |folder: &str| {
            if folder.is_empty() { "converge.kdl".into() } else { format!("{folder}/converge.kdl") }
        };
        let is_mark = path == "converge.kdl" || path.ends_with("/converge.kdl");
        let mark = if is_mark { path.clone() } else { mark(&path) };
        match self.sources.kind(&mark) {
            Ok(EntryKind::File) => match self.mark(&mark) {
                Some((inventory, at)) => self.include(&inventory, Some(at)),
                None if is_mark => {
                    let report =
                        Diagnostic::error(Code::Inventory, format!("`{mark}` does not name an inventory"))
                            .help("write `inventory \"inventories/production.kdl\"`");
                    self.diagnostics.push(report);
                }
                None => self.include(&path, None),
            },
            _ => self.include(&path, None),
        }
    }

    /// Reads a file or a folder that an inventory includes.
    fn include(&mut self, path: &str, named: Named) {
        match self.sources.kind(path) {
            Ok(EntryKind::File) => self.file(path, named),
            Ok(EntryKind::Folder) => self.folder(path, named),
            Ok(EntryKind::Nothing) => self.failed(path, named, &SourceError::Missing),
            Err(error) => self.failed(path, named, &error),
        }
    }

    fn folder(&mut self, folder: &str, named: Named) {
        let mut names = match self.sources.list(folder) {
            Ok(names) => names,
            Err(error) => return self.failed(folder, named, &error),
        };
        names.retain(|name| name.ends_with(".kdl") && name != "converge.kdl");
        names.sort();
        if names.is_empty() {
            let shown =
                if folder.is_empty() { "the folder".to_owned() } else { format!("the folder `{folder}`") };
            let report = Diagnostic::error(Code::Inventory, format!("{shown} holds no `.kdl` file"))
                .help("name the inventory, or write a `converge.kdl` that does: `inventory \"site.kdl\"`");
            return self.push(report, named, "named here");
        }
        for name in names {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            self.file(&path, named);
        }
    }

    fn file(&mut self, path: &str, named: Named) {
        if let Some(&known) = self.read.get(path) {
            return self.again(path, known, named);
        }
        if self.read.len() >= FILES {
            if !std::mem::replace(&mut self.full, true) {
                let report =
                    Diagnostic::error(Code::Include, format!("more than {FILES} files are included"));
                self.push(report, named, "one too many");
            }
            return;
        }
        let Some((id, text)) = self.text(path, named) else { return };
        self.read.insert(path.to_owned(), id);
        self.edge(id);
        self.stack.push((id, named));
        let nodes = self.loader.parse(id, &text, self.diagnostics);
        self.nodes += count(&nodes);
        if self.nodes > NODES {
            let report =
                Diagnostic::error(Code::Include, format!("all files together have more than {NODES} nodes"));
            self.push(report, named, "this file is one too many");
        } else {
            self.top(id, path, nodes);
        }
        self.stack.pop();
    }

    /// Handles a file that was read before. It is a mistake if the file is still being read.
    fn again(&mut self, path: &str, known: FileId, named: Named) {
        let Some(from) = self.stack.iter().position(|(id, _)| *id == known) else { return self.edge(known) };
        let mut report = Diagnostic::error(Code::Include, format!("`{path}` includes itself"));
        if let Some(at) = named {
            report = report.label(at, "includes the first file again");
        }
        for (id, at) in &self.stack[from + 1..] {
            if let (Some(at), Some(file)) = (at, self.files.get(*id)) {
                report = report.label(*at, format!("includes `{}`", file.name));
            }
        }
        self.diagnostics.push(report);
    }

    /// Records that all files on the stack include `id` and everything that `id` includes.
    fn edge(&mut self, id: FileId) {
        let mut below = self.declarations.includes.get(&id).cloned().unwrap_or_default();
        below.insert(id);
        for (above, _) in &self.stack {
            self.declarations.includes.entry(*above).or_default().extend(&below);
        }
    }

    fn text(&mut self, path: &str, named: Named) -> Option<(FileId, Arc<str>)> {
        if let Some(id) = self.declarations.paths.get(path) {
            return Some((*id, self.files.get(*id)?.text.clone()));
        }
        let bytes = match self.sources.read(path, prescan::SIZE as u64) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.failed(path, named, &error);
                return None;
            }
        };
        let text: Arc<str> = match std::str::from_utf8(&bytes) {
            Ok(text) => text.into(),
            Err(error) => {
                let at = error.valid_up_to();
                let line = bytes[..at].iter().filter(|b| **b == b'\n').count() + 1;
                let report =
                    Diagnostic::error(Code::Utf8, format!("`{path}` is not UTF-8 text in line {line}"))
                        .help("save it as UTF-8: `iconv -f LATIN1 -t UTF-8` turns older text into it");
                self.push(report, named, "named here");
                return None;
            }
        };
        let id = self.files.add(path, text.clone());
        self.declarations.paths.insert(path.to_owned(), id);
        Some((id, text))
    }

    fn top(&mut self, file: FileId, path: &str, nodes: Vec<Node>) {
        const KNOWN: [&str; 8] = ["vars", "connection", "host", "group", "on", "include", "secrets", "drift"];
        for node in nodes {
            match &*node.name {
                "vars" => {
                    let layer = self.vars(file, Level::Inventory, &node);
                    self.declarations.vars.extend(layer);
                }
                "connection" => {
                    let layer = self.connection(file, Level::Inventory, &node);
                    self.declarations.connection.push(layer);
                }
                "drift" => {
                    let layer = self.drift(file, Level::Inventory, &node);
                    self.declarations.drift.push(layer);
                }
                "host" => self.host(file, node, None),
                "group" => self.group(file, node, None),
                "on" => self.on(node),
                "include" => self.each_path(path, &node, Self::include),
                "secrets" => self.each_path(path, &node, Self::secrets),
                _ => self.unknown(&node, &KNOWN),
            }
        }
    }

    /// Calls `then` for every path in the arguments of a node, relative to `path`.
    fn each_path(&mut self, path: &str, node: &Node, then: fn(&mut Self, &str, Named)) {
        if node.args.is_empty() || !node.props.is_empty() || node.children.is_some() {
            return self.wants(node, "paths, and nothing else");
        }
        for arg in &node.args {
            match arg.plain_text() {
                None => self.wants(node, "a path"),
                Some(text) if template::is_template(text) => self.not_filled_in(arg.at, &node.name),
                Some(text) => match join(folder_of(path), text) {
                    Some(joined) => then(self, &joined, Some(arg.at)),
                    None => self.outside(arg.at),
                },
            }
        }
    }

    fn secrets(&mut self, path: &str, named: Named) {
        if let Some(at) = named
            && !self.declarations.secrets.iter().any(|(known, _)| known == path)
        {
            self.declarations.secrets.push((path.to_owned(), at));
        }
    }

    fn vars(&mut self, file: FileId, level: Level, node: &Node) -> Option<Layer> {
        if !node.args.is_empty() || !node.props.is_empty() || node.children.is_none() {
            self.wants(node, "variables in braces: `vars { name \"value\" }`");
            return None;
        }
        Some(Layer { level, file, entries: value_tree::variables(node.body(), self.diagnostics) })
    }

    fn connection(&mut self, file: FileId, level: Level, node: &Node) -> Layer {
        const KNOWN: [&str; 7] = ["transport", "user", "port", "key", "jump", "become", "root"];
        Layer { level, file, entries: self.settings(node, &KNOWN, Some("transport")) }
    }

    fn drift(&mut self, file: FileId, level: Level, node: &Node) -> Layer {
        const KNOWN: [&str; 9] =
            ["every", "splay", "mode", "cron", "zone", WINDOW, "max-share", "fight-after", "fight-within"];
        Layer { level, file, entries: self.settings(node, &KNOWN, None) }
    }

    /// Returns the properties and children of a node of settings. `argument` is the setting of its only argument.
    fn settings(&mut self, node: &Node, known: &[&str], argument: Option<&str>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for (index, arg) in node.args.iter().enumerate() {
            match argument.filter(|_| index == 0) {
                Some(key) => {
                    entries.push(Entry { key: key.into(), at: arg.at, value: Tree::Leaf(arg.clone()) })
                }
                None => self.too_many(node, arg.at),
            }
        }
        for property in &node.props {
            let value = Tree::Leaf(property.value.clone());
            entries.push(Entry { key: property.key.clone(), at: property.at, value });
        }
        for child in node.body() {
            match &child.args[..] {
                [one] if child.props.is_empty() && child.children.is_none() => {
                    entries.push(Entry {
                        key: child.name.clone(),
                        at: child.at,
                        value: Tree::Leaf(one.clone()),
                    });
                }
                [_, _, ..]
                    if &*child.name == WINDOW && child.props.is_empty() && child.children.is_none() =>
                {
                    let windows = child.args.iter().cloned().map(Tree::Leaf).collect();
                    let value = Tree::List(windows, child.at);
                    entries.push(Entry { key: child.name.clone(), at: child.at, value });
                }
                _ => self.wants(child, "one value"),
            }
        }
        entries.retain(|entry| known.contains(&&*entry.key) || self.unknown_key(entry, &node.name, known));
        entries
    }

    fn unknown_key(&mut self, entry: &Entry, of: &str, known: &[&str]) -> bool {
        self.diagnostics.push(
            Diagnostic::error(Code::Unknown, format!("`{of}` has no setting `{}`", entry.key))
                .label(entry.at, "unknown")
                .help(format!("there are {}", known.join(", ")))
                .maybe_help(did_you_mean(&entry.key, known.iter().copied())),
        );
        false
    }

    fn host(&mut self, file: FileId, node: Node, group: Option<GroupId>) {
        if node.args.is_empty() {
            return self.wants(&node, "a name: `host \"web1\"`");
        }
        let mut host = DeclaredHost {
            names: node.args.clone(),
            address: None,
            group,
            vars: Vec::new(),
            connection: Vec::new(),
            drift: Vec::new(),
        };
        for property in &node.props {
            match &*property.key {
                "address" => host.address = Some(property.value.clone()),
                key => self.unknown_property(&node, key, property.at, &["address"]),
            }
        }
        for child in node.body() {
            match &*child.name {
                "vars" => host.vars.extend(self.vars(file, Level::Host, child)),
                "connection" => host.connection.push(self.connection(file, Level::Host, child)),
                "drift" => host.drift.push(self.drift(file, Level::Host, child)),
                "address" if child.args.len() == 1 => host.address = Some(child.args[0].clone()),
                key if foreign_terms::connection(key).is_some() => {
                    self.unknown_property(&node, key, child.at, &["address"]);
                }
                _ => self.unknown(child, &["vars", "connection", "drift", "address"]),
            }
        }
        self.declarations.hosts.push(host);
    }

    fn group(&mut self, file: FileId, node: Node, outer: Option<GroupId>) {
        let [name] = &node.args[..] else { return self.wants(&node, "one name: `group \"web\"`") };
        let Some(text) = name.plain_text().filter(|_| name.origin == Origin::Plain).cloned() else {
            return self.wants(&node, "a name");
        };
        for property in &node.props {
            self.unknown_property(&node, &property.key, property.at, &[]);
        }
        let group = self.group_called(text, name.at);
        self.declarations.groups[group].outer.extend(outer.map(|outer| (outer, name.at)));
        let level = Level::Group(group);
        for child in node.children.unwrap_or_default() {
            match &*child.name {
                "host" => self.host(file, child, Some(group)),
                "group" => self.group(file, child, Some(group)),
                "vars" => {
                    let layer = self.vars(file, level, &child);
                    self.declarations.vars.extend(layer);
                }
                "connection" => {
                    let layer = self.connection(file, level, &child);
                    self.declarations.connection.push(layer);
                }
                "drift" => {
                    let layer = self.drift(file, level, &child);
                    self.declarations.drift.push(layer);
                }
                "members" if child.args.is_empty() => self.wants(&child, "names or patterns"),
                "members" => self.declarations.groups[group].members.push(child.args),
                "hosts" | "groups" => {
                    let report = Diagnostic::error(
                        Code::Unknown,
                        format!("there is no node `{}`", child.name),
                    )
                    .label(child.at, "in a group")
                    .help("write `members \"web1\" \"lb*\"` for hosts and groups that are defined elsewhere");
                    self.diagnostics.push(report);
                }
                _ => self.unknown(&child, &["host", "group", "vars", "connection", "drift", "members"]),
            }
        }
    }

    fn group_called(&mut self, name: Arc<str>, at: Span) -> GroupId {
        let groups = &mut self.declarations.groups;
        *self.group_names.entry(name.clone()).or_insert_with(|| {
            groups.push(DeclaredGroup { name, at, outer: Vec::new(), members: Vec::new() })
        })
    }

    fn on(&mut self, node: Node) {
        if node.args.is_empty() {
            return self.wants(&node, "hosts: `on \"web\"`, or `on \"*\"` for all");
        }
        let mut block = Block {
            patterns: node.args.clone(),
            after: Vec::new(),
            rollout: None,
            body: Arc::new([]),
            at: node.at,
        };
        for property in &node.props {
            match &*property.key {
                "after" => block.after.push(property.value.clone()),
                key => self.unknown_property(&node, key, property.at, &["after"]),
            }
        }
        let mut body = Vec::new();
        for child in node.children.unwrap_or_default() {
            match &*child.name {
                "after" if child.children.is_none() => block.after.extend(child.args),
                "rollout" => match &block.rollout {
                    None => block.rollout = Some(child),
                    Some(first) => {
                        self.diagnostics.push(Diagnostic::given_twice("rollout", child.at, first.at));
                    }
                },
                _ => body.push(child),
            }
        }
        block.body = body.into();
        self.declarations.blocks.push(block);
    }

    fn push(&mut self, report: Diagnostic, named: Named, words: &str) {
        self.diagnostics.push(match named {
            Some(at) => report.label(at, words),
            None => report,
        });
    }

    fn failed(&mut self, path: &str, named: Named, error: &SourceError) {
        let help = match error {
            SourceError::TooLarge { .. } => {
                Some("divide it into files, and name them with `include`".to_owned())
            }
            error => error.help().map(str::to_owned),
        };
        let report = Diagnostic::error(Code::Read, format!("failed to read `{path}`: {error}"));
        self.push(report.maybe_help(help), named, "named here");
    }

    fn outside(&mut self, at: Span) {
        self.diagnostics.push(
            Diagnostic::error(Code::Path, "the path leads out of the project")
                .label(at, "outside")
                .help("keep the files of an inventory in the project's folder"),
        );
    }

    fn not_filled_in(&mut self, at: Span, node: &str) {
        self.diagnostics.push(
            Diagnostic::error(Code::Template, format!("`{node}` cannot contain a template"))
                .label(at, "holds a template")
                .help("write the full path; for each environment, write a separate inventory file"),
        );
    }

    fn wants(&mut self, node: &Node, what: &str) {
        self.diagnostics.push(
            Diagnostic::error(Code::Form, format!("`{}` needs {what}", node.name)).label(node.at, "here"),
        );
    }

    fn too_many(&mut self, node: &Node, at: Span) {
        self.diagnostics.push(
            Diagnostic::error(Code::Form, format!("`{}` has one argument too many", node.name))
                .label(at, "this one"),
        );
    }

    fn unknown(&mut self, node: &Node, known: &[&str]) {
        let resources = match known.contains(&"on") {
            true => format!("a resource must be in an `on`: `on \"*\" {{ {} … }}`", node.name),
            false => "write resources in an `on`".to_owned(),
        };
        let setting = foreign_terms::connection(&node.name).filter(|_| known.contains(&"connection"));
        // At top level the word may be a kind: `user "ada"`.
        let setting = setting.filter(|_| !known.contains(&"on"));
        let connection = setting.map(|setting| format!("write `connection {setting}`"));
        self.diagnostics.push(
            Diagnostic::error(Code::Unknown, format!("there is no node `{}` here", node.name))
                .label(node.at, "unknown")
                .help(format!("there are {}; {resources}", known.join(", ")))
                .maybe_help(foreign_terms::parameter(&node.name))
                .maybe_help(foreign_terms::block(&node.name))
                .maybe_help(connection)
                .maybe_help(did_you_mean(&node.name, known.iter().copied())),
        );
    }

    fn unknown_property(&mut self, node: &Node, key: &str, at: Span, known: &[&str]) {
        let of_connection =
            foreign_terms::connection(key).filter(|_| matches!(&*node.name, "host" | "group"));
        let connection = of_connection.map(|setting| {
            let name = node.args.first().map_or_else(String::new, |name| format!(" {}", name.literal));
            format!(
                "write it in the braces of the {}: `{}{name} {{ connection {setting} }}`",
                node.name, node.name
            )
        });
        self.diagnostics.push(
            Diagnostic::error(Code::Unknown, format!("`{}` has no property `{key}`", node.name))
                .label(at, "unknown")
                .help(match known {
                    [] => "it has no properties".to_owned(),
                    [only] => format!("there is only `{only}`"),
                    known => format!("there are {}", known.join(", ")),
                })
                .maybe_help(foreign_terms::parameter(key))
                .maybe_help(connection)
                .maybe_help(did_you_mean(key, known.iter().copied())),
        );
    }
}

fn count(nodes: &[Node]) -> usize {
    nodes.iter().map(|node| 1 + count(node.body())).sum()
}

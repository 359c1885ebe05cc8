//! Test cases of a module: parameters and facts in, resources out. A case is one KDL file and needs no host.
//!
//! A case is the body of an `on` block. Some nodes at its top level are not resources; they set up the environment:
//!
//! ```kdl
//! facts { os { id "ubuntu" } }          // changes to the facts of a plain Debian 12 host
//! vars { domain "example.com" }
//! secrets { shop { password "x" } }     // the value of (secret)"shop/password"
//! source "dist/app.tar.gz" "content"    // a file on the controller
//! error "needs a certificate"           // the case must fail with a report that contains this
//!
//! nginx { site "shop" { listen 80 } }
//! ```
//!
//! The caller decides where cases are stored and what happens with the results.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use converge_model::facts::{Cpu, Facts, Interface, Kernel, Memory, Os, User};
use converge_model::{
    Cell, Content, HostName, KindInfo, NotifyHow, Param, Resource, Row, Scalar, Tree, Type, Value,
};
use kdl::{KdlDocument, KdlNode, KdlValue};
use serde_json::{Map, Value as Json};

use crate::catalog::compile::Compiled;
use crate::catalog::selection::Selection;
use crate::evaluate::facts::FactsOf;
use crate::inventory::Loaded;
use crate::project::loader::Loader;
use crate::source::content::{ContentSource, Contents};
use crate::source::diagnostic::{Diagnostics, Files, Style};
use crate::source::sources::{LayeredSources, MemorySources, folder_of, join};
use crate::syntax::parse;

/// The name of the host of a case.
const HOST: &str = "case";
/// The name of the file of secrets of a case.
const SECRETS: &str = "case.age";

/// A test case.
pub struct Case {
    path: String,
    inventory: String,
    facts: Arc<Facts>,
    secrets: String,
    files: BTreeMap<String, Arc<[u8]>>,
    error: Option<String>,
}

/// The result of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaseOutcome {
    /// The resources as text, in the form described at [`Case::run`].
    Resources(String),
    /// The expected mistake was reported.
    Refused,
    /// The case failed. The text is the reports.
    Broken(String),
}

impl Case {
    /// Reads a case from `text`. `path` is its path in the project.
    pub fn read(path: &str, text: &str) -> Result<Self, String> {
        let document = parse(path, text)?;
        let mut case = Self {
            path: path.to_owned(),
            inventory: String::new(),
            facts: Arc::new(debian()),
            secrets: String::new(),
            files: BTreeMap::new(),
            error: None,
        };
        let mut body = text.as_bytes().to_vec();
        let mut variables = String::new();
        for node in document.nodes() {
            let span = node.span();
            match node.name().value() {
                "facts" => case.facts = Arc::new(with_facts(node)?),
                "vars" => variables.push_str(&node.to_string()),
                "secrets" => case.secrets = node.children().map(ToString::to_string).unwrap_or_default(),
                "source" => case.source(node)?,
                "error" => case.error = Some(texts(node, 1)?.remove(0)),
                _ => continue,
            }
            // Replace the node by blanks, so that spans in reports still match the file.
            let end = span.offset() + span.len();
            body[span.offset()..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        }
        let body = String::from_utf8_lossy(&body);
        let secrets =
            if case.secrets.is_empty() { String::new() } else { format!("secrets \"{SECRETS}\"\n") };
        case.inventory = format!("host \"{HOST}\"; on \"{HOST}\" {{ {body}\n}}\n{variables}\n{secrets}");
        Ok(case)
    }

    fn source(&mut self, node: &KdlNode) -> Result<(), String> {
        let mut texts = texts(node, 2)?;
        let content = texts.pop().unwrap_or_default();
        self.files.insert(texts.pop().unwrap_or_default(), content.into_bytes().into());
        Ok(())
    }

    /// Compiles the case with the modules and kinds of `loader`.
    ///
    /// The resources are printed in their final order. Each has its address, its parameters, and the resources that it
    /// notifies and waits for. Text of several lines is printed as a block. Values equal to their default are left out.
    pub fn run(&self, loader: &Loader) -> CaseOutcome {
        let sources = LayeredSources { above: self.staged(), below: Arc::clone(&loader.sources) };
        let loader = Loader { sources: Arc::new(sources), ..loader.clone() };
        let (compiled, reports) = self.compile(&loader);
        match (&self.error, compiled) {
            (Some(text), None) if reports.contains(text) => CaseOutcome::Refused,
            (Some(text), _) => {
                CaseOutcome::Broken(format!("{reports}expected an error that contains: {text}\n"))
            }
            (None, Some(compiled)) => CaseOutcome::Resources(shown(&compiled, &loader.kinds)),
            (None, None) => CaseOutcome::Broken(reports),
        }
    }

    fn compile(&self, loader: &Loader) -> (Option<Compiled>, String) {
        let Loaded { inventory, diagnostics, files, .. } = loader.load(&self.path, &[]);
        let Some(inventory) = inventory else { return (None, errors(&diagnostics, &files)) };
        let known: Option<(HostName, Arc<Facts>)> =
            inventory.hosts().next().map(|host| (host.clone(), Arc::clone(&self.facts)));
        let host = known.clone().map(|(host, _)| host);
        let facts: Arc<dyn FactsOf> = Arc::new(known.into_iter().collect::<BTreeMap<_, _>>());
        let Some(host) = host else { return (None, "the case has no host".to_owned()) };
        let (compiled, diagnostics) = inventory.compile(&host, &facts, &Selection::default());
        (compiled, errors(&diagnostics, inventory.files()))
    }

    fn staged(&self) -> MemorySources {
        let files = self.files.iter();
        let sources = files.fold(MemorySources::new(), |sources, (path, bytes)| sources.file(path, &**bytes));
        let secrets = join(folder_of(&self.path), SECRETS).unwrap_or_default();
        let sources = sources.file(&self.path, self.inventory.as_str());
        sources.file(&secrets, self.secrets.as_str()).secret_file(&secrets, self.secrets.as_str())
    }
}

/// Returns the runnable examples of a module's README: the bodies of fences that open with exactly "```kdl".
pub fn examples(readme: &str) -> Vec<String> {
    let mut examples = Vec::new();
    let mut open: Option<String> = None;
    for line in readme.lines() {
        match &mut open {
            Some(_) if line.trim_end() == "```" => examples.extend(open.take()),
            Some(body) => {
                body.push_str(line);
                body.push('\n');
            }
            None if line.trim_end() == "```kdl" => open = Some(String::new()),
            None => {}
        }
    }
    examples
}

fn errors(diagnostics: &Diagnostics, files: &Files) -> String {
    let errors = diagnostics.iter().filter(|one| one.severity == crate::Severity::Error);
    errors.map(|one| one.render(files, Style::PLAIN)).collect()
}

fn parse(path: &str, text: &str) -> Result<KdlDocument, String> {
    let mut files = Files::default();
    let file = files.add(path, text);
    let mut diagnostics = Diagnostics::default();
    parse::document(file, text, &mut diagnostics).ok_or_else(|| diagnostics.render(&files, Style::PLAIN))
}

/// Returns the `count` texts in the arguments of a node.
fn texts(node: &KdlNode, count: usize) -> Result<Vec<String>, String> {
    let texts: Vec<String> =
        node.entries().iter().filter_map(|entry| entry.value().as_string()).map(str::to_owned).collect();
    let wanted = if count == 1 { "one string" } else { "two strings" };
    if texts.len() == count { Ok(texts) } else { Err(format!("`{}` takes {wanted}\n", node.name().value())) }
}

/// Returns the facts of a plain Debian 12 host.
fn debian() -> Facts {
    let text = str::to_owned;
    Facts {
        hostname: text(HOST),
        os: Os {
            id: text("debian"),
            family: text("debian"),
            name: text("Debian GNU/Linux"),
            pretty_name: text("Debian GNU/Linux 12 (bookworm)"),
            version: text("12"),
            codename: text("bookworm"),
        },
        kernel: Kernel { name: text("Linux"), release: text("6.1.0-18-amd64") },
        arch: text("x86_64"),
        cpu: Cpu { count: 2, model: String::new() },
        memory: Memory { total: 4 << 30, swap: 0 },
        interfaces: vec![Interface {
            name: text("eth0"),
            mac: text("52:54:00:00:00:01"),
            addresses: vec![text("192.0.2.10/24")],
        }],
        addresses: vec![text("192.0.2.10")],
        init: text("systemd"),
        package_manager: text("apt"),
        virtualisation: text("kvm"),
        user: User { name: text("root"), uid: 0 },
        ..Facts::default()
    }
}

/// Returns the facts of a plain host, with those of `node` in place of the defaults.
fn with_facts(node: &KdlNode) -> Result<Facts, String> {
    let broken = |error: serde_json::Error| format!("`facts` of the case: {error}\n");
    let mut facts = serde_json::to_value(debian()).map_err(broken)?;
    let children = node.children().map(|document| object(document.nodes())).unwrap_or_default();
    put(&mut facts, Json::Object(children), "facts")?;
    serde_json::from_value(facts).map_err(broken)
}

/// Replaces `old` by `new`; objects key by key.
fn put(old: &mut Json, new: Json, path: &str) -> Result<(), String> {
    match (old, new) {
        (Json::Object(old), Json::Object(new)) => new.into_iter().try_for_each(|(key, value)| {
            let path = format!("{path}.{key}");
            let known = old.get_mut(&key).ok_or_else(|| format!("there is no fact `{path}`\n"))?;
            put(known, value, &path)
        }),
        (old, new) => {
            *old = new;
            Ok(())
        }
    }
}

fn object(nodes: &[KdlNode]) -> Map<String, Json> {
    nodes.iter().map(|node| (node.name().value().replace('-', "_"), json(node))).collect()
}

fn json(node: &KdlNode) -> Json {
    let of = |value: &KdlValue| match value {
        KdlValue::String(text) => Json::from(text.as_str()),
        KdlValue::Integer(number) => i64::try_from(*number).map_or(Json::Null, Json::from),
        KdlValue::Float(number) => Json::from(*number),
        KdlValue::Bool(value) => Json::from(*value),
        KdlValue::Null => Json::Null,
    };
    let values: Vec<Json> = node.entries().iter().map(|entry| of(entry.value())).collect();
    let children = node.children().map(KdlDocument::nodes).unwrap_or_default();
    match (values.len(), children) {
        (0, children) if children.iter().any(|child| child.name().value() == "-") => children
            .iter()
            .map(|child| {
                child.children().map_or_else(|| json(child), |own| Json::Object(object(own.nodes())))
            })
            .collect(),
        (0, children) => Json::Object(object(children)),
        (1, _) => values.into_iter().next().unwrap_or_default(),
        _ => Json::Array(values),
    }
}

/// Returns a catalog as text.
fn shown(compiled: &Compiled, kinds: &[&dyn KindInfo]) -> String {
    let mut out = String::new();
    for resource in &compiled.catalog.resources {
        let _ = writeln!(out, "{}", resource.address);
        let kind = kinds.iter().map(|kind| kind.schema()).find(|schema| schema.name == resource.kind);
        for (name, value) in &resource.params.0 {
            let param = kind.and_then(|schema| schema.params.iter().find(|param| param.name == *name));
            let child = kind.and_then(|schema| schema.children.iter().find(|child| child.name == *name));
            match (param, value) {
                (Some(param), value) if param.default.as_ref() == Some(value) => {}
                (_, Value::List(values)) if values.is_empty() => {}
                (_, Value::Map(keys)) if keys.is_empty() => {}
                (_, Value::Tree(entries)) if entries.is_empty() => {}
                (_, Value::Rows(rows)) => children(
                    &mut out,
                    name,
                    rows,
                    child.map_or(&[], |child| &child.params),
                    &compiled.contents,
                ),
                (param, value) => {
                    let _ = write!(out, "    {name}");
                    held(&mut out, value, param.map(|param| &param.ty), &compiled.contents);
                }
            }
        }
        relations(&mut out, resource, compiled);
    }
    out
}

fn relations(out: &mut String, resource: &Resource, compiled: &Compiled) {
    let address = |index: u32| compiled.catalog.resources[index as usize].address.as_str();
    for notify in &resource.notify {
        let how = if notify.how == NotifyHow::Reload { " reload" } else { "" };
        let _ = writeln!(out, "    -> notify {}{how}", address(notify.target));
    }
    for after in &resource.after {
        let _ = writeln!(out, "    -> after {}", address(*after));
    }
    let options = &resource.options;
    let flags = [("sensitive", options.sensitive), ("may-fail", options.may_fail)];
    for (flag, _) in flags.iter().filter(|(_, set)| *set) {
        let _ = writeln!(out, "    -> {flag}");
    }
}

/// Writes children: a dash for each, then its parameters.
fn children(out: &mut String, name: &str, rows: &[Row], params: &[Param], contents: &Contents) {
    let _ = writeln!(out, "    {name}");
    for row in rows {
        out.push_str("        -\n");
        for (name, cell) in &row.0 {
            let param = params.iter().find(|param| param.name == *name);
            if is_unwritten(cell, param) {
                continue;
            }
            let ty = param.map(|param| &param.ty);
            let _ = write!(out, "            {name}");
            match cell {
                Cell::Map(map) => keys(out, map, 16),
                Cell::Tree(entries) => tree(out, entries, 16),
                Cell::Scalar(one) => held(out, &Value::Scalar(one.clone()), ty, contents),
                Cell::List(values) => held(out, &Value::List(values.clone()), ty, contents),
                Cell::Content(content) => held(out, &Value::Content(*content), ty, contents),
            }
        }
    }
}

/// Whether the cell of a child equals its default.
fn is_unwritten(cell: &Cell, param: Option<&Param>) -> bool {
    match cell {
        Cell::Scalar(one) => {
            param.and_then(|param| param.default.as_ref()) == Some(&Value::Scalar(one.clone()))
        }
        Cell::List(values) => values.is_empty(),
        Cell::Map(keys) => keys.is_empty(),
        Cell::Tree(entries) => entries.is_empty(),
        Cell::Content(_) => false,
    }
}

/// Writes a value after its name, up to the end of the line.
fn held(out: &mut String, value: &Value, ty: Option<&Type>, contents: &Contents) {
    match value {
        Value::Scalar(Scalar::Int(mode)) if ty == Some(&Type::Mode) => line(out, &format!("{mode:04o}")),
        Value::Scalar(Scalar::Int(time)) if ty == Some(&Type::Duration) => line(out, &format!("{time} ms")),
        Value::Content(content) => content_of(out, *content, contents),
        Value::Scalar(Scalar::Text(text)) if text.contains('\n') => block(out, text),
        Value::Scalar(one) => line(out, &scalar(one)),
        Value::List(values) => line(out, &scalars(values)),
        Value::Map(map) => keys(out, map, 8),
        Value::Tree(entries) => tree(out, entries, 8),
        // In a catalog children have no children.
        Value::Rows(_) => line(out, ""),
    }
}

fn line(out: &mut String, value: &str) {
    let _ = writeln!(out, " {value}");
}

fn block(out: &mut String, text: &str) {
    out.push('\n');
    for line in text.lines() {
        let _ = writeln!(out, "{}", format!("        | {line}").trim_end());
    }
    if !text.ends_with('\n') {
        out.push_str("        | (no newline at the end)\n");
    }
}

fn keys(out: &mut String, map: &[(String, Vec<Scalar>)], indent: usize) {
    out.push('\n');
    for (key, values) in map {
        let _ = writeln!(out, "{:indent$}{key} {}", "", scalars(values));
    }
}

/// Writes nested keys below the line of their name.
fn tree(out: &mut String, entries: &[(String, Tree)], indent: usize) {
    out.push('\n');
    entries.iter().for_each(|(key, value)| branch(out, key, value, indent));
}

/// Writes a key and its value. The key of a list item is `-`.
fn branch(out: &mut String, key: &str, value: &Tree, indent: usize) {
    let _ = write!(out, "{:indent$}{key}", "");
    match value {
        Tree::Scalar(one) => line(out, &scalar(one)),
        Tree::List(items) if items.is_empty() => line(out, "[ ]"),
        Tree::Map(entries) if entries.is_empty() => line(out, "{ }"),
        Tree::List(items) => {
            out.push('\n');
            items.iter().for_each(|item| branch(out, "-", item, indent + 4));
        }
        Tree::Map(entries) => tree(out, entries, indent + 4),
    }
}

fn content_of(out: &mut String, content: Content, contents: &Contents) {
    let Content::Plain { digest, .. } = content else { return line(out, "(secret)") };
    match contents.get(&digest) {
        Some(ContentSource::Bytes(bytes)) => match std::str::from_utf8(bytes) {
            Ok("") => line(out, "\"\""),
            Ok(text) => block(out, text),
            Err(_) => line(out, &format!("({} bytes)", bytes.len())),
        },
        Some(ContentSource::File(path)) => line(out, &format!("(file){path:?}")),
        None => line(out, "(unknown)"),
    }
}

fn scalars(values: &[Scalar]) -> String {
    values.iter().map(scalar).collect::<Vec<_>>().join(" ")
}

fn scalar(value: &Scalar) -> String {
    match value {
        Scalar::Bool(value) => format!("#{value}"),
        Scalar::Int(number) => number.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Text(text) => format!("{text:?}"),
        Scalar::Secret(_) => "(secret)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use converge_model::SecretRef;

    use super::*;

    #[test]
    fn tree_is_shown_a_key_a_line() {
        let login = Tree::Map(vec![
            ("user".into(), "app".into()),
            ("password".into(), Tree::Scalar(Scalar::Secret(SecretRef(0)))),
        ]);
        let entries = vec![
            ("debug".to_owned(), Tree::from(true)),
            ("logins".to_owned(), Tree::List(vec![login, Tree::List(vec![7.into()]), "a\nb".into()])),
            ("none".to_owned(), Tree::List(Vec::new())),
            ("nothing".to_owned(), Tree::Map(Vec::new())),
        ];
        let mut out = "options".to_owned();
        held(&mut out, &Value::Tree(entries), Some(&Type::Tree), &Contents::default());
        let expected = r#"options
        debug #true
        logins
            -
                user "app"
                password (secret)
            -
                - 7
            - "a\nb"
        none [ ]
        nothing { }
"#;
        assert_eq!(out, expected);
    }
}

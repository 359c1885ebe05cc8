//! Helpers of the language tests: a few kinds of resources, projects in memory, catalogs as text.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use converge_lang::diagnostic::Style;
use converge_lang::{
    Builtin, Compiled, ContentSource, Diagnostics, FactsOf, Inventory, Loaded, Loader, MemorySources,
    Selection,
};
use converge_model::facts::Os;
use converge_model::schema::{Checked, Child};
use converge_model::{
    Cell, Claim, Content, Extent, Facts, HostName, KindInfo, KindSchema, Param, ParamProblem, Params, Scalar,
    Tree, Type, Value,
};

/// A kind that claims its name, like the real kinds.
struct TestKind {
    schema: KindSchema,
    claim: fn(&Params) -> Checked,
}

impl KindInfo for TestKind {
    fn schema(&self) -> &KindSchema {
        &self.schema
    }

    fn check(&self, params: &Params) -> Result<Checked, Vec<ParamProblem>> {
        if text(params, "owner") == "nobody-there" {
            return Err(vec![ParamProblem::new("owner", "there is no such owner").help("write another")]);
        }
        Ok((self.claim)(params))
    }
}

fn text(params: &Params, name: &str) -> String {
    match params.get(name) {
        Some(Value::Scalar(Scalar::Text(text))) => text.clone(),
        _ => String::new(),
    }
}

fn path_claim(params: &Params) -> Checked {
    let absent = text(params, "state") == "absent";
    let extent = match params.get("content") {
        _ if absent => Extent::Absence,
        Some(_) => Extent::Whole,
        None => Extent::Metadata,
    };
    Checked { claims: vec![Claim::path(text(params, "path"), extent)], suffix: None, warnings: Vec::new() }
}

fn line_claim(params: &Params) -> Checked {
    let part = params.get("match").map_or_else(|| text(params, "text"), |_| text(params, "match"));
    let claim = Claim::path(text(params, "path"), Extent::Part(format!("line:{part}")));
    Checked { claims: vec![claim], suffix: Some(part), warnings: Vec::new() }
}

fn once_claim(params: &Params) -> Checked {
    let key = text(params, "once");
    let claims = if key.is_empty() { Vec::new() } else { vec![Claim::once(key)] };
    Checked { claims, suffix: None, warnings: Vec::new() }
}

fn no_claim(_: &Params) -> Checked {
    Checked::default()
}

fn param(name: &str, ty: Type) -> Param {
    Param::new(name, ty, "A parameter of a test.")
}

static KINDS: LazyLock<Vec<TestKind>> = LazyLock::new(|| {
    let path = || param("path", Type::Path).argument(0).required();
    let name = || param("name", Type::Name).argument(0).required();
    let state = || param("state", Type::Text).one_of(&["present", "absent"]).default("present");
    let named = |schema: KindSchema, claim: fn(&Params) -> Checked| TestKind { schema, claim };
    vec![
        named(
            KindSchema::new("file", "A file")
                .param(path())
                .param(param("content", Type::Content))
                .param(param("newline", Type::Bool).default(true))
                .param(param("mode", Type::Mode))
                .param(param("owner", Type::Name))
                .param(state()),
            path_claim,
        ),
        named(
            KindSchema::new("directory", "A folder").param(path()).param(param("mode", Type::Mode)),
            |params| Checked {
                claims: vec![Claim::path(text(params, "path"), Extent::Metadata)],
                suffix: None,
                warnings: Vec::new(),
            },
        ),
        named(
            KindSchema::new("link", "A link").param(path()).param(param("to", Type::Path).required()),
            |params| Checked {
                claims: vec![Claim::path(text(params, "path"), Extent::Whole)],
                suffix: None,
                warnings: Vec::new(),
            },
        ),
        named(
            KindSchema::new("line", "A line in a file")
                .param(path())
                .param(param("text", Type::Text).argument(1).required())
                .param(param("match", Type::Text)),
            line_claim,
        ),
        named(
            KindSchema::new("package", "A package")
                .param(Param::list("name", Type::Name, "Packages").argument(0).required())
                .param(state()),
            no_claim,
        ),
        named(
            KindSchema::new("service", "A service")
                .param(name())
                .param(param("running", Type::Bool).default(true))
                .param(param("enabled", Type::Bool).default(true))
                .param(param("on-notify", Type::Text).one_of(&["restart", "reload"]).default("restart"))
                .whole_system()
                .notifiable(),
            |params| Checked {
                claims: vec![Claim::named("service", text(params, "name"))],
                suffix: None,
                warnings: Vec::new(),
            },
        ),
        named(
            KindSchema::new("command", "A command")
                .param(param("command", Type::Command).argument(0).required())
                .param(param("shell", Type::Bool).default(false))
                .param(param("creates", Type::Path))
                .param(param("unless", Type::ShellLine))
                .param(param("user", Type::Name))
                .param(param("stdin", Type::Content))
                .param(param("only-notified", Type::Bool).default(false))
                .param(param("env", Type::Map))
                .param(param("once", Type::Text))
                .param(param("always", Type::Bool))
                .notifiable(),
            once_claim,
        ),
        named(
            KindSchema::new("user", "A user")
                .param(name())
                .param(param("uid", Type::Int).range(0, 4_000_000_000))
                .param(param("shell", Type::Path))
                .param(Param::list("groups", Type::Name, "Groups")),
            |params| Checked {
                claims: vec![Claim::named("user", text(params, "name"))],
                suffix: None,
                warnings: Vec::new(),
            },
        ),
        named(
            KindSchema::new("sysctl", "A setting of the kernel")
                .param(name())
                .param(param("value", Type::Any).required()),
            no_claim,
        ),
        named(
            KindSchema::new("settings", "A file of nested settings")
                .param(path())
                .param(param("content", Type::Tree).required()),
            no_claim,
        ),
        named(
            KindSchema::new("unit", "A unit")
                .param(name())
                .child(Child::new("section", "A section").param(name()).free_keys("settings"))
                .whole_system(),
            no_claim,
        ),
    ]
});

/// Returns the kinds of all tests.
pub(crate) fn kinds() -> Vec<&'static dyn KindInfo> {
    KINDS.iter().map(|kind| kind as &'static dyn KindInfo).collect()
}

/// Returns a loader with files in memory.
pub(crate) fn loader(sources: MemorySources, builtins: &[Builtin]) -> Loader {
    Loader::new(Arc::new(sources), kinds(), builtins.to_vec())
}

/// Returns a project with one inventory.
pub(crate) fn one(inventory: &str) -> MemorySources {
    MemorySources::new().file("inventory.kdl", inventory)
}

/// Returns the facts of a Debian host, always the same.
pub(crate) fn debian() -> Facts {
    Facts {
        hostname: "here".to_owned(),
        os: Os {
            id: "debian".to_owned(),
            family: "debian".to_owned(),
            name: "Debian GNU/Linux".to_owned(),
            pretty_name: "Debian GNU/Linux 12 (bookworm)".to_owned(),
            version: "12".to_owned(),
            codename: "bookworm".to_owned(),
        },
        arch: "x86_64".to_owned(),
        ..Facts::default()
    }
}

/// Returns the same facts for every host of an inventory.
pub(crate) fn facts(inventory: &Inventory) -> Arc<dyn FactsOf> {
    let known: BTreeMap<HostName, Arc<Facts>> =
        inventory.hosts().map(|host| (host.clone(), Arc::new(debian()))).collect();
    Arc::new(known)
}

/// Loads, checks and compiles every host. Returns the reports, then the catalogs.
pub(crate) fn run(loader: &Loader, entry: &str, sets: &[(String, String)]) -> String {
    let Loaded { inventory, diagnostics, files, .. } = loader.load(entry, sets);
    let mut out = diagnostics.render(&files, Style::PLAIN);
    let Some(inventory) = inventory else { return out };
    let checked = inventory.check();
    out.push_str(&checked.render(&files, Style::PLAIN));
    if checked.has_errors() {
        return out;
    }
    let facts = facts(&inventory);
    for host in inventory.hosts() {
        let (compiled, diagnostics) = inventory.compile(host, &facts, &Selection::default());
        out.push_str(&diagnostics.render(&files, Style::PLAIN));
        if let Some(compiled) = compiled {
            let _ = writeln!(out, "{host}");
            show(&compiled, &mut out);
        }
    }
    out
}

/// Returns the result of a single inventory.
pub(crate) fn check(inventory: &str) -> String {
    run(&loader(one(inventory), &[]), "inventory.kdl", &[])
}

/// Returns the mistakes in a single inventory that can be found without a host.
pub(crate) fn mistakes(inventory: &str) -> Diagnostics {
    let Loaded { inventory, mut diagnostics, .. } = loader(one(inventory), &[]).load("inventory.kdl", &[]);
    if let Some(inventory) = inventory {
        diagnostics.extend(inventory.check());
    }
    diagnostics
}

/// Writes a catalog as text, one line for each resource.
pub(crate) fn show(compiled: &Compiled, out: &mut String) {
    let catalog = &compiled.catalog;
    for resource in &catalog.resources {
        let _ = write!(out, "  {}", resource.address);
        for alias in &resource.aliases {
            let _ = write!(out, " = {alias}");
        }
        for (name, value) in &resource.params.0 {
            let _ = write!(out, " {name}={}", shown(value, compiled));
        }
        let address = |place: u32| catalog.resources[place as usize].address.to_string();
        if !resource.after.is_empty() {
            let after: Vec<String> = resource.after.iter().map(|place| address(*place)).collect();
            let _ = write!(out, " after={}", after.join(","));
        }
        for notify in &resource.notify {
            let _ = write!(out, " notify={}:{:?}", address(notify.target), notify.how);
        }
        let options = &resource.options;
        if *options
            != (converge_model::Options { drift: options.drift, ..converge_model::Options::default() })
        {
            let _ = write!(out, " {options:?}");
        }
        let bodies: Vec<&str> =
            resource.bodies.iter().map(|body| catalog.bodies[*body as usize].name.as_str()).collect();
        let _ = writeln!(out, "  ({})", bodies.join(", "));
    }
}

fn shown(value: &Value, compiled: &Compiled) -> String {
    match value {
        Value::Scalar(value) => scalar(value),
        Value::List(values) => list(values),
        Value::Map(map) => keys(map),
        Value::Tree(entries) => tree(entries),
        Value::Content(content) => content_of(*content, compiled),
        Value::Rows(rows) => {
            let cell = |cell: &Cell| match cell {
                Cell::Scalar(value) => scalar(value),
                Cell::List(values) => list(values),
                Cell::Map(map) => keys(map),
                Cell::Tree(entries) => tree(entries),
                Cell::Content(content) => content_of(*content, compiled),
            };
            let row = |row: &converge_model::Row| {
                let cells: Vec<String> =
                    row.0.iter().map(|(name, value)| format!("{name}={}", cell(value))).collect();
                format!("<{}>", cells.join(" "))
            };
            rows.iter().map(row).collect()
        }
    }
}

fn scalar(value: &Scalar) -> String {
    match value {
        Scalar::Bool(value) => value.to_string(),
        Scalar::Int(number) => number.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Text(text) => format!("{text:?}"),
        Scalar::Secret(_) => "SECRET".to_owned(),
    }
}

fn list(values: &[Scalar]) -> String {
    format!("[{}]", values.iter().map(scalar).collect::<Vec<_>>().join(" "))
}

fn keys(map: &[(String, Vec<Scalar>)]) -> String {
    let keys: Vec<String> = map.iter().map(|(key, values)| format!("{key}={}", list(values))).collect();
    format!("{{{}}}", keys.join(" "))
}

fn tree(entries: &[(String, Tree)]) -> String {
    let entries: Vec<String> =
        entries.iter().map(|(key, value)| format!("{key}={}", branch(value))).collect();
    format!("{{{}}}", entries.join(" "))
}

fn branch(value: &Tree) -> String {
    match value {
        Tree::Scalar(one) => scalar(one),
        Tree::List(items) => format!("[{}]", items.iter().map(branch).collect::<Vec<_>>().join(" ")),
        Tree::Map(entries) => tree(entries),
    }
}

fn content_of(content: Content, compiled: &Compiled) -> String {
    match content {
        Content::Secret(_) => "SECRET".to_owned(),
        Content::Plain { digest, .. } => match compiled.contents.get(&digest) {
            Some(ContentSource::Bytes(bytes)) => format!("{:?}", String::from_utf8_lossy(bytes)),
            Some(ContentSource::File(path)) => format!("({path})"),
            None => "LOST".to_owned(),
        },
    }
}

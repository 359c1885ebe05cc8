//! Variables as written: scalars, lists and maps of values that are not evaluated yet.
//!
//! The settings `connection` and `drift` use the same form and the same precedence. `project::precedence` selects the
//! definition; `evaluate` evaluates it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::syntax::parse::{Node, Origin, Written};
use crate::template::{fold, is_reserved};

/// A value with all its nested values.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    /// One value.
    Leaf(Written),
    /// Several values, in order.
    List(Vec<Tree>, Span),
    /// Values by key, in the order written.
    Map(Arc<[Entry]>, Span),
}

/// One key of a map, or one variable.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The key as written.
    pub(crate) key: Arc<str>,
    /// The span of the key.
    pub(crate) at: Span,
    /// Its value.
    pub(crate) value: Tree,
}

/// The shape of a value, as far as it is visible without evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Scalar,
    List,
    Map,
    /// An expression, which may have any shape.
    Open,
}

impl Shape {
    /// Returns the shape in words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Scalar => "a scalar",
            Self::List => "a list",
            Self::Map => "a map",
            Self::Open => "an expression",
        }
    }
}

impl Tree {
    /// Returns the span of the value.
    pub(crate) fn at(&self) -> Span {
        match self {
            Self::Leaf(written) => written.at,
            Self::List(_, at) | Self::Map(_, at) => *at,
        }
    }

    /// Returns the shape of the value.
    pub(crate) fn shape(&self) -> Shape {
        match self {
            Self::Leaf(written) if written.origin == Origin::Expr => Shape::Open,
            Self::Leaf(_) => Shape::Scalar,
            Self::List(..) => Shape::List,
            Self::Map(..) => Shape::Map,
        }
    }

    /// Whether it has the same content as `other`, whatever their places.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leaf(a), Self::Leaf(b)) => a.same(b),
            (Self::List(a, _), Self::List(b, _)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
            }
            (Self::Map(a, _), Self::Map(b, _)) => {
                a.len() == b.len()
                    && a.iter().all(|a| b.iter().any(|b| a.key == b.key && a.value.same(&b.value)))
            }
            _ => false,
        }
    }

    /// Returns the value as text for `explain`. A secret is shown as its name.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Leaf(written) => written.to_string(),
            Self::List(items, _) => {
                let items: Vec<String> = items.iter().map(|item| format!("- {}", item.shown())).collect();
                format!("{{ {} }}", items.join("; "))
            }
            Self::Map(entries, _) => {
                let entries: Vec<String> =
                    entries.iter().map(|entry| format!("{} {}", entry.key, entry.value.shown())).collect();
                format!("{{ {} }}", entries.join("; "))
            }
        }
    }
}

/// Reads the variables in the body of a `vars` node.
pub(crate) fn variables(body: &[Node], diagnostics: &mut Diagnostics) -> Vec<Entry> {
    let entries = entries(body, diagnostics);
    for entry in &entries {
        if is_taken(&entry.key) {
            diagnostics.push(
                Diagnostic::error(
                    Code::Reserved,
                    format!("`{}` cannot be the name of a variable", entry.key),
                )
                .label(entry.at, "reserved in expressions")
                .help("choose another name; a key of a map may have this name"),
            );
        }
    }
    entries
}

/// Whether a name is reserved and cannot be used for a variable or a loop.
pub(crate) fn is_taken(name: &str) -> bool {
    let folded = fold(name);
    matches!(folded.as_str(), "host" | "hosts" | "groups" | "facts" | "params" | "loop")
        || is_reserved(&folded)
}

fn entries(body: &[Node], diagnostics: &mut Diagnostics) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(body.len());
    for node in body {
        if matches!(&*node.name, "for" | "when") && node.children.is_some() {
            diagnostics.push(
                Diagnostic::error(Code::Misplaced, format!("`{}` cannot be used in `vars`", node.name))
                    .label(node.at, "variables are evaluated where they are used")
                    .help("write an expression: `x (expr)\"a if facts.os.family == 'debian' else b\"`"),
            );
        } else if let Some(value) = tree(node, diagnostics) {
            entries.push(Entry { key: node.name.clone(), at: node.at, value });
        }
    }
    clashes(&entries, diagnostics);
    entries
}

/// Reports two keys that fold to one: they would be one name in an expression.
fn clashes(entries: &[Entry], diagnostics: &mut Diagnostics) {
    let mut seen: HashMap<String, &Entry> = HashMap::new();
    for entry in entries {
        match seen.insert(fold(&entry.key), entry) {
            Some(first) if first.key != entry.key => diagnostics.push(
                Diagnostic::error(
                    Code::Clash,
                    format!("`{}` and `{}` are the same name", first.key, entry.key),
                )
                .label(entry.at, "the same in an expression")
                .label(first.at, "as this")
                .help("expressions read a dash as an underscore; keep one of them"),
            ),
            _ => {}
        }
    }
}

/// Returns the value of a node: its arguments, or its properties and children.
pub(crate) fn tree(node: &Node, diagnostics: &mut Diagnostics) -> Option<Tree> {
    let items = |body: &[Node]| !body.is_empty() && body.iter().all(|child| &*child.name == "-");
    match (&node.args[..], &node.props[..], &node.children) {
        ([], [], None) => {
            diagnostics.push(no_value(&node.name, node.at));
            None
        }
        ([one], [], None) => Some(Tree::Leaf(one.clone())),
        (several, [], None) if !several.is_empty() => {
            Some(Tree::List(several.iter().cloned().map(Tree::Leaf).collect(), node.at))
        }
        ([], [], Some(body)) if items(body) => {
            let items = body.iter().filter_map(|item| tree(item, diagnostics)).collect();
            Some(Tree::List(items, node.at))
        }
        ([], _, _) => {
            let of_props = node.props.iter().map(|property| Entry {
                key: property.key.clone(),
                at: property.at,
                value: Tree::Leaf(property.value.clone()),
            });
            let mut all: Vec<Entry> = of_props.collect();
            all.extend(entries(node.body(), diagnostics));
            doubled(&all, diagnostics);
            Some(Tree::Map(all.into(), node.at))
        }
        _ => {
            diagnostics.push(list_and_map(&node.name, node.at));
            None
        }
    }
}

/// Returns the error for a key without a value.
pub(crate) fn no_value(key: &str, at: Span) -> Diagnostic {
    Diagnostic::error(Code::Empty, format!("`{key}` has no value"))
        .label(at, "needs a value")
        .help("write a value; `#true`, an empty map `{ }`, an empty list `(expr)\"[]\"`")
}

/// Returns the error for a key that has both arguments and nested keys.
pub(crate) fn list_and_map(key: &str, at: Span) -> Diagnostic {
    Diagnostic::error(Code::Shape, format!("`{key}` is a list and a map at once"))
        .label(at, "has arguments and keys")
        .help("a list has arguments or children named `-`, a map properties or named children")
}

fn doubled(entries: &[Entry], diagnostics: &mut Diagnostics) {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for entry in entries {
        if let Some(first) = seen.insert(&entry.key, entry.at) {
            diagnostics.push(
                Diagnostic::given_twice(&entry.key, entry.at, first)
                    .help("several values are a list: `x \"a\" \"b\"`"),
            );
        }
    }
}

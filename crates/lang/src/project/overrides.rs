//! `--set`: values from the command line. They override all others.

use std::sync::Arc;

use crate::project::declarations::Declarations;
use crate::project::precedence::{Layer, Level};
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Files, Span};
use crate::source::suggest::did_you_mean;
use crate::syntax::parse::{Literal, Origin, Written};
use crate::syntax::value_tree::{Entry, Shape, Tree};
use crate::template::fold;

/// Adds `--set` as the layer with the highest precedence. A value gets the type of the value that it overrides.
pub(crate) fn set(
    declarations: &mut Declarations,
    sets: &[(String, String)],
    files: &mut Files,
    diagnostics: &mut Diagnostics,
) {
    for (name, value) in sets {
        let text = format!("--set {name}={value}");
        let file = files.add("--set", text.clone());
        let at = Span::new(file, 6, name.len() + 1 + value.len());
        let path: Vec<&str> = name.split('.').collect();
        let layers = declarations.vars.iter().chain(declarations.hosts.iter().flat_map(|host| &host.vars));
        let mut found = layers.filter_map(|layer| find(&layer.entries, &path));
        let Some(overridden) = found.next() else {
            let names: Vec<String> =
                declarations.vars.iter().flat_map(|l| &l.entries).map(|e| e.key.to_string()).collect();
            diagnostics.push(
                Diagnostic::error(Code::Set, format!("there is no variable `{name}`"))
                    .label(at, "unknown variable")
                    .maybe_help(did_you_mean(path[0], names.iter().map(String::as_str))),
            );
            continue;
        };
        match literal(value, &overridden.value) {
            Ok(literal) => {
                let leaf = Tree::Leaf(Written { literal, origin: Origin::Raw, at });
                let entry = nest(&path, leaf, at);
                declarations.vars.push(Layer { level: Level::Set, file, entries: vec![entry] });
            }
            Err(what) => diagnostics.push(
                Diagnostic::error(Code::Set, format!("`{name}` {what}"))
                    .label(at, "another type")
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
        entry = Entry { key: key(Some(outer)), at, value: Tree::Map(Arc::new([entry]), at) };
    }
    entry
}

/// Converts the text of `--set` to the type of the value that it overrides.
fn literal(text: &str, overridden: &Tree) -> Result<Literal, &'static str> {
    let written = match overridden {
        Tree::Leaf(written) => written,
        other if other.shape() == Shape::List => return Err("is a list, which `--set` cannot give"),
        _ => return Err("is a map; set one of its keys: `app.workers=4`"),
    };
    let text_literal = || Literal::Text(text.into());
    Ok(match (&written.literal, written.origin) {
        (Literal::Int(..), _) => {
            Literal::Int(text.parse().map_err(|_| "must be a whole number")?, text.into())
        }
        (Literal::Float(..), _) => Literal::Float(text.parse().map_err(|_| "must be a number")?, text.into()),
        (Literal::Bool(_), _) => Literal::Bool(text.parse().map_err(|_| "must be `true` or `false`")?),
        // The type of an expression is not known. So derive the type from the text.
        (_, Origin::Expr) | (Literal::Null, _) => match (text.parse::<i64>(), text.parse::<bool>()) {
            (Ok(number), _) => Literal::Int(number, text.into()),
            (_, Ok(value)) => Literal::Bool(value),
            _ => text_literal(),
        },
        _ => text_literal(),
    })
}

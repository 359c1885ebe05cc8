//! What can be said of a body without a host: names of kinds, modules and parameters, and the syntax of its texts.
//!
//! It sees what no host reaches: a `when` that is false everywhere, an `on` for an empty group, a module that nobody
//! calls. What it says, it says in the words of whoever meets the same mistake on a host, so that each is shown once.

use std::sync::Arc;

use converge_model::Type;

use crate::project::Data;
use crate::project::assets::Assets;
use crate::project::library::Library;
use crate::schema::Schema;
use crate::schema::mismatch::{COMMON, unknown_parameter};
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Files};
use crate::syntax::command_words;
use crate::syntax::parse::{Literal, Node, Origin, Written};
use crate::syntax::template_error::{braces_in_expression, in_text};
use crate::syntax::value_tree::{Entry, Tree};

/// Looks at every body and every variable of a project.
pub(crate) fn all(data: &Data, diagnostics: &mut Diagnostics) {
    let own = data.declarations.hosts.iter().flat_map(|host| &host.vars);
    let mut linter = Linter { library: &data.library, files: &data.files, assets: &data.assets, diagnostics };
    for layer in data.declarations.vars.iter().chain(own) {
        linter.entries(&layer.entries);
    }
    for block in &data.declarations.blocks {
        linter.body(&block.body);
    }
    for module in data.library.modules.values() {
        linter.assets = &module.assets;
        linter.entries(&module.vars);
        linter.body(&module.body);
    }
}

struct Linter<'a> {
    library: &'a Library,
    files: &'a Files,
    assets: &'a Arc<Assets>,
    diagnostics: &'a mut Diagnostics,
}

impl<'a> Linter<'a> {
    fn entries(&mut self, entries: &[Entry]) {
        entries.iter().for_each(|entry| self.tree(&entry.value));
    }

    fn tree(&mut self, tree: &Tree) {
        match tree {
            Tree::Leaf(written) => self.text(written, None),
            Tree::List(items, _) => items.iter().for_each(|item| self.tree(item)),
            Tree::Map(entries, _) => self.entries(entries),
        }
    }

    fn body(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.texts(node);
            match &*node.name {
                "for" | "when" => self.body(node.body()),
                name => match self.schema(name) {
                    Some(schema) => self.node(node, schema, true),
                    None => self.diagnostics.push(self.library.unknown(node)),
                },
            }
        }
    }

    fn schema(&self, name: &str) -> Option<&'a Schema> {
        let library = self.library;
        match library.kind(name) {
            Some(kind) => Some(&library.kinds[kind].schema),
            None => library.modules.get(name).map(|module| &module.schema),
        }
    }

    /// Names of parameters, and the texts in what is written for them.
    fn node(&mut self, node: &Node, schema: &Schema, top: bool) {
        for property in &node.props {
            self.name(&property.key, property.at, schema, top);
        }
        self.shell_signs(node, schema);
        self.children(node.body(), schema, top);
    }

    /// Warns of a shell's signs in a command that no shell reads: they are words for its program.
    fn shell_signs(&mut self, node: &Node, schema: &Schema) {
        let is_shell =
            node.prop("shell").is_some() || node.body().iter().any(|child| &*child.name == "shell");
        let commands = schema.params.iter().filter(|param| param.ty == Type::Command && !is_shell);
        for param in commands {
            let child = node.body().iter().find(|child| *child.name == *param.name);
            let args = child.map(|child| &child.args).or((param.argument == Some(0)).then_some(&node.args));
            let of_prop = node.prop(&param.name).map(|property| std::slice::from_ref(&property.value));
            let Some([written]) = of_prop.or(args.map(Vec::as_slice)) else { continue };
            let Some(text) = written.plain_text() else { continue };
            let signs = command_words::signs(text);
            let (Some(first), program) = (signs.first(), text.split_whitespace().next().unwrap_or_default())
            else {
                continue;
            };
            let (found, are) = match signs.len() {
                1 => (format!("`{first}`"), "is a word"),
                _ => {
                    (signs.iter().map(|sign| format!("`{sign}`")).collect::<Vec<_>>().join(", "), "are words")
                }
            };
            let report = Diagnostic::warning(
                Code::Shell,
                format!("{found} {are} for `{program}`: no shell reads this"),
            );
            let way = match schema.param("shell") {
                Some(_) => "write `shell=#true`, or quote what is meant as it stands",
                None => "write `sh -c '…'`, or quote what is meant as it stands",
            };
            self.diagnostics.push(report.label(written.at, "in this command").help(way));
        }
    }

    fn children(&mut self, nodes: &[Node], schema: &Schema, top: bool) {
        for node in nodes {
            self.texts(node);
            match (&*node.name, schema.child(&node.name)) {
                ("for" | "when", _) if node.children.is_some() => self.children(node.body(), schema, top),
                (_, Some(child)) => self.node(node, &schema.children[child], false),
                _ => {
                    self.name(&node.name, node.at, schema, top);
                    node.body().iter().for_each(|inner| self.deep(inner));
                }
            }
        }
    }

    fn name(&mut self, name: &str, at: crate::source::diagnostic::Span, schema: &Schema, top: bool) {
        let known = schema.param(name).is_some()
            || schema.child(name).is_some()
            || schema.free_keys.is_some()
            || matches!(name, "with" | "when")
            || top && COMMON.contains(&name);
        if !known {
            self.diagnostics.push(unknown_parameter(schema, name, at, top));
        }
    }

    /// The keys of a map: anything, but their texts are looked at.
    fn deep(&mut self, node: &Node) {
        self.texts(node);
        node.body().iter().for_each(|inner| self.deep(inner));
    }

    fn texts(&mut self, node: &Node) {
        let expression = |key: &str| ["when", "in"].into_iter().find(|word| *word == key);
        for arg in &node.args {
            self.text(arg, Some("when").filter(|when| &*node.name == *when));
        }
        for property in &node.props {
            self.text(&property.value, expression(&property.key));
        }
    }

    fn text(&mut self, written: &Written, expression: Option<&str>) {
        let Literal::Text(text) = &written.literal else { return };
        let engine = &self.assets.engine;
        let found = match written.origin {
            // That a template stands where an expression is meant is said where it is evaluated.
            Origin::Plain if expression.is_some() && crate::template::is_template(text) => {
                return self.diagnostics.push(braces_in_expression(written, expression.unwrap_or("when")));
            }
            Origin::Plain if expression.is_some() => engine.check_expression(text),
            Origin::Expr => engine.check_expression(text),
            Origin::Plain | Origin::File | Origin::Template | Origin::Secret | Origin::Digest => {
                engine.check(None, text)
            }
            Origin::Env | Origin::Raw => return,
        };
        if let Err(error) = found {
            let report: Diagnostic = in_text(error, written, self.files);
            self.diagnostics.push(report);
        }
    }
}

//! What can be said of a text before anything is filled in: its syntax, its filters and tests.

use crate::resolve::resolver::Resolver;
use crate::resolve::statement::Expression;
use crate::source::diagnostic::Span;
use crate::syntax::parse::{Literal, Node, Origin, Written};
use crate::syntax::template_error::{braces_in_expression, in_text};
use crate::syntax::value_tree::{Entry, Tree};
use crate::template::{TemplateError, is_template};

impl Resolver<'_> {
    /// The texts of variables.
    pub(crate) fn variables(&mut self, entries: &[Entry]) {
        entries.iter().for_each(|entry| self.tree(&entry.value));
    }

    fn tree(&mut self, tree: &Tree) {
        match tree {
            Tree::Leaf(written) => {
                self.text(written);
            }
            Tree::List(items, _) => items.iter().for_each(|item| self.tree(item)),
            Tree::Map(entries, _) => self.variables(entries),
        }
    }

    /// The value as it is; broken where its text is a mistake.
    pub(super) fn text(&mut self, written: &Written) -> Written {
        let Literal::Text(text) = &written.literal else { return written.clone() };
        let engine = &self.assets.engine;
        let found = match written.origin {
            Origin::Expr => engine.check_expression(text),
            Origin::Plain | Origin::File | Origin::Template | Origin::Secret | Origin::Digest => {
                engine.check(None, text)
            }
            Origin::Env | Origin::Raw => Ok(()),
        };
        match found {
            Ok(()) => written.clone(),
            Err(error) => self.broken_text(error, written),
        }
    }

    fn broken_text(&mut self, error: TemplateError, written: &Written) -> Written {
        let report = in_text(error, written, self.files);
        self.refuse(report);
        broken(written.at)
    }

    /// The expression that stands after `key`, which is one as it stands: `when`, `in`.
    pub(super) fn expression(&mut self, written: &Written, key: &str) -> Option<Expression> {
        let Literal::Text(text) = &written.literal else { return None };
        if is_template(text) {
            self.refuse(braces_in_expression(written, key));
            return None;
        }
        if let Err(error) = self.assets.engine.check_expression(text) {
            self.broken_text(error, written);
            return None;
        }
        Some(Expression { text: text.clone(), written: written.clone() })
    }

    /// The texts of what has no meaning: their mistakes are told all the same.
    pub(super) fn texts(&mut self, node: &Node) {
        for written in node.args.iter().chain(node.props.iter().map(|property| &property.value)) {
            self.text(written);
        }
    }

    /// The same with everything in its braces.
    pub(super) fn texts_below(&mut self, node: &Node) {
        self.texts(node);
        node.body().iter().for_each(|inner| self.texts_below(inner));
    }
}

/// A value whose mistake has been told.
pub(super) fn broken(at: Span) -> Written {
    Written { literal: Literal::Broken, origin: Origin::Plain, at }
}

//! Checks texts without a host: their syntax, their filters and tests, and names that exist on no host.

use crate::resolve::resolver::Resolver;
use crate::resolve::scope::Names;
use crate::resolve::statement::Expression;
use crate::schema::Schema;
use crate::source::diagnostic::{Diagnostic, Span};
use crate::syntax::parse::{Literal, Node, Origin, Written};
use crate::syntax::template_error::{braces_in_expression, in_text};
use crate::syntax::value_tree::{Entry, Tree};
use crate::template::{self, Form, Mention, TemplateError, fold, is_template};

impl Resolver<'_> {
    /// Checks the texts of variables.
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

    /// Checks the assertions of a module.
    pub(super) fn demands(&mut self, schema: &Schema) {
        let names = schema.names().into_iter().chain(schema.free_keys.as_deref()).map(fold).collect();
        self.seeing(Names::within(names, &self.scope), |this| {
            for demand in &schema.asserts {
                let literal = Literal::Text(demand.expression.clone());
                this.text(&Written { literal, origin: Origin::Expr, at: demand.at });
            }
        });
        schema.children.iter().for_each(|child| self.demands(child));
    }

    /// Checks a text and returns its value. Returns a broken value if the text is wrong on every host.
    pub(super) fn text(&mut self, written: &Written) -> Written {
        let Literal::Text(text) = &written.literal else { return written.clone() };
        if self.uses.is_some() {
            // The index of names does not report mistakes; the check has reported them.
            self.note_text(written);
            return written.clone();
        }
        match self.sound(text, written) {
            Ok(()) => written.clone(),
            Err(report) => {
                self.refuse(report);
                broken(written.at)
            }
        }
    }

    /// Checks a text, or the template file that it names.
    fn sound(&self, text: &str, written: &Written) -> Result<(), Diagnostic> {
        let engine = &self.assets.engine;
        let here = |error| in_text(error, written, self.files);
        match written.origin {
            Origin::Env | Origin::Raw => Ok(()),
            Origin::Expr => {
                engine.check_expression(text).map_err(here)?;
                self.names_in(text, Form::Expression).map_err(here)
            }
            Origin::Template if !is_template(text) => {
                let (id, _, text) = self.assets.named_template(text, written.at)?;
                let found = self.names_in(text, Form::File);
                found.map_err(|error| error.in_file(id).label(written.at, "filled in here"))
            }
            _ => {
                engine.check(None, text).map_err(here)?;
                self.names_in(text, Form::Text).map_err(here)
            }
        }
    }

    /// Checks the names in a text that do not depend on a host.
    fn names_in(&self, text: &str, form: Form) -> Result<(), TemplateError> {
        for mention in template::mentions(text, form) {
            let is_fixed = mention.root == "facts" || self.module.is_some();
            if is_fixed && mention.is_certain && !mention.is_among(&self.asked) {
                self.look_up(&mention, form)?;
            }
        }
        Ok(())
    }

    /// Looks up a name. The error is the same as from rendering the template.
    fn look_up(&self, mention: &Mention, form: Form) -> Result<(), TemplateError> {
        const OPEN: &str = "{{ ";
        let (engine, lookup) = (&self.assets.engine, &mention.lookup);
        let Err(error) = engine.expression(lookup, &self.scope) else { return Ok(()) };
        let filled = match form {
            Form::Expression => None,
            Form::Text | Form::File => engine.text(&format!("{OPEN}{lookup} }}}}"), &self.scope).err(),
        };
        let (error, before) = filled.map_or((error, 0), |error| (error, OPEN.len()));
        let range = error.range.as_ref().map_or(mention.range.clone(), |range| {
            let start = mention.range.start + range.start.saturating_sub(before);
            start..(start + range.len()).min(mention.range.end)
        });
        Err(TemplateError { range: Some(range), ..error })
    }

    /// Checks the expression of `key`: `when` or `in`. It is written without braces.
    pub(super) fn expression(&mut self, written: &Written, key: &str) -> Option<Expression> {
        let Literal::Text(text) = &written.literal else { return None };
        if is_template(text) {
            self.refuse(braces_in_expression(written, key));
            return None;
        }
        let found = self.text(&Written { origin: Origin::Expr, ..written.clone() });
        (found.literal != Literal::Broken)
            .then(|| Expression { text: text.clone(), written: written.clone() })
    }

    /// Checks the texts of a node without a meaning, so that their mistakes are also reported.
    pub(super) fn texts(&mut self, node: &Node) {
        for written in node.args.iter().chain(node.props.iter().map(|property| &property.value)) {
            self.text(written);
        }
    }

    /// Checks the texts of a node and of everything in its braces.
    pub(super) fn texts_below(&mut self, node: &Node) {
        self.texts(node);
        node.body().iter().for_each(|inner| self.texts_below(inner));
    }
}

/// Returns a value whose mistake was already reported.
pub(super) fn broken(at: Span) -> Written {
    Written { literal: Literal::Broken, origin: Origin::Plain, at }
}

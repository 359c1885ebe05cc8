//! The index of names: the meaning of a place, its definitions and its other uses.

use crate::project::Data;
use crate::resolve::resolver::Resolver;
use crate::resolve::symbol::{Symbol, Use};
use crate::schema::Schema;
use crate::source::diagnostic::Span;
use crate::syntax::host_pattern;
use crate::syntax::parse::{Literal, Origin, Written};
use crate::syntax::template_error::part;
use crate::template::{self, Form, Mention, fold};

impl Resolver<'_> {
    /// Notes the symbol at a place, if names are collected.
    pub(super) fn note(&mut self, at: Span, symbol: impl FnOnce() -> Symbol) {
        if let Some(uses) = &mut self.uses {
            uses.push(Use { at, symbol: symbol() });
        }
    }

    /// Notes a parameter or child of `schema`.
    pub(super) fn note_parameter(&mut self, at: Span, name: &str) {
        if self.uses.is_some() {
            let of = self.path.join(".");
            self.note(at, || Symbol::Parameter { of, name: name.to_owned() });
        }
    }

    /// Notes the names in a text, and in the template file that it names.
    pub(super) fn note_text(&mut self, written: &Written) {
        let Literal::Text(text) = &written.literal else { return };
        let (form, files) = match written.origin {
            Origin::Env | Origin::Raw => return,
            Origin::Expr => (Form::Expression, self.files),
            _ => (Form::Text, self.files),
        };
        for mention in template::mentions(text, form) {
            self.mention(&mention, |range| part(&range, written, files));
        }
        if written.origin == Origin::Template
            && let Ok((file, _, text)) = self.assets.named_template(text, written.at)
        {
            for mention in template::mentions(text, Form::File) {
                self.mention(&mention, |range| Some(Span::new(file, range.start, range.len())));
            }
        }
    }

    fn mention(&mut self, mention: &Mention, at: impl Fn(std::ops::Range<usize>) -> Option<Span>) {
        let root = fold(&mention.root);
        if self.locals.contains(&root) {
            return;
        }
        let start = mention.range.start;
        let (symbol, end) = match (root.as_str(), &mention.key) {
            ("params", Some((key, end))) if self.module.is_some() => {
                let of = self.module.clone().unwrap_or_default();
                (Symbol::Parameter { of, name: self.spelt_parameter(key) }, *end)
            }
            ("groups", Some((key, end))) => (Symbol::Group(key.clone()), *end),
            ("hosts", Some((key, end))) => (Symbol::Host(key.clone()), *end),
            ("params" | "groups" | "hosts" | "host" | "facts" | "loop", _) => return,
            _ => {
                let module = self.module.clone();
                (Symbol::Variable { module, name: root }, start + mention.root.len())
            }
        };
        if let Some(at) = at(start..end) {
            self.note(at, || symbol);
        }
    }

    /// Returns the parameter of the current module for its spelling in an expression.
    fn spelt_parameter(&self, spelt: &str) -> String {
        let module = self.module.as_deref().and_then(|module| self.library.module(module));
        let names = module.map(|module| self.library.modules[module].schema.names()).unwrap_or_default();
        let found = names.into_iter().find(|name| fold(name) == fold(spelt));
        found.unwrap_or(spelt).to_owned()
    }
}

/// All names in a project, each place once: definitions and uses.
pub(crate) struct Index {
    pub(crate) definitions: Vec<Use>,
    pub(crate) uses: Vec<Use>,
}

impl Index {
    /// Makes the index of a project. `uses` were found in its bodies.
    pub(crate) fn new(data: &Data, mut uses: Vec<Use>) -> Self {
        let mut definitions = Vec::new();
        let mut define = |at: Span, symbol: Symbol| definitions.push(Use { at, symbol });
        for host in &data.membership.hosts {
            define(host.at, Symbol::Host(host.name.to_string()));
        }
        for group in &data.membership.groups {
            define(group.at, Symbol::Group(group.name.to_string()));
        }
        let own = data.declarations.hosts.iter().flat_map(|host| &host.vars);
        for entry in data.declarations.vars.iter().chain(own).flat_map(|layer| &layer.entries) {
            define(entry.at, Symbol::Variable { module: None, name: fold(&entry.key) });
        }
        for module in &data.library.modules {
            define(module.at, Symbol::Module(module.schema.name.clone()));
            for entry in &module.vars {
                let of = Some(module.schema.name.clone());
                define(entry.at, Symbol::Variable { module: of, name: fold(&entry.key) });
            }
            parameters(&module.schema, &module.schema.name, &mut define);
        }
        uses.extend(patterns(data));
        uses.sort_by_key(|found| (found.at.file, found.at.start, found.at.len));
        uses.dedup();
        Self { definitions, uses }
    }
}

fn parameters(schema: &Schema, path: &str, define: &mut impl FnMut(Span, Symbol)) {
    for (name, at) in &schema.declared {
        define(*at, Symbol::Parameter { of: path.to_owned(), name: name.clone() });
    }
    for child in &schema.children {
        parameters(child, &format!("{path}.{}", child.name), define);
    }
}

/// Returns the hosts and groups that patterns name.
fn patterns(data: &Data) -> Vec<Use> {
    let mut uses = Vec::new();
    let blocks = data.declarations.blocks.iter().flat_map(|block| block.patterns.iter().chain(&block.after));
    let members = data.declarations.groups.iter().flat_map(|group| group.members.iter().flatten());
    for written in blocks.chain(members) {
        let Literal::Text(text) = &written.literal else { continue };
        for (range, name) in host_pattern::terms(text) {
            let symbol = if data.membership.group(name).is_some() {
                Symbol::Group(name.to_owned())
            } else if data.membership.host(name).is_some() {
                Symbol::Host(name.to_owned())
            } else {
                continue;
            };
            let at = part(&range, written, &data.files).unwrap_or(written.at);
            uses.push(Use { at, symbol });
        }
    }
    uses
}

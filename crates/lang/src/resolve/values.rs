//! Resolves the values of a parameter by its type: single values, lists, commands, keys. Values that are equal on every
//! host are converted here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use converge_model::Type;
use converge_model::schema::Param;

use crate::resolve::binding::{Of, Shell};
use crate::resolve::control::Flow;
use crate::resolve::mistakes::{nested, no_map};
use crate::resolve::resolver::Resolver;
use crate::resolve::statement::{Argument, Form, Key, KeyValue, Member, Statement, Term};
use crate::resolve::texts::broken;
use crate::schema::mismatch::values_only;
use crate::schema::types::{self, Input, Limits};
use crate::schema::{Schema, Target};
use crate::source::diagnostic::{Code, Diagnostic, Span};
use crate::source::ids::ParamId;
use crate::syntax::command_words;
use crate::syntax::parse::{Literal, Node, Written};
use crate::syntax::value_tree::{list_and_map, no_value};

impl Resolver<'_> {
    /// Resolves a parameter written as arguments, as a property, or as a child with arguments.
    pub(super) fn values(&mut self, of: &Of<'_>, id: ParamId, values: &[Written], at: Span) -> Member {
        let form = self.form(of, id, values);
        Member::Argument(id, Argument { form, at, value_at: whole(values).unwrap_or(at) })
    }

    /// Resolves a parameter written as a child.
    pub(super) fn parameter(&mut self, of: &Of<'_>, id: ParamId, node: &Node) -> Member {
        let param = &of.schema.params[id];
        if node.args.is_empty() {
            let form = self.in_braces(of, param, node);
            return Member::Argument(id, Argument { form, at: node.at, value_at: node.at });
        }
        if !node.props.is_empty() || node.children.is_some() {
            self.texts_beside(node);
            self.refuse(values_only(&param.name, node));
        }
        self.values(of, id, &node.args, node.at)
    }

    fn texts_beside(&mut self, node: &Node) {
        for property in &node.props {
            self.text(&property.value);
        }
        node.body().iter().for_each(|inner| self.texts_below(inner));
    }

    /// Resolves a parameter written as a child without arguments: the items or keys in its braces.
    fn in_braces(&mut self, of: &Of<'_>, param: &Param, node: &Node) -> Form {
        let items = dashes(node);
        match &param.ty {
            Type::Map | Type::Tree => Form::Keys(self.keys(param, node)),
            Type::List(item) if !items.is_empty() => {
                node.body().iter().for_each(|item| self.plain_item(param, item));
                let limits = Limits::of(param);
                Form::Values(items.iter().map(|value| self.term(item, limits, value, of.target)).collect())
            }
            _ => {
                self.texts_beside(node);
                self.refuse(
                    Diagnostic::error(Code::Empty, format!("`{}` has no value", param.name))
                        .label(node.at, "needs a value")
                        .help(format!("write `{} #true` to enable it", param.name)),
                );
                Form::Values(vec![Term::Open(broken(node.at))])
            }
        }
    }

    fn form(&mut self, of: &Of<'_>, id: ParamId, values: &[Written]) -> Form {
        let param = &of.schema.params[id];
        let limits = Limits::of(param);
        match &param.ty {
            Type::Map | Type::Tree => Form::Values(vec![self.map(values, of.node.at)]),
            Type::List(item) => {
                Form::Values(values.iter().map(|value| self.term(item, limits, value, of.target)).collect())
            }
            Type::Command => self.command(of, param, values),
            ty => Form::Values(vec![self.single(of, ty, param, values)]),
        }
    }

    fn single(&mut self, of: &Of<'_>, ty: &Type, param: &Param, values: &[Written]) -> Term {
        let [written] = values else {
            let at = values.get(1).map_or(of.node.at, |value| value.at);
            values.iter().for_each(|value| drop(self.text(value)));
            self.refuse_form(format!("`{}` takes one value", param.name), at, "one value too many");
            return Term::Open(broken(at));
        };
        // The content of a project file is read when a host requests it.
        if *ty == Type::ControllerPath && of.target == Target::Catalog {
            return Term::Open(self.text(written));
        }
        self.term(ty, Limits::of(param), written, of.target)
    }

    fn map(&mut self, values: &[Written], at: Span) -> Term {
        match values {
            [written] if Input::unevaluated(written).is_none() => Term::Open(self.text(written)),
            [written] => {
                self.refuse(no_map(written.at));
                Term::Open(broken(written.at))
            }
            _ => {
                let at = values.get(1).map_or(at, |value| value.at);
                values.iter().for_each(|value| drop(self.text(value)));
                self.refuse(
                    Diagnostic::error(Code::Type, "a map must have keys").label(at, "a value without key"),
                );
                Term::Open(broken(at))
            }
        }
    }

    /// Resolves a command. A single text is split before templates are filled in; several texts are the words.
    fn command(&mut self, of: &Of<'_>, param: &Param, values: &[Written]) -> Form {
        let limits = Limits::of(param);
        let text = match values {
            [written] if of.shell != Shell::Yes => written.plain_text().map(|text| (written, text)),
            _ => None,
        };
        let Some((written, text)) = text else {
            let words = values.iter().map(|value| self.term(&Type::Text, limits, value, of.target));
            return Form::Values(words.collect());
        };
        if self.text(written).literal == Literal::Broken {
            return Form::Values(vec![Term::Open(broken(written.at))]);
        }
        if of.shell == Shell::Open {
            return Form::Line(written.clone());
        }
        self.shell_signs(of.schema, written, text);
        match words(written, text) {
            Ok(words) => Form::Values(
                words.iter().map(|word| self.term(&Type::Text, limits, word, of.target)).collect(),
            ),
            Err(report) => {
                self.refuse(report);
                Form::Values(vec![Term::Open(broken(written.at))])
            }
        }
    }

    /// Warns of shell characters in a command that no shell runs: the program would get them as words.
    fn shell_signs(&mut self, schema: &Schema, written: &Written, text: &str) {
        let signs = command_words::signs(text);
        let Some(first) = signs.first() else { return };
        let program = text.split_whitespace().next().unwrap_or_default();
        let (found, kind) = match signs.len() {
            1 => (format!("`{first}`"), "a word"),
            _ => (signs.iter().map(|sign| format!("`{sign}`")).collect::<Vec<_>>().join(", "), "words"),
        };
        let way = match schema.param("shell") {
            Some(_) => "write `shell=#true`, or quote the words that the program must get",
            None => "write `sh -c '…'`, or quote the words that the program must get",
        };
        self.diagnostics.push(
            Diagnostic::warning(
                Code::Shell,
                format!("no shell runs this command: `{program}` gets {found} as {kind}"),
            )
            .label(written.at, "in this command")
            .help(way),
        );
    }

    /// Resolves the keys of a map, written as properties and children.
    fn keys(&mut self, of: &Param, node: &Node) -> Vec<Statement<Key>> {
        let mut keys: Vec<Statement<Key>> = Vec::new();
        for property in &node.props {
            let values = std::slice::from_ref(&property.value);
            keys.push(Statement::One(self.key(&property.key, property.value.at, values, false)));
        }
        keys.extend(self.statements(node.body(), Flow::among_members, &mut |resolver, child| {
            let value = match of.ty {
                Type::Tree => resolver.nested(of, child)?,
                _ => resolver.flat(of, child),
            };
            Some(Statement::One(Key { key: child.name.clone(), at: child.at, value }))
        }));
        self.doubled_keys(&keys);
        keys
    }

    /// Refuses a key that is written twice. Those in loops and conditions are checked on hosts.
    fn doubled_keys(&mut self, keys: &[Statement<Key>]) {
        let mut seen: HashMap<&str, Span> = HashMap::new();
        for key in keys {
            // An expression may be null, which counts as not written.
            let Statement::One(Key { key, at, value }) = key else { continue };
            if !value.is_constant() {
                continue;
            }
            match seen.entry(key) {
                Entry::Occupied(first) => self.refuse(Diagnostic::given_twice(key, *at, *first.get())),
                Entry::Vacant(unseen) => {
                    unseen.insert(*at);
                }
            }
        }
    }

    /// Resolves the value of a key in a flat map.
    fn flat(&mut self, of: &Param, child: &Node) -> KeyValue {
        let dashes = dashes(child);
        let is_list = child.args.is_empty() && child.props.is_empty() && !dashes.is_empty();
        if is_list {
            child.body().iter().for_each(|item| self.plain_item(of, item));
        } else if !child.props.is_empty() || child.children.is_some() {
            self.refuse(nested(of, &child.name, child.at));
        }
        let values = if child.args.is_empty() { &dashes } else { &child.args };
        self.several(values, values.len() > 1 || child.args.is_empty())
    }

    /// Resolves the value of a key or an item in a nested map. The form is the same as for variables.
    fn nested(&mut self, of: &Param, node: &Node) -> Option<KeyValue> {
        let has_items = !node.body().is_empty() && node.body().iter().all(|child| &*child.name == "-");
        match (&node.args[..], &node.props[..], &node.children) {
            ([], [], None) => {
                self.refuse(no_value(&node.name, node.at));
                None
            }
            (values, [], None) => Some(self.several(values, values.len() > 1)),
            ([], [], Some(items)) if has_items => {
                Some(KeyValue::List(items.iter().filter_map(|item| self.nested(of, item)).collect()))
            }
            ([], _, _) => Some(KeyValue::Keys(self.keys(of, node))),
            _ => {
                self.texts_below(node);
                self.refuse(list_and_map(&node.name, node.at));
                None
            }
        }
    }

    /// Resolves a key of a map with its values.
    pub(super) fn key(&mut self, key: &Arc<str>, at: Span, values: &[Written], several: bool) -> Key {
        Key { key: key.clone(), at, value: self.several(values, several) }
    }

    fn several(&mut self, values: &[Written], several: bool) -> KeyValue {
        let term =
            |written| KeyValue::One(self.term(&Type::Any, Limits::default(), written, Target::Catalog));
        let mut terms: Vec<KeyValue> = values.iter().map(term).collect();
        match terms.pop() {
            Some(only) if terms.is_empty() && !several => only,
            last => {
                terms.extend(last);
                KeyValue::List(terms)
            }
        }
    }

    /// Refuses properties and children of a list item: they would be lost.
    fn plain_item(&mut self, of: &Param, item: &Node) {
        if !item.props.is_empty() || item.children.is_some() {
            self.refuse(nested(of, &item.name, item.at));
        }
    }

    /// Resolves one value of a type.
    fn term(&mut self, ty: &Type, limits: Limits<'_>, written: &Written, target: Target) -> Term {
        let Some(input) = Input::unevaluated(written) else { return Term::Open(self.text(written)) };
        match types::read(ty, &input, limits) {
            Ok(scalar) if target == Target::Module => {
                Term::Constant(types::as_written(ty, &input, scalar), written.at)
            }
            Ok(scalar) => Term::Constant(scalar, written.at),
            Err(error) => {
                self.refuse(error.at(written.at));
                Term::Open(broken(written.at))
            }
        }
    }
}

/// Returns the words of a command without a shell, each as a value of its own.
pub(crate) fn words(written: &Written, text: &str) -> Result<Vec<Written>, Diagnostic> {
    let words = command_words::split(text).map_err(|error| {
        let report = Diagnostic::error(Code::Command, error.message).label(written.at, "in this command");
        report.maybe_help(error.help)
    })?;
    let word = |word: String| Written { literal: Literal::Text(word.into()), ..written.clone() };
    Ok(words.into_iter().map(word).collect())
}

/// Returns the span from the first to the last value.
fn whole(values: &[Written]) -> Option<Span> {
    let (first, last) = (values.first()?.at, values.last()?.at);
    let end = (last.start + last.len).max(first.start + first.len);
    Some(Span::new(first.file, first.start, end - first.start))
}

/// Returns the items in the braces of a list.
fn dashes(node: &Node) -> Vec<Written> {
    let all_dashes = node.body().iter().all(|child| &*child.name == "-");
    if all_dashes { node.body().iter().flat_map(|child| &child.args).cloned().collect() } else { Vec::new() }
}

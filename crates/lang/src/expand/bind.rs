//! From a node to the values of its parameters: arguments, properties and children, `for` and `when` inside it, `with`.

use std::sync::Arc;

use converge_model::schema::Param;
use converge_model::{Content, Scalar, Type};
use minijinja::Value;

use crate::evaluate::control_flow::{self, Condition};
use crate::evaluate::evaluator::Evaluator;
use crate::evaluate::problems::{secret_here, unreadable};
use crate::expand::arguments::{Argument, Arguments, Atom, Bound, MapEntry, Row, SecretText};
use crate::expand::options::Options;
use crate::schema::mismatch::{COMMON, missing, unknown_parameter, values_only};
use crate::schema::types::{self, Limits};
use crate::schema::{Schema, takes_several};
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::source::foreign_terms;
use crate::source::ids::{ChildId, ParamId, Table};
use crate::syntax::command_words;
use crate::syntax::parse::{Literal, Node, Origin, Property, Written};
use crate::template::{self, Evaluated, Found, GivenAt, Marks, Raw, fold};

/// What values are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A kind: what its type makes of them.
    Catalog,
    /// A module: what it can go on working with.
    Module,
}

/// Reads what `node` gives to `schema`, and says what is wrong with it; the options that every resource has go to
/// `options`, where there are any.
pub(crate) fn bind(
    node: &Node,
    schema: &Schema,
    target: Target,
    evaluator: &Evaluator,
    options: Option<&mut Options>,
) -> (Arguments, Diagnostics) {
    let mut binder = Binder {
        schema,
        target,
        raw: schema.params.iter().map(|_| Vec::new()).collect(),
        given: Arguments::empty(schema, node.at),
        written: schema.params.iter().map(|_| false).collect(),
        with: None,
        read: GivenAt::default(),
        options,
        diagnostics: Diagnostics::default(),
    };
    binder.header(node, evaluator);
    binder.body(node.body(), evaluator, false);
    binder.finish(evaluator)
}

struct Binder<'a> {
    schema: &'a Schema,
    target: Target,
    /// What is written for each parameter.
    raw: Table<ParamId, Vec<Piece<'a>>>,
    given: Arguments,
    /// Which parameters are written at all.
    written: Table<ParamId, bool>,
    with: Option<&'a Written>,
    /// What callers of modules gave and was read for the value in hand.
    read: GivenAt,
    options: Option<&'a mut Options>,
    /// What is wrong with it.
    diagnostics: Diagnostics,
}

/// One place where a parameter is given.
struct Piece<'a> {
    form: Form<'a>,
    at: Span,
    evaluator: Evaluator,
    maybe: bool,
}

impl Piece<'_> {
    /// Its first value, where it has one.
    fn value_at(&self) -> Span {
        match self.form {
            Form::Values(values) => whole(values).unwrap_or(self.at),
            Form::Node(node) => whole(&node.args).unwrap_or(self.at),
        }
    }
}

/// From the first of several values to the last.
fn whole(values: &[Written]) -> Option<Span> {
    let (first, last) = (values.first()?.at, values.last()?.at);
    let end = (last.start + last.len).max(first.start + first.len);
    Some(Span::new(first.file, first.start, end - first.start))
}

/// How a parameter is given.
enum Form<'a> {
    /// As arguments, or as a property.
    Values(&'a [Written]),
    /// As a child.
    Node(&'a Node),
}

impl<'a> Binder<'a> {
    fn header(&mut self, node: &'a Node, evaluator: &Evaluator) {
        for (index, arg) in node.args.iter().enumerate() {
            match self.schema.argument(index) {
                // The last argument takes the rest, where it takes several.
                Some(param) if takes_several(&self.schema.params[param]) => {
                    self.piece(param, Form::Values(&node.args[index..]), arg.at, evaluator, false);
                    break;
                }
                Some(param) => {
                    self.piece(param, Form::Values(&node.args[index..=index]), arg.at, evaluator, false)
                }
                None => self.too_many(node, arg),
            }
        }
        for property in &node.props {
            self.property(node, property, evaluator);
        }
    }

    fn piece(&mut self, param: ParamId, form: Form<'a>, at: Span, evaluator: &Evaluator, maybe: bool) {
        self.raw[param].push(Piece { form, at, evaluator: evaluator.clone(), maybe });
    }

    fn property(&mut self, node: &'a Node, property: &'a Property, evaluator: &Evaluator) {
        let (key, value) = (&*property.key, &property.value);
        if key == "with" {
            self.with = Some(value);
        } else if self.option(key, std::slice::from_ref(value), value.at, evaluator) || key == "when" {
            // A child's `when` was seen by whoever walks children.
        } else if let Some(param) = self.schema.param(key) {
            self.piece(param, Form::Values(std::slice::from_ref(value)), value.at, evaluator, false);
        } else if self.schema.child(key).is_some() {
            self.diagnostics.push(
                Diagnostic::error(Code::Form, format!("`{key}` is written as a child"))
                    .label(value.at, "a property")
                    .help(format!("write `{} {{ {key} {} }}`", node.name, value)),
            );
        } else if self.schema.free_keys.is_some() {
            self.free(&property.key, value.at, std::slice::from_ref(value), evaluator);
        } else {
            self.unknown(key, property.at);
        }
    }

    /// Takes one of the options that every resource has.
    fn option(&mut self, key: &str, values: &'a [Written], at: Span, evaluator: &Evaluator) -> bool {
        match &mut self.options {
            Some(options) if COMMON.contains(&key) => {
                options.set(key, values, at, evaluator, &mut self.diagnostics);
                true
            }
            _ => false,
        }
    }

    fn body(&mut self, nodes: &'a [Node], evaluator: &Evaluator, maybe: bool) {
        for node in nodes {
            match &*node.name {
                "for" if node.children.is_some() => {
                    for iteration in
                        self.diagnostics.told(control_flow::iterations(node, evaluator)).into_iter().flatten()
                    {
                        self.body(node.body(), &iteration.evaluator, maybe || iteration.maybe);
                    }
                }
                "when" if node.children.is_some() => {
                    match self
                        .diagnostics
                        .told(control_flow::condition(node.args.first(), node.at, evaluator))
                        .unwrap_or_default()
                    {
                        Condition::False => {}
                        holds => self.body(node.body(), evaluator, maybe || holds == Condition::Unknown),
                    }
                }
                _ => self.child(node, evaluator, maybe),
            }
        }
    }

    fn child(&mut self, node: &'a Node, evaluator: &Evaluator, maybe: bool) {
        let name = &*node.name;
        if let Some(param) = self.schema.param(name) {
            self.piece(param, Form::Node(node), node.at, evaluator, maybe);
        } else if let Some(child) = self.schema.child(name) {
            self.row(child, node, evaluator, maybe);
        } else if name == "with" && node.args.len() == 1 {
            self.with = node.args.first();
        } else if self.option(name, &node.args, node.at, evaluator) {
            if node.children.is_some() || !node.props.is_empty() {
                self.diagnostics.push(values_only(name, node));
            }
        } else if name == "when" {
            // A child's own `when` was seen by whoever walks children.
        } else if self.schema.free_keys.is_some() && node.children.is_none() && node.props.is_empty() {
            self.free(&node.name, node.at, &node.args, evaluator);
        } else {
            self.unknown(name, node.at);
        }
    }

    fn row(&mut self, child: ChildId, node: &'a Node, evaluator: &Evaluator, maybe: bool) {
        let when = control_flow::when_of(node);
        let condition = match when {
            Some(_) => {
                self.diagnostics.told(control_flow::condition(when, node.at, evaluator)).unwrap_or_default()
            }
            None => Condition::True,
        };
        if condition == Condition::False {
            return;
        }
        let schema = &self.schema.children[child];
        let (given, told) = bind(node, schema, self.target, evaluator, None);
        self.diagnostics.extend(told);
        let maybe = maybe || condition == Condition::Unknown;
        self.given.children[child].push(Row { given, maybe });
    }

    fn free(&mut self, key: &Arc<str>, at: Span, values: &'a [Written], evaluator: &Evaluator) {
        let mut entry = MapEntry { several: values.len() > 1, ..MapEntry::new(key.clone(), at) };
        for value in values {
            self.map_value(value, evaluator, &mut entry);
        }
        self.given.free.push(entry);
    }

    /// Reads everything that is written, in the order of the schema.
    fn finish(mut self, evaluator: &Evaluator) -> (Arguments, Diagnostics) {
        let shell = self.schema.param("shell").is_some_and(|param| self.is_true(param));
        for id in self.schema.params.ids() {
            let pieces = std::mem::take(&mut self.raw[id]);
            self.written[id] |= !pieces.is_empty();
            self.given.params[id] = self.param(id, pieces, shell);
        }
        if let Some(with) = self.with {
            self.with(with, evaluator);
        }
        for (id, param) in self.schema.params.entries() {
            // What a module requires is known once all its pieces are.
            let needed = param.required && self.target == Target::Catalog;
            // What is written and wrong has been said, and what is null counts as not written.
            let absent = self.given.params[id].is_none() && !(self.written[id] && self.has_failed());
            if needed && absent && !self.given.free.iter().any(|f| *f.key == *param.name) {
                self.diagnostics.push(missing(self.schema, param, self.given.at));
            }
        }
        (self.given, self.diagnostics)
    }

    fn has_failed(&self) -> bool {
        !self.diagnostics.is_empty()
    }

    fn is_true(&mut self, param: ParamId) -> bool {
        let Some(piece) = self.raw[param].first() else { return false };
        let written = match piece.form {
            Form::Values(values) => values.first(),
            Form::Node(node) => node.args.first(),
        };
        let value = written.and_then(|written| piece.evaluator.value(written).ok());
        value.is_some_and(|value| value.value.is_true())
    }

    fn param(&mut self, id: ParamId, pieces: Vec<Piece<'a>>, shell: bool) -> Option<Argument> {
        let param = &self.schema.params[id];
        let mut argument: Option<Argument> = None;
        for piece in pieces {
            self.read = GivenAt::default();
            let Some(held) = self.held(param, &piece, shell) else { continue };
            let given = self.given_at(piece.value_at());
            match &mut argument {
                None => argument = Some(Argument { held, at: piece.at, given, maybe: piece.maybe }),
                Some(first) => {
                    first.given = std::mem::take(&mut first.given) | given;
                    self.add(first, held, &piece, param);
                }
            }
        }
        argument
    }

    /// Where the value in hand was given: to a module at `at`, unless it comes from the parameters of another.
    fn given_at(&mut self, at: Span) -> GivenAt {
        let read = std::mem::take(&mut self.read);
        match self.target {
            Target::Module if read.spans().is_empty() => GivenAt::one(at),
            _ => read,
        }
    }

    /// Adds a second value: lists and maps grow, anything else is given twice.
    fn add(&mut self, first: &mut Argument, held: Bound, piece: &Piece<'_>, param: &Param) {
        match (&mut first.held, held) {
            (Bound::Many(items), Bound::Many(more)) if matches!(param.ty, Type::List(_)) => {
                items.extend(more)
            }
            (Bound::Map(entries), Bound::Map(more)) => entries.extend(more),
            (Bound::Unknown, _) | (_, Bound::Unknown) if takes_several(param) => first.held = Bound::Unknown,
            _ if first.maybe || piece.maybe => first.held = Bound::Unknown,
            _ => self.diagnostics.push(
                Diagnostic::error(Code::Doubled, format!("`{}` is given twice", param.name))
                    .label(piece.at, "and again here")
                    .label(first.at, "given here")
                    .help("it has one value; keep one of them"),
            ),
        }
    }

    fn held(&mut self, param: &Param, piece: &Piece<'a>, shell: bool) -> Option<Bound> {
        let empty;
        let (values, node) = match piece.form {
            Form::Values(values) => (values, None),
            Form::Node(node) if node.args.is_empty() => {
                empty = dashes(node);
                return self.without_arguments(param, node, &empty, piece);
            }
            Form::Node(node) => (&node.args[..], Some(node)),
        };
        if let Some(node) = node.filter(|node| !node.props.is_empty() || node.children.is_some()) {
            self.diagnostics.push(values_only(&param.name, node));
        }
        match &param.ty {
            Type::Map => self.map_values(param, values, &piece.evaluator),
            Type::List(of) => self.list(of, param, values, &piece.evaluator),
            Type::Command => self.command(param, values, shell, &piece.evaluator),
            Type::Content if self.target == Target::Catalog => self.content(param, values, &piece.evaluator),
            ty => self.single(ty, param, values, &piece.evaluator),
        }
    }

    /// A parameter written as a child without arguments: the items or keys in its braces.
    fn without_arguments(
        &mut self,
        param: &Param,
        node: &'a Node,
        items: &[&'a Written],
        piece: &Piece<'a>,
    ) -> Option<Bound> {
        match &param.ty {
            Type::Map => {
                let mut entries = Vec::new();
                self.keys(param, node, &piece.evaluator, &mut entries);
                Some(Bound::Map(entries))
            }
            Type::List(of) if !items.is_empty() => {
                node.body().iter().for_each(|item| self.plain_item(param, item));
                let mut held = Vec::new();
                for item in items {
                    self.items(of, param, item, &piece.evaluator, &mut held)?;
                }
                Some(Bound::Many(held))
            }
            _ => {
                self.diagnostics.push(
                    Diagnostic::error(Code::Empty, format!("`{}` has no value", param.name))
                        .label(node.at, "nothing is written after it")
                        .help(format!("write `{} #true` if that is meant", param.name)),
                );
                None
            }
        }
    }

    /// The keys of a map, as properties and children.
    fn keys(&mut self, of: &Param, node: &'a Node, evaluator: &Evaluator, entries: &mut Vec<MapEntry>) {
        for property in &node.props {
            let mut entry = MapEntry::new(property.key.clone(), property.value.at);
            self.map_value(&property.value, evaluator, &mut entry);
            push_key(entries, entry, &mut self.diagnostics);
        }
        self.keys_in(of, node.body(), evaluator, entries);
    }

    fn keys_in(&mut self, of: &Param, body: &'a [Node], evaluator: &Evaluator, entries: &mut Vec<MapEntry>) {
        for child in body {
            match &*child.name {
                "for" if child.children.is_some() => {
                    for iteration in self
                        .diagnostics
                        .told(control_flow::iterations(child, evaluator))
                        .into_iter()
                        .flatten()
                    {
                        self.keys_in(of, child.body(), &iteration.evaluator, entries);
                    }
                }
                "when" if child.children.is_some() => {
                    let holds = self
                        .diagnostics
                        .told(control_flow::condition(child.args.first(), child.at, evaluator))
                        .unwrap_or_default();
                    if holds != Condition::False {
                        self.keys_in(of, child.body(), evaluator, entries);
                    }
                }
                _ => {
                    let dashes = dashes(child);
                    let is_list = child.args.is_empty() && child.props.is_empty() && !dashes.is_empty();
                    let is_plain = child.props.is_empty() && child.children.is_none();
                    if is_list {
                        child.body().iter().for_each(|item| self.plain_item(of, item));
                    } else if !is_plain {
                        self.diagnostics.push(nested(of, &child.name, child.at));
                    }
                    let values: Vec<&Written> =
                        if child.args.is_empty() { dashes } else { child.args.iter().collect() };
                    let several = values.len() > 1 || child.args.is_empty();
                    let mut entry = MapEntry { several, ..MapEntry::new(child.name.clone(), child.at) };
                    for value in values {
                        self.map_value(value, evaluator, &mut entry);
                    }
                    push_key(entries, entry, &mut self.diagnostics);
                }
            }
        }
    }

    /// Refuses properties and children of an item of a list: they would be lost.
    fn plain_item(&mut self, of: &Param, item: &Node) {
        if !item.props.is_empty() || item.children.is_some() {
            self.diagnostics.push(nested(of, &item.name, item.at));
        }
    }

    /// Adds one value to a key of a map.
    fn map_value(&mut self, written: &Written, evaluator: &Evaluator, entry: &mut MapEntry) {
        let outer = std::mem::take(&mut self.read);
        self.map_value_of(written, evaluator, entry);
        let own = self.given_at(written.at);
        self.read = outer | own.clone();
        entry.given = std::mem::take(&mut entry.given) | own;
    }

    fn map_value_of(&mut self, written: &Written, evaluator: &Evaluator, entry: &mut MapEntry) {
        let Some(value) = self.evaluated(written, evaluator) else { return };
        let direct = types::Input::of(written).filter(|_| !matches!(written.literal, Literal::Text(_)));
        if let Some(input) = direct {
            entry.values.extend(self.typed(
                &Type::Any,
                Limits::default(),
                &input,
                Marks::default(),
                written.at,
            ));
            return;
        }
        self.map_evaluated(value, written.at, entry);
    }

    fn map_evaluated(&mut self, value: Evaluated, at: Span, entry: &mut MapEntry) {
        if value.marks.unknown {
            return entry.values.push(Atom::Unknown);
        }
        match template::raw(&value.value) {
            Raw::Null => {}
            Raw::List(list) => {
                entry.several = true;
                for (item, marks) in list.items() {
                    let atom = self.scalar(
                        &Type::Any,
                        Limits::default(),
                        item,
                        marks.clone() | value.marks.clone(),
                        at,
                    );
                    entry.values.extend(atom);
                }
            }
            _ => {
                entry.values.extend(self.scalar(&Type::Any, Limits::default(), &value.value, value.marks, at))
            }
        }
    }

    fn map_values(&mut self, of: &Param, values: &[Written], evaluator: &Evaluator) -> Option<Bound> {
        let [written] = values else {
            let at = values.get(1).map_or(self.given.at, |value| value.at);
            self.diagnostics
                .push(Diagnostic::error(Code::Type, "a map has keys").label(at, "a value without key"));
            return None;
        };
        let value = self.evaluated(written, evaluator)?;
        self.map_of(of, &value, written.at)
    }

    fn map_of(&mut self, of: &Param, value: &Evaluated, at: Span) -> Option<Bound> {
        if value.marks.unknown {
            return Some(Bound::Unknown);
        }
        match template::raw(&value.value) {
            Raw::Null => None,
            Raw::Map(map) => {
                let mut entries = Vec::new();
                for (key, found) in self.diagnostics.told(map.entries().map_err(|error| *error.0))? {
                    let Found { value: item, marks } = found;
                    if holds_map(&item) {
                        self.diagnostics.push(nested(of, key, at).given(marks.given.spans()));
                        continue;
                    }
                    let mut entry = MapEntry::new(key.into(), at);
                    let marks = marks | value.marks.clone();
                    entry.given = if self.target == Target::Module && marks.given.spans().is_empty() {
                        GivenAt::one(at)
                    } else {
                        marks.given.clone()
                    };
                    self.map_evaluated(Evaluated { value: item, marks }, at, &mut entry);
                    entries.push(entry);
                }
                Some(Bound::Map(entries))
            }
            _ => {
                self.diagnostics.push(
                    Diagnostic::error(Code::Type, "this is no map")
                        .label(at, "a map is wanted")
                        .help("write its keys in braces, or `(expr)` with a variable that is a map"),
                );
                None
            }
        }
    }

    fn list(&mut self, of: &Type, param: &Param, values: &[Written], evaluator: &Evaluator) -> Option<Bound> {
        let mut items = Vec::new();
        for written in values {
            if self.items(of, param, written, evaluator, &mut items).is_none() {
                return Some(Bound::Unknown);
            }
        }
        Some(Bound::Many(items))
    }

    /// Adds the items that one value stands for; none where that is unknown.
    fn items(
        &mut self,
        of: &Type,
        param: &Param,
        written: &Written,
        evaluator: &Evaluator,
        items: &mut Vec<Atom>,
    ) -> Option<()> {
        let at = written.at;
        if let Some(input) = direct(written) {
            let atom = self.typed(of, Limits::of(param), &input, Marks::default(), at);
            items.extend(atom);
            return Some(());
        }
        let Some(value) = self.evaluated(written, evaluator) else { return Some(()) };
        self.items_of(of, param, &value, at, items)
    }

    fn items_of(
        &mut self,
        of: &Type,
        param: &Param,
        value: &Evaluated,
        at: Span,
        items: &mut Vec<Atom>,
    ) -> Option<()> {
        if value.marks.unknown {
            return None;
        }
        match template::raw(&value.value) {
            Raw::Null => {}
            Raw::List(list) => {
                for (item, marks) in list.items() {
                    let marks = marks.clone() | value.marks.clone();
                    let atom = self.scalar(of, Limits::of(param), item, marks, at);
                    items.extend(atom);
                }
            }
            _ => {
                let atom = self.scalar(of, Limits::of(param), &value.value, value.marks.clone(), at);
                items.extend(atom);
            }
        }
        Some(())
    }

    /// A command: one text is split before it is filled in, several are the words.
    fn command(
        &mut self,
        param: &Param,
        values: &[Written],
        shell: bool,
        evaluator: &Evaluator,
    ) -> Option<Bound> {
        let [written] = values else { return self.list(&Type::Text, param, values, evaluator) };
        let text = match (&written.literal, written.origin) {
            (Literal::Text(text), Origin::Plain | Origin::Raw) if !shell => text,
            _ => return self.list(&Type::Text, param, values, evaluator),
        };
        let words = match command_words::split(text) {
            Ok(words) => words,
            Err(error) => {
                let report =
                    Diagnostic::error(Code::Command, error.message).label(written.at, "in this command");
                self.diagnostics.push(report.maybe_help(error.help));
                return None;
            }
        };
        let words: Vec<Written> = words
            .into_iter()
            .map(|word| Written { literal: Literal::Text(word.into()), ..written.clone() })
            .collect();
        self.list(&Type::Text, param, &words, evaluator)
    }

    fn content(&mut self, param: &Param, values: &[Written], evaluator: &Evaluator) -> Option<Bound> {
        match values {
            [written] if written.origin == Origin::File => self.file(written, evaluator).map(Bound::One),
            _ => self.single(&Type::Content, param, values, evaluator),
        }
    }

    fn file(&mut self, written: &Written, evaluator: &Evaluator) -> Option<Atom> {
        let content = evaluator.name(written).and_then(|name| {
            let found = evaluator.file_path(&name.text, written.at).and_then(|path| {
                evaluator
                    .assets
                    .content(evaluator.session.sources(), &path)
                    .map_err(|error| unreadable(&name.text, &error, written.at))
            });
            found.map_err(|report| report.given(name.given.spans()))
        });
        match content {
            Ok((digest, length, source)) => Some(Atom::Content(Content::Plain { digest, length }, source)),
            Err(report) => {
                self.diagnostics.push(report);
                None
            }
        }
    }

    fn single(
        &mut self,
        ty: &Type,
        param: &Param,
        values: &[Written],
        evaluator: &Evaluator,
    ) -> Option<Bound> {
        let [written] = values else {
            let at = values.get(1).map_or(self.given.at, |value| value.at);
            self.diagnostics.push(
                Diagnostic::error(Code::Form, format!("`{}` has one value", param.name))
                    .label(at, "this is one too many"),
            );
            return None;
        };
        let is_path = *ty == Type::ControllerPath && written.literal != Literal::Broken;
        if is_path && self.target == Target::Catalog {
            return self.controller_path(param, written, evaluator).map(Bound::One);
        }
        if let Some(input) = direct(written) {
            return self.typed(ty, Limits::of(param), &input, Marks::default(), written.at).map(Bound::One);
        }
        let value = self.evaluated(written, evaluator)?;
        self.single_of(ty, param, &value, written.at)
    }

    /// A file of the project, by its path: the host gets its content. The path does not depend on facts.
    fn controller_path(&mut self, param: &Param, written: &Written, evaluator: &Evaluator) -> Option<Atom> {
        let text = match written.origin {
            Origin::Plain => match evaluator.name(written) {
                Ok(name) => {
                    self.read = std::mem::take(&mut self.read) | name.given;
                    types::Input::Text(name.text.to_string())
                }
                Err(report) => {
                    self.diagnostics.push(report);
                    return None;
                }
            },
            _ => {
                let value = self.evaluated(written, evaluator)?;
                if value.marks.unknown {
                    return Some(Atom::Unknown);
                }
                types::input_of(&value.value)?
            }
        };
        let Atom::Plain(Scalar::Text(path)) = self.typed(
            &Type::ControllerPath,
            Limits::of(param),
            &text,
            Marks::given(self.read.clone()),
            written.at,
        )?
        else {
            return None;
        };
        match evaluator.project_file(&path, written.at) {
            Ok((content, source)) => Some(Atom::Content(content, source)),
            Err(report) => {
                self.diagnostics.push(report.given(self.read.spans()));
                None
            }
        }
    }

    fn single_of(&mut self, ty: &Type, param: &Param, value: &Evaluated, at: Span) -> Option<Bound> {
        if value.marks.unknown {
            return Some(Bound::One(Atom::Unknown));
        }
        if matches!(template::raw(&value.value), Raw::Null) {
            return None;
        }
        self.scalar(ty, Limits::of(param), &value.value, value.marks.clone(), at).map(Bound::One)
    }

    /// Takes parameters from a map; what is written beside it wins.
    fn with(&mut self, written: &Written, evaluator: &Evaluator) {
        let Some(value) = self.evaluated(written, evaluator) else { return };
        if value.marks.unknown {
            for argument in self.given.params.iter_mut().filter(|argument| argument.is_none()) {
                let given = GivenAt::default();
                *argument = Some(Argument { held: Bound::Unknown, at: written.at, given, maybe: true });
            }
            return;
        }
        let Raw::Map(map) = template::raw(&value.value) else {
            let report = Diagnostic::error(Code::Type, "`with` takes a map").label(written.at, "is none");
            return self.diagnostics.push(report.help("write `with=(expr)\"u\"`"));
        };
        let entries = self.diagnostics.told(map.entries().map_err(|error| *error.0));
        for (key, Found { value: item, marks }) in entries.into_iter().flatten() {
            let id = self.schema.params.find(|param| fold(&param.name) == fold(key));
            let Some(id) = id else {
                self.unknown(key, written.at);
                continue;
            };
            if self.given.params[id].is_some() {
                continue;
            }
            let param = &self.schema.params[id];
            let value = Evaluated { value: item, marks: marks | value.marks.clone() };
            self.read = value.marks.given.clone();
            let held = self.held_of(param, &value, written.at);
            let given = self.given_at(written.at);
            self.given.params[id] = held.map(|held| Argument { held, at: written.at, given, maybe: false });
        }
    }

    fn held_of(&mut self, param: &Param, value: &Evaluated, at: Span) -> Option<Bound> {
        match &param.ty {
            Type::Map => self.map_of(param, value, at),
            Type::List(of) => {
                let mut items = Vec::new();
                match self.items_of(of, param, value, at, &mut items) {
                    Some(()) => Some(Bound::Many(items)),
                    None => Some(Bound::Unknown),
                }
            }
            Type::Command => {
                let mut items = Vec::new();
                self.items_of(&Type::Text, param, value, at, &mut items);
                Some(Bound::Many(items))
            }
            ty => self.single_of(ty, param, value, at),
        }
    }

    fn evaluated(&mut self, written: &Written, evaluator: &Evaluator) -> Option<Evaluated> {
        let value = self.diagnostics.told(evaluator.value(written))?;
        self.read = std::mem::take(&mut self.read) | value.marks.given.clone();
        Some(value)
    }

    /// One value of the result of a template or an expression.
    fn scalar(
        &mut self,
        ty: &Type,
        limits: Limits<'_>,
        value: &Value,
        marks: Marks,
        at: Span,
    ) -> Option<Atom> {
        self.read = std::mem::take(&mut self.read) | marks.given.clone();
        if marks.unknown {
            return Some(Atom::Unknown);
        }
        match types::input_of(value) {
            Some(input) => self.typed(ty, limits, &input, marks, at),
            None => {
                let (what, help) = match template::raw(value) {
                    Raw::Null => return None,
                    Raw::List(_) => {
                        ("a list", "`join` makes one text of it; a parameter with one value takes one item")
                    }
                    Raw::Map(_) => ("a map", "write the key that is meant: `app.workers`"),
                    _ => ("no plain value", "write the part that is meant: `host.name`"),
                };
                self.diagnostics.push(
                    Diagnostic::error(Code::Type, format!("this is {what}, where one value is wanted"))
                        .label(at, what)
                        .help(help)
                        .given(marks.given.spans()),
                );
                None
            }
        }
    }

    fn typed(
        &mut self,
        ty: &Type,
        limits: Limits<'_>,
        input: &types::Input,
        marks: Marks,
        at: Span,
    ) -> Option<Atom> {
        let atom = if marks.tainted {
            let text = match input {
                types::Input::Text(text) => text.clone(),
                types::Input::Int(number, _) => number.to_string(),
                types::Input::Float(number, _) => number.to_string(),
                types::Input::Bool(value) => value.to_string(),
            };
            if matches!(ty, Type::Path | Type::ControllerPath | Type::Name) {
                self.diagnostics.push(secret_here(at, "a name or path").given(marks.given.spans()));
                return None;
            }
            types::read_secret(ty, &text, limits)
                .map(|()| Atom::Secret(SecretText { text: text.into(), stand_ins: marks.stand_ins.clone() }))
        } else {
            types::read(ty, input, limits).map(|scalar| {
                Atom::Plain(match self.target {
                    Target::Catalog => scalar,
                    Target::Module => types::as_written(ty, input, scalar),
                })
            })
        };
        match atom {
            Ok(atom) => Some(atom),
            Err(error) => {
                let report = Diagnostic::error(Code::Type, error.message).label(at, "here");
                self.diagnostics.push(report.maybe_help(error.help).given(marks.given.spans()));
                None
            }
        }
    }

    fn too_many(&mut self, node: &Node, arg: &Written) {
        let of_property = node.props.iter().rfind(|property| property.value.at.start < arg.at.start);
        let help = match of_property {
            Some(property) => {
                format!("`{}` takes several only as a child: `{} \"a\" \"b\"`", property.key, property.key)
            }
            None => match self.named(arg) {
                Some(help) => help,
                None => self.meant_by(node, arg),
            },
        };
        self.diagnostics.push(
            Diagnostic::error(Code::Form, format!("`{}` has an argument too many", node.name))
                .label(arg.at, "this one")
                .help(help),
        );
    }

    /// Help for an argument too many: the parameter that is missing, else one resource for each.
    fn meant_by(&mut self, node: &Node, arg: &Written) -> String {
        let is_given = |param: &Param| {
            node.prop(&param.name).is_some() || node.body().iter().any(|child| *child.name == *param.name)
        };
        let missing =
            self.schema.params.find(|param| param.required && param.argument.is_none() && !is_given(param));
        let several = foreign_terms::several(&node.name);
        match (missing, &node.args[..]) {
            (Some(param), [name, _]) => {
                // What stands there is its value: that it is missing is no second mistake.
                self.written[param] = true;
                format!("write `{} {} {}={arg}`", node.name, name, self.schema.params[param].name)
            }
            _ => several.map_or_else(
                || format!("write one `{}` each; parameters have names: `key=\"value\"`", node.name),
                str::to_owned,
            ),
        }
    }

    /// Help for the name of a parameter where an argument stands: `file "/x" content "y"`.
    fn named(&self, arg: &Written) -> Option<String> {
        let Literal::Text(name) = &arg.literal else { return None };
        self.schema
            .param(name)
            .map(|_| format!("a parameter is written `{name}=…`, or as a child `{name} …`"))
    }

    fn unknown(&mut self, key: &str, at: Span) {
        self.diagnostics.push(unknown_parameter(self.schema, key, at, self.options.is_some()));
    }
}

/// Literals that need no evaluation.
fn direct(written: &Written) -> Option<types::Input> {
    match (&written.literal, written.origin) {
        (Literal::Text(text), Origin::Plain) if template::is_template(text) => None,
        (_, Origin::Plain | Origin::Raw) => types::Input::of(written),
        _ => None,
    }
}

/// Whether a value is a map, or a list of something else than plain values.
fn holds_map(value: &Value) -> bool {
    match template::raw(value) {
        Raw::Map(_) => true,
        Raw::List(list) => {
            list.items().iter().any(|(item, _)| matches!(template::raw(item), Raw::Map(_) | Raw::List(_)))
        }
        _ => false,
    }
}

/// Something below `key` where only plain values and lists of them are kept.
fn nested(of: &Param, key: &str, at: Span) -> Diagnostic {
    let (message, help) = match (&of.ty, key) {
        (Type::Map, "-") => (
            format!("an item of a list in `{}` has keys of its own", of.name),
            "an item is one value: `- \"…\"`".to_owned(),
        ),
        (Type::Map, key) => (
            format!("`{key}` holds keys of its own, and `{}` holds values and lists only", of.name),
            format!("write the keys of `{key}` beside it, or the text that they become"),
        ),
        _ => (
            format!("an item of `{}` has keys of its own", of.name),
            format!("an item is one value: `{} \"…\" \"…\"`", of.name),
        ),
    };
    Diagnostic::error(Code::Type, message).label(at, "nested").help(help)
}

fn dashes(node: &Node) -> Vec<&Written> {
    let all_dashes = node.body().iter().all(|child| &*child.name == "-");
    if all_dashes { node.body().iter().flat_map(|child| &child.args).collect() } else { Vec::new() }
}

fn push_key(entries: &mut Vec<MapEntry>, entry: MapEntry, diagnostics: &mut Diagnostics) {
    match entries.iter().find(|known| known.key == entry.key) {
        Some(first) => diagnostics.push(
            Diagnostic::error(Code::Doubled, format!("`{}` is given twice", entry.key))
                .label(entry.at, "and again here")
                .label(first.at, "given here"),
        ),
        None => entries.push(entry),
    }
}

//! Binds written values to the parameters of a schema: walks loops and conditions, evaluates values and converts them
//! to their types.

use converge_model::schema::Param;
use converge_model::{Content, Scalar, Type};

use crate::evaluate::control_flow::{self, Visitor};
use crate::evaluate::evaluator::Evaluator;
use crate::evaluate::problems::unreadable;
use crate::expand::arguments::{self, Arguments, Atom, Bound, Row};
use crate::expand::binder::Binder;
use crate::expand::maps::Shape;
use crate::expand::options::Options;
use crate::resolve::statement::{Argument, Binding, Form, Member, Term};
use crate::resolve::values::words;
use crate::schema::mismatch::{missing, unknown_parameter};
use crate::schema::types::{self, Limits};
use crate::schema::{Schema, Target, grows, takes_several};
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::source::ids::ParamId;
use crate::syntax::parse::{Literal, Origin, Written};
use crate::template::{self, Evaluated, Found, GivenAt, Marks, Raw, fold};

/// The result of a binding on a host, or in an instance of a module.
pub(crate) struct BindingRead {
    pub(crate) given: Arguments,
    pub(crate) options: Options,
    /// The mistakes found there.
    pub(crate) told: Diagnostics,
}

/// Reads the arguments of `binding` for `schema`.
pub(crate) fn bind(
    binding: &Binding,
    schema: &Schema,
    target: Target,
    has_options: bool,
    evaluator: &Evaluator,
) -> BindingRead {
    let mut binder = Binder::new(schema, target, has_options, binding.at);
    control_flow::walk(&binding.members, evaluator, false, &mut binder);
    binder.finish(evaluator)
}

impl<'a> Visitor<'a, Member> for Binder<'a> {
    fn one(&mut self, member: &'a Member, evaluator: &Evaluator, maybe: bool) {
        match member {
            Member::Argument(id, argument) => match &argument.form {
                Form::Line(written) => {
                    self.lines.push((*id, argument, written, evaluator.clone(), maybe));
                }
                Form::Values(terms) => {
                    self.argument(*id, argument, maybe, |binder, param| binder.held(param, terms, evaluator))
                }
                Form::Keys(keys) => self.argument(*id, argument, maybe, |binder, param| {
                    Some(Bound::Map(binder.keys(Shape::of(param), keys, evaluator)))
                }),
            },
            Member::Child(id, binding) => {
                let schema = &self.schema.children[*id];
                let BindingRead { given, told, .. } = bind(binding, schema, self.target, false, evaluator);
                self.diagnostics.extend(told);
                self.given.children[*id].push(Row { given, maybe });
            }
            Member::Option(option, values, at) => {
                self.options.set(*option, values, *at, evaluator, &mut self.diagnostics);
            }
            Member::Free(key) => {
                let entry = self.entry(Shape::Flat, key, evaluator);
                self.given.free.extend(entry);
            }
            Member::With(written) => self.with = Some(written),
        }
    }

    fn tell(&mut self, report: Diagnostic) {
        self.diagnostics.push(report);
    }
}

impl<'a> Binder<'a> {
    fn argument(
        &mut self,
        id: ParamId,
        argument: &Argument,
        maybe: bool,
        held: impl FnOnce(&mut Self, &'a Param) -> Option<Bound>,
    ) {
        let param = &self.schema.params[id];
        self.read = GivenAt::default();
        let Some(held) = held(self, param) else { return self.failed.push(id) };
        let given = self.given_at(argument.value_at);
        match self.given.params[id].take() {
            None => {
                let at = argument.at;
                self.given.params[id] = Some(arguments::Argument { held, at, given, maybe });
            }
            Some(mut first) => {
                first.given = first.given | given;
                let first = self.add(first, held, argument.at, maybe, param);
                self.given.params[id] = Some(first);
            }
        }
    }

    /// Reads the parts that depend on all others, and reports missing parameters.
    fn finish(mut self, evaluator: &Evaluator) -> BindingRead {
        let shell = self.schema.param("shell").and_then(|param| self.given.scalar(param));
        let is_shell = shell == Some(&Scalar::Bool(true));
        for (id, argument, written, evaluator, maybe) in std::mem::take(&mut self.lines) {
            self.argument(id, argument, maybe, |binder, param| {
                binder.line(param, written, is_shell, &evaluator)
            });
        }
        if let Some(with) = self.with {
            self.with(with, evaluator);
        }
        for (id, param) in self.schema.params.entries() {
            // Required parameters of a module are checked later, after all its pieces are merged.
            let needed = param.required && self.target == Target::Catalog;
            // A wrong value was already reported. Null counts as not written.
            let absent = self.given.params[id].is_none() && !(self.failed.contains(&id) && self.has_failed());
            if needed && absent && !self.given.free.iter().any(|f| *f.key == *param.name) {
                self.diagnostics.push(missing(self.schema, param, self.given.at));
            }
        }
        BindingRead { given: self.given, options: self.options, told: self.diagnostics }
    }

    fn has_failed(&self) -> bool {
        !self.diagnostics.is_empty()
    }

    /// Adds a second value. Lists and maps are merged; for other types it is an error.
    fn add(
        &mut self,
        mut first: arguments::Argument,
        held: Bound,
        at: Span,
        maybe: bool,
        param: &Param,
    ) -> arguments::Argument {
        match (&mut first.held, held) {
            (Bound::Many(items), Bound::Many(more)) if grows(param) => items.extend(more),
            (Bound::Map(entries), Bound::Map(more)) => {
                arguments::join_keys(entries, more, &mut |known, entry| {
                    self.diagnostics.push(Diagnostic::given_twice(&entry.key, entry.at, known.at));
                });
            }
            (Bound::Unknown, _) | (_, Bound::Unknown) if grows(param) || takes_several(param) => {
                first.held = Bound::Unknown;
            }
            _ if first.maybe || maybe => first.held = Bound::Unknown,
            _ => {
                let report = Diagnostic::given_twice(&param.name, at, first.at);
                self.diagnostics.push(report.help("it takes one value; keep one of them"));
            }
        }
        first
    }

    fn held(&mut self, param: &Param, terms: &[Term], evaluator: &Evaluator) -> Option<Bound> {
        match (&param.ty, terms) {
            (Type::Map | Type::Tree, [Term::Open(written)]) => {
                let value = self.evaluated(written, evaluator)?;
                self.map_of(param, &value, written.at)
            }
            (Type::List(of), _) => self.list(of, param, terms, evaluator),
            (Type::Command, _) => self.list(&Type::Text, param, terms, evaluator),
            (_, [Term::Constant(scalar, _)]) => Some(Bound::One(Atom::Plain(scalar.clone()))),
            (ty, [Term::Open(written)]) => self.open(ty, param, written, evaluator),
            // A list in place of a single value was refused in `resolve`.
            _ => Some(Bound::Unknown),
        }
    }

    fn open(&mut self, ty: &Type, param: &Param, written: &Written, evaluator: &Evaluator) -> Option<Bound> {
        let is_catalog = self.target == Target::Catalog && written.literal != Literal::Broken;
        match ty {
            Type::Content if is_catalog && written.origin == Origin::File => {
                self.file(written, evaluator).map(Bound::One)
            }
            Type::ControllerPath if is_catalog => {
                self.controller_path(param, written, evaluator).map(Bound::One)
            }
            _ => {
                let value = self.evaluated(written, evaluator)?;
                self.single_of(ty, param, &value, written.at)
            }
        }
    }

    fn list(&mut self, of: &Type, param: &Param, terms: &[Term], evaluator: &Evaluator) -> Option<Bound> {
        let mut items = Vec::new();
        for term in terms {
            let written = match term {
                Term::Constant(scalar, _) => {
                    items.push(Atom::Plain(scalar.clone()));
                    continue;
                }
                Term::Open(written) => written,
            };
            let Some(value) = self.evaluated(written, evaluator) else { continue };
            if self.items_of(of, param, &value, written.at, &mut items).is_none() {
                return Some(Bound::Unknown);
            }
        }
        Some(Bound::Many(items))
    }

    /// Reads a command. Whether a shell runs it may be known only on a host. Without a shell it is split before
    /// templates are filled in.
    fn line(
        &mut self,
        param: &Param,
        written: &Written,
        is_shell: bool,
        evaluator: &Evaluator,
    ) -> Option<Bound> {
        let text = written.plain_text().filter(|_| !is_shell);
        let words = match text.map(|text| words(written, text)) {
            None => vec![written.clone()],
            Some(words) => self.diagnostics.told(words)?,
        };
        let words: Vec<Term> = words.into_iter().map(Term::Open).collect();
        self.list(&Type::Text, param, &words, evaluator)
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

    /// Reads a path of a project file, whose content the host gets. The path must not depend on facts.
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

    /// Takes parameters from a map. Parameters written beside it win.
    fn with(&mut self, written: &Written, evaluator: &Evaluator) {
        let Some(value) = self.evaluated(written, evaluator) else { return };
        if value.marks.unknown {
            for argument in self.given.params.iter_mut().filter(|argument| argument.is_none()) {
                let given = GivenAt::default();
                *argument =
                    Some(arguments::Argument { held: Bound::Unknown, at: written.at, given, maybe: true });
            }
            return;
        }
        let Raw::Map(map) = template::raw(&value.value) else {
            let report = Diagnostic::error(Code::Type, "`with` must be a map").label(written.at, "not a map");
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
            self.given.params[id] =
                held.map(|held| arguments::Argument { held, at: written.at, given, maybe: false });
        }
    }

    fn held_of(&mut self, param: &Param, value: &Evaluated, at: Span) -> Option<Bound> {
        match &param.ty {
            Type::Map | Type::Tree => self.map_of(param, value, at),
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

    fn unknown(&mut self, key: &str, at: Span) {
        self.diagnostics.push(unknown_parameter(self.schema, key, at, self.has_options));
    }
}

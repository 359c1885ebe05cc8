//! Converts values to the types of their parameters. Also holds the state of a binding while it is read.

use converge_model::Type;
use minijinja::Value;

use crate::evaluate::evaluator::Evaluator;
use crate::evaluate::problems::secret_here;
use crate::expand::arguments::{Arguments, Atom, SecretText};
use crate::expand::options::Options;
use crate::resolve::statement::Argument;
use crate::schema::types::{self, Limits};
use crate::schema::{Schema, Target};
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::source::ids::ParamId;
use crate::syntax::parse::Written;
use crate::template::{self, Evaluated, GivenAt, Marks, Raw};

/// A binding that is being read.
pub(super) struct Binder<'a> {
    pub(super) schema: &'a Schema,
    pub(super) target: Target,
    pub(super) has_options: bool,
    pub(super) given: Arguments,
    /// Commands that a shell may run. Whether it does is known only after all other parameters were read.
    pub(super) lines: Vec<(ParamId, &'a Argument, &'a Written, Evaluator, bool)>,
    /// Parameters that are written, but have no value: they are null or wrong.
    pub(super) failed: Vec<ParamId>,
    pub(super) with: Option<&'a Written>,
    /// Where callers of modules gave the values that the current value was made of.
    pub(super) read: GivenAt,
    pub(super) options: Options,
    /// The mistakes of the binding.
    pub(super) diagnostics: Diagnostics,
}

impl<'a> Binder<'a> {
    /// Returns a binder for the node at `at`.
    pub(super) fn new(schema: &'a Schema, target: Target, has_options: bool, at: Span) -> Self {
        Self {
            schema,
            target,
            has_options,
            given: Arguments::empty(schema, at),
            lines: Vec::new(),
            failed: Vec::new(),
            with: None,
            read: GivenAt::default(),
            options: Options::default(),
            diagnostics: Diagnostics::default(),
        }
    }

    /// Returns the place that gave the current value. For a module this is `at`, unless the value comes from the
    /// parameters of another module.
    pub(super) fn given_at(&mut self, at: Span) -> GivenAt {
        let read = std::mem::take(&mut self.read);
        match self.target {
            Target::Module if read.spans().is_empty() => GivenAt::one(at),
            _ => read,
        }
    }
    pub(super) fn evaluated(&mut self, written: &Written, evaluator: &Evaluator) -> Option<Evaluated> {
        let value = self.diagnostics.told(evaluator.value(written))?;
        self.read = std::mem::take(&mut self.read) | value.marks.given.clone();
        Some(value)
    }

    /// Converts one value from the result of a template or an expression.
    pub(super) fn scalar(
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
                        ("a list", "this parameter takes one value; `join` makes one string of a list")
                    }
                    Raw::Map(_) => ("a map", "name one of its keys: `app.workers`"),
                    _ => ("an object", "name a part of it: `host.name`"),
                };
                self.diagnostics.push(
                    Diagnostic::error(Code::Type, format!("expected one value, found {what}"))
                        .label(at, what)
                        .help(help)
                        .given(marks.given.spans()),
                );
                None
            }
        }
    }

    pub(super) fn typed(
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
                self.diagnostics.push(error.at(at).given(marks.given.spans()));
                None
            }
        }
    }
}

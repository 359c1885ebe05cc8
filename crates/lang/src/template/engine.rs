//! Renders templates and evaluates expressions: minijinja, made strict and limited.

use std::io;
use std::sync::Arc;

use minijinja::machinery::ast::Expr;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, Value};

use super::bounds::{self, FILE, STRING};
use super::context::Context;
use super::error::{Failure, ScopeError, TemplateError};
use super::explain::Rendering;
use super::form::{Form, Source, is_template, syntax};
use super::marks::{Marks, with_stand_ins};
use super::names::{self, Parsed};
use super::parts::Parts;
use super::recording::{self, Record};
use super::scope::{Evaluated, Found, Rendered, Scope};
use super::settle::{scalar_text, settle};
use super::stand_ins::instead;
use super::unknown::unknown;
use super::unmet;
use super::vocabulary;

/// Renders templates and evaluates expressions. There is one engine for each folder of templates, shared by all hosts.
/// It keeps compiled templates.
pub(crate) struct Engine {
    strings: Environment<'static>,
    files: Environment<'static>,
}

/// Returns the text of the template file that `{% include %}` names. None if there is no such file. The error is a
/// fragment.
pub(crate) type Includes = dyn Fn(&str) -> Result<Option<String>, String> + Send + Sync;

/// The most steps of one rendering. A step is about one name, filter or piece of text.
const FUEL: u64 = 2_000_000;
/// The deepest nesting of macros (4 each) and includes (10 each).
const RECURSION: usize = 200;
/// The most variables that may wait for each other.
const NESTING: usize = 48;
/// Marks the name of a template that contains its own text.
const OWN: char = '\u{1}';

impl Engine {
    /// Returns an engine whose template files include the results of `includes`.
    pub(crate) fn new(includes: Arc<Includes>) -> Self {
        let strings = environment(syntax(true), |name| match own_text(name) {
            Some(text) => bounded(text, true),
            None => {
                Err(Failure::definite("a string cannot include a file", Some("use `(template)`".to_owned())))
            }
        });
        let files = environment(syntax(false), move |name| match own_text(name) {
            Some(text) => bounded(text, false),
            None => included(&includes, name),
        });
        Self { strings, files }
    }

    /// Fills in a string of an inventory. In it `{#` is plain text, and includes are not allowed.
    pub(crate) fn text(&self, template: &str, scope: &Arc<dyn Scope>) -> Result<Rendered, TemplateError> {
        if !is_template(template) {
            return Ok(Rendered { text: template.to_owned(), marks: Marks::default() });
        }
        let source = Source { environment: &self.strings, form: Form::Text, text: template };
        source.render(&format!("{OWN}{OWN}{template}"), STRING, scope)
    }

    /// Renders a template file with its comments and includes.
    pub(crate) fn file(
        &self,
        name: &str,
        text: &str,
        scope: &Arc<dyn Scope>,
    ) -> Result<Rendered, TemplateError> {
        let source = Source { environment: &self.files, form: Form::File, text };
        source.render(&format!("{OWN}{name}{OWN}{text}"), FILE, scope)
    }

    /// Evaluates an expression. Items of a list or map literal keep their own marks.
    pub(crate) fn expression(
        &self,
        expression: &str,
        scope: &Arc<dyn Scope>,
    ) -> Result<Evaluated, TemplateError> {
        nest()?;
        bound(expression)?;
        if expression.trim_start().starts_with(['[', '{', '('])
            && let Some(literal) = literal(&self.strings, expression, scope)
        {
            return literal;
        }
        let context = Context::new(scope);
        let evaluate = |context: &Arc<Context>| {
            let compiled = self.strings.compile_expression_owned(expression.to_owned())?;
            let value = compiled.eval(Value::from_dyn_object(Arc::clone(context)))?;
            Ok(settle(value, 0))
        };
        let (result, record) = instead(None, || recording::record(|| evaluate(&context)));
        let rendering = Rendering {
            environment: &self.strings,
            source: expression,
            key: "",
            context: &context,
            record: &record,
        };
        let mut marks = record.marks.clone();
        let found = match result {
            Ok(Some(Ok(value))) => {
                let again = |stand_in| match instead(stand_in, || {
                    recording::record(|| evaluate(&Context::new(scope))).0
                }) {
                    Ok(Some(Ok(value))) => scalar_text(&value).map(|text| (Value::from(&*text), vec![text])),
                    _ => None,
                };
                marks = with_stand_ins(marks, again);
                Ok(value)
            }
            Ok(Some(Err(error))) | Err(error) => rendering.explain(&error).map_or_else(|| Ok(unknown()), Err),
            Ok(None) => rendering.undefined(expression.trim()).map_or_else(|| Ok(unknown()), Err),
        };
        let source = Source { environment: &self.strings, form: Form::Expression, text: expression };
        source.settled(found, &record, scope).map(|value| Evaluated { value, marks })
    }

    /// Finds mistakes that do not depend on the values of names, without rendering: wrong syntax and unknown filters.
    /// `file` selects the form of [`Engine::file`]; without it, that of [`Engine::text`].
    pub(crate) fn check(&self, file: Option<&str>, text: &str) -> Result<(), TemplateError> {
        let (environment, name) = match file {
            Some(name) => (&self.files, name),
            None => (&self.strings, ""),
        };
        let key = format!("{OWN}{name}{OWN}{text}");
        environment.get_template(&key).map(drop).map_err(|error| {
            bounds::unclosed(text, file.is_some()).unwrap_or_else(|| syntax_error(environment, &error, text))
        })?;
        unmet::vocabulary(text, if file.is_some() { Form::File } else { Form::Text })
    }

    /// Does the same for an expression.
    pub(crate) fn check_expression(&self, expression: &str) -> Result<(), TemplateError> {
        bound(expression)?;
        self.strings
            .compile_expression(expression)
            .map(drop)
            .map_err(|error| syntax_error(&self.strings, &error, expression))?;
        unmet::vocabulary(expression, Form::Expression)
    }
}

/// Evaluates a list or map literal item by item. So a secret or unknown item does not mark the other items. None if the
/// expression is not a literal.
fn literal(
    environment: &Environment<'static>,
    text: &str,
    scope: &Arc<dyn Scope>,
) -> Option<Result<Evaluated, TemplateError>> {
    let Some(Parsed::Expression(expression)) = names::parse(text, Form::Expression) else { return None };
    if !matches!(expression, Expr::List(_) | Expr::Tuple(_) | Expr::Map(_)) {
        return None;
    }
    let source = Source { environment, form: Form::Expression, text };
    let parts = Parts { environment, context: Context::new(scope), scope };
    let found = parts.item(&expression, text);
    let is_unknown = found.as_ref().is_ok_and(|(_, _, is_unknown)| *is_unknown);
    let marks = if is_unknown { Marks::UNKNOWN } else { Marks::default() };
    let record = Record::of(marks);
    let found = found.map(|(value, marks, _)| Evaluated { value, marks });
    Some(source.settled(found, &record, scope))
}

fn environment(
    syntax: SyntaxConfig,
    loader: impl Fn(&str) -> Result<Option<String>, Error> + Send + Sync + 'static,
) -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_syntax(syntax);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION);
    environment.set_loader(loader);
    // A name that a template computes must never be taken for one of our own texts.
    environment.set_path_join_callback(|name, _| name.replace(OWN, "\u{fffd}").into());
    // Debug snapshots would look up names that the template did not reach.
    environment.set_debug(false);
    vocabulary::install(&mut environment);
    environment
}

/// Returns the text in the name of a template that contains its own.
fn own_text(name: &str) -> Option<&str> {
    name.strip_prefix(OWN)?.split_once(OWN).map(|(_, text)| text)
}

/// Returns the text, unless it is too much for the compiler.
fn bounded(text: &str, string: bool) -> Result<Option<String>, Error> {
    match bounds::check(text, !string) {
        Ok(()) => Ok(Some(text.to_owned())),
        Err(error) => {
            Err(Failure::definite(error.message, Some("compute it in steps with `{% set %}`".to_owned())))
        }
    }
}

fn included(includes: &Arc<Includes>, name: &str) -> Result<Option<String>, Error> {
    let outside =
        name.starts_with('/') || name.split('/').any(|part| part == "..") || name.contains(['\0', '\\']);
    if outside {
        let help = "name a file of the same `templates/` folder".to_owned();
        return Err(Failure::definite(format!("`{name}` is not a template of this folder"), Some(help)));
    }
    match includes(name) {
        Ok(Some(text)) if text.len() > STRING => {
            Err(Failure::definite(format!("the template `{name}` is larger than {STRING} bytes"), None))
        }
        Ok(Some(text)) => bounded(&text, false),
        Ok(None) => Err(Failure::definite(format!("there is no template `{name}`"), None)),
        Err(error) => Err(Failure::definite(error, None)),
    }
}

impl Source<'_> {
    fn render(&self, key: &str, limit: usize, scope: &Arc<dyn Scope>) -> Result<Rendered, TemplateError> {
        nest()?;
        let context = Context::new(scope);
        let mut out = Capped { bytes: Vec::new(), limit, over: false };
        let render_to = |context: &Arc<Context>, out: &mut Capped| {
            let template = self.environment.get_template(key)?;
            template.render_captured_to(Value::from_dyn_object(Arc::clone(context)), out).map(drop)
        };
        // A variable that is looked up while stand-ins replace secrets must itself be rendered with the real values.
        let (result, record) = instead(None, || recording::record(|| render_to(&context, &mut out)));
        let mut marks = record.marks.clone();
        let Self { environment, text: source, .. } = *self;
        let found = match result {
            Ok(()) => {
                let again = |stand_in| {
                    let mut out = Capped { bytes: Vec::new(), limit, over: false };
                    let work = || recording::record_fills(|| render_to(&Context::new(scope), &mut out));
                    let (result, fills) = instead(stand_in, work);
                    result.ok().map(|()| (Value::from(out.text()), fills))
                };
                marks = with_stand_ins(marks, again);
                Ok(out.text())
            }
            Err(_) if out.over => Err(TemplateError {
                message: format!("the result is longer than {limit} bytes"),
                ..TemplateError::default()
            }),
            Err(error) => Rendering { environment, source, key, context: &context, record: &record }
                .explain(&error)
                .map_or_else(|| Ok(String::new()), Err),
        };
        self.settled(found, &record, scope).map(|text| Rendered { text, marks })
    }

    /// Returns the result, unless the template names something that does not exist. Rendering may not have reached that
    /// name: it stopped at an unknown fact, or took the other branch.
    fn settled<T>(
        &self,
        found: Result<T, TemplateError>,
        record: &Record,
        scope: &Arc<dyn Scope>,
    ) -> Result<T, TemplateError> {
        match found {
            Ok(value) if !record.marks.unknown => Ok(value),
            Ok(value) => unmet::check(self, scope).map(|()| value),
            // Use the same message for an unknown filter or test, wherever it is found.
            Err(error) => Err(unmet::vocabulary(self.text, self.form).err().unwrap_or(error)),
        }
    }
}

fn bound(expression: &str) -> Result<(), TemplateError> {
    bounds::expression(expression).map_err(|error| TemplateError {
        message: error.message,
        range: Some(error.range),
        ..TemplateError::default()
    })
}

fn syntax_error(environment: &Environment<'static>, error: &Error, source: &str) -> TemplateError {
    let context = Context::new(&(Arc::new(Nothing) as Arc<dyn Scope>));
    let key = error.name().unwrap_or_default();
    let rendering = Rendering { environment, source, key, context: &context, record: &Record::default() };
    rendering.explain(error).unwrap_or_default()
}

/// A scope without names.
struct Nothing;

impl Scope for Nothing {
    fn get(&self, _name: &str) -> Option<Result<Found, ScopeError>> {
        None
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Refuses to nest too deep for the stack. Variables may be made of other variables, at any depth.
fn nest() -> Result<(), TemplateError> {
    match recording::depth() {
        0..=NESTING => Ok(()),
        _ => {
            Err(TemplateError { message: "too many nested variables".to_owned(), ..TemplateError::default() })
        }
    }
}

/// A writer with a limit in bytes.
struct Capped {
    bytes: Vec<u8>,
    limit: usize,
    over: bool,
}

impl Capped {
    fn text(self) -> String {
        String::from_utf8(self.bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.over |= self.bytes.len() + bytes.len() > self.limit;
        match self.over {
            true => Err(io::ErrorKind::FileTooLarge.into()),
            false => {
                self.bytes.extend_from_slice(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

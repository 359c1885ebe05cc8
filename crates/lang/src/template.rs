//! Templates and expressions: minijinja made strict, bounded, and aware of secrets and of facts not yet known.
//!
//! The values that variables have, their precedence and when they are evaluated are the [`Scope`]'s; which parameter a
//! rendered text is for is its reader's (`typed`).

mod bounds;
mod context;
mod error;
mod facts;
mod filters;
mod names;
mod parts;
mod recording;
mod stand_ins;
#[cfg(test)]
mod tests;
mod unmet;
mod values;
mod vocabulary;

use std::fmt;
use std::io;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, Value};

use context::Context;
use error::{Failure, Place};
use recording::Record;
use stand_ins::instead;

pub(crate) use error::{ScopeError, TemplateError};
pub(crate) use facts::{known_facts, unknown, unknown_facts};
pub(crate) use recording::{GivenAt, Marks, mark};
pub(crate) use stand_ins::{StandIns, seen};
pub(crate) use values::{Clash, List, Map, Raw, fold, raw};

/// What names stand for in a template.
///
/// It is asked for a name as the expression spells it, so `app_release` also for the variable `app-release`; at most
/// once per name and rendering, and only when the template gets there.
pub(crate) trait Scope: Send + Sync {
    /// The value of `name`; none where there is no such name.
    fn get(&self, name: &str) -> Option<Result<Found, ScopeError>>;

    /// All names there are, for the nearest one in an error.
    fn names(&self) -> Vec<String>;

    /// Whether there is such a name here, or on another host of the project.
    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// The value of a name.
#[derive(Clone)]
pub(crate) struct Found {
    /// The value. Maps and lists are [`Map`] and [`List`], whose entries carry marks of their own.
    pub(crate) value: Value,
    /// Whether the value as a whole holds a secret or stands for something unknown.
    pub(crate) marks: Marks,
}

/// A rendered text.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Rendered {
    /// The text; means nothing where `marks.unknown`.
    pub(crate) text: String,
    /// What the template read.
    pub(crate) marks: Marks,
}

/// The value of an expression: a scalar, null, a [`Map`] or [`List`], or an object of the scope; nowhere undefined.
#[derive(Clone)]
pub(crate) struct Evaluated {
    /// The value; means nothing where `marks.unknown`.
    pub(crate) value: Value,
    /// What the expression read. Entries of a map or list that it returned unread keep their own marks.
    pub(crate) marks: Marks,
}

/// Renders and evaluates; one for each folder of templates, shared by all hosts. What was compiled once is kept.
pub(crate) struct Engine {
    strings: Environment<'static>,
    files: Environment<'static>,
}

/// Gives the text of the template file that `{% include %}` names; none where there is none. The error is a fragment.
pub(crate) type Includes = dyn Fn(&str) -> Result<Option<String>, String> + Send + Sync;

/// The longest text that a string of an inventory may become, in bytes.
pub(crate) const STRING: usize = 1 << 20;
/// The longest text that a template file may become, in bytes.
pub(crate) const FILE: usize = 8 << 20;
/// How many steps one rendering may take; a step is about one name, filter or piece of text.
const FUEL: u64 = 2_000_000;
/// How deep macros (4 each) and includes (10 each) may be nested.
const RECURSION: usize = 200;
/// How many variables may wait for each other.
const NESTING: usize = 48;
/// Marks the name of a template that carries its own text.
const OWN: char = '\u{1}';

impl Engine {
    /// An engine whose template files include what `includes` gives.
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

    /// Fills in a string of an inventory: `{#` is plain text, nothing can be included.
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

    /// Evaluates an expression. The items of a list or map that it spells out keep marks of their own.
    pub(crate) fn expression(
        &self,
        expression: &str,
        scope: &Arc<dyn Scope>,
    ) -> Result<Evaluated, TemplateError> {
        nest()?;
        bound(expression)?;
        if expression.trim_start().starts_with(['[', '{', '('])
            && let Some(literal) = parts::literal(&self.strings, expression, scope)
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
        let place = Place {
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
            Ok(Some(Err(error))) | Err(error) => place.explain(&error).map_or_else(|| Ok(unknown()), Err),
            Ok(None) => place.undefined(expression.trim()).map_or_else(|| Ok(unknown()), Err),
        };
        let source = Source { environment: &self.strings, form: Form::Expression, text: expression };
        source.settled(found, &record, scope).map(|value| Evaluated { value, marks })
    }

    /// Finds what is wrong whatever the names stand for, without rendering: mistakes of syntax, filters that do not exist.
    /// `file` as by [`Engine::file`], else as by [`Engine::text`].
    pub(crate) fn check(&self, file: Option<&str>, text: &str) -> Result<(), TemplateError> {
        let (environment, name) = match file {
            Some(name) => (&self.files, name),
            None => (&self.strings, ""),
        };
        let key = format!("{OWN}{name}{OWN}{text}");
        environment.get_template(&key).map(drop).map_err(|error| syntax_error(environment, &error, text))?;
        unmet::vocabulary(text, if file.is_some() { Form::File } else { Form::Text })
    }

    /// The same for an expression.
    pub(crate) fn check_expression(&self, expression: &str) -> Result<(), TemplateError> {
        bound(expression)?;
        self.strings
            .compile_expression(expression)
            .map(drop)
            .map_err(|error| syntax_error(&self.strings, &error, expression))?;
        unmet::vocabulary(expression, Form::Expression)
    }
}

/// Whether `text` needs filling in at all.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// Words of the expression language, which no variable may have for a name.
pub(crate) fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "true" | "false" | "none" | "True" | "False" | "None" | "and" | "or" | "not" | "in" | "is" | "if"
    ) || matches!(
        name,
        "else" | "range" | "namespace" | "dict" | "self" | "super" | "caller" | "varargs" | "kwargs"
    )
}

fn syntax(string: bool) -> SyntaxConfig {
    let mut builder = SyntaxConfig::builder();
    builder.keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true);
    if string {
        // Delimiters that no inventory holds: `${#x}` is common in shell.
        builder.comment_delimiters("{\u{1}#", "#\u{1}}");
    }
    // These delimiters are fixed and differ from each other, so the default never stands in for them.
    builder.build().unwrap_or_default()
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
    // A name that a template computes never passes for a text of ours.
    environment.set_path_join_callback(|name, _| name.replace(OWN, "\u{fffd}").into());
    // Its snapshots would look up names that the template did not get to.
    environment.set_debug(false);
    vocabulary::install(&mut environment);
    environment
}

/// The text in the name of a template that carries its own.
fn own_text(name: &str) -> Option<&str> {
    name.strip_prefix(OWN)?.split_once(OWN).map(|(_, text)| text)
}

/// The text, unless it is too much for the compiler.
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

/// How something to be filled in is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A string of an inventory.
    Text,
    /// A template file.
    File,
    /// An expression, without tags.
    Expression,
}

/// A template or expression that is being filled in.
struct Source<'a> {
    environment: &'a Environment<'static>,
    form: Form,
    text: &'a str,
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
        // A variable that is looked up with a stand-in in the place of secrets is itself rendered as it is.
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
                message: format!("the text becomes longer than {limit} bytes"),
                ..TemplateError::default()
            }),
            Err(error) => Place { environment, source, key, context: &context, record: &record }
                .explain(&error)
                .map_or_else(|| Ok(String::new()), Err),
        };
        self.settled(found, &record, scope).map(|text| Rendered { text, marks })
    }

    /// What was found, unless the template names something that is not there. Rendering may not have got to it: because it
    /// stopped at a fact that is not known yet, or took the other branch.
    fn settled<T>(
        &self,
        found: Result<T, TemplateError>,
        record: &Record,
        scope: &Arc<dyn Scope>,
    ) -> Result<T, TemplateError> {
        match found {
            Ok(value) if !record.marks.unknown => Ok(value),
            Ok(value) => unmet::check(self, scope).map(|()| value),
            // The words for a name that is in no table are the same wherever it is met.
            Err(error) => Err(unmet::vocabulary(self.text, self.form).err().unwrap_or(error)),
        }
    }
}

/// The marks of what is tainted, with its stand-ins.
fn with_stand_ins(marks: Marks, again: impl Fn(Option<usize>) -> Option<(Value, Vec<String>)>) -> Marks {
    let stand_ins = if marks.tainted && !marks.unknown { StandIns::of(again) } else { None };
    Marks { stand_ins, ..marks }
}

/// A scalar as the text that becomes of it in a catalog.
fn scalar_text(value: &Value) -> Option<String> {
    matches!(raw(value), Raw::Scalar(_)).then(|| value.to_string())
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
    let place = Place { environment, source, key, context: &context, record: &Record::default() };
    place.explain(error).unwrap_or_default()
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

/// Refuses to go deeper than the stack bears: a variable may be made of others, and those of more.
fn nest() -> Result<(), TemplateError> {
    match recording::depth() {
        0..=NESTING => Ok(()),
        _ => Err(TemplateError {
            message: "too many variables that are made of each other".to_owned(),
            ..TemplateError::default()
        }),
    }
}

/// How deep lists and maps may be nested in the result of an expression.
const DEPTH: usize = 64;

/// The result of an expression as [`Map`] and [`List`]; none where something in it is undefined.
///
/// Ours stay as they are, with what they hold unread; so do the objects of the scope.
fn settle(value: Value, depth: usize) -> Option<Result<Value, Error>> {
    if depth > DEPTH {
        return Some(Err(Failure::definite(format!("the result is nested over {DEPTH} deep"), None)));
    }
    match value.kind() {
        ValueKind::Undefined => None,
        ValueKind::Seq | ValueKind::Iterable if is_native(&value) => settle_list(&value, depth),
        ValueKind::Map if is_native(&value) => settle_map(&value, depth),
        _ => Some(Ok(value)),
    }
}

fn settle_list(value: &Value, depth: usize) -> Option<Result<Value, Error>> {
    let items = match value.try_iter() {
        Ok(items) => items,
        Err(error) => return Some(Err(error)),
    };
    let mut list = Vec::new();
    for item in items.checked() {
        match item.map(|item| settle(item, depth + 1)) {
            Ok(Some(Ok(item))) => list.push((item, Marks::default())),
            Ok(None) => return None,
            Ok(Some(Err(error))) | Err(error) => return Some(Err(error)),
        }
    }
    Some(Ok(List::new(list)))
}

fn settle_map(value: &Value, depth: usize) -> Option<Result<Value, Error>> {
    let keys = match value.try_iter() {
        Ok(keys) => keys,
        Err(error) => return Some(Err(error)),
    };
    let mut entries = Vec::new();
    for key in keys {
        match value.get_item(&key).map(|item| settle(item, depth + 1)) {
            Ok(Some(Ok(item))) => entries.push((key.to_string(), item, Marks::default())),
            Ok(None) => return None,
            Ok(Some(Err(error))) | Err(error) => return Some(Err(error)),
        }
    }
    let clash = |clash: Clash| Failure::definite(clash.to_string(), None);
    Some(Map::folding(entries).map_err(clash))
}

/// Whether a list or map was made by the expression itself.
fn is_native(value: &Value) -> bool {
    let name = value.as_object().map_or("", |object| object.type_name());
    name.starts_with("minijinja::") || name.starts_with("alloc::") || name.starts_with("indexmap::")
}

/// Takes so many bytes and no more.
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

/// What was rendered from a secret is not shown.
impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.marks.tainted { "********" } else { &self.text };
        f.debug_struct("Rendered").field("text", &text).field("marks", &self.marks).finish()
    }
}

/// Nor is a value: it may hold secrets inside.
impl fmt::Debug for Evaluated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluated").field("kind", &self.value.kind()).field("marks", &self.marks).finish()
    }
}

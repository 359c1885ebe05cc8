//! Templates and expressions: minijinja made strict, bounded, and aware of secrets and of facts not yet known.
//!
//! The values that variables have, their precedence and when they are evaluated are the [`Scope`]'s; which parameter a
//! rendered text is for is its reader's (`typed`).

mod error;
mod facts;
mod recording;
mod values;

use std::sync::Arc;

use minijinja::Value;

pub(crate) use error::{ScopeError, TemplateError};
pub(crate) use facts::{known_facts, unknown, unknown_facts};
pub(crate) use recording::{Marks, observe};
pub(crate) use values::{Clash, List, Map, fold, raw};

/// What names stand for in a template.
///
/// It is asked for a name as the expression spells it, so `app_release` also for the variable `app-release`; at most
/// once per name and rendering, and only when the template gets there.
pub(crate) trait Scope: Send + Sync {
    /// The value of `name`; none where there is no such name.
    fn get(&self, name: &str) -> Option<Result<Found, ScopeError>>;

    /// All names there are, for the nearest one in an error.
    fn names(&self) -> Vec<String>;
}

/// The value of a name.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The value. Maps and lists are [`Map`] and [`List`], whose entries carry marks of their own.
    pub(crate) value: Value,
    /// Whether the value as a whole holds a secret or stands for something unknown.
    pub(crate) marks: Marks,
}

/// A rendered text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rendered {
    /// The text; means nothing where `marks.unknown`.
    pub(crate) text: String,
    /// What the template read.
    pub(crate) marks: Marks,
}

/// The value of an expression: a scalar, null, a [`Map`] or [`List`], or an object of the scope; nowhere undefined.
#[derive(Clone, Debug)]
pub(crate) struct Evaluated {
    /// The value; means nothing where `marks.unknown`.
    pub(crate) value: Value,
    /// What the expression read. Entries of a map or list that it returned unread keep their own marks.
    pub(crate) marks: Marks,
}

/// Renders and evaluates; one for each folder of templates, shared by all hosts.
pub(crate) struct Engine {
    _private: (),
}

/// Gives the text of the template file that `{% include %}` names; none where there is none. The error is a fragment.
pub(crate) type Includes = dyn Fn(&str) -> Result<Option<String>, String> + Send + Sync;

impl Engine {
    /// An engine whose template files include what `includes` gives.
    pub(crate) fn new(includes: Arc<Includes>) -> Self {
        let _ = includes;
        Self { _private: () }
    }

    /// Fills in a string of an inventory: `{#` is plain text, nothing can be included.
    pub(crate) fn text(&self, template: &str, scope: &Arc<dyn Scope>) -> Result<Rendered, TemplateError> {
        let _ = (template, scope);
        Err(TemplateError::default())
    }

    /// Evaluates an expression.
    pub(crate) fn expression(
        &self,
        expression: &str,
        scope: &Arc<dyn Scope>,
    ) -> Result<Evaluated, TemplateError> {
        let _ = (expression, scope);
        Err(TemplateError::default())
    }

    /// Renders a template file with its comments and includes.
    pub(crate) fn file(
        &self,
        name: &str,
        text: &str,
        scope: &Arc<dyn Scope>,
    ) -> Result<Rendered, TemplateError> {
        let _ = (name, text, scope);
        Err(TemplateError::default())
    }

    /// Finds mistakes of syntax without rendering; `file` as by [`Engine::file`], else as by [`Engine::text`].
    pub(crate) fn check(&self, file: Option<&str>, text: &str) -> Result<(), TemplateError> {
        let _ = (file, text);
        Err(TemplateError::default())
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

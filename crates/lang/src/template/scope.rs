//! The names in scope of a template, and the results of templates.

use std::fmt;

use minijinja::Value;

use super::error::ScopeError;
use super::marks::Marks;

/// The names in scope of a template and their values.
///
/// A name is given as the expression spells it, so the variable `app-release` is `app_release`. Each name is looked up
/// at most once in a rendering, and only when the template reaches it.
pub(crate) trait Scope: Send + Sync {
    /// Returns the value of `name`. None if the name does not exist.
    fn get(&self, name: &str) -> Option<Result<Found, ScopeError>>;

    /// Returns all names, to suggest the nearest one in an error.
    fn names(&self) -> Vec<String>;

    /// Whether the name exists here or on another host of the project.
    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// The value of a name.
#[derive(Clone)]
pub(crate) struct Found {
    /// The value. Maps and lists are [`Map`] and [`List`], whose entries have their own marks.
    pub(crate) value: Value,
    /// Whether the whole value contains a secret or is unknown.
    pub(crate) marks: Marks,
}

/// A rendered text.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Rendered {
    /// The text. It has no meaning if `marks.unknown`.
    pub(crate) text: String,
    /// The marks of everything that the template read.
    pub(crate) marks: Marks,
}

/// The value of an expression: a scalar, null, a [`Map`] or [`List`], or an object of the scope. It is never undefined.
#[derive(Clone)]
pub(crate) struct Evaluated {
    /// The value. It has no meaning if `marks.unknown`.
    pub(crate) value: Value,
    /// The marks of everything that the expression read. Entries of a returned map or list that were not read keep
    /// their own marks.
    pub(crate) marks: Marks,
}

/// Hides the text: it may be rendered from a secret.
impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.marks.tainted { "********" } else { &self.text };
        f.debug_struct("Rendered").field("text", &text).field("marks", &self.marks).finish()
    }
}

/// Hides the value: it may contain secrets.
impl fmt::Debug for Evaluated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evaluated").field("kind", &self.value.kind()).field("marks", &self.marks).finish()
    }
}

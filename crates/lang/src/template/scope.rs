//! What names stand for, and what comes of a template.

use std::fmt;

use minijinja::Value;

use super::error::ScopeError;
use super::marks::Marks;

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

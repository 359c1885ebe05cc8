//! What goes wrong in a template, and where.

use std::ops::Range;

use crate::diagnostic::Diagnostic;

/// A template that cannot be rendered, or an expression that cannot be evaluated.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct TemplateError {
    /// What is wrong, as a lowercase fragment.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
    /// The bytes at fault, where known: of the template itself, or of the file in `included`.
    pub(crate) range: Option<Range<usize>>,
    /// The included template file where it happened and the line there, if it is not the template itself.
    pub(crate) included: Option<(String, usize)>,
    /// The mistake in the definition of a variable that was used. It is the whole story where it is there.
    pub(crate) cause: Option<ScopeError>,
}

/// A name that is there, but has no value because its own definition is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct ScopeError(pub(crate) Box<Diagnostic>);

//! Errors of templates, and their places.

use std::ops::Range;

use minijinja::{Error, ErrorKind};

use crate::source::diagnostic::{Code, Diagnostic, FileId, Span};

/// An error of rendering a template or evaluating an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct TemplateError {
    /// The mistake, as a lowercase fragment.
    pub(crate) message: String,
    /// Advice for the user.
    pub(crate) help: Option<String>,
    /// The wrong bytes, if known: in the template itself, or in the file of `included`.
    pub(crate) range: Option<Range<usize>>,
    /// The included template file and the line where the error occurred. None if it is in the template itself.
    pub(crate) included: Option<(String, usize)>,
    /// The mistake in the definition of a variable that was used. If there is one, the other fields are not needed.
    pub(crate) cause: Option<ScopeError>,
}

impl TemplateError {
    /// Returns the diagnostic at the error's place in a template file.
    pub(crate) fn in_file(&self, file: FileId) -> Diagnostic {
        if let Some(ScopeError(cause)) = &self.cause {
            return (**cause).clone();
        }
        let included = self.included.as_ref();
        let included =
            included.map(|(file, line)| format!(" (in `{file}`, line {line})")).unwrap_or_default();
        let range = self.range.clone().unwrap_or(0..0);
        Diagnostic::error(Code::Template, format!("{}{included}", self.message))
            .label(Span::new(file, range.start, range.len()), "here")
            .maybe_help(self.help.clone())
    }
}

/// The error for a name that exists, but whose definition is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct ScopeError(pub(crate) Box<Diagnostic>);

/// One of our errors, passed through minijinja as the source of its error.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Scope(ScopeError),
    /// An undefined value reached a filter or the text.
    #[error("something here is undefined")]
    Undefined,
    #[error("{message}")]
    Own {
        message: String,
        help: Option<String>,
        /// Whether it is an error for any value of the unknown facts.
        definite: bool,
    },
}

impl Failure {
    /// Returns a minijinja error with a mistake in the values of a template.
    pub(super) fn error(message: impl Into<String>, help: impl Into<String>) -> Error {
        Self::Own { message: message.into(), help: Some(help.into()), definite: false }.into()
    }

    /// Returns the same for a mistake that does not depend on facts.
    pub(super) fn definite(message: impl Into<String>, help: Option<String>) -> Error {
        Self::Own { message: message.into(), help, definite: true }.into()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::new(ErrorKind::InvalidOperation, failure.to_string()).with_source(failure)
    }
}

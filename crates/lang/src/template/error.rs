//! What goes wrong in a template, and where.

use std::ops::Range;

use minijinja::{Error, ErrorKind};

use crate::source::diagnostic::{Code, Diagnostic, FileId, Span};

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

impl TemplateError {
    /// The mistake where it is, in a template file.
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

/// A name that is there, but has no value because its own definition is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct ScopeError(pub(crate) Box<Diagnostic>);

/// What travels through minijinja as the source of an error of ours.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Scope(ScopeError),
    /// Something undefined reached a filter, or the text.
    #[error("something here is undefined")]
    Undefined,
    #[error("{message}")]
    Own {
        message: String,
        help: Option<String>,
        /// Wrong whatever a fact that is not known yet turns out to be.
        definite: bool,
    },
}

impl Failure {
    /// An error of minijinja that carries a mistake of the template's values.
    pub(super) fn error(message: impl Into<String>, help: impl Into<String>) -> Error {
        Self::Own { message: message.into(), help: Some(help.into()), definite: false }.into()
    }

    /// The same for what is wrong whatever the facts are.
    pub(super) fn definite(message: impl Into<String>, help: Option<String>) -> Error {
        Self::Own { message: message.into(), help, definite: true }.into()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::new(ErrorKind::InvalidOperation, failure.to_string()).with_source(failure)
    }
}

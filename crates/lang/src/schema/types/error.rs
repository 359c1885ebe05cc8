//! The error for a value that does not fit its type.

use crate::source::diagnostic::{self, Code, Diagnostic, Span};

/// A value that its type does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct TypeError {
    /// The mistake, as a lowercase fragment. It quotes the value; for a secret the caller replaces it.
    pub(crate) message: String,
    /// Advice for the user: the correct form.
    pub(crate) help: Option<String>,
}

impl TypeError {
    /// Returns the diagnostic at the place of the value.
    pub(crate) fn at(self, at: Span) -> Diagnostic {
        Diagnostic::error(Code::Type, self.message).label(at, "here").maybe_help(self.help)
    }
}

/// Returns text for a message, shortened to 80 characters.
pub(super) fn printable(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", diagnostic::printable(&text[..end])),
        None => diagnostic::printable(text),
    }
}

pub(super) fn fail<T>(message: impl Into<String>, help: Option<String>) -> Result<T, TypeError> {
    Err(TypeError { message: message.into(), help })
}

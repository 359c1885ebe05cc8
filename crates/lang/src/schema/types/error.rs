//! A value that does not fit.

use crate::source::diagnostic::{self, Code, Diagnostic, Span};

/// A value that its type does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct TypeError {
    /// What is wrong, as a lowercase fragment. It quotes the value; Reading a secret says nothing of it.
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) help: Option<String>,
}

impl TypeError {
    /// The mistake where the value is written.
    pub(crate) fn at(self, at: Span) -> Diagnostic {
        Diagnostic::error(Code::Type, self.message).label(at, "here").maybe_help(self.help)
    }
}

/// Text as part of a message: not endless.
pub(super) fn printable(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", diagnostic::printable(&text[..end])),
        None => diagnostic::printable(text),
    }
}

pub(super) fn fail<T>(message: impl Into<String>, help: Option<String>) -> Result<T, TypeError> {
    Err(TypeError { message: message.into(), help })
}

//! Errors of evaluation: an unreadable file, or a secret or fact where none is allowed.

use crate::source::diagnostic::{Code, Diagnostic, Span};
use crate::source::sources::SourceError;

/// Returns the error for a file that cannot be read.
pub(crate) fn unreadable(name: &str, error: &SourceError, at: Span) -> Diagnostic {
    let report =
        Diagnostic::error(Code::Read, format!("failed to read `{name}`: {error}")).label(at, "named here");
    match error {
        SourceError::TooLarge { .. } => {
            report.help("a file used as a string has at most 64 KiB; the content of a `file` has any size")
        }
        _ => report,
    }
}

/// Returns the error for a secret in a place where none is allowed.
pub(crate) fn secret_here(at: Span, what: &str) -> Diagnostic {
    Diagnostic::error(Code::Secret, format!("a secret cannot be part of {what}"))
        .label(at, "holds a secret")
        .help("names, paths, conditions and addresses are shown and stored; keep secrets in values")
}

/// Returns the error for a value that must not depend on facts.
pub(crate) fn from_facts(at: Span) -> Diagnostic {
    no_facts().label(at, "depends on facts")
}

/// Returns the same error without a span. The caller that fills in the text adds the span.
pub(crate) fn no_facts() -> Diagnostic {
    Diagnostic::error(Code::Facts, "this cannot depend on facts")
        .help("the controller reads files and connects before it knows the facts of the host")
}

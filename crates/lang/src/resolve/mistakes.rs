//! Errors that are found here if they are equal on every host, or else on a host. Both places use the same words.

use converge_model::Type;
use converge_model::schema::Param;

use crate::source::diagnostic::{Code, Diagnostic, Span};

/// Returns the error for a value in place of a condition; `what` describes it.
pub(crate) fn no_boolean(what: &str, at: Span) -> Diagnostic {
    Diagnostic::error(Code::Type, format!("a condition must be true or false, found {what}"))
        .label(at, "not a boolean")
        .help("compare it: `x == 'y'`, `x | length > 0`, `x is not none`")
}

/// Returns the error for a value in place of a map.
pub(crate) fn no_map(at: Span) -> Diagnostic {
    Diagnostic::error(Code::Type, "this must be a map")
        .label(at, "not a map")
        .help("write its keys in braces, or `(expr)` with a variable that is a map")
}

/// Returns the error for a tag with a comma. Probably several tags were meant.
pub(crate) fn comma_in_tag(tag: &str, at: Span) -> Diagnostic {
    Diagnostic::error(Code::Tag, format!("`{tag}` is one tag that contains a comma"))
        .label(at, "a comma does not separate tags")
        .help("write several as a child: `tags \"a\" \"b\"`")
}

/// Returns the error for a name that is not a text.
pub(crate) fn no_name(what: &str, at: Span) -> Diagnostic {
    Diagnostic::error(Code::Type, format!("{what} must be a string")).label(at, "not a string")
}

/// Returns the error for nested values below `key` of a flat map.
pub(crate) fn nested(of: &Param, key: &str, at: Span) -> Diagnostic {
    let (message, help) = match (&of.ty, key) {
        (Type::Map, "-") => (
            format!("an item of a list in `{}` has keys of its own", of.name),
            "an item must be one value: `- \"…\"`".to_owned(),
        ),
        (Type::Map, key) => (
            format!("`{key}` has keys of its own, but `{}` takes only values and lists", of.name),
            format!("write the keys of `{key}` beside it, or the string that they become"),
        ),
        _ => (
            format!("an item of `{}` has keys of its own", of.name),
            format!("an item must be one value: `{} \"…\" \"…\"`", of.name),
        ),
    };
    Diagnostic::error(Code::Type, message).label(at, "nested").help(help)
}

//! Errors of templates and expressions, with their place in a text of an inventory.

use crate::source::diagnostic::{Code, Diagnostic, Files, Span};
use crate::syntax::parse::{Literal, Written};
use crate::template::{ScopeError, TemplateError};

/// Returns the diagnostic for an error in a text of an inventory.
pub(crate) fn in_text(error: TemplateError, written: &Written, files: &Files) -> Diagnostic {
    if let Some(ScopeError(cause)) = error.cause {
        return if cause.labels.is_empty() { cause.label(written.at, "here") } else { *cause };
    }
    let part = error.range.and_then(|range| part(&range, written, files)).unwrap_or(written.at);
    let included =
        error.included.map(|(file, line)| format!(" (in `{file}`, line {line})")).unwrap_or_default();
    Diagnostic::error(Code::Template, format!("{}{included}", error.message))
        .label(part, "here")
        .maybe_help(error.help)
}

/// Returns the span of a part of a text, if the file contains that part unchanged.
pub(crate) fn part(range: &std::ops::Range<usize>, written: &Written, files: &Files) -> Option<Span> {
    let Literal::Text(text) = &written.literal else { return None };
    let file = files.get(written.at.file)?;
    let source = file.text.get(written.at.start..written.at.start + written.at.len)?;
    let fragment = text.get(range.clone()).filter(|fragment| !fragment.is_empty())?;
    let offset = match source.find(&**text) {
        Some(at) => at + range.start,
        None => source.find(fragment)?,
    };
    Some(Span::new(written.at.file, written.at.start + offset, fragment.len()))
}

/// Returns the error for template braces in an expression.
pub(crate) fn braces_in_expression(written: &Written, key: &str) -> Diagnostic {
    let text = if let Literal::Text(text) = &written.literal { text.trim() } else { "" };
    let bare = text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}")).map(str::trim);
    let bare = bare.filter(|bare| !bare.is_empty() && !bare.contains(['{', '"']));
    let example = bare.unwrap_or(if key == "when" { "facts.os.family == 'debian'" } else { "colours" });
    Diagnostic::error(Code::Template, "an expression needs no braces")
        .label(written.at, "holds a template")
        .help(format!("write it without braces: `{key}=\"{example}\"`"))
}

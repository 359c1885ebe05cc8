//! The forms of what is filled in: strings of an inventory, template files, expressions.

use minijinja::Environment;
use minijinja::syntax::SyntaxConfig;

/// Whether `text` needs filling in at all.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// Words of the expression language, which no variable may have for a name.
pub(crate) fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "true" | "false" | "none" | "True" | "False" | "None" | "and" | "or" | "not" | "in" | "is" | "if"
    ) || matches!(
        name,
        "else" | "range" | "namespace" | "dict" | "self" | "super" | "caller" | "varargs" | "kwargs"
    )
}

/// How something to be filled in is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A string of an inventory.
    Text,
    /// A template file.
    File,
    /// An expression, without tags.
    Expression,
}

/// A template or expression that is being filled in.
pub(super) struct Source<'a> {
    pub(super) environment: &'a Environment<'static>,
    pub(super) form: Form,
    pub(super) text: &'a str,
}

/// Delimiters of a string of an inventory, or of a template file.
pub(super) fn syntax(string: bool) -> SyntaxConfig {
    let mut builder = SyntaxConfig::builder();
    builder.keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true);
    if string {
        // Delimiters that no inventory holds: `${#x}` is common in shell.
        builder.comment_delimiters("{\u{1}#", "#\u{1}}");
    }
    // These delimiters are fixed and differ from each other, so the default never stands in for them.
    builder.build().unwrap_or_default()
}

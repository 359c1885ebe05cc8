//! The forms of text that is filled in: strings of an inventory, template files, expressions.

use minijinja::Environment;
use minijinja::syntax::SyntaxConfig;

/// Whether `text` contains a template.
pub(crate) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// Whether `name` is a word of the expression language, which cannot be the name of a variable.
pub(crate) fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "true" | "false" | "none" | "True" | "False" | "None" | "and" | "or" | "not" | "in" | "is" | "if"
    ) || matches!(
        name,
        "else" | "range" | "namespace" | "dict" | "self" | "super" | "caller" | "varargs" | "kwargs"
    )
}

/// The form of a template or expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A string of an inventory.
    Text,
    /// A template file.
    File,
    /// An expression, without tags.
    Expression,
}

/// A template or expression that is being evaluated.
pub(super) struct Source<'a> {
    pub(super) environment: &'a Environment<'static>,
    pub(super) form: Form,
    pub(super) text: &'a str,
}

/// Returns the delimiters of a string of an inventory, or of a template file.
pub(super) fn syntax(string: bool) -> SyntaxConfig {
    let mut builder = SyntaxConfig::builder();
    builder.keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true);
    if string {
        // Use delimiters that no inventory contains: `${#x}` is common in shell.
        builder.comment_delimiters("{\u{1}#", "#\u{1}}");
    }
    // The delimiters are constant and valid, so the default is never used.
    builder.build().unwrap_or_default()
}

//! Parameters that do not fit the schema of a kind or module: unknown, missing, or of the wrong form.

use converge_model::schema::Param;

use crate::schema::Schema;
use crate::source::diagnostic::{Code, Diagnostic, Span};
use crate::source::foreign_terms;
use crate::source::suggest::did_you_mean;
use crate::syntax::parse::Node;

/// The options that every resource has, whatever its kind.
pub(crate) const COMMON: [&str; 10] =
    ["when", "after", "notify", "id", "tags", "drift", "sensitive", "retries", "timeout", "may-fail"];

/// Returns the error for a name that is not in the schema. With `top` the common options are allowed, too.
pub(crate) fn unknown_parameter(schema: &Schema, key: &str, at: Span, top: bool) -> Diagnostic {
    let mut names = schema.names();
    if top {
        names.extend(COMMON);
    }
    let help =
        did_you_mean(key, names.iter().copied()).or_else(|| foreign_terms::parameter_of(&schema.name, key));
    if names.len() > 24 {
        names.truncate(24);
        names.push("…");
    }
    Diagnostic::error(Code::Unknown, format!("`{}` has no parameter `{key}`", schema.name))
        .label(at, "unknown")
        .help(if names.is_empty() {
            "it has no parameters".to_owned()
        } else {
            format!("there are {}", names.join(", "))
        })
        .maybe_help(help)
}

/// Returns the error for a required parameter that is missing.
pub(crate) fn missing(schema: &Schema, param: &Param, at: Span) -> Diagnostic {
    let how = if param.argument == Some(0) { "the first argument" } else { "a property or child" };
    let how = format!("write `{}` as {how} of `{}`", param.name, schema.name);
    Diagnostic::error(Code::Missing, format!("`{}` needs `{}`", schema.name, param.name))
        .label(at, format!("without `{}`", param.name))
        .help(if param.doc.is_empty() { how } else { format!("{how}: {}", param.doc) })
}

/// Returns the error for properties or children of a node that is a plain value.
pub(crate) fn values_only(name: &str, node: &Node) -> Diagnostic {
    let report = match node.props.first() {
        Some(property) => {
            Diagnostic::error(Code::Form, format!("`{name}` has no property `{}`", property.key))
                .label(property.at, "unknown")
        }
        None => Diagnostic::error(Code::Form, format!("`{name}` has no children")).label(node.at, "here"),
    };
    report.help(format!("it is a single value: write `{name} \"…\"`"))
}

//! The reference pages of kinds and modules, as Markdown. They are made from the tables that check the parameters, so
//! they cannot differ from the checks.

use std::fmt::Write as _;

use converge_lang::ModuleInfo;
use converge_model::schema::{Child, Param, Type};
use converge_model::value::{Scalar, Value};
use converge_model::{KindInfo, KindSchema};

/// Returns the page of a kind.
pub(crate) fn kind(schema: &KindSchema) -> String {
    let mut out = format!("# {}\n\n{}\n", schema.name, sentence(&schema.summary));
    let notes = [
        (schema.whole_system, "It needs a whole system, so it cannot be used with `root=`."),
        (schema.notifiable, "It can be a handler: other resources may notify it."),
    ];
    for (_, note) in notes.iter().filter(|(applies, _)| *applies) {
        let _ = write!(out, "\n{note}\n");
    }
    if !schema.details.is_empty() {
        let _ = write!(out, "\n{}\n", schema.details.trim());
    }
    parameters(&mut out, "## Parameters", &schema.params);
    schema.children.iter().for_each(|child| self::child(&mut out, child, 2));
    if !schema.examples.is_empty() {
        out.push_str("\n## Examples\n");
    }
    for example in &schema.examples {
        let _ = write!(out, "\n{}\n\n```kdl\n{}\n```\n", sentence(&example.title), dedent(&example.kdl));
    }
    out.push_str("\nEvery kind also takes `when`, `after`, `notify`, `id`, `tags`, `drift`, `sensitive`, `retries`, `timeout`,\n`may-fail` and `with`.\n");
    out
}

/// Returns the page of a module.
pub(crate) fn module(module: &ModuleInfo) -> String {
    let mut out = format!("# {}\n\n{}\n", module.name, sentence(&module.summary));
    if let Some(version) = &module.version {
        let _ = write!(out, "\nVersion {version}.\n");
    }
    if let Some(readme) = &module.readme {
        // The page has a heading already, so the README's own heading is removed.
        let body = readme
            .trim()
            .strip_prefix('#')
            .and_then(|rest| rest.split_once('\n'))
            .map_or(&**readme, |(_, rest)| rest);
        let _ = write!(out, "\n{}\n", body.trim());
    }
    parameters(&mut out, "## Parameters", &module.params);
    module.children.iter().for_each(|child| self::child(&mut out, child, 2));
    if !module.asserts.is_empty() {
        out.push_str("\n## Conditions\n\n");
    }
    for (expression, text) in &module.asserts {
        let _ = writeln!(out, "- `{expression}`: {text}");
    }
    out
}

/// Returns all kinds and modules with their summaries, for a terminal.
pub(crate) fn index(kinds: &[&dyn KindInfo], modules: &[ModuleInfo]) -> String {
    let names = kinds.iter().map(|kind| &kind.schema().name).chain(modules.iter().map(|module| &module.name));
    let width = names.map(|name| name.len()).max().unwrap_or_default();
    let mut out = String::from("Kinds\n");
    for schema in kinds.iter().map(|kind| kind.schema()) {
        let _ = writeln!(out, "  {:width$}  {}", schema.name, schema.summary);
    }
    if !modules.is_empty() {
        out.push_str("Modules\n");
    }
    for module in modules {
        let _ = writeln!(out, "  {:width$}  {}", module.name, module.summary);
    }
    out
}

/// Returns the page with links to the others.
pub(crate) fn contents(kinds: &[&dyn KindInfo], modules: &[ModuleInfo]) -> String {
    let mut out = String::from(
        "# Reference\n\n`converge docs --write docs/reference` writes these pages.\n\n## Kinds\n\n",
    );
    for schema in kinds.iter().map(|kind| kind.schema()) {
        let _ = writeln!(out, "- [{0}]({0}.md): {1}", schema.name, sentence(&schema.summary));
    }
    if !modules.is_empty() {
        out.push_str("\n## Modules\n\n");
    }
    for module in modules {
        let _ = writeln!(out, "- [{0}]({0}.md): {1}", module.name, sentence(&module.summary));
    }
    out
}

fn parameters(out: &mut String, heading: &str, params: &[Param]) {
    if params.is_empty() {
        return;
    }
    let _ = write!(out, "\n{heading}\n\n| name | type | default | meaning |\n|---|---|---|---|\n");
    for param in params {
        let name = match param.argument {
            Some(place) => format!("`{}` (argument {})", param.name, place + 1),
            None => format!("`{}`", param.name),
        };
        let default = match (&param.default, param.required) {
            (_, true) => "required".to_owned(),
            (Some(value), _) => format!("`{}`", shown(value, &param.ty)),
            (None, _) => String::new(),
        };
        let _ =
            writeln!(out, "| {name} | {} | {default} | {} |", cell(&of_type(param)), cell(&meaning(param)));
    }
}

fn child(out: &mut String, child: &Child, depth: usize) {
    let hashes = "#".repeat(depth.min(5));
    let _ = write!(out, "\n{hashes} `{}` (repeated)\n\n{}\n", child.name, sentence(&child.doc));
    if child.free_keys.is_some() {
        out.push_str("\nIt takes any other key, with one or several values.\n");
    }
    parameters(out, &format!("{hashes}# Parameters of `{}`", child.name), &child.params);
    child.children.iter().for_each(|inner| self::child(out, inner, depth + 1));
}

fn of_type(param: &Param) -> String {
    match &param.ty {
        Type::List(of) => format!("list of {}", of.name()),
        Type::Tree => "nested map".to_owned(),
        ty => ty.name().to_owned(),
    }
}

fn meaning(param: &Param) -> String {
    let mut text = sentence(&param.doc);
    if !param.one_of.is_empty() {
        let allowed: Vec<_> = param.one_of.iter().map(|value| format!("`{value}`")).collect();
        let _ = write!(text, " One of {}.", allowed.join(", "));
    }
    match (param.min, param.max) {
        (Some(min), Some(max)) => text.push_str(&format!(" From {min} to {max}.")),
        (Some(min), None) => text.push_str(&format!(" At least {min}.")),
        (None, Some(max)) => text.push_str(&format!(" At most {max}.")),
        (None, None) => {}
    }
    if let Some(pattern) = &param.pattern {
        // A line break in a table would end the row.
        let pattern = pattern.replace('\n', "\\n").replace('\r', "\\r");
        let _ = write!(text, " Matches `{pattern}`.");
    }
    text
}

/// Shows a default value as in an inventory.
fn shown(value: &Value, ty: &Type) -> String {
    let scalar = |scalar: &Scalar| match (scalar, ty) {
        (Scalar::Int(mode), Type::Mode) => format!("\"{mode:04o}\""),
        (Scalar::Int(milliseconds), Type::Duration) => format!("\"{}\"", time(*milliseconds)),
        (Scalar::Int(number), _) => number.to_string(),
        (Scalar::Bool(value), _) => format!("#{value}"),
        (Scalar::Float(number), _) => number.to_string(),
        (Scalar::Text(text), _) => format!("{text:?}"),
        (Scalar::Secret(_), _) => "(secret)".to_owned(),
    };
    match value {
        Value::Scalar(value) => scalar(value),
        Value::List(values) => values.iter().map(scalar).collect::<Vec<_>>().join(" "),
        Value::Map(_) | Value::Rows(_) | Value::Content(_) | Value::Tree(_) => "{ }".to_owned(),
    }
}

fn time(milliseconds: i64) -> String {
    match milliseconds {
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Returns `text` with a full stop at its end.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', ':', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// Removes the common indent of all lines.
fn dedent(text: &str) -> String {
    let text = text.trim_matches('\n').trim_end();
    let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let common = text.lines().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or_default();
    text.lines().map(|line| line.get(common..).unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::markdown::rendered;

    #[test]
    fn a_page_says_all_that_the_table_says() {
        let schema = KindSchema::new("probe", "keeps a probe as it should be")
            .notifiable()
            .param(Param::new("name", Type::Name, "Its name").argument(0).required())
            .param(Param::new("mode", Type::Mode, "Bits | of it").default(0o644))
            .param(Param::list("ports", Type::Port, "Where it listens").range(1, 9))
            .param(Param::new("state", Type::Text, "").one_of(&["present", "absent"]).default("present"))
            .param(Param::new("wait", Type::Duration, "How long").default(90_000))
            .param(Param::new("env", Type::Map, "Variables"))
            .param(Param::new("settings", Type::Tree, "What it reads"))
            .child(Child::new("section", "A section").free_keys("settings").param(Param::new(
                "name",
                Type::Name,
                "",
            )))
            .example("The usual one", "    probe \"a\" {\n        ports 1\n    }\n");
        insta::assert_snapshot!(kind(&schema), @r#"
        # probe

        keeps a probe as it should be.

        It can be a handler: other resources may notify it.

        ## Parameters

        | name | type | default | meaning |
        |---|---|---|---|
        | `name` (argument 1) | name | required | Its name. |
        | `mode` | mode | `"0644"` | Bits \| of it. |
        | `ports` | list of port |  | Where it listens. From 1 to 9. |
        | `state` | string | `"present"` |  One of `present`, `absent`. |
        | `wait` | duration | `"90s"` | How long. |
        | `env` | map |  | Variables. |
        | `settings` | nested map |  | What it reads. |

        ## `section` (repeated)

        A section.

        It takes any other key, with one or several values.

        ### Parameters of `section`

        | name | type | default | meaning |
        |---|---|---|---|
        | `name` | name |  |  |

        ## Examples

        The usual one.

        ```kdl
        probe "a" {
            ports 1
        }
        ```

        Every kind also takes `when`, `after`, `notify`, `id`, `tags`, `drift`, `sensitive`, `retries`, `timeout`,
        `may-fail` and `with`.
        "#);
    }

    /// The most characters of a parameter's line.
    const LONGEST: usize = 140;
    /// Words that no line may begin with, because they hide the noun.
    const BEGINNINGS: [&str; 9] =
        ["What ", "Whether ", "Who ", "Whose ", "Whom ", "Where ", "When ", "How ", "It "];

    /// Collects the flaws in the lines about the parameters of `owner`.
    fn flaws(owner: &str, params: &[Param], children: &[Child], found: &mut Vec<String>) {
        for Param { name, doc, .. } in params {
            let doc = doc.trim_end_matches('.');
            let is_several = doc
                .match_indices(". ")
                .any(|(at, _)| doc[at + 2..].starts_with(|c: char| c.is_uppercase() || c == '`'));
            let reason = match doc {
                _ if doc.chars().count() > LONGEST => "is too long",
                _ if is_several => "is more than one sentence",
                _ if BEGINNINGS.iter().any(|word| doc.starts_with(word)) => "has no noun or verb first",
                _ => continue,
            };
            found.push(format!("{owner} {name} {reason}: {doc}"));
        }
        children.iter().for_each(|child| {
            flaws(&format!("{owner} {}", child.name), &child.params, &child.children, found);
        });
    }

    #[test]
    fn a_parameter_is_explained_in_one_sentence() {
        let mut found = Vec::new();
        for schema in crate::project::kinds().iter().map(|kind| kind.schema()) {
            flaws(&schema.name, &schema.params, &schema.children, &mut found);
        }
        let modules = crate::command::docs::builtin();
        assert!(modules.len() > 5, "the modules");
        modules.iter().for_each(|module| flaws(&module.name, &module.params, &module.children, &mut found));
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    /// Returns the pages of all kinds and of the built-in modules.
    fn pages() -> Vec<String> {
        let kinds = crate::project::kinds();
        let modules = crate::command::docs::builtin();
        kinds.iter().map(|each| kind(each.schema())).chain(modules.iter().map(module)).collect()
    }

    #[test]
    fn pages_fit_the_terminal_and_break_no_word() {
        // Words without the signs of Markdown.
        let words = |text: &str| -> std::collections::BTreeSet<String> {
            let text = text.replace(['`', '|', '#', '*', '\\', ',', '(', ')', '[', ']'], " ");
            text.split_whitespace().map(str::to_owned).collect()
        };
        for page in pages() {
            let code: Vec<&str> = page.split("```").skip(1).step_by(2).flat_map(str::lines).collect();
            let known = words(&page);
            for width in [60, 80, 200] {
                let shown = anstream::adapter::strip_str(&rendered(&page, width)).to_string();
                let is_code = |line: &&str| code.contains(&line.strip_prefix("    ").unwrap_or(line));
                let too_long =
                    |line: &&str| line.chars().count() > width && line.split_whitespace().count() > 1;
                let long: Vec<_> = shown.lines().filter(too_long).filter(|line| !is_code(line)).collect();
                assert!(long.is_empty(), "{width} columns: {}", long.join("\n"));
                let broken: Vec<_> = words(&shown).difference(&known).cloned().collect();
                assert!(
                    broken.is_empty(),
                    "{width} columns: {broken:?} in {}",
                    page.lines().next().unwrap_or_default()
                );
            }
        }
    }
}

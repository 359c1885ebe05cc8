//! Values that would be more than a value where they are written. Every text of the examples of every kind gets a line
//! break: it is refused, or the kind says that it may have several lines.

use std::collections::BTreeSet;
use std::sync::Arc;

use converge_engine::modules::BUILTIN;
use converge_lang::{Case, CaseOutcome, Loader, MemorySources};
use converge_model::KindInfo;

/// The texts of kinds that may have line breaks: contents, scripts, and words of a command.
const SEVERAL_LINES: [&str; 9] = [
    "block content",
    "command",
    "command stdin",
    "command unless",
    "file content",
    "file validate",
    "firewall-policy rules",
    "tree file content",
    "tree validate",
];

fn loader() -> Loader {
    let kinds = converge_resources::registry().map(|kind| kind as &dyn KindInfo).collect();
    Loader { sources: Arc::new(MemorySources::default()), kinds, builtins: BUILTIN.to_vec() }
}

#[test]
fn a_text_of_a_kind_is_one_line_unless_the_kind_says_otherwise() {
    let loader = loader();
    let (mut tried, mut accepted) = (0, BTreeSet::new());
    for kind in converge_resources::registry() {
        let schema = kind.schema();
        for example in &schema.examples {
            let path = format!("modules/{}/cases/example.kdl", schema.name);
            let is_accepted = |text: &str| {
                let outcome = Case::read(&path, text).map(|case| case.run(&loader));
                matches!(outcome, Ok(CaseOutcome::Resources(_)))
            };
            if !is_accepted(&example.kdl) {
                // It needs a file of the project.
                continue;
            }
            for literal in literals(&example.kdl, &schema.name) {
                let (before, after) = example.kdl.split_at(literal.end);
                tried += 1;
                // An `id` is a part of an address, and goes nowhere else.
                let is_value = literal.place.last().is_some_and(|param| param != "id");
                if is_value && is_accepted(&format!("{before}\\nevil{after}")) {
                    accepted.insert(literal.place.join(" "));
                }
            }
        }
    }
    assert!(tried > 100, "only {tried} texts were tried");
    assert_eq!(accepted.iter().map(String::as_str).collect::<Vec<_>>(), SEVERAL_LINES);
}

/// A quoted text in an example.
struct Literal {
    /// Where its closing quote is.
    end: usize,
    /// The names of the nodes that it stands in, its parameter the last.
    place: Vec<String>,
}

/// The quoted texts of the kind's own nodes that are plain values.
fn literals(text: &str, kind: &str) -> Vec<Literal> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(quote) = text[at..].find('"').map(|quote| at + quote) {
        let Some(end) = closing(text, quote + 1) else { break };
        at = end + 1;
        let place = place(&text[..quote]);
        let is_plain = !text[..quote].ends_with([')', '#']) && !text[at..].starts_with('#');
        if is_plain && place.first().is_some_and(|node| node == kind) {
            found.push(Literal { end, place });
        }
    }
    found
}

/// Where the quotation ends whose text begins at `from`.
fn closing(text: &str, from: usize) -> Option<usize> {
    let mut is_escaped = false;
    for (at, sign) in text[from..].char_indices() {
        match sign {
            '"' if !is_escaped => return Some(from + at),
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    None
}

/// The names of the nodes that are open where `before` ends, and of the property that it ends with: `nginx site listen`.
fn place(before: &str) -> Vec<String> {
    let mut open: Vec<String> = Vec::new();
    let mut node = String::new();
    let mut is_quoted = false;
    let mut signs = before.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '"' => is_quoted = !is_quoted,
            '\\' if is_quoted => drop(signs.next()),
            _ if is_quoted => {}
            '{' => open.push(std::mem::take(&mut node)),
            '}' => {
                open.pop();
                node.clear();
            }
            '\n' | ';' => node.clear(),
            _ => node.push(sign),
        }
    }
    let property = node.strip_suffix('=').and_then(|node| node.rsplit(' ').next()).map(str::to_owned);
    let names = open.iter().chain([&node]).filter_map(|node| node.split_whitespace().next());
    names.map(str::to_owned).chain(property).collect()
}

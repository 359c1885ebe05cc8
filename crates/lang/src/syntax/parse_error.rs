//! Words the errors of the KDL parser: the exact place, the mistake, and the correct form.

mod quoted;
mod unclosed;

use std::collections::BTreeSet;

use kdl::{KdlDiagnostic, KdlError};

use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, FileId, Span};
use crate::syntax::prescan;

/// Reports all errors of the parser in `text`, one report for each mistake.
pub(crate) fn report(file: FileId, text: &str, error: &KdlError, diagnostics: &mut Diagnostics) {
    let mut lines = BTreeSet::new();
    // After a mistake the parser counts braces wrongly.
    let is_brace = |problem: &KdlDiagnostic| {
        text[token(text, problem).0..]
            .chars()
            .next()
            .is_none_or(|c| c.is_whitespace() || matches!(c, '{' | '}'))
    };
    let slips = error.diagnostics.iter().any(|problem| !is_brace(problem));
    // The end of the lines that an unclosed text swallows.
    let mut swallowed = 0;
    for problem in error.diagnostics.iter().filter(|problem| !slips || !is_brace(problem)) {
        let (start, len) = token(text, problem);
        if start < swallowed {
            continue;
        }
        // One mistake causes several parser errors. Further errors on the same line are not useful.
        if !lines.insert(text[..start].bytes().filter(|b| *b == b'\n').count()) {
            continue;
        }
        if let Some(flaw) = quoted::flaw(text, start) {
            swallowed = flaw.end;
            diagnostics.push(flaw.report(file, text));
            continue;
        }
        if said(problem) == UNCLOSED
            && let Some(unclosed) = unclosed::guess(text)
        {
            diagnostics.push(brace(file, &unclosed));
            continue;
        }
        let found = shortened(&text[start..start + len]);
        let found = found.as_str();
        diagnostics.push(
            Diagnostic::error(Code::Syntax, message(problem, found))
                .label(Span::new(file, start, len), "not KDL 2.0")
                .maybe_help(
                    problem.help.clone().filter(|help| {
                        !help.starts_with("A valid value") && !help.starts_with("This can be")
                    }),
                )
                .maybe_help(hint(found))
                .maybe_help(prescan::v1_hint(text, start).map(|hint| shortened(&hint)))
                .maybe_help(habit(found))
                .maybe_help(bracketed(&text[..start], &text[start..])),
        );
    }
}

/// Returns the start and length of the wrong word. For a wrong property value the parser's span starts at the node and
/// ends too early.
fn token(text: &str, problem: &KdlDiagnostic) -> (usize, usize) {
    let floor = |at: usize| text.floor_char_boundary(at.min(text.len()));
    let (start, end) =
        (floor(problem.span.offset()), floor(problem.span.offset() + problem.span.len()).max(floor(0)));
    let property = problem.message.as_deref() == Some("Expected property value");
    let start = match property {
        true => text[start..end].trim_end().rfind([' ', '=', '\t', '\n']).map_or(start, |at| start + at + 1),
        false => start,
    };
    let rest = &text[start..];
    let len =
        rest.find(|c: char| c.is_whitespace() || matches!(c, ';' | '{' | '}' | ')')).unwrap_or(rest.len());
    match len {
        0 => (start, rest.chars().next().filter(|c| !c.is_whitespace()).map_or(0, char::len_utf8)),
        _ => (start, len),
    }
}

/// The parser's message for an unclosed block.
const UNCLOSED: &str = "No closing '}' for child block";

fn said(problem: &KdlDiagnostic) -> &str {
    problem.message.as_deref().unwrap_or_default()
}

/// Returns the error for a `{` without its `}`.
fn brace(file: FileId, unclosed: &unclosed::Unclosed) -> Diagnostic {
    let place = match unclosed.before {
        Some(line) => format!("write `}}` before line {line}, which is not indented more than this block"),
        None => "write `}` at the end of the file".to_owned(),
    };
    Diagnostic::error(Code::Syntax, "a `{` is never closed")
        .label(Span::new(file, unclosed.at, 1), "never closed")
        .help(place)
}

fn message(problem: &KdlDiagnostic, found: &str) -> String {
    match said(problem) {
        UNCLOSED => "a `{` is never closed".to_owned(),
        "Found child block instead of node name" => "a `{` stands where a node begins".to_owned(),
        _ if found == "}" => "a `}` closes nothing".to_owned(),
        _ if found.starts_with('"') && found.ends_with("\":") => "a colon does not belong here".to_owned(),
        _ if found.starts_with('"') => format!("{found} is not KDL"),
        _ if found.is_empty() => "something is missing here".to_owned(),
        _ => format!("`{found}` is not KDL"),
    }
}

/// Returns help for habits of other languages: lists in brackets, commas. Also for invisible control characters.
fn habit(found: &str) -> Option<String> {
    if found.chars().any(char::is_control) {
        return Some("delete the invisible character here".to_owned());
    }
    let list = found.starts_with('[') || found.ends_with(']');
    let plain = found.trim_matches(['[', ']', ',', '"']);
    match plain {
        _ if list => Some("write several values beside each other: `users \"ada\" \"bob\"`".to_owned()),
        _ if !found.ends_with(',') || plain.is_empty() => None,
        _ if plain.parse::<f64>().is_ok() => {
            Some(format!("write values beside each other without commas: `{plain}`"))
        }
        _ => Some(format!("write values beside each other without commas: `\"{plain}\"`")),
    }
}

/// Returns help for a list in brackets on one line, with its values: `members=["a", "b"]`.
fn bracketed(before: &str, list: &str) -> Option<String> {
    let (list, _) = list.lines().next()?.strip_prefix('[')?.split_once(']')?;
    let values: Vec<_> = list.split(',').map(str::trim).filter(|value| !value.is_empty()).collect();
    let values = shortened(&values.join(" "));
    let key =
        before.strip_suffix('=').unwrap_or(before.trim_end()).rsplit([' ', '\t', '\n', '{', ';']).next();
    let key = key.filter(|key| key.starts_with(char::is_alphabetic));
    Some(match key {
        Some(key) if before.ends_with('=') => {
            format!("write several values in the braces, separated by spaces: `{key} {values}`")
        }
        Some(key) => format!("separate the values by spaces: `{key} {values}`"),
        None => format!("write several values beside each other: `{values}`"),
    })
}

/// Whether a `#` starts a comment as in other languages. `#true` and `#"…"#` are not comments.
fn is_comment(found: &str) -> bool {
    const WORDS: [&str; 6] = ["#true", "#false", "#null", "#inf", "#-inf", "#nan"];
    found.starts_with('#')
        && !found.starts_with("#\"")
        && !found.starts_with("##\"")
        && !WORDS.contains(&found)
}

/// Returns a text for a message, shortened to 60 characters.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn hint(found: &str) -> Option<String> {
    if let Some(name) = found.strip_suffix(':').filter(|name| name.starts_with('"')) {
        return Some(format!("remove it: `{name}`"));
    }
    if is_comment(found) {
        return Some("a comment begins with `//`".to_owned());
    }
    let digits = found.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
    if digits || found.starts_with(['/', '[', '.']) {
        return Some(format!("quote it: `\"{found}\"`"));
    }
    match found {
        "true" | "false" | "null" => Some(format!("write `#{found}`")),
        _ if found.starts_with("r\"") => Some("write a raw string as `#\"…\"#`".to_owned()),
        _ if found.starts_with('=') => Some(
            "a property is `key=value`, without blanks; a condition is one string: `when \"facts.os.family == 'debian'\"`"
                .to_owned(),
        ),
        _ => None,
    }
}

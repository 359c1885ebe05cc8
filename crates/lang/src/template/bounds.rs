//! Limits of a template before it is compiled. minijinja limits brackets and blocks. But it handles `not not …`,
//! `a + a + …` and `elif` chains by recursion.

use std::ops::Range;

use super::error::TemplateError;

/// The longest text, in bytes, that a string of an inventory may become.
pub(crate) const STRING: usize = 1 << 20;
/// The longest text, in bytes, that a template file may become.
pub(crate) const FILE: usize = 8 << 20;
/// The deepest nesting of lists and maps in the result of an expression.
pub(super) const DEPTH: usize = 64;
/// The most operators in one `{{ }}` or `{% %}`.
const OPERATORS: usize = 600;
/// The most `elif` in a template.
const ELIFS: usize = 100;

/// A template that would overflow the stack: the wrong bytes and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TooMuch {
    pub(super) range: Range<usize>,
    pub(super) message: String,
}

/// Refuses a template that would nest too deep for the compiler. `comments` says whether `{# #}` are comments.
pub(super) fn check(text: &str, comments: bool) -> Result<(), TooMuch> {
    let mut at = 0;
    let mut elifs = 0;
    while let Some((start, kind)) = next_tag(text, at, comments) {
        let inside = start + 2;
        let end = end_of(text, inside, kind);
        at = end.max(inside);
        if kind == '#' {
            continue;
        }
        expression(&text[inside..end]).map_err(|error| TooMuch { range: start..end, ..error })?;
        let statement = text[inside..end].trim_start_matches(['-', '+', ' ', '\n', '\t']);
        elifs += usize::from(kind == '%' && statement.starts_with("elif"));
        if elifs > ELIFS {
            return Err(TooMuch {
                range: start..end,
                message: format!("more than {ELIFS} `elif` in one template"),
            });
        }
        if kind == '%' && statement.starts_with("raw") {
            at = text[at..].find("endraw").map_or(text.len(), |found| at + found);
        }
    }
    Ok(())
}

/// Returns the error for the first tag without an end. None if each tag has one.
pub(super) fn unclosed(text: &str, comments: bool) -> Option<TemplateError> {
    let mut at = 0;
    while let Some((start, kind)) = next_tag(text, at, comments) {
        let end = end_of(text, start + 2, kind);
        if end == text.len() {
            return Some(endless(text, start, kind));
        }
        let is_raw =
            kind == '%' && text[start + 2..end].trim_start_matches(['-', '+', ' ']).starts_with("raw");
        let raw = || text[end..].find("endraw").map_or(text.len(), |found| end + found);
        at = if is_raw { raw() } else { end };
    }
    None
}

/// Returns the error for a tag without an end: its delimiter is missing, or is inside an unclosed quote.
fn endless(text: &str, start: usize, kind: char) -> TemplateError {
    let close = format!("{}}}", if kind == '{' { '}' } else { kind });
    let (message, help) = match text[start..].contains(&close) {
        true => (
            format!("a quote after `{{{kind}` is never closed"),
            format!("close it before the `{close}`; write a quote in a string as `\\'`"),
        ),
        false => (format!("a `{{{kind}` is never closed"), format!("close it with `{close}`")),
    };
    TemplateError { message, help: Some(help), range: Some(start..start + 2), ..TemplateError::default() }
}

/// Refuses an expression with too many operators.
pub(super) fn expression(text: &str) -> Result<(), TooMuch> {
    let mut operators = 0;
    let mut quote = None;
    let mut escaped = false;
    let mut word = 0;
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_alphanumeric() || c == '_' => continue,
            None => {
                operators += usize::from("+-*/%~|.[({<>=!".contains(c));
                operators +=
                    usize::from(matches!(&text[word..at], "not" | "and" | "or" | "in" | "is" | "if"));
            }
        }
        word = at + c.len_utf8();
        if operators > OPERATORS {
            return Err(TooMuch {
                range: 0..text.len(),
                message: format!("more than {OPERATORS} operators in one expression"),
            });
        }
    }
    Ok(())
}

/// Returns the position of the next tag, and its sort: `{`, `%` or `#`.
fn next_tag(text: &str, at: usize, comments: bool) -> Option<(usize, char)> {
    let bytes = text.as_bytes();
    (at..bytes.len().saturating_sub(1)).find_map(|i| match (bytes[i], bytes[i + 1]) {
        (b'{', b'{') => Some((i, '{')),
        (b'{', b'%') => Some((i, '%')),
        (b'{', b'#') if comments => Some((i, '#')),
        _ => None,
    })
}

/// Returns the end of a tag: before its closing delimiter outside quotes, or else the end of the text.
fn end_of(text: &str, start: usize, kind: char) -> usize {
    let close = match kind {
        '{' => "}}",
        '%' => "%}",
        _ => return text[start..].find("#}").map_or(text.len(), |found| start + found),
    };
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text[start..].char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if text[start + at..].starts_with(close) => return start + at,
            None => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_passes() {
        let check = |text: &str| assert_eq!(check(text, true), Ok(()), "{text}");
        check("");
        check("{");
        check(&"{{ a.b | c }} ".repeat(10_000));
        check(&format!("{{# {} #}}", "+".repeat(10_000)));
        check(&format!("{{% raw %}} {{{{ {} }}}} {{% endraw %}}", "+".repeat(10_000)));
        check(&format!("{{{{ '{}' }}}}", "+}}{{%%".repeat(1000)));
        check(&format!("{{{{ 'it\\'s {}' }}}}", "+".repeat(1000)));
        assert_eq!(expression(&"+".repeat(OPERATORS)), Ok(()));
    }

    #[test]
    fn tag_without_an_end_is_found() {
        let check = |text: &str, message: Option<&str>| {
            assert_eq!(unclosed(text, true).map(|error| error.message).as_deref(), message, "{text}");
        };
        check("{{ a }} {% if b %} {# c #} {", None);
        check("{{ a }} {{ b", Some("a `{{` is never closed"));
        check("{{ a }} {% if b }}", Some("a `{%` is never closed"));
        check("{{ 'a }}", Some("a quote after `{{` is never closed"));
        check("{% raw %} {{ {% endraw %} {{ a }}", None);
        assert!(unclosed("{# a", false).is_none());
    }

    #[test]
    fn long_chains_are_refused() {
        let refused = |text: &str| assert!(check(text, true).is_err());
        refused(&format!("{{{{ {} a }}}}", "not ".repeat(1000)));
        refused(&format!("{{{{ a{} }}}}", "+a".repeat(1000)));
        refused(&format!("{{{{ a{} }}}}", " and a".repeat(1000)));
        refused(&format!("{{{{ 'a'{} }}}}", "+a".repeat(1000)));
        refused(&format!("{{{{ 'a }}}}'{} }}}}", "+a".repeat(1000)));
        assert!(expression(&"+".repeat(OPERATORS + 1)).is_err());
        refused(&format!("{{% if a %}}{}", "{% elif a %}".repeat(1000)));
        refused(&format!("{{% if a %}}{}", "{%- elif a %}".repeat(1000)));
        assert!(expression(&"a.".repeat(1000)).is_err());
    }
}

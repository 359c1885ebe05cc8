//! Finds mistakes in quoted texts: an unknown escape, or a line that ends inside the text.

use crate::source::diagnostic::{Code, Diagnostic, FileId, Span};

/// A mistake in a quoted text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    kind: Kind,
    /// The start of the wrong bytes.
    start: usize,
    len: usize,
    /// The end of the text that is affected by the mistake.
    pub(super) end: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Escape,
    Unclosed,
}

/// Returns the first mistake in the quoted texts on the line of `at`.
pub(super) fn flaw(text: &str, at: usize) -> Option<Flaw> {
    let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let mut position = line;
    loop {
        let rest = &text[position..];
        let end = rest.find('\n').unwrap_or(rest.len());
        let open = position + rest[..end].find('"')?;
        // Comments, raw texts and texts of several lines have other rules.
        if text[position..open].contains("//")
            || text[..open].ends_with('#')
            || text[open..].starts_with("\"\"\"")
        {
            return None;
        }
        match close(text, open + 1) {
            Ok(after) => position = after,
            Err(flaw) => return Some(flaw),
        }
    }
}

/// Returns the end of the quoted text that starts at `start`.
fn close(text: &str, start: usize) -> Result<usize, Flaw> {
    let mut chars = text[start..].char_indices();
    while let Some((at, c)) = chars.next() {
        let at = start + at;
        match c {
            '"' => return Ok(at + 1),
            '\n' => {
                let end = text[at..].find('"').map_or(text.len(), |found| at + found + 1);
                let line = text[end..].find('\n').map_or(text.len(), |found| end + found);
                return Err(Flaw { kind: Kind::Unclosed, start: start - 1, len: at + 1 - start, end: line });
            }
            '\\' => match chars.next() {
                Some((_, escaped)) if "\"\\/bfnrtsu".contains(escaped) || escaped.is_whitespace() => {}
                other => {
                    let len = 1 + other.map_or(0, |(_, c)| c.len_utf8());
                    let line = text[at..].find('\n').map_or(text.len(), |found| at + found);
                    return Err(Flaw { kind: Kind::Escape, start: at, len, end: line });
                }
            },
            _ => {}
        }
    }
    let len = text.len() + 1 - start;
    Err(Flaw { kind: Kind::Unclosed, start: start - 1, len, end: text.len() })
}

impl Flaw {
    pub(super) fn report(&self, file: FileId, text: &str) -> Diagnostic {
        let at = Span::new(file, self.start, self.len);
        match self.kind {
            Kind::Escape => {
                let escape = &text[self.start..self.start + self.len];
                Diagnostic::error(Code::Syntax, format!("there is no escape `{escape}`"))
                    .label(at, "in a quoted string")
                    .help("write a backslash as `\\\\`, a character by its number as `\\u{1b}`, a raw string as `#\"…\"#`")
            }
            Kind::Unclosed => Diagnostic::error(Code::Syntax, "a quoted string must end on the same line")
                .label(at, "begins here")
                .help("close it with `\"`; for several lines, write `\"\"\"` on the line before and on the line after"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flaw_is_the_first_of_its_line() {
        let check = |text: &str, found: Option<(&str, Kind)>| {
            let flaw = flaw(text, text.find('@').unwrap_or(0));
            let found_here = flaw.map(|flaw| (&text[flaw.start..flaw.start + flaw.len], flaw.kind));
            assert_eq!(found_here, found, "{text}");
        };
        check(r#"a "b" "c\x27d""#.replace("\\\\", "\\").as_str(), Some(("\\x", Kind::Escape)));
        check("a \"b\nc\" }", Some(("\"b", Kind::Unclosed)));
        check("a \"b\\n\\\"\\u{41}\" c", None);
        check("a \"b", Some(("\"b", Kind::Unclosed)));
        check("// \"a", None);
        check("a #\"\\x\"#", None);
        check("a \"\"\"\n@\n\"\"\"", None);
    }
}

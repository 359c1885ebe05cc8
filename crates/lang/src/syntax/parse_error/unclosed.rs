//! Finds the `{` whose `}` is missing by the indentation. The braces alone would point at the outermost one.

/// A `{` at the end of a line, and the place where its `}` is missing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclosed {
    /// The position of the `{`, in bytes.
    pub(super) at: usize,
    /// The number of the line before which the `}` is missing, from 1. None means the end of the text.
    pub(super) before: Option<usize>,
}

/// The delimiter of a text of several lines.
const LONG: &str = "\"\"\"";

/// Returns the first `{` whose block ends by its indentation, without a `}`. It is a guess from the lines, not from
/// KDL.
pub(super) fn guess(text: &str) -> Option<Unclosed> {
    let mut open: Vec<(usize, usize)> = Vec::new();
    let (mut offset, mut in_text) = (0, false);
    for (index, line) in text.split('\n').enumerate() {
        let words = line.trim();
        let indent = line.len() - line.trim_start().len();
        let begins_in_text = in_text;
        in_text ^= line.matches(LONG).count() % 2 == 1;
        if !begins_in_text && !words.is_empty() && !words.starts_with("//") {
            match open.last() {
                Some((outer, _)) if words.starts_with('}') && indent >= *outer => drop(open.pop()),
                Some((outer, at)) if indent <= *outer => {
                    return Some(Unclosed { at: *at, before: Some(index + 1) });
                }
                _ => {}
            }
            if words.ends_with('{') {
                open.push((indent, offset + line.trim_end().len() - 1));
            }
        }
        offset += line.len() + 1;
    }
    open.pop().map(|(_, at)| Unclosed { at, before: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brace_is_the_one_that_the_indentation_gives_away() {
        let check = |text: &str, found: Option<(usize, Option<usize>)>| {
            let found_here = guess(text).map(|unclosed| (unclosed.at, unclosed.before));
            assert_eq!(found_here, found, "{text}");
        };
        check("a {\n  b {\n    c\n  d\n}\n", Some((8, Some(4))));
        check("a {\n  b {\n  }\nc {\n}\n", Some((2, Some(4))));
        check("a {\n  b {\n    c\n}\n", Some((8, Some(4))));
        check("a {\n  b\n", Some((2, None)));
        check("a {\n  b\n}\n", None);
        check("a {\n  b \"\"\"\nc {\n\"\"\"\n", Some((2, None)));
        check("a { b\n", None);
    }
}

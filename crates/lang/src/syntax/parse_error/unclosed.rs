//! Which `{` a missing `}` belongs to: the indentation tells it, where the braces alone point at the outermost one.

/// A `{` at the end of a line, and the line before which its `}` is missing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclosed {
    /// The byte of the `{`.
    pub(super) at: usize,
    /// The number of the line before which the `}` is missing, from 1; none at the end of the text.
    pub(super) before: Option<usize>,
}

/// What a text of several lines stands between.
const LONG: &str = "\"\"\"";

/// The first `{` whose block ends by its indentation and not by a `}`. A guess: it reads lines, not KDL.
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

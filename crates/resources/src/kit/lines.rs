//! A text as lines that keep their own line ends, so that an edit changes no other byte.

use regex_lite::Regex;

use converge_model::{Param, ParamProblem, Type};

use crate::wish::Reader;

/// The lines of a text. Joined, they give the same bytes again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(Vec<Line>);

/// A line and its end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    text: Vec<u8>,
    end: &'static [u8],
}

/// Where a new line is put.
pub enum Placement {
    /// At the end.
    End,
    /// At the start.
    Start,
    /// After the last line that matches, else at the end.
    After(Regex),
    /// Before the last line that matches, else at the end.
    Before(Regex),
}

impl Lines {
    /// Splits `text` into lines.
    pub fn of(text: &[u8]) -> Self {
        let line = |piece: &[u8]| match piece {
            [text @ .., b'\r', b'\n'] => Line { text: text.to_vec(), end: b"\r\n" },
            [text @ .., b'\n'] => Line { text: text.to_vec(), end: b"\n" },
            text => Line { text: text.to_vec(), end: b"" },
        };
        Self(text.split_inclusive(|byte| *byte == b'\n').map(line).collect())
    }

    /// Joins the lines to a text.
    pub fn join(&self) -> Vec<u8> {
        self.0.iter().flat_map(|line| line.text.iter().chain(line.end)).copied().collect()
    }

    /// Returns the number of lines.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns the text of each line, without its end.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.0.iter().map(|line| line.text.as_slice())
    }

    /// Returns the line at `at`. Empty if there is none.
    pub fn get(&self, at: usize) -> &[u8] {
        self.0.get(at).map_or(&[], |line| &line.text)
    }

    /// Sets the text of the line at `at`. Its end stays.
    pub fn set(&mut self, at: usize, text: &[u8]) {
        if let Some(line) = self.0.get_mut(at) {
            line.text = text.to_vec();
        }
    }

    /// Inserts a line before the one at `at`, with the line end of the text. A text without a final line end stays
    /// without.
    pub fn insert(&mut self, at: usize, text: &[u8]) {
        let end = self.end();
        let at = at.min(self.0.len());
        let mut line = Line { text: text.to_vec(), end };
        if at == self.0.len()
            && let Some(last) = self.0.last_mut()
            && last.end.is_empty()
        {
            std::mem::swap(&mut last.end, &mut line.end);
        }
        self.0.insert(at, line);
    }

    /// Removes the lines from `from` up to, but not including, `to`.
    pub fn remove(&mut self, from: usize, to: usize) {
        let to = to.min(self.0.len());
        self.0.drain(from.min(to)..to);
    }

    /// Keeps the lines for which `keep` returns true.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        self.0.retain(|line| keep(&line.text));
    }

    /// Returns the index at which `placement` inserts.
    pub fn place(&self, placement: &Placement) -> usize {
        let last = |regex: &Regex| self.iter().rposition(|line| matches(regex, line));
        match placement {
            Placement::Start => 0,
            Placement::End => self.count(),
            Placement::After(regex) => last(regex).map_or(self.count(), |at| at + 1),
            Placement::Before(regex) => last(regex).unwrap_or(self.count()),
        }
    }

    /// Returns the line end of the text: that of its first line.
    fn end(&self) -> &'static [u8] {
        self.0.first().map_or(b"\n", |line| if line.end == b"\r\n" { b"\r\n" } else { b"\n" })
    }
}

/// Whether a line matches. Bytes that are not UTF-8 match as U+FFFD.
pub fn matches(regex: &Regex, line: &[u8]) -> bool {
    regex.is_match(&String::from_utf8_lossy(line))
}

/// The parameters of a placement.
pub fn placement_params() -> [Param; 2] {
    [
        Param::new(
            "insert-after",
            Type::Text,
            "Regular expression: insert after the last line that matches, or at the end; `EOF` is the end",
        ),
        Param::new(
            "insert-before",
            Type::Text,
            "Regular expression: insert before the last line that matches, or at the end; `BOF` is the start",
        ),
    ]
}

/// Reads those parameters.
pub fn decode_placement(params: &mut Reader<'_>) -> Placement {
    let (after, before) = (params.text("insert-after"), params.text("insert-before"));
    match (after.as_deref(), before.as_deref()) {
        (Some(_), Some(_)) => {
            params.problem(ParamProblem::together("write `insert-after` or `insert-before`, not both"));
            Placement::End
        }
        (None | Some("EOF"), None) => Placement::End,
        (None, Some("BOF")) => Placement::Start,
        (Some(after), None) => regex(params, "insert-after", after).map_or(Placement::End, Placement::After),
        (None, Some(before)) => {
            regex(params, "insert-before", before).map_or(Placement::End, Placement::Before)
        }
    }
}

/// Compiles the regular expression `text` of the parameter `name`.
pub fn regex(params: &mut Reader<'_>, name: &str, text: &str) -> Option<Regex> {
    match Regex::new(text) {
        Ok(regex) => Some(regex),
        Err(error) => {
            let problem = format!("{text:?} is not a regular expression: {error}");
            params.problem(ParamProblem::new(name, problem));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn joined_lines_are_the_text_to_the_byte(text in proptest::collection::vec(
            prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200,
        )) {
            prop_assert_eq!(Lines::of(&text).join(), text);
        }
    }

    #[test]
    fn what_is_inserted_takes_the_ends_of_the_text() {
        let check = |before: &[u8], at: usize, after: &[u8]| {
            let mut lines = Lines::of(before);
            lines.insert(at, b"x");
            assert_eq!(lines.join(), after, "{}", before.escape_ascii());
        };
        check(b"", 0, b"x\n");
        check(b"a\nb\n", 1, b"a\nx\nb\n");
        check(b"a\r\n", 1, b"a\r\nx\r\n");
        check(b"a", 1, b"a\nx");
        check(b"a\r\nb", 2, b"a\r\nb\r\nx");
        check(b"a", 0, b"x\na");
    }
}

//! The guard that checks every file before the KDL parser reads it. kdl 6.7 takes 2^n time for nested `/-`, and
//! overflows the stack with deep nesting. The guard makes one pass over the bytes, without recursion.
//!
//! The parser decides whether a file is KDL. If a wrong text could be read in two ways, the guard assumes the one with
//! more structure.

use kdl::{KdlDocument, KdlError};

/// The largest file, in bytes.
pub(crate) const SIZE: usize = 1 << 20;
/// The deepest nesting of children, and of comments.
pub(crate) const DEPTH: usize = 64;
/// The deepest nesting of `/-` inside a removed part.
pub(crate) const SLASHDASH: usize = 2;
/// The most nodes of a file.
pub(crate) const NODES: usize = 50_000;
/// The most nodes, arguments and properties of a file together.
pub(crate) const WORDS: usize = 150_000;
/// The most pieces without a blank between them: `(type)key=(type)"value"` has nine. The parser goes one call deeper
/// for each piece that makes no sense.
const RUN: usize = 24;
/// The size of the parser's stack in bytes. In a build without optimisation each level needs over 30 KiB.
const STACK: usize = 64 << 20;

/// Why a file is refused before it is parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct GuardError {
    /// The first wrong byte.
    pub(crate) start: usize,
    /// The number of wrong bytes.
    pub(crate) len: usize,
    /// The mistake, as a lowercase fragment.
    pub(crate) message: String,
}

/// Refuses text that would take the parser too long or too deep.
pub(crate) fn check(text: &str) -> Result<(), GuardError> {
    if text.len() > SIZE {
        let message = format!("a file may have at most {SIZE} bytes; this one has {}", text.len());
        return Err(GuardError { start: 0, len: 0, message });
    }
    let mut guard = Guard {
        bytes: text.as_bytes(),
        at: 0,
        levels: vec![Level::default()],
        nodes: 0,
        words: 0,
        run: 0,
        last: Piece::Blank,
    };
    while guard.at < guard.bytes.len() {
        guard.step()?;
    }
    Ok(())
}

/// Parses text that [`check`] accepted. Uses a thread with a stack that is large enough.
pub(crate) fn parse(text: &str) -> Result<KdlDocument, KdlError> {
    let parse = || KdlDocument::parse_v2(text);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, parse);
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(parsed)) => parsed,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            // If no thread can be started, use the caller's stack.
            Err(_) => parse(),
        }
    })
}

/// Returns a hint for text that the parser refused at `offset`. It covers the bare `true` of KDL v1, and `5m`,
/// `10.0.0.1`, `/path`, `'x'`.
pub(crate) fn v1_hint(text: &str, offset: usize) -> Option<String> {
    let word = word_at(text, offset);
    let value = word.rsplit_once('=').map_or(word, |(_, value)| value);
    let first = value.chars().next()?;
    match value {
        "true" | "false" | "null" | "inf" | "-inf" | "nan" => Some(format!("write `#{value}`")),
        _ if value.starts_with("r\"") || value.starts_with("r#") => {
            Some("write a raw string as `#\"…\"#`, without the `r`".to_owned())
        }
        _ if first == '\'' => Some(format!("use double quotes: `\"{}\"`", value.trim_matches('\''))),
        _ if first.is_ascii_digit()
            || "/~*%@.+-".contains(first)
            || value.contains(['/', '\\', '{', '(']) =>
        {
            Some(format!("quote it: `\"{value}\"`"))
        }
        _ => None,
    }
}

/// Returns the word around `offset`. If `offset` is at a blank, returns the word before it.
fn word_at(text: &str, offset: usize) -> &str {
    let parts = |c: char| c.is_whitespace() || matches!(c, ';' | '{' | '}');
    let offset = text.floor_char_boundary(offset);
    let before = text[..offset].trim_end_matches([' ', '\t']);
    let at = if text[offset..].starts_with(parts) || offset == text.len() { before.len() } else { offset };
    let start = text[..at].rfind(parts).map_or(0, |i| i + text[i..].chars().next().map_or(1, char::len_utf8));
    let end = text[at..].find(parts).map_or(text.len(), |i| at + i);
    &text[start..end]
}

struct Guard<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The file itself, and one level for each open `{`.
    levels: Vec<Level>,
    nodes: usize,
    words: usize,
    /// The number of pieces since the last blank that ended a run.
    run: usize,
    last: Piece,
}

/// The previous piece.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// A word, without anything after it.
    Word,
    /// A blank, a line end, a brace.
    Blank,
    /// `(`, `)` or `=`, with or without blanks after it.
    Mark,
}

/// The state inside one pair of `{ }`.
#[derive(Clone, Copy, Default)]
struct Level {
    /// A node has started and not ended.
    in_node: bool,
    /// A part of this node, or all of it, is removed by `/-`.
    slashed: bool,
    /// The number of `/-` before the next piece.
    pending: usize,
    /// The number of outer levels that are in a removed node.
    outer: usize,
}

impl Guard<'_> {
    fn step(&mut self) -> Result<(), GuardError> {
        match (self.bytes[self.at], self.bytes.get(self.at + 1)) {
            (b'/', Some(b'/')) => self.line_comment(),
            (b'/', Some(b'*')) => self.comment()?,
            (b'/', Some(b'-')) => self.slashdash()?,
            (b'{', _) => self.open()?,
            (b'}', _) => self.close()?,
            (b';', _) => self.end_node(),
            (b'\n' | b'\r' | 0x0b | 0x0c, _) => self.newline(1),
            (0xc2, Some(0x85)) => self.newline(2),
            (0xe2, Some(0x80)) if matches!(self.bytes.get(self.at + 2), Some(0xa8 | 0xa9)) => self.newline(3),
            (b'\\', _) => self.continuation(),
            (b' ' | b'\t', _) => self.blank(),
            (b'(' | b')' | b'=', _) => self.mark()?,
            _ => self.word()?,
        }
        Ok(())
    }

    fn top(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    fn line_comment(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += rest.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(rest.len());
    }

    fn comment(&mut self) -> Result<(), GuardError> {
        let start = self.at;
        let mut depth = 0;
        while self.at < self.bytes.len() {
            match &self.bytes[self.at..] {
                [b'/', b'*', ..] => (depth, self.at) = (depth + 1, self.at + 2),
                [b'*', b'/', ..] => (depth, self.at) = (depth - 1, self.at + 2),
                _ => self.at += 1,
            }
            match depth {
                0 => return Ok(()),
                1..=DEPTH => {}
                _ => {
                    return Err(self.refuse(
                        start,
                        2,
                        format!("comments may be nested at most {DEPTH} levels deep"),
                    ));
                }
            }
        }
        Ok(())
    }

    fn slashdash(&mut self) -> Result<(), GuardError> {
        let start = self.at;
        self.at += 2;
        let level = self.top();
        level.pending += 1;
        level.slashed = true;
        // For two in a row, the parser tries both ways for each.
        if level.pending > 1 {
            return Err(self.refuse(start, 2, "one `/-` is enough".to_owned()));
        }
        if level.outer + level.pending > SLASHDASH {
            let message = format!("`/-` may be nested at most {SLASHDASH} levels deep");
            return Err(self.refuse(start, 2, message));
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), GuardError> {
        let level = self.top();
        level.pending = 0;
        let outer = level.outer + usize::from(level.slashed);
        if self.levels.len() > DEPTH {
            return Err(self.refuse(self.at, 1, format!("nodes may be nested at most {DEPTH} levels deep")));
        }
        self.levels.push(Level { outer, ..Level::default() });
        self.last = Piece::Blank;
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<(), GuardError> {
        if self.levels.len() == 1 {
            return Err(self.refuse(self.at, 1, "a `}` closes nothing".to_owned()));
        }
        self.levels.pop();
        self.last = Piece::Blank;
        self.at += 1;
        Ok(())
    }

    /// Counts a piece that is not a blank.
    fn piece(&mut self, piece: Piece) -> Result<(), GuardError> {
        self.run = if self.last == Piece::Blank { 1 } else { self.run + 1 };
        self.last = piece;
        match self.run > RUN {
            true => Err(self.refuse(self.at, 1, "too many values without a blank between them".to_owned())),
            false => Ok(()),
        }
    }

    fn mark(&mut self) -> Result<(), GuardError> {
        self.piece(Piece::Mark)?;
        self.at += 1;
        Ok(())
    }

    /// Ends a run at a blank, unless the blank follows a `(`, `)` or `=`.
    fn blank(&mut self) {
        if self.last == Piece::Word {
            self.last = Piece::Blank;
        }
        self.at += 1;
    }

    fn newline(&mut self, length: usize) {
        self.last = Piece::Blank;
        let level = self.top();
        if level.pending == 0 {
            (level.in_node, level.slashed) = (false, false);
        }
        self.at += length;
    }

    fn end_node(&mut self) {
        self.last = Piece::Blank;
        let level = self.top();
        *level = Level { outer: level.outer, ..Level::default() };
        self.at += 1;
    }

    /// Skips a `\` at the end of a line, which continues the node.
    fn continuation(&mut self) {
        self.blank();
        let blank = self.bytes[self.at..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        match &self.bytes[self.at + blank..] {
            [b'\r', b'\n', ..] => self.at += blank + 2,
            [b'\n' | b'\r', ..] => self.at += blank + 1,
            [b'/', b'/', ..] => {
                self.at += blank;
                self.line_comment();
                self.at = (self.at + 1).min(self.bytes.len());
            }
            _ => {}
        }
    }

    /// Reads a name, an argument or one side of a property, quoted or not.
    fn word(&mut self) -> Result<(), GuardError> {
        let start = self.at;
        self.piece(Piece::Word)?;
        self.skip_word();
        self.words += 1;
        let level = self.top();
        level.pending = 0;
        let begins = !std::mem::replace(&mut level.in_node, true);
        self.nodes += usize::from(begins);
        if self.nodes > NODES {
            return Err(self.refuse(start, 1, format!("a file may have at most {NODES} nodes")));
        }
        if self.words > WORDS {
            return Err(self.refuse(start, 1, format!("a file may have at most {WORDS} names and values")));
        }
        Ok(())
    }

    fn skip_word(&mut self) {
        let rest = &self.bytes[self.at..];
        let hashes = rest.iter().take_while(|b| **b == b'#').count();
        match rest.get(hashes) {
            Some(b'"') if hashes > 0 => self.skip_raw(hashes),
            _ if rest[0] == b'"' => self.skip_string(),
            // Skip a run of `#` as one word, so that it is not counted repeatedly.
            _ => self.at += hashes + bare(&rest[hashes..], hashes == 0),
        }
    }

    /// Skips `"…"` to its end, or to the end of its line, which it may not contain. Skips `"""…"""` over several lines.
    fn skip_string(&mut self) {
        let long = self.bytes[self.at..].starts_with(b"\"\"\"");
        self.at += if long { 3 } else { 1 };
        while self.at < self.bytes.len() {
            match &self.bytes[self.at..] {
                [b'\\', rest @ ..] => self.at += 1 + escape(rest),
                [b'"', b'"', b'"', ..] if long => return self.at += 3,
                [b'"', ..] if !long => return self.at += 1,
                [b'\n' | b'\r', ..] if !long => return,
                _ => self.at += 1,
            }
        }
    }

    /// Skips `#"…"#` or `#"""…"""#`, with any number of `#`.
    fn skip_raw(&mut self, hashes: usize) {
        self.at += hashes;
        let long = self.bytes[self.at..].starts_with(b"\"\"\"");
        let quotes = if long { 3 } else { 1 };
        self.at += quotes;
        while self.at < self.bytes.len() {
            if !long && matches!(self.bytes[self.at], b'\n' | b'\r') {
                return;
            }
            let run = self.bytes[self.at..].iter().take_while(|b| **b == b'"').count();
            let closing = self.bytes[self.at + run..].iter().take(hashes).take_while(|b| **b == b'#').count();
            if run >= quotes && closing == hashes {
                return self.at += run + closing;
            }
            self.at += (run + closing).max(1);
        }
    }

    fn refuse(&self, start: usize, len: usize, message: String) -> GuardError {
        GuardError { start, len, message }
    }
}

/// Returns the length of an unquoted word. It is at least one byte if the word `begins` here.
fn bare(rest: &[u8], begins: bool) -> usize {
    let first = usize::from(begins);
    let ends = |at: &usize| match &rest[*at..] {
        [b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | b'"' | b'#' | b'{' | b'}', ..] => true,
        [b'(' | b')' | b'=' | b';' | b'/' | b'\\', ..] => true,
        // Line separators outside ASCII.
        [0xc2, 0x85, ..] | [0xe2, 0x80, 0xa8 | 0xa9, ..] => true,
        _ => false,
    };
    (first..rest.len()).find(ends).unwrap_or(rest.len())
}

/// Returns the number of bytes that belong to a `\` in a string: one, or all blanks around a line end.
fn escape(rest: &[u8]) -> usize {
    let blank = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
    if blank > 0 { blank } else { rest.len().min(1) }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_people_write_passes() {
        let deep = format!("{}{}", "a {\n".repeat(DEPTH), "}\n".repeat(DEPTH));
        let braces = "{".repeat(1000);
        let check = |text: &str| assert_eq!(check(text), Ok(()), "{text}");
        check("");
        check(&deep);
        check(&format!("a \"{braces}\" #\"{braces}\"# \"\\\"{braces}\" // {braces}\n/* {braces} */ b"));
        check(&format!("a \"\"\"\n  {braces} \" \"\" \n  \"\"\"\nb ##\"{braces}\"#{braces}\"##"));
        check(&format!("a #\"\"\"\n{braces}\"\"\n\"\"\"#"));
        check(&format!("a \"x\\ \n  {braces}\" b"));
        check("a /-b /-c /-d=1 /-{ e } { f }\n/-g\n/-h { /-i }\n");
        check(&"/-a\n".repeat(1000));
        check(&"/-a;".repeat(1000));
        check("a \\\n  /-b \\ // words\n /-c\n");
        check("/-\n\n a { b /-c }");
        check("a (expr)\"b\" (secret)\"c\" d=(expr)\"e\" (f)g=(h)#\"i\"# { }");
        check(&"(a)b ".repeat(1000));
    }

    #[test]
    fn what_would_take_the_parser_too_far_is_refused_at_once() {
        let check = |name: &str, text: &str, at: usize, message: &str| {
            let started = Instant::now();
            let error = check(text).expect_err(name);
            assert!(started.elapsed() < Duration::from_millis(500), "{name}: {:?}", started.elapsed());
            assert_eq!((error.start, error.message.as_str()), (at, message), "{name}");
        };
        let dashes = "`/-` may be nested at most 2 levels deep";
        let nested = "nodes may be nested at most 64 levels deep";
        check("slashdash in slashdash", &"a /-{".repeat(20), 12, dashes);
        check("slashdash nodes", &"/-a {\n".repeat(20), 12, dashes);
        check("slashdash in a row", &"/-".repeat(20), 2, "one `/-` is enough");
        check("slashdash over lines", "a /-\n/-b", 5, "one `/-` is enough");
        check("parted by plain children", "/-a { b { /-c { d {\n /-e } } } }", 21, dashes);
        check("depth", &"a {".repeat(10_000), 64 * 3 + 2, nested);
        check("depth on lines", &"a {\n".repeat(10_000), 64 * 4 + 2, nested);
        check("braces alone", &"{".repeat(10_000), 64, nested);
        check("after an open string", &format!("a \"\n{}", "{".repeat(100)), 68, nested);
        check("after an open raw string", &format!("a #\"\n{}", "{".repeat(100)), 69, nested);
        check("braces that close nothing", "a {}}", 4, "a `}` closes nothing");
        let together = "too many values without a blank between them";
        check("marks", &"=".repeat(1000), RUN, together);
        check("strings", &"a\"".repeat(1000), 2 * RUN, together);
        check("types", &"(a) ".repeat(1000), 32, together);
        check("comments", &"/*".repeat(10_000), 0, "comments may be nested at most 64 levels deep");
        check("nodes", &"a\n".repeat(NODES + 1), 2 * NODES, "a file may have at most 50000 nodes");
        check(
            "values",
            &"a ".repeat(WORDS + 1),
            2 * WORDS,
            "a file may have at most 150000 names and values",
        );
        let large = "a".repeat(SIZE + 1);
        check("size", &large, 0, "a file may have at most 1048576 bytes; this one has 1048577");
    }

    #[test]
    fn the_largest_files_that_pass_are_read_in_one_pass() {
        for unit in
            ["#", "\"", "#\"", "\"\"\"", "/", "\\", "(", "é", "\u{85}", "\u{2028}", "a\"", "##\"#", "\r"]
        {
            let started = Instant::now();
            let _ = check(&unit.repeat(SIZE / unit.len()));
            assert!(started.elapsed() < Duration::from_secs(2), "{unit:?}: {:?}", started.elapsed());
        }
    }

    #[test]
    fn old_and_bare_spellings_get_a_hint() {
        let check = |text: &str, word: &str, hint: Option<&str>| {
            let offset = text.find(word).unwrap();
            assert_eq!(v1_hint(text, offset).as_deref(), hint, "{text}");
        };
        check("a true", "true", Some("write `#true`"));
        check("a b=false c", "b=", Some("write `#false`"));
        check("a 5m\n", "5m", Some("quote it: `\"5m\"`"));
        check("a 10.0.0.1", ".0.1", Some("quote it: `\"10.0.0.1\"`"));
        check("a /etc/motd;", "/etc", Some("quote it: `\"/etc/motd\"`"));
        check("a r\"x\"", "r\"", Some("write a raw string as `#\"…\"#`, without the `r`"));
        check("a 'x'", "'x'", Some("use double quotes: `\"x\"`"));
        check("a word", "word", None);
        assert_eq!(v1_hint("", 10), None);
        assert_eq!(v1_hint("a true", 6).as_deref(), Some("write `#true`"));
    }
}

//! The layout of KDL files: indentation, blanks between words, and empty lines. Every other character keeps its place,
//! comments and removed nodes (`/-`) included.
//!
//! The layout is made from the pieces of the text. The `kdl` crate could lay out its document, but it loses comments.

use kdl::KdlDocument;

/// The indentation of a level.
const INDENT: &str = "    ";

/// Returns `text` in the one layout. The text must be valid KDL.
pub(crate) fn lay_out(text: &str) -> String {
    let pieces = pieces(text);
    let mut layout = Layout { result: String::with_capacity(text.len()), ..Layout::default() };
    for (at, piece) in pieces.iter().enumerate() {
        layout.piece(&pieces, at, *piece);
    }
    layout.end_line();
    layout.result
}

/// Whether two documents have the same nodes and values, in whatever layout.
pub(crate) fn same_meaning(one: &KdlDocument, other: &KdlDocument) -> bool {
    let plain = |document: &KdlDocument| {
        let mut document = document.clone();
        document.clear_format_recursive();
        document.to_string()
    };
    plain(one) == plain(other)
}

/// The sort of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// A name, a value or a string.
    Word,
    /// `// …`
    LineComment,
    /// `/* … */`
    BlockComment,
    LineEnd,
    Open,
    Close,
    Semicolon,
    /// `=`, `(`, `)` or `/-`: joins the words beside it.
    Joint,
    /// `\` before a line end.
    Continuation,
}

#[derive(Clone, Copy, Debug)]
struct Piece<'a> {
    sort: Sort,
    text: &'a str,
    /// The blanks before it.
    blanks: &'a str,
}

/// Splits a text into its pieces.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let (mut found, mut rest) = (Vec::new(), text);
    loop {
        let start = rest.find(|c: char| !c.is_whitespace() || is_line_end(c)).unwrap_or(rest.len());
        let (blanks, from) = rest.split_at(start);
        let Some(first) = from.chars().next() else { return found };
        let (sort, length) = match first {
            '\r' if from.starts_with("\r\n") => (Sort::LineEnd, 2),
            c if is_line_end(c) => (Sort::LineEnd, c.len_utf8()),
            '{' => (Sort::Open, 1),
            '}' => (Sort::Close, 1),
            ';' => (Sort::Semicolon, 1),
            '=' | '(' | ')' => (Sort::Joint, 1),
            '\\' => (Sort::Continuation, 1),
            '/' if from.starts_with("/-") => (Sort::Joint, 2),
            '/' if from.starts_with("//") => {
                (Sort::LineComment, from.find(is_line_end).unwrap_or(from.len()))
            }
            '/' if from.starts_with("/*") => (Sort::BlockComment, block_comment(from)),
            '"' | '#' => (Sort::Word, string(from)),
            _ => (Sort::Word, word(from)),
        };
        let (text, after) = from.split_at(length);
        found.push(Piece { sort, text, blanks });
        rest = after;
    }
}

/// The line ends of KDL.
fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{0b}' | '\u{0c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Returns the length of the comment at the start of `text`. Comments of this sort nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let (step, change) = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        (at, depth) = (at + step, depth + change);
        if depth == 0 {
            break;
        }
    }
    at
}

/// Returns the length of the string at the start of `text`, or of a keyword such as `#true`.
fn string(text: &str) -> usize {
    let hashes = text.len() - text.trim_start_matches('#').len();
    let quotes = if text[hashes..].starts_with("\"\"\"") { 3 } else { 1 };
    if !text[hashes..].starts_with('"') {
        return word(text);
    }
    let end = "\"".repeat(quotes) + &"#".repeat(hashes);
    let mut at = hashes + quotes;
    while at < text.len() {
        if text.as_bytes()[at..].starts_with(end.as_bytes()) {
            return at + end.len();
        }
        at += if hashes == 0 && text.as_bytes()[at] == b'\\' { 2 } else { 1 };
    }
    text.len()
}

/// Returns the length of the word at the start of `text`.
fn word(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    let ends = |c: char| c.is_whitespace() || is_line_end(c) || "(){};=\"\\/".contains(c);
    chars.find(|(_, c)| ends(*c)).map_or(text.len(), |(at, _)| at)
}

/// The text so far, and the place in it.
#[derive(Default)]
struct Layout {
    result: String,
    /// For each open block: whether it has several lines.
    blocks: Vec<bool>,
    /// The line that is written, without indentation.
    line: String,
    /// How deep the line is.
    depth: usize,
    /// The last piece of the line. None at its beginning.
    last: Option<Sort>,
    /// Whether the line before goes on here.
    continues: bool,
    /// Whether an empty line comes before the next one.
    is_blank_due: bool,
    /// Whether a block of several lines begins in the line.
    has_opened: bool,
    /// Whether such a block has begun, and no line of it is written yet.
    is_block_start: bool,
}

impl Layout {
    fn piece(&mut self, pieces: &[Piece<'_>], at: usize, piece: Piece<'_>) {
        match piece.sort {
            Sort::LineEnd => return self.line_end(),
            Sort::Close => {
                let is_long = self.blocks.pop().unwrap_or_default();
                if is_long && self.last.is_some() {
                    self.end_line();
                }
                if is_long {
                    self.is_blank_due = false;
                }
            }
            _ => {}
        }
        if self.last.is_none() {
            self.depth = self.blocks.iter().filter(|is_long| **is_long).count();
        }
        self.line.push_str(self.blank(piece));
        self.line.push_str(piece.text);
        self.last = Some(piece.sort);
        if piece.sort == Sort::Open {
            let is_long = is_long(&pieces[at..]);
            self.blocks.push(is_long);
            self.has_opened |= is_long;
            let next = pieces.get(at + 1).map(|next| next.sort);
            let stays = matches!(next, Some(Sort::LineEnd | Sort::LineComment | Sort::BlockComment));
            if is_long && !stays {
                self.end_line();
            }
        }
    }

    /// Returns the blanks between the last piece of the line and this one.
    fn blank<'a>(&self, piece: Piece<'a>) -> &'a str {
        let Some(last) = self.last else { return "" };
        match (last, piece.sort) {
            (_, Sort::Semicolon) | (Sort::Joint, _) | (_, Sort::Joint) if !self.begins_with_blank(piece) => {
                ""
            }
            (Sort::Open, Sort::Close) => "",
            // Comments in a column stay there.
            (_, Sort::LineComment) if !piece.blanks.is_empty() => piece.blanks,
            (Sort::Open | Sort::Semicolon, _) | (_, Sort::Open | Sort::Close | Sort::LineComment) => " ",
            _ if piece.blanks.is_empty() => "",
            _ => " ",
        }
    }

    /// Whether a joint begins a new word: a type or a removed part. A blank must stay before these.
    fn begins_with_blank(&self, piece: Piece<'_>) -> bool {
        matches!(piece.text, "(" | "/-") && !piece.blanks.is_empty() && self.last != Some(Sort::Joint)
    }

    fn line_end(&mut self) {
        match self.last {
            Some(_) => self.end_line(),
            // Not at the beginning of a file or block.
            None => self.is_blank_due = !self.result.is_empty() && !self.is_block_start,
        }
    }

    /// Writes the line, if there is one.
    fn end_line(&mut self) {
        let Some(last) = self.last.take() else { return };
        self.is_block_start = std::mem::take(&mut self.has_opened);
        if std::mem::take(&mut self.is_blank_due) {
            self.result.push('\n');
        }
        let depth = self.depth + usize::from(self.continues);
        self.result.push_str(&INDENT.repeat(depth));
        self.result.push_str(self.line.trim_end());
        self.result.push('\n');
        self.line.clear();
        self.continues = last == Sort::Continuation;
    }
}

/// Whether the block at the start of `pieces` has several lines.
fn is_long(pieces: &[Piece<'_>]) -> bool {
    let mut depth = 0;
    for piece in pieces {
        match piece.sort {
            Sort::Open => depth += 1,
            Sort::Close => depth -= 1,
            _ if piece.text.contains(is_line_end) => return true,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    false
}

//! Wraps text to a width: the rest of a long line goes below, aligned with its column. No word is broken.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter};

/// The columns of a terminal that does not report its size.
pub(super) const USUAL: usize = 80;
/// The columns of text that goes to a pipe or a file.
const OFF_TERMINAL: usize = 100;
/// The fewest columns for text beside a name. With fewer, the text is below the name.
pub(super) const NARROWEST: usize = 30;
/// The indent of text below a name.
const BELOW: usize = 10;

/// Returns the columns for text on `stream`.
pub(crate) fn width_of(stream: impl IsTerminal + AsFd) -> usize {
    if stream.is_terminal() { columns(stream).min(super::WIDEST) } else { OFF_TERMINAL }
}

/// Returns `text` for `stream`: on a terminal, long lines are wrapped and indented. Lines of a difference are not
/// changed, because their blanks are significant.
pub(crate) fn for_stream(stream: impl AsFd + IsTerminal, text: String) -> String {
    if stream.is_terminal() { fitted(&text, columns(stream)) } else { text }
}

fn fitted(text: &str, width: usize) -> String {
    let mut fitted = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        match display_width(line) <= width || is_of_difference(line) {
            true => fitted.push_str(line),
            false => fitted.push_str(&fill(line, width, indent(line) + 4)),
        }
        fitted.push_str(end);
    }
    fitted
}

/// Whether `line` belongs to a difference: indented, with its sign.
fn is_of_difference(line: &str) -> bool {
    let plain = anstream::adapter::strip_str(line).to_string();
    plain.strip_prefix("      ").is_some_and(|line| line.starts_with(['+', '-', '@', ' ']))
}

/// Returns the columns of a terminal, or the default if it does not report them.
pub(crate) fn columns(terminal: impl AsFd) -> usize {
    let size = rustix::termios::tcgetwinsize(terminal).ok();
    size.filter(|size| size.ws_col > 0).map_or(USUAL, |size| usize::from(size.ws_col))
}

/// Lays out a help text. Successive lines without an indent are one paragraph. A name and its text, with two blanks
/// between them, are two columns.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let mut paragraph: Vec<&str> = Vec::new();
    for line in text.lines() {
        if line.is_empty() || line.starts_with(' ') {
            end_paragraph(&mut out, &mut paragraph, width);
            out.push_str(&laid_out(line, width));
            out.push('\n');
        } else {
            paragraph.push(line);
        }
    }
    end_paragraph(&mut out, &mut paragraph, width);
    out
}

fn end_paragraph(out: &mut String, lines: &mut Vec<&str>, width: usize) {
    if !lines.is_empty() {
        out.push_str(&fill(&lines.join(" "), width, 0));
        out.push('\n');
        lines.clear();
    }
}

fn laid_out(line: &str, width: usize) -> String {
    let indent = indent(line);
    match column(line) {
        _ if display_width(line) <= width => line.to_owned(),
        None => fill(line, width, indent),
        Some((_, column)) if width.saturating_sub(column) >= NARROWEST => fill(line, width, column),
        Some((place, _)) => {
            let (name, text) = line.split_at(place);
            let text = format!("{:BELOW$}{text}", "");
            format!("{}\n{}", name.trim_end(), fill(&text, width, BELOW))
        }
    }
}

/// Returns the start of the text after a name: its byte index and its column.
fn column(line: &str) -> Option<(usize, usize)> {
    let name = line.trim_start();
    let (_, gap_and_text) = name.split_once("  ")?;
    let text = gap_and_text.trim_start();
    let place = line.len() - text.len();
    (!text.is_empty()).then(|| (place, display_width(&line[..place])))
}

/// Returns the number of blanks at the start of a line.
pub(crate) fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Wraps a line between words. All lines except the first are indented by `below` columns.
pub(crate) fn fill(line: &str, width: usize, below: usize) -> String {
    let (start, text) = line.split_at(indent(line));
    let below = " ".repeat(below);
    // Names contain hyphens and slashes, so only blanks separate words.
    let options = Options::new(width)
        .initial_indent(start)
        .subsequent_indent(&below)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_on_under_its_column() {
        let text = "Some words of a\nparagraph\n\n  \x1b[1m--by\x1b[0m <N>  How far it goes, in steps of one and more\n";
        insta::assert_snapshot!(anstream::adapter::strip_str(&wrapped(text, 42)).to_string(), @r#"
Some words of a paragraph

  --by <N>  How far it goes, in steps of
            one and more
"#);
        insta::assert_snapshot!(anstream::adapter::strip_str(&wrapped(text, 20)).to_string(), @r#"
Some words of a
paragraph

  --by <N>
          How far it
          goes, in
          steps of
          one and
          more
"#);
    }

    #[test]
    fn a_difference_stays_as_it_is() {
        let long = "  + file[/etc/x]  content 3 lines\n      +a line that is longer than that\n";
        assert_eq!(
            fitted(long, 24),
            "  + file[/etc/x]\n      content 3 lines\n      +a line that is longer than that\n"
        );
    }

    #[test]
    fn words_stay_whole() {
        assert_eq!(
            fill("  app-release[hello].package[x] y", 20, 4),
            "  app-release[hello].package[x]\n    y"
        );
    }
}

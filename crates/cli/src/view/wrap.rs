//! Lines that are longer than the terminal is wide go on below, at a word.

use std::io::IsTerminal;
use std::os::fd::AsFd;

/// The columns of a terminal that does not say how many it has.
const WIDTH: usize = 80;

/// `text` as it is written to `stream`: fitted, if that is a terminal.
pub(crate) fn for_stream(stream: impl AsFd + IsTerminal, text: String) -> String {
    if stream.is_terminal() { wrapped(&text, columns(stream)) } else { text }
}

/// `text` for a terminal of `width` columns: lines that are too long go on below, indented, and no word is broken. The
/// lines of a difference stay as they are, since blanks count in them.
fn wrapped(text: &str, width: usize) -> String {
    let mut wrapped = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        if textwrap::core::display_width(line) <= width || is_of_difference(line) {
            wrapped.push_str(line);
        } else {
            let indent = line.len() - line.trim_start().len();
            let below = " ".repeat(indent + 4);
            let options = textwrap::Options::new(width).subsequent_indent(&below).break_words(false);
            let options = options.word_separator(textwrap::WordSeparator::AsciiSpace);
            let options = options.word_splitter(textwrap::WordSplitter::NoHyphenation);
            wrapped.push_str(&textwrap::fill(line, options));
        }
        wrapped.push_str(end);
    }
    wrapped
}

/// Whether `line` is one of a difference: indented, with its sign.
fn is_of_difference(line: &str) -> bool {
    let plain = anstream::adapter::strip_str(line).to_string();
    plain.strip_prefix("      ").is_some_and(|line| line.starts_with(['+', '-', '@', ' ']))
}

/// The columns of a terminal; the usual ones if it does not say.
pub(crate) fn columns(terminal: impl AsFd) -> usize {
    let size = rustix::termios::tcgetwinsize(terminal).ok();
    size.filter(|size| size.ws_col > 0).map_or(WIDTH, |size| usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_broken_and_no_difference_is_touched() {
        let long = "  + file[/etc/ssh/sshd_config.d/10-keys-only.conf]  content 3 lines\n      +a line that is longer than that\n";
        assert_eq!(
            wrapped(long, 30),
            "  +\n      file[/etc/ssh/sshd_config.d/10-keys-only.conf]\n      content 3 lines\n      +a line that is longer than that\n"
        );
        assert_eq!(wrapped("one two three", 8), "one two\n    three");
    }
}

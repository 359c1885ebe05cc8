//! A terminal with a margin. Lines of progress are drawn as wide as possible, and the terminal itself echoes `^C`
//! after them. The margin leaves room for that echo. Without it the echo begins a new line, and the next frame is
//! drawn one line too low.

use std::io;
use std::sync::{Mutex, PoisonError};

use console::{Term, measure_text_width};
use indicatif::TermLike;

/// The columns of two echoes.
const MARGIN: u16 = 4;

/// Standard error, as lines of progress use it.
#[derive(Debug)]
pub(crate) struct Margin {
    term: Term,
    column: Mutex<Column>,
}

/// The column of the cursor. The drawing code expects a full line to continue on the next line, as at the edge of a
/// terminal. At the margin this does not happen by itself.
#[derive(Debug, Default)]
struct Column(usize);

impl Column {
    /// Whether a line ends before `text`, if lines have `width` columns.
    fn breaks_before(&mut self, text: &str, width: usize) -> bool {
        if text == "\r" {
            self.0 = 0;
            return false;
        }
        let length = measure_text_width(text);
        let is_full = self.0 >= width && length > 0;
        self.0 = if is_full { length } else { self.0 + length };
        is_full
    }
}

impl Margin {
    /// Returns standard error with a margin.
    pub(crate) fn of_stderr() -> Self {
        Self { term: Term::stderr(), column: Mutex::default() }
    }

    fn at_start(&self) {
        *self.column.lock().unwrap_or_else(PoisonError::into_inner) = Column(0);
    }
}

impl TermLike for Margin {
    fn width(&self) -> u16 {
        narrowed(self.term.size().1)
    }

    fn height(&self) -> u16 {
        self.term.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.term.move_cursor_left(n)
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.at_start();
        self.term.write_line(line)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let width = usize::from(self.width());
        let mut column = self.column.lock().unwrap_or_else(PoisonError::into_inner);
        if column.breaks_before(text, width) {
            self.term.write_str("\r\n")?;
        }
        self.term.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.at_start();
        self.term.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.term.flush()
    }
}

fn narrowed(width: u16) -> u16 {
    width.saturating_sub(MARGIN).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_leaves_room_for_what_the_terminal_echoes() {
        assert_eq!([80, 4, 0].map(narrowed), [76, 1, 1]);
    }

    #[test]
    fn a_line_that_is_full_is_followed_by_the_next_one() {
        let mut column = Column::default();
        let breaks: Vec<bool> = ["\r", "ab", "  ", "", "cd", "  ", "\r", "\x1b[1mabcd\x1b[0m", "x"]
            .map(|text| column.breaks_before(text, 4))
            .to_vec();
        assert_eq!(breaks, [false, false, false, false, true, false, false, false, true]);
    }
}

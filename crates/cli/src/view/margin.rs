//! A terminal with a margin: what the terminal itself echoes, `^C`, has room behind a line that is drawn as wide as can
//! be. Without it the echo begins a line of its own, and the next frame is drawn one line too low.

use std::io;

use console::Term;
use indicatif::TermLike;

/// The columns of two echoes.
const MARGIN: u16 = 4;

/// Standard error, as lines of progress see it.
#[derive(Debug)]
pub(crate) struct Margin(Term);

impl Margin {
    /// That of standard error.
    pub(crate) fn of_stderr() -> Self {
        Self(Term::stderr())
    }
}

impl TermLike for Margin {
    fn width(&self) -> u16 {
        narrowed(self.0.size().1)
    }

    fn height(&self) -> u16 {
        self.0.size().0
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.0.write_line(line)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
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
}

//! Questions on the terminal whose answers are not shown: passwords, passphrases, secrets.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use converge_model::Secret;
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, tcflush, tcgetattr, tcsetattr,
};

/// The longest answer that is read, in bytes: as much as a line of a terminal holds.
const LIMIT: u64 = 4096;

/// Ctrl-C, as a terminal says it that makes no signal of it.
const INTERRUPT: u8 = 3;

/// Asks `question` on the terminal, which does not show what is typed: one line, without its end. Ctrl-C is an error: a
/// signal would leave a terminal behind that shows nothing any more.
pub(crate) fn silently(question: &str) -> io::Result<Secret> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let before = tcgetattr(&terminal)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
    silent.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
    terminal.write_all(question.as_bytes())?;
    tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
    let line = first_line(Keys(&terminal));
    tcsetattr(&terminal, OptionalActions::Flush, &before)?;
    terminal.write_all(b"\n")?;
    line
}

/// Throws away what was typed on the terminal of standard input before a question is asked: a key that was pressed
/// earlier agrees to nothing.
pub(crate) fn forget_what_was_typed() {
    // Where standard input is no terminal there is nothing typed, and this fails.
    let _ = tcflush(io::stdin(), QueueSelector::IFlush);
}

/// What is typed on a terminal, up to an interruption.
struct Keys<R>(R);

impl<R: Read> Read for Keys<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        if buffer[..read].contains(&INTERRUPT) { Err(io::Error::other("interrupted")) } else { Ok(read) }
    }
}

/// The passphrase of the key in a file; none where there is no terminal to ask on, or no answer.
pub(crate) fn passphrase(key: &Path, wrong: bool) -> Option<Secret> {
    let again = if wrong { "That is not it. " } else { "" };
    let answer = silently(&format!("{again}Passphrase of {}: ", key.display())).ok()?;
    Some(answer).filter(|answer| !answer.expose().is_empty())
}

/// The first line of `from`, without its end.
pub(crate) fn first_line(from: impl Read) -> io::Result<Secret> {
    let mut line = Vec::with_capacity(LIMIT as usize);
    BufReader::new(from.take(LIMIT)).read_until(b'\n', &mut line)?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(Secret::new(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_line_of_bounded_length() {
        let check = |text: &[u8], answer: &[u8]| {
            assert!(first_line(text).is_ok_and(|secret| secret.expose() == answer));
        };
        check(b"hunter2\nmore", b"hunter2");
        check(b"no end", b"no end");
        check(b"", b"");
        check(&[b'x'; 10_000], &[b'x'; LIMIT as usize]);
        assert!(first_line(Keys(&b"hun\x03"[..])).is_err());
        assert!(first_line(Keys(&b"hunter2\n"[..])).is_ok_and(|secret| secret.expose() == b"hunter2"));
    }
}

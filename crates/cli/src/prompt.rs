//! Questions on the terminal with hidden answers: passwords, passphrases, secrets.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use converge_model::Secret;
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, tcflush, tcgetattr, tcsetattr,
};

/// The longest answer that is read, in bytes: the limit of a terminal's line.
const LIMIT: u64 = 4096;

/// The byte of Ctrl-C if the terminal does not turn it into a signal.
const INTERRUPT: u8 = 3;

/// Asks `question` on the terminal and hides the typed text. Returns one line without its end. Ctrl-C is an error and
/// not a signal: a signal would end the process and leave the terminal in hidden mode.
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

/// Discards what was typed on the terminal before a question is asked. A key that was pressed earlier must not answer
/// it.
pub(crate) fn forget_what_was_typed() {
    // This fails if standard input is not a terminal. Then there is nothing to discard.
    let _ = tcflush(io::stdin(), QueueSelector::IFlush);
}

/// The typed bytes of a terminal, up to an interrupt.
struct Keys<R>(R);

impl<R: Read> Read for Keys<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        if buffer[..read].contains(&INTERRUPT) { Err(io::Error::other("interrupted")) } else { Ok(read) }
    }
}

/// Asks for the passphrase of the key in a file. None if there is no terminal or no answer.
pub(crate) fn passphrase(key: &Path, wrong: bool) -> Option<Secret> {
    let again = if wrong { "Wrong passphrase. " } else { "" };
    let answer = silently(&format!("{again}Passphrase of {}: ", key.display())).ok()?;
    Some(answer).filter(|answer| !answer.expose().is_empty())
}

/// Returns the first line of `from`, without its end.
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

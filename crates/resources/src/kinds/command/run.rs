//! The apply of a `command`.

use super::Wish;
use crate::actor::{Actor, ApplyError};

/// Runs the command to its end. A code that is no success is an error with the last output.
pub(super) fn run(actor: &mut Actor<'_>, wish: &Wish) -> Result<(), ApplyError> {
    let command = wish.command();
    let finished = actor.try_run(&command)?;
    match finished.code {
        Some(code) if wish.codes.contains(&code) => Ok(()),
        Some(code) => Err(failed(wish, &format!("ended with {code}"), &finished.output)),
        None => Err(failed(wish, "was ended by a signal", &finished.output)),
    }
}

fn failed(wish: &Wish, how: &str, output: &[u8]) -> ApplyError {
    let what = if wish.shell { "the shell line" } else { wish.words.first().map_or("", String::as_str) };
    ApplyError::new(format!("{what} {how}")).output(output)
}

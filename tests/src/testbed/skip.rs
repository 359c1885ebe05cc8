//! How a test says that it was skipped: on its output, and in the file that the runner of all tests counts.

use std::fs::OpenOptions;
use std::io::{self, Write};

use super::Error;

/// Names a file to which every skipped test adds one line.
pub const SKIPPED_VARIABLE: &str = "CONVERGE_TESTS_SKIPPED";

/// What was asked for, or none where this machine cannot have it: then the test is over and said `skipped: reason`.
///
/// # Panics
/// For every other error, and with `CI=true` for this one too: nothing is skipped there.
#[must_use]
#[expect(clippy::panic, reason = "it ends a test; only tests call it")]
pub fn or_skip<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::Unavailable(reason)) if !is_ci() => {
            note(&reason);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

fn note(reason: &str) {
    let _ = writeln!(io::stdout(), "skipped: {reason}");
    let Some(path) = std::env::var_os(SKIPPED_VARIABLE) else { return };
    let file = OpenOptions::new().append(true).create(true).open(path);
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // One short write, so that lines of several processes do not mix.
    let _ = file.and_then(|mut file| file.write_all(format!("{test}: {reason}\n").as_bytes()));
}

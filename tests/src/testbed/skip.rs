//! Reports skipped tests: on the test's output, and in a file for the runner of all tests.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::thread;

use super::Error;

/// Names a file to which every skipped test adds one line.
pub const SKIPPED_VARIABLE: &str = "CONVERGE_TESTS_SKIPPED";

/// Returns the value. None if this machine cannot provide it: then the test is over, and `skipped: reason` was
/// printed.
///
/// # Panics
/// For every other error. In CI for this one too, because no test may be skipped there.
#[must_use]
pub fn or_skip<T>(result: Result<T, Error>) -> Option<T> {
    judge(result, is_ci(), env::var_os(SKIPPED_VARIABLE).as_deref().map(Path::new))
}

/// Whether this is a CI machine (`CI=true`), where a skipped test counts as failed.
#[must_use]
pub fn is_ci() -> bool {
    env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}

#[expect(clippy::panic, reason = "it ends a test; only tests call it")]
fn judge<T>(result: Result<T, Error>, is_ci: bool, list: Option<&Path>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::Unavailable(reason)) if !is_ci => {
            note(&reason, list);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn note(reason: &str, list: Option<&Path>) {
    let _ = writeln!(io::stdout(), "skipped: {reason}");
    let Some(path) = list else { return };
    let thread = thread::current();
    let line = format!("{}: {}\n", thread.name().unwrap_or("a test"), reason.replace('\n', " "));
    // One short write, so that lines of several processes are not mixed.
    let file = OpenOptions::new().append(true).create(true).open(path);
    let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    fn unavailable() -> Result<(), Error> {
        Err(Error::Unavailable("they need\nroot".to_owned()))
    }

    #[test]
    fn a_skipped_test_is_one_line_of_the_list() {
        let list = tempfile::NamedTempFile::new().unwrap();
        assert!(judge(unavailable(), false, Some(list.path())).is_none());
        let line = std::fs::read_to_string(list.path()).unwrap();
        assert_eq!(line, format!("{}: they need root\n", thread::current().name().unwrap()));
    }

    #[test]
    fn in_ci_nothing_is_skipped() {
        assert!(catch_unwind(|| judge(unavailable(), true, None)).is_err());
    }

    #[test]
    fn only_what_is_unavailable_is_skipped() {
        assert!(catch_unwind(|| judge::<()>(Err(Error::NoNetwork), false, None)).is_err());
        assert_eq!(judge(Ok(1), true, None), Some(1));
    }
}

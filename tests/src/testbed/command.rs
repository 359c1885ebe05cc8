//! Runs other programs: one way to run them, and one error with the failed command and its output.

use std::ffi::OsStr;
use std::io;
use std::process::{Command, ExitStatus, Stdio};

/// The result of a finished program.
#[derive(Debug)]
#[must_use]
pub struct Ran {
    /// The command line, for messages.
    pub line: String,
    /// Its exit status.
    pub status: ExitStatus,
    /// Standard output, undecodable bytes replaced.
    pub stdout: String,
    /// Standard error, undecodable bytes replaced.
    pub stderr: String,
}

impl Ran {
    /// Returns standard output without the white space around it.
    ///
    /// # Errors
    /// [`CommandError::Failed`] if the exit code is not 0.
    pub fn ok(self) -> Result<String, CommandError> {
        if self.status.success() {
            return Ok(self.stdout.trim().to_owned());
        }
        let said = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        Err(CommandError::Failed { said: tail(said, 20), line: self.line, status: self.status })
    }
}

/// Why a program failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("failed to start `{line}`: {source}")]
    Start {
        /// The command line.
        line: String,
        /// The error of the system.
        source: io::Error,
    },
    /// Its exit code is not 0.
    #[error("failed to run `{line}`: {status}: {said}")]
    Failed {
        /// The command line.
        line: String,
        /// Its exit status.
        status: ExitStatus,
        /// The last lines of its output.
        said: String,
    },
}

/// Returns a command with the C locale, without input, that also finds the programs in `sbin`.
pub(crate) fn tool(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", search_path()).env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// Runs `command` to its end and collects its output.
pub(crate) fn run(command: &mut Command) -> Result<Ran, CommandError> {
    let line = command_line(command);
    match command.output() {
        Ok(output) => Ok(Ran {
            line,
            status: output.status,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
        Err(source) => Err(CommandError::Start { line, source }),
    }
}

/// Whether `program` is in the search path.
pub(crate) fn is_installed(program: &str) -> bool {
    search_path().split(':').any(|folder| std::path::Path::new(folder).join(program).is_file())
}

/// Returns the last `count` lines of `text`.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Returns the caller's search path with the folders of `nft`, `ip` and `debootstrap`.
fn search_path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_its_last_words() {
        let error = run(tool("sh").args(["-c", "echo reason >&2; exit 3"])).unwrap().ok().unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to run `sh -c echo reason >&2; exit 3`: exit status: 3: reason"
        );
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let error = run(&mut tool("no-such-program")).unwrap_err();
        assert!(error.to_string().starts_with("failed to start `no-such-program`: "), "{error}");
        assert!(!is_installed("no-such-program"));
        assert!(is_installed("sh"));
    }

    #[test]
    fn output_is_trimmed() {
        assert_eq!(run(tool("echo").arg(" a ")).unwrap().ok().unwrap(), "a");
        assert_eq!(tail("1\n2\n3\n", 2), "2\n3");
    }
}

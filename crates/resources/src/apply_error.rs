//! The error of a step that failed.

use std::fmt;
use std::path::Path;

/// Why a step failed: a fragment that names the path, unit or command, and its cause.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ApplyError {
    /// The fragment.
    pub message: String,
    /// The last lines of output, if a command failed.
    pub output: String,
}

impl ApplyError {
    /// Makes an error without output.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), output: String::new() }
    }

    /// Makes an error about a path.
    pub fn at(what: &str, path: &Path, why: &dyn fmt::Display) -> Self {
        Self::new(format!("failed to {what} {}: {why}", path.display()))
    }

    /// Adds the output of the failed command.
    pub fn output(mut self, output: &[u8]) -> Self {
        self.output = String::from_utf8_lossy(output).into_owned();
        self
    }
}

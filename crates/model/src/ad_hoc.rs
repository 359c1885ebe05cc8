//! Requests to a host that need no catalog: a command of the user (`exec`), and a test whether the host answers
//! (`ping`).

use serde::{Deserialize, Serialize};

use crate::plan::Holder;

/// The largest script, in bytes: it travels in the frame of its job.
pub const SCRIPT_LIMIT: usize = 512 * 1024;
/// The most bytes of output that a host sends. Further output is only counted.
pub const OUTPUT_LIMIT: u64 = 16 * 1024 * 1024;
/// The most lines of output that a host sends.
pub const LINES_LIMIT: u64 = 100_000;

/// A command of the user, run without changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdHoc {
    /// The program and its arguments. A single word is a line for `/bin/sh -c`. With a script: the script's arguments.
    pub words: Vec<String>,
    /// A script of at most [`SCRIPT_LIMIT`] bytes. The interpreter of its first line runs it, or `/bin/sh`.
    pub script: Option<Vec<u8>>,
    /// Timeout in milliseconds. The agent then ends the command and all its children.
    pub timeout: Option<u64>,
}

/// One of the two outputs of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The end of a command.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It ended by itself with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// The agent ended it: it exceeded its timeout.
    TimedOut,
    /// The agent ended it: the user stopped the run, or the connection was lost.
    Stopped,
    /// It could not be started. The text is the reason, as a fragment.
    NotStarted(String),
}

/// A command that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// The way it ended.
    pub exit: Exit,
    /// The number of printed lines, including lines that were not sent.
    pub lines: u64,
    /// Duration in milliseconds, by the monotonic clock.
    pub took: u64,
}

/// The answer of a host to a ping.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The account that the agent runs as.
    pub user: String,
    /// The account that logged in, if sudo(8) or doas(1) reports it.
    pub login: Option<String>,
    /// The run that holds the lock of the host.
    pub busy: Option<Holder>,
    /// Milliseconds from the start of the connection to the answer, by the controller's clock.
    pub took: u64,
}

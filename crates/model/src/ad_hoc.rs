//! What is asked of a host beside its catalog: a command that a user types, and whether the host answers.

use serde::{Deserialize, Serialize};

use crate::plan::Holder;

/// The largest script, in bytes: it travels in the frame of its job.
pub const SCRIPT_LIMIT: usize = 512 * 1024;
/// The most bytes of output that a host passes on; what the command prints beyond them is only counted.
pub const OUTPUT_LIMIT: u64 = 16 * 1024 * 1024;
/// The most lines of output that a host passes on.
pub const LINES_LIMIT: u64 = 100_000;

/// A command to run as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdHoc {
    /// The program and its arguments; one word alone is a line for `/bin/sh -c`. With a script: its arguments.
    pub words: Vec<String>,
    /// A script that is run by the interpreter of its first line, or by `/bin/sh`; at most [`SCRIPT_LIMIT`].
    pub script: Option<Vec<u8>>,
    /// After how many milliseconds it is ended, with all that it started.
    pub timeout: Option<u64>,
}

/// One of the two outputs of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Its results.
    Stdout,
    /// Its messages.
    Stderr,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// It took longer than it may, and was ended.
    TimedOut,
    /// The user stopped the run, or the connection was gone; it was ended.
    Stopped,
    /// It could not be started: why, as a fragment.
    NotStarted(String),
}

/// A command that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// How.
    pub exit: Exit,
    /// How many lines it printed, those included that were not passed on.
    pub lines: u64,
    /// Milliseconds, by the monotonic clock.
    pub took: u64,
}

/// What a host says when it is asked whether it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The account that the agent works as.
    pub user: String,
    /// The account that logged in, where sudo(8) or doas(1) tells.
    pub login: Option<String>,
    /// The run that is at work on the host.
    pub busy: Option<Holder>,
    /// Milliseconds from the beginning of the connection to the answer, by the controller's clock.
    pub took: u64,
}

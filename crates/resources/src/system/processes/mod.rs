//! Processes: running a command with its user, folder, environment and timeout.

pub mod cores;
pub mod local;
mod talk;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use converge_model::Stream;

use crate::wish::Text;

/// A command to run. It is a list of words, and a line for a shell only if the first words say so.
#[derive(Clone)]
pub struct Command {
    /// The program and its arguments. They must not hold a secret, because every user can read the process list.
    pub words: Vec<String>,
    /// The user that runs it, with its own groups and HOME. None: the agent's user.
    pub user: Option<String>,
    /// The folder that it runs in. None: `/`.
    pub folder: Option<PathBuf>,
    /// Added to a clean environment of PATH, LC_ALL, HOME, USER and CONVERGE_ROOT.
    pub environment: Vec<(String, Text)>,
    /// Its input. None: empty.
    pub input: Option<Text>,
    /// A folder that replaces another one, for the command and its child processes.
    pub substitute: Option<Substitute>,
    /// The timeout after which it is ended, with all its child processes.
    pub timeout: Duration,
}

/// A folder in the place of another, in the command's own mount namespace. It needs root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Substitute {
    /// The folder that the command sees.
    pub folder: PathBuf,
    /// The path where it sees the folder.
    pub at: PathBuf,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The exit code. None if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The last 64 KiB of both outputs, in their order. If output is missing, it begins with a whole line.
    pub output: Vec<u8>,
}

/// Why a command did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("failed to start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// The cause.
        source: io::Error,
    },
    /// The user does not exist.
    #[error("there is no user {0:?}")]
    NoUser(String),
    /// Only root may run a command as another user.
    #[error("running a command as {0} needs root")]
    NotAllowed(String),
    /// It reached its timeout and was ended.
    #[error("{program} was still running after {after:?}, so Converge ended it")]
    Timeout {
        /// The program.
        program: String,
        /// The timeout.
        after: Duration,
    },
    /// It was ended because it should stop.
    #[error("{program} was ended")]
    Stopped {
        /// The program.
        program: String,
    },
}

/// A host's processes.
pub trait Processes: Send + Sync {
    /// Runs a command to its end. Output goes to `output` as it comes, line by line. It does not wait for processes
    /// that the command leaves running.
    fn run(&self, command: &Command, output: &mut dyn FnMut(&[u8])) -> Result<Finished, ProcessError>;

    /// Does the same with the two outputs separated, if there are two. If `stop` returns true while the command runs,
    /// it is ended with all its child processes.
    fn watch(
        &self,
        command: &Command,
        output: &mut dyn FnMut(Stream, &[u8]),
        _stop: &dyn Fn() -> bool,
    ) -> Result<Finished, ProcessError> {
        self.run(command, &mut |line| output(Stream::Stdout, line))
    }

    /// Does the same for a command that only asks, like a guard. It answers the same in a look and in an act. If the
    /// host can have a fence, writes of the command do not reach the host.
    fn ask(&self, command: &Command) -> Result<Finished, ProcessError> {
        self.run(command, &mut |_| {})
    }
}

/// Keeps future child processes of the calling thread from writing to the host. A home may be written to, but the
/// writes are discarded.
pub type Fence = fn(home: Option<&Path>);

impl Command {
    /// Makes a command of the agent's own user with a timeout of ten minutes.
    pub fn new<I: IntoIterator<Item = S>, S: Into<String>>(words: I) -> Self {
        Self {
            words: words.into_iter().map(Into::into).collect(),
            user: None,
            folder: None,
            environment: Vec::new(),
            input: None,
            substitute: None,
            timeout: Duration::from_secs(600),
        }
    }

    /// Makes a command of a line for `/bin/sh -c`.
    pub fn shell(line: impl Into<String>) -> Self {
        Self::new(["/bin/sh".to_owned(), "-c".to_owned(), line.into()])
    }

    /// Returns the program's name, for messages.
    pub fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

impl Finished {
    /// Whether it reported that it could not write to a read-only file system, as behind a fence.
    pub fn was_fenced_off(&self) -> bool {
        const WORDS: &[u8] = b"Read-only file system";
        self.output.windows(WORDS.len()).any(|words| words == WORDS)
    }

    /// Whether its exit code was 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

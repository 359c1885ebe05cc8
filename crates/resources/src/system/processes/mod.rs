//! Processes: running a command with its user, folder, environment and time.

pub mod cores;
pub mod local;
mod talk;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use converge_model::Stream;

use crate::wish::Text;

/// A command to be run: words, never a line for a shell unless the first words say so.
#[derive(Clone)]
pub struct Command {
    /// The program and its arguments. Never a secret: everybody can read the process list.
    pub words: Vec<String>,
    /// The user that runs it, with its own groups and HOME; none: the agent's.
    pub user: Option<String>,
    /// The folder that it runs in; `/` where none is given.
    pub folder: Option<PathBuf>,
    /// Added to a clean environment of PATH, LC_ALL, HOME, USER and CONVERGE_ROOT.
    pub environment: Vec<(String, Text)>,
    /// What it reads; nothing where none is given.
    pub input: Option<Text>,
    /// A folder that stands in the place of another for it and for what it starts.
    pub substitute: Option<Substitute>,
    /// After how long it is ended, with all that it started.
    pub timeout: Duration,
}

/// A folder in the place of another, in a mount namespace of the command's own. That needs root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Substitute {
    /// What the command sees.
    pub folder: PathBuf,
    /// Where it sees it.
    pub at: PathBuf,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The last 64 KiB of both outputs, as they came; whole lines where it is not all.
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
        /// Why.
        source: io::Error,
    },
    /// The user is not there.
    #[error("there is no user {0:?}")]
    NoUser(String),
    /// Only root may run a command as another user.
    #[error("running a command as {0} needs root")]
    NotAllowed(String),
    /// It took too long and was ended.
    #[error("{program} was still running after {after:?} and was ended")]
    Timeout {
        /// The program.
        program: String,
        /// The time allowed.
        after: Duration,
    },
    /// It was ended because it was to stop.
    #[error("{program} was ended")]
    Stopped {
        /// The program.
        program: String,
    },
}

/// A host's processes.
pub trait Processes: Send + Sync {
    /// Runs a command to its end; output goes to `output` as it comes, line by line. What the command leaves running is
    /// not waited for.
    fn run(&self, command: &Command, output: &mut dyn FnMut(&[u8])) -> Result<Finished, ProcessError>;

    /// The same with its two outputs apart, where they are two; it is ended, with all that it started, once `stop` says so,
    /// where it goes on for any time at all.
    fn watch(
        &self,
        command: &Command,
        output: &mut dyn FnMut(Stream, &[u8]),
        _stop: &dyn Fn() -> bool,
    ) -> Result<Finished, ProcessError> {
        self.run(command, &mut |line| output(Stream::Stdout, line))
    }

    /// The same for a command that only asks, as guards do. It answers alike while the host is looked at and while it is
    /// acted on: where the host can be fenced off, what it writes does not reach it.
    fn ask(&self, command: &Command) -> Result<Finished, ProcessError> {
        self.run(command, &mut |_| {})
    }
}

/// Keeps what is started from now on, by the thread that calls it, from writing to the host; a home may be written to, and
/// is thrown away.
pub type Fence = fn(home: Option<&Path>);

impl Command {
    /// A command of the agent's own user, with ten minutes.
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

    /// A line for `/bin/sh -c`.
    pub fn shell(line: impl Into<String>) -> Self {
        Self::new(["/bin/sh".to_owned(), "-c".to_owned(), line.into()])
    }

    /// The program's name, for messages.
    pub fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

impl Finished {
    /// Whether it said that it could not write because the file system is read-only, as behind a fence.
    pub fn was_fenced_off(&self) -> bool {
        const WORDS: &[u8] = b"Read-only file system";
        self.output.windows(WORDS.len()).any(|words| words == WORDS)
    }

    /// Whether it ended with 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

//! The clock of a host: it starts a program after a time and at the next boot. The run that asked for it may be gone
//! by then. It belongs to the service manager. The agent decides what the program does, and handles its result.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest time that a program started by a clock may take.
pub const AT_MOST: Duration = Duration::from_secs(300);

/// A host's clock. `words` are a program, by its full path, and its arguments.
pub trait Clock {
    /// Starts `words` after exactly `seconds`, under the name `timer`. A program that is killed midway is started
    /// again.
    fn arm(&self, timer: &str, seconds: u32, words: &[String]) -> io::Result<()>;
    /// Whether `timer` will still start its program.
    fn is_armed(&self, timer: &str) -> bool;
    /// Lets the next boot start `words` before the network is up, once `folder` is mounted. It replaces the result of
    /// an earlier call.
    fn at_boot(&self, words: &[String], folder: &Path) -> io::Result<()>;
    /// Returns the files that [`Clock::at_boot`] writes, under the paths that processes of this machine see.
    fn boot_files(&self) -> Vec<PathBuf>;
    /// Starts `words` now and waits for their end. They run apart from this process, because they may cut its
    /// connection. Their result is not returned.
    fn start_apart(&self, words: &[String]);
    /// Stops `timer`, if one was armed, and lets the next boot start nothing. Errors are ignored, because both do no
    /// harm if they stay.
    fn disarm(&self, timer: Option<&str>);
}

//! What starts a program by itself, though the run that asked for it is gone: after a time, and at the next boot. It belongs
//! to the service manager. What the program does, and what becomes of it, is left to the agent.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest time that a program may take that a clock starts.
pub const AT_MOST: Duration = Duration::from_secs(300);

/// A host's clock. Words are a program, by its full path, and its arguments.
pub trait Clock {
    /// Starts `words` after `seconds`, on time, under the name `timer`. A program that is killed midway is started again.
    fn arm(&self, timer: &str, seconds: u32, words: &[String]) -> io::Result<()>;
    /// Whether `timer` is still to start its program.
    fn is_armed(&self, timer: &str) -> bool;
    /// Lets the next boot start `words` before the network is up, once `folder` is mounted. It replaces what an earlier call
    /// left.
    fn at_boot(&self, words: &[String], folder: &Path) -> io::Result<()>;
    /// The files that [`Clock::at_boot`] writes, as the processes of this machine know them.
    fn boot_files(&self) -> Vec<PathBuf>;
    /// Starts `words` now and waits for their end: apart from this process, whose connection they may cut. How they ended
    /// is not told.
    fn start_apart(&self, words: &[String]);
    /// Stops `timer`, if one was armed, and lets the next boot start nothing. Both do no harm if they stay, so that a
    /// failure is not told.
    fn disarm(&self, timer: Option<&str>);
}

//! What is said from outside the stream of events, while lines of progress may be on the screen: that a run is to stop.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::MultiProgress;

/// Writes to standard error, above the lines of progress.
#[derive(Clone, Default)]
pub(crate) struct Voice {
    /// The lines, if there are any, and whether they say that hosts are stopping.
    pub(super) progress: Option<(MultiProgress, Arc<AtomicBool>)>,
}

impl Voice {
    /// Says that the run is to stop, in words that stay, and in each host's line.
    pub(crate) fn stopping(&self, words: &str) {
        match &self.progress {
            Some((screen, stopping)) => {
                stopping.store(true, Ordering::Relaxed);
                screen.suspend(|| write(words));
            }
            // Behind the `^C` that a terminal echoes.
            None => write(&format!("\n{words}")),
        }
    }
}

fn write(words: &str) {
    let _ = writeln!(anstream::stderr(), "{words}");
}

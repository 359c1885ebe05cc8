//! Messages outside the stream of events, while lines of progress may be on the screen: the run should stop.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use converge_model::{Event, EventKind, HostName};
use indicatif::MultiProgress;

use super::text::harmless;
use super::wrap;

/// How many running steps are named.
const NAMED: usize = 3;

/// Writes to standard error, above the lines of progress.
#[derive(Clone, Default)]
pub(crate) struct Voice {
    /// The lines, if there are any, and whether they show that hosts are stopping.
    pub(super) progress: Option<(MultiProgress, Arc<AtomicBool>)>,
    /// The running steps, by host.
    pub(super) hands: Arc<Mutex<BTreeMap<HostName, String>>>,
    /// Whether the user is asked: nothing is in hand then.
    pub(super) asks: Arc<AtomicBool>,
}

impl Voice {
    /// Updates the running steps for an event.
    pub(super) fn event(&self, event: &Event) {
        let Some(host) = &event.host else { return };
        let mut hands = self.hands.lock().unwrap_or_else(PoisonError::into_inner);
        match &event.kind {
            EventKind::StepStarted { address, .. } => {
                hands.insert(host.clone(), format!("{} on {host}", harmless(address.as_str())));
            }
            EventKind::StepFinished { .. } | EventKind::HostFinished { .. } => drop(hands.remove(host)),
            _ => {}
        }
    }

    /// Returns the running steps in parentheses. Empty if there are none.
    pub(crate) fn in_hand(&self) -> String {
        let hands = self.hands.lock().unwrap_or_else(PoisonError::into_inner);
        let mut named: Vec<_> = hands.values().take(NAMED).cloned().collect();
        if hands.len() > NAMED {
            named.push(format!("and {} more", hands.len() - NAMED));
        }
        if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
    }

    /// Reports that the run should stop: in a lasting message and in each host's line.
    pub(crate) fn stopping(&self, words: &str) {
        if self.asks.load(Ordering::Relaxed) {
            // The result follows; the `^C` that the terminal echoes has a line of its own.
            return write("");
        }
        match &self.progress {
            Some((screen, stopping)) => {
                stopping.store(true, Ordering::Relaxed);
                screen.suspend(|| write(words));
            }
            // The line end comes after the `^C` that a terminal echoes.
            None => write(&format!("\n{words}")),
        }
    }
}

fn write(words: &str) {
    let words = wrap::for_stream(io::stderr(), format!("{words}\n"));
    let _ = anstream::stderr().write_all(words.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::{Address, RunId, event::VERSION};

    #[test]
    fn steps_in_hand_are_named() {
        let voice = Voice::default();
        assert_eq!(voice.in_hand(), "");
        for n in 1..=5 {
            let (address, host) =
                (Address::new(None, "command", "slow"), HostName::new(format!("w{n}")).ok());
            let kind = EventKind::StepStarted { address, step: 0, of: 1 };
            voice.event(&Event { version: VERSION, run: RunId::new("r").unwrap(), host, sequence: 0, kind });
        }
        let named = " (command[slow] on w1, command[slow] on w2, command[slow] on w3, and 2 more)";
        assert_eq!(voice.in_hand(), named);
    }
}

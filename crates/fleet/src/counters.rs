//! Counts the cost of a conversation: bytes and exchanges, without the pings. Tests compare the exact numbers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// The cost of one host's conversations so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes to the host: commands, uploads, frames.
    pub up: u64,
    /// Bytes from the host.
    pub down: u64,
    /// How often this side sent something after it had received something, or at the start: the round trips beyond
    /// those of SSH.
    pub exchanges: u64,
    /// How many times the agent was uploaded.
    pub uploads: u64,
    /// How many SSH connections were made. Connections that were reused from an earlier run do not count.
    pub connections: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    up: AtomicU64,
    down: AtomicU64,
    exchanges: AtomicU64,
    uploads: AtomicU64,
    connections: AtomicU64,
    /// Whether this side sent the last message.
    spoke_last: AtomicBool,
}

impl Counters {
    /// Counts a command that starts a process.
    pub(crate) fn started(&self, command: &str) {
        self.spoke_last.store(false, Relaxed);
        self.sent(command.len());
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.up.fetch_add(bytes as u64, Relaxed);
        if !self.spoke_last.swap(true, Relaxed) {
            self.exchanges.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn heard(&self, bytes: usize) {
        self.down.fetch_add(bytes as u64, Relaxed);
        self.spoke_last.store(false, Relaxed);
    }

    pub(crate) fn uploaded(&self) {
        self.uploads.fetch_add(1, Relaxed);
    }

    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            up: self.up.load(Relaxed),
            down: self.down.load(Relaxed),
            exchanges: self.exchanges.load(Relaxed),
            uploads: self.uploads.load(Relaxed),
            connections: self.connections.load(Relaxed),
        }
    }
}

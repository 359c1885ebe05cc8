//! What goes wrong on real hosts, and that Converge says so, leaves nothing half done, and goes on from there.
//!
//! Every run here speaks JSON, and each is held against what the stream of events promises: see [`support::Told`].
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic, and so may its helpers")]

mod access;
mod connection;
mod controllers;
mod disk;
mod kills;
mod lockout;
mod processes;
mod services;
mod support;

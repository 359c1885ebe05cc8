//! Faults on real hosts: Converge reports them, leaves nothing half done, and continues from there.
//!
//! Every run here prints JSON. Each one is compared with the guarantees of the stream of events: see
//! [`support::Told`].
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

//! Hosts for the tests: this machine, and real `sshd` processes on loopback addresses.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a helper of a test fails its test, and says what was skipped"
)]

mod ad_hoc;
mod artefact;
mod bootstrap;
mod connection;
mod cost;
mod embed;
mod protocol;
mod sshd;
mod support;

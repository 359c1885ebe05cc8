//! Hosts as they are met: this machine, and real `sshd` processes on loopback addresses.

mod bootstrap;
mod connection;
mod local;
mod protocol;
mod sshd;
mod support;

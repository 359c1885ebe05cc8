//! What the fleet tests stand on: real Debian hosts on this machine, and how a test names what changed on them.
//!
//! The tests themselves are the targets in `tests/tests/`; nothing here knows Converge.

pub mod testbed;

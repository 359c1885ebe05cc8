//! The base of the fleet tests: real Debian hosts on this machine, and lists of what changed on them. Also acts of
//! the agent alone, whose cost is counted, and a reader for `--json`.
//!
//! The tests are the targets in `tests/tests/`.

pub mod act;
pub mod demand;
pub mod json;
pub mod load;
pub mod project;
pub mod terminal;
pub mod testbed;

use std::env;
use std::path::PathBuf;

/// Names the `converge` program for the fleet tests.
pub const BINARY_VARIABLE: &str = "CONVERGE_BINARY";

/// Returns the `converge` under test: the program that [`BINARY_VARIABLE`] names, or the release build beside the
/// running test.
///
/// `cargo xtask test` builds it and sets the variable. Otherwise the path may not exist.
#[must_use]
pub fn converge_binary() -> PathBuf {
    let named = env::var_os(BINARY_VARIABLE).map(PathBuf::from);
    named.unwrap_or_else(|| target_folder().join("release/converge"))
}

/// Returns the folder of the build. Tests run in `target/PROFILE/deps/`.
fn target_folder() -> PathBuf {
    let test = env::current_exe().unwrap_or_default();
    test.ancestors().nth(3).map(PathBuf::from).unwrap_or_default()
}

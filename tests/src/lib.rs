//! What the fleet tests stand on: real Debian hosts on this machine, and how a test names what changed on them; and acts
//! of the agent alone, whose cost is counted; and a reader of what `--json` prints.
//!
//! The tests themselves are the targets in `tests/tests/`.

pub mod act;
pub mod demand;
pub mod json;
pub mod load;
pub mod project;
pub mod terminal;
pub mod testbed;

use std::env;
use std::path::PathBuf;

/// Names the `converge` that the fleet tests run.
pub const BINARY_VARIABLE: &str = "CONVERGE_BINARY";

/// The `converge` under test: what [`BINARY_VARIABLE`] names, or the release build beside the running test.
///
/// `cargo xtask test` builds it and sets the variable. The path may not exist where neither was done.
#[must_use]
pub fn converge_binary() -> PathBuf {
    let named = env::var_os(BINARY_VARIABLE).map(PathBuf::from);
    named.unwrap_or_else(|| target_folder().join("release/converge"))
}

/// The build output: tests run from `target/PROFILE/deps/`.
fn target_folder() -> PathBuf {
    let test = env::current_exe().unwrap_or_default();
    test.ancestors().nth(3).map(PathBuf::from).unwrap_or_default()
}

//! Demands of a test on a host or a run. If one fails, the test ends and shows the whole output.

#![expect(clippy::unwrap_used, reason = "who calls this is a test, which may panic")]

use crate::project::{Ended, Project};
use crate::testbed::Host;

/// Runs a shell line as root inside the host. Returns its output.
///
/// # Panics
/// If the line fails.
pub fn root(host: &Host, line: &str) -> String {
    host.exec_root(line).unwrap().ok().unwrap()
}

/// Runs `converge` to its end.
///
/// # Panics
/// If the exit code is not `code`.
pub fn converge(project: &Project, arguments: &[&str], code: i32) -> Ended {
    let ended = project.converge(arguments).unwrap();
    assert_eq!(ended.code, code, "{arguments:?}: {ended}");
    ended
}

/// Sets the inventory to this body on the host `h1` and nothing else.
///
/// # Panics
/// If it cannot be written.
pub fn ask(project: &Project, body: &str) {
    let inventory =
        format!("connection user=\"admin\" become=\"sudo\"\nhost \"h1\"\non \"h1\" {{\n{body}\n}}\n");
    project.write("project/inventory.kdl", inventory).unwrap();
}

//! What a test demands of a host or of a run: that it goes as it should, or else the test ends with all that was said.

#![expect(clippy::unwrap_used, reason = "who calls this is a test, which may panic")]

use crate::project::{Ended, Project};
use crate::testbed::Host;

/// Runs a shell line as root, from inside the host; what it printed.
///
/// # Panics
/// When it fails.
pub fn root(host: &Host, line: &str) -> String {
    host.exec_root(line).unwrap().ok().unwrap()
}

/// Runs `converge` to its end.
///
/// # Panics
/// When it ends with another exit code than `code`.
pub fn converge(project: &Project, arguments: &[&str], code: i32) -> Ended {
    let ended = project.converge(arguments).unwrap();
    assert_eq!(ended.code, code, "{arguments:?}: {ended}");
    ended
}

/// Lets the inventory ask for this body on the host `h1`, and for nothing else, from now on.
///
/// # Panics
/// When it cannot be written.
pub fn ask(project: &Project, body: &str) {
    let inventory =
        format!("connection user=\"admin\" become=\"sudo\"\nhost \"h1\"\non \"h1\" {{\n{body}\n}}\n");
    project.write("project/inventory.kdl", inventory).unwrap();
}

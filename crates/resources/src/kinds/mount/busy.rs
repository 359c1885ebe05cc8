//! The users of a mount: the processes with a file or a folder of it.

use std::path::{Path, PathBuf};

use crate::system::files::Files;

/// The most processes that a message names.
const NAMED: usize = 5;

/// The processes that use what is mounted at `at`, as `nginx (17)`.
pub(super) fn users(files: &Files, at: &Path) -> Vec<String> {
    let Ok(names) = files.list(Path::new("/proc")) else { return Vec::new() };
    let processes = names.iter().filter_map(|name| name.to_str()?.parse::<u32>().ok());
    processes
        .filter(|process| uses(files, *process, at))
        .take(NAMED)
        .map(|process| named(files, process))
        .collect()
}

/// Whether the process has its working directory or program in the mount, or a file of it open.
fn uses(files: &Files, process: u32, at: &Path) -> bool {
    let folder = PathBuf::from(format!("/proc/{process}"));
    let open = files.list(&folder.join("fd")).unwrap_or_default();
    let links = ["cwd", "root", "exe"].into_iter().map(PathBuf::from);
    links.chain(open.into_iter().map(|number| Path::new("fd").join(number))).any(|link| {
        let entry = files.entry(&folder.join(link)).ok().flatten();
        entry.and_then(|entry| entry.target).is_some_and(|target| target.starts_with(at))
    })
}

fn named(files: &Files, process: u32) -> String {
    let name = files.read(Path::new(&format!("/proc/{process}/comm")), 64).unwrap_or_default();
    format!("{} ({process})", String::from_utf8_lossy(&name).trim_end())
}

//! The state that the controller keeps between runs: facts of hosts, once-steps, and the project last used in each
//! folder. It also knows the place of the history. A run is correct without this state, and an error here never fails
//! a run.

mod last_used;
mod once;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use converge_history::Places;
use converge_model::{Digest, Facts, HostName, facts};
use serde::{Deserialize, Serialize};

pub use self::last_used::{LastUsed, UsedProject};
pub use self::once::{DoneOnce, Participant};

/// The version of the files of facts. A file with a newer version is not read.
const VERSION: u16 = 1;

/// The state folder: `$XDG_STATE_HOME/converge`, otherwise `~/.local/state/converge`.
#[derive(Clone, Debug)]
pub struct StateFolder(PathBuf);

/// Why there is no state folder.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Neither variable is set to an absolute path.
    #[error("neither XDG_STATE_HOME nor HOME is an absolute path")]
    NoHome,
    /// The folder cannot be created.
    #[error("failed to create {path}: {source}")]
    Create {
        /// The folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl StateFolder {
    /// Returns the user's folder. Creates it if needed, for the user alone.
    pub fn of_user() -> Result<Self, StateError> {
        let base = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        Self::at(base.ok_or(StateError::NoHome)?.join("converge"))
    }

    /// Returns the folder at `path`. Creates it if needed.
    pub fn at(path: PathBuf) -> Result<Self, StateError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|source| StateError::Create { path: path.clone(), source })?;
        Ok(Self(path))
    }

    /// Returns the places of the history of `project`.
    pub fn history(&self, project: &str) -> Places {
        let name = Digest::of(project.as_bytes()).short();
        let elsewhere = absolute("XDG_RUNTIME_DIR").map(|path| path.join("converge-history").join(&name));
        Places { folder: self.0.join("history").join(name), elsewhere }
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the stored facts of the hosts of `project`.
    pub fn facts(&self, project: &str) -> SeenFacts {
        SeenFacts(Some(self.of_project("facts", project)))
    }

    /// Returns the record of which project was last used in which folder.
    pub fn last_used(&self) -> LastUsed {
        LastUsed(self.0.join("last-used"))
    }

    /// Returns the record of the once-steps of `project`.
    pub fn done_once(&self, project: &str) -> DoneOnce {
        DoneOnce::at(self.of_project("once", project))
    }

    fn of_project(&self, what: &str, project: &str) -> PathBuf {
        self.0.join(what).join(Digest::of(project.as_bytes()).short())
    }
}

/// Returns the folder that a variable names. None if it is not an absolute path.
fn absolute(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The last known facts of hosts, one file for each host.
#[derive(Clone, Debug)]
pub struct SeenFacts(Option<PathBuf>);

#[derive(Serialize, Deserialize)]
struct Seen<T> {
    version: u16,
    /// Seconds since the epoch.
    seen: u64,
    facts: T,
    /// Whether the project has applied something there.
    #[serde(default)]
    applied: bool,
}

impl SeenFacts {
    /// A store that keeps nothing.
    pub const fn nowhere() -> Self {
        Self(None)
    }

    /// Returns the last known facts of `host`. None if it was never seen, or the file cannot be read.
    pub fn read(&self, host: &HostName) -> Option<Facts> {
        self.seen(host).map(|seen| seen.facts)
    }

    /// Keeps the facts of `host`. Errors are ignored.
    pub fn keep(&self, host: &HostName, facts: &Facts) {
        let known = self.seen(host);
        let applied = known.as_ref().is_some_and(|seen| seen.applied);
        if let Some(path) = self.file(host)
            && known.is_none_or(|seen| seen.facts != *facts)
        {
            let _ = write(&path, facts, applied);
        }
    }

    /// Whether the project may own something on `host`, because it has applied something there.
    pub fn was_applied(&self, host: &HostName) -> bool {
        self.seen(host).is_some_and(|seen| seen.applied)
    }

    /// Records that the project has applied something on `host`. The facts of the host must be stored already.
    pub fn keep_applied(&self, host: &HostName) {
        if let (Some(path), Some(seen)) = (self.file(host), self.seen(host).filter(|seen| !seen.applied)) {
            let _ = write(&path, &seen.facts, true);
        }
    }

    fn seen(&self, host: &HostName) -> Option<Seen<Facts>> {
        let path = self.file(host)?;
        let small = fs::metadata(&path).ok()?.len() <= 4 * facts::LIMIT as u64;
        let seen: Seen<Facts> = serde_json::from_slice(&small.then(|| fs::read(&path).ok())??).ok()?;
        (seen.version == VERSION).then_some(seen)
    }

    fn file(&self, host: &HostName) -> Option<PathBuf> {
        // Host names have no `/` and no leading dot.
        Some(self.0.as_ref()?.join(format!("{host}.json")))
    }
}

fn write(path: &Path, facts: &Facts, applied: bool) -> io::Result<()> {
    let seen = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    write_beside(path, &serde_json::to_vec(&Seen { version: VERSION, seen, facts, applied })?)
}

/// Writes a temporary file and renames it, so that a reader finds the complete old or new file. Creates the folder,
/// for the user alone.
fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let temporary = path.with_extension(format!("json.{}", std::process::id()));
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, SeenFacts) {
        let temp = tempfile::tempdir().unwrap();
        let seen = StateFolder::at(temp.path().join("state")).unwrap().facts("shop");
        (temp, seen)
    }

    #[test]
    fn facts_are_as_last_seen() {
        let (_temp, seen) = folder();
        let host = HostName::new("web1").unwrap();
        assert_eq!(seen.read(&host), None);
        let facts = Facts { hostname: "a".to_owned(), ..Facts::default() };
        seen.keep(&host, &Facts::default());
        seen.keep(&host, &facts);
        assert_eq!(seen.read(&host), Some(facts));
        assert_eq!(seen.read(&HostName::new("web2").unwrap()), None);
        let left: Vec<_> = fs::read_dir(seen.0.as_ref().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "no temporary is left");
    }

    #[test]
    fn what_was_applied_is_kept_whatever_facts_come_later() {
        let (_temp, seen) = folder();
        let host = HostName::new("web1").unwrap();
        seen.keep_applied(&host);
        assert!(!seen.was_applied(&host), "a host that was never seen has nothing");
        seen.keep(&host, &Facts::default());
        assert!(!seen.was_applied(&host));
        seen.keep_applied(&host);
        seen.keep(&host, &Facts { hostname: "new".to_owned(), ..Facts::default() });
        assert!(seen.was_applied(&host));
    }

    #[test]
    fn a_damaged_or_newer_file_is_as_good_as_none() {
        let (_temp, seen) = folder();
        let host = HostName::new("web1").unwrap();
        seen.keep(&host, &Facts::default());
        let path = seen.file(&host).unwrap();
        let newer = fs::read_to_string(&path).unwrap().replacen("\"version\":1", "\"version\":2", 1);
        for text in [newer.as_str(), "{", ""] {
            fs::write(&path, text).unwrap();
            assert_eq!(seen.read(&host), None, "{text:?}");
        }
        seen.keep(&host, &Facts::default());
        assert!(seen.read(&host).is_some());
    }
}

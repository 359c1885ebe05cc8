//! Records the once-steps of a project: which host took part in which step, one line each. A host's ledger has the
//! same record. One of the two is enough to prevent a second run.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use converge_model::HostName;
use serde::{Deserialize, Serialize};

/// The version of a line. A line with a newer version is not read.
const VERSION: u16 = 1;
/// The most bytes that are read: enough for hundreds of thousands of lines.
const LIMIT: u64 = 64 * 1024 * 1024;

/// The record of a project. Lines are only added to it. It is read on first use.
#[derive(Clone, Debug)]
pub struct DoneOnce {
    path: Option<PathBuf>,
    known: Arc<OnceLock<Mutex<Known>>>,
}

/// The participants, by key.
type Known = BTreeMap<String, BTreeSet<Participant>>;

/// A host that took part in a once-step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Participant {
    /// Its name.
    pub host: HostName,
    /// The identity of its installation (machine-id(5)). The same name with a new installation is another host.
    pub machine: String,
}

#[derive(Serialize, Deserialize)]
struct Line {
    version: u16,
    /// The address and the reason to run it: `command[migrate] 1.5.0`.
    key: String,
    #[serde(flatten)]
    participant: Participant,
}

impl DoneOnce {
    /// A record that keeps nothing.
    pub fn nowhere() -> Self {
        Self { path: None, known: Arc::default() }
    }

    /// Returns the record in the file at `path`.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path: Some(path), known: Arc::default() }
    }

    /// Returns the hosts that took part in `key`. Lines that cannot be read are skipped.
    pub fn participants(&self, key: &str) -> BTreeSet<Participant> {
        self.known().get(key).cloned().unwrap_or_default()
    }

    /// Records that `participant` took part in `key`. Write errors are ignored, because the host's ledger has it too.
    pub fn record(&self, key: &str, participant: Participant) {
        let is_new = self.known().entry(key.to_owned()).or_default().insert(participant.clone());
        if let (true, Some(path)) = (is_new, &self.path) {
            let _ = append(path, &Line { version: VERSION, key: key.to_owned(), participant });
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        let read = || Mutex::new(self.path.as_deref().and_then(|path| read(path).ok()).unwrap_or_default());
        self.known.get_or_init(read).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> io::Result<Known> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LIMIT).read_to_end(&mut bytes)?;
    let lines =
        bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
    let mut known = Known::new();
    for line in lines.filter(|line| line.version == VERSION) {
        known.entry(line.key).or_default().insert(line.participant);
    }
    Ok(known)
}

/// Adds a line in one write. It starts with a line end, because a crash may have left an incomplete line.
fn append(path: &Path, line: &Line) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let bytes = [b"\n", serde_json::to_vec(line)?.as_slice(), b"\n"].concat();
    file.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::StateFolder;

    fn participant(host: &str, machine: &str) -> Participant {
        Participant { host: HostName::new(host).unwrap(), machine: machine.to_owned() }
    }

    #[test]
    fn who_took_part_is_remembered_by_key_and_project() {
        let temp = tempfile::tempdir().unwrap();
        let folder = StateFolder::at(temp.path().join("state")).unwrap();
        let done = folder.done_once("shop");
        assert!(done.participants("a 1").is_empty());
        for who in [participant("web1", "m1"), participant("web2", "m2"), participant("web1", "m1")] {
            done.record("a 1", who);
        }
        done.record("a 2", participant("web3", "m3"));
        let expected = BTreeSet::from([participant("web1", "m1"), participant("web2", "m2")]);
        assert_eq!(folder.done_once("shop").participants("a 1"), expected);
        assert!(folder.done_once("other").participants("a 1").is_empty());
    }

    #[test]
    fn a_torn_or_newer_line_harms_no_other() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("once");
        let newer = r#"{"version":2,"key":"a 1","host":"web9","machine":"m9"}"#;
        fs::write(&path, format!("{newer}\n{{\"version\":1,\"key\":\"a")).unwrap();
        let done = DoneOnce::at(path);
        done.record("a 1", participant("web1", "m1"));
        assert_eq!(done.participants("a 1"), BTreeSet::from([participant("web1", "m1")]));
    }
}

//! The state that the daemon keeps between its starts: when each host is due, what has drifted, and how often each
//! resource was corrected.
//!
//! It is one JSON file that begins with its `version`. The file is replaced as a whole. So the next daemon reads the
//! complete old or new file, however this one ends. The events of runs are in the history, not here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use converge_model::{Address, Digest, HostName, HostState};
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::events::Response;

/// The version of the file.
const VERSION: u16 = 1;
/// The largest file that is read, in bytes.
const LIMIT: u64 = 256 * 1024 * 1024;

/// The memory of all hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    version: u16,
    /// The memory by host. A host that left the inventory is kept for a while, because it may come back.
    pub hosts: BTreeMap<HostName, HostMemory>,
    /// Whether corrections are held back because too many hosts drifted.
    #[serde(default)]
    pub is_storm: bool,
}

/// The memory of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostMemory {
    /// When the next look is due. None before its first look.
    pub due: Option<Timestamp>,
    /// A run of the host began and has not ended. After a start this means that the daemon died meanwhile.
    pub at_work: bool,
    /// How many ticks were skipped because the last run was still active.
    pub skipped: u64,
    /// The state in which its last run ended. Runs that met another run's lock do not count.
    pub last: Option<HostState>,
    /// How many resources should be corrected at the last look, whether they were corrected or not.
    pub found: u32,
    /// The drift that was not corrected.
    pub drifted: BTreeMap<Address, Known>,
    /// When each resource was corrected. Only times that still count for a fight are kept.
    pub corrections: BTreeMap<Address, Vec<Timestamp>>,
    /// The resources that the daemon gave up.
    pub fights: BTreeSet<Address>,
}

/// Drift that was reported already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Digest of the difference, without secrets.
    pub how: Digest,
    /// The response to it.
    pub response: Response,
}

/// Why the memory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Another daemon watches the same project.
    #[error("another daemon watches this project already")]
    Held,
    /// A file of the memory cannot be read or written.
    #[error("failed to {what} {path}: {source}")]
    File {
        /// `read`, `write`, ….
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file has a newer version or is damaged.
    #[error("{path} must be a state file of this version: {why}")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The mistake.
        why: String,
    },
}

/// The files of the memory, locked by one daemon at a time.
#[derive(Debug)]
pub struct Keep {
    file: PathBuf,
    _lock: File,
}

impl Default for Memory {
    fn default() -> Self {
        Self { version: VERSION, hosts: BTreeMap::new(), is_storm: false }
    }
}

impl Keep {
    /// Locks the memory in `folder`. Creates the folder if needed.
    ///
    /// # Errors
    /// [`MemoryError::Held`] if another daemon has the lock; otherwise the error of the system.
    pub fn hold(folder: &Path) -> Result<Self, MemoryError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(failed("make", folder))?;
        let path = folder.join("watch.lock");
        let opened = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = opened.map_err(failed("open", &path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { file: folder.join("watch.json"), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(MemoryError::Held),
            Err(errno) => Err(failed("lock", &path)(errno.into())),
        }
    }

    /// Reads the memory. It is empty if there is no file yet.
    ///
    /// # Errors
    /// If it cannot be read, or a newer version wrote it.
    pub fn read(&self) -> Result<Memory, MemoryError> {
        let unknown = |why: String| MemoryError::Unknown { path: self.file.clone(), why };
        let bytes = match fs::metadata(&self.file).and_then(|file| Ok((file.len(), fs::read(&self.file)?))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Memory::default()),
            Err(error) => return Err(failed("read", &self.file)(error)),
            Ok((length, _)) if length > LIMIT => return Err(unknown(format!("it has {length} bytes"))),
            Ok((_, bytes)) => bytes,
        };
        #[derive(Deserialize)]
        struct Version {
            version: u16,
        }
        let damaged = |error: serde_json::Error| unknown(error.to_string());
        match serde_json::from_slice(&bytes).map_err(damaged)? {
            Version { version: VERSION } => serde_json::from_slice(&bytes).map_err(damaged),
            Version { version } => Err(unknown(format!("it is of version {version}"))),
        }
    }

    /// Replaces the memory: writes a temporary file beside it, syncs it, renames it, and syncs the folder.
    ///
    /// # Errors
    /// If it cannot be written. Then the old file is still there.
    pub fn write(&self, memory: &Memory) -> Result<(), MemoryError> {
        let new = self.file.with_extension("json.new");
        let bytes = serde_json::to_vec(memory).unwrap_or_default();
        let written = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new);
        let written = written.and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()));
        written.and_then(|()| fs::rename(&new, &self.file)).map_err(failed("write", &self.file))?;
        let folder = self.file.parent().unwrap_or(Path::new("/"));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("sync", folder))
    }
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> MemoryError {
    move |source| MemoryError::File { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_survives_the_disk_and_belongs_to_one_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::hold(&folder.path().join("watch")).unwrap();
        let mut memory = keep.read().unwrap();
        assert_eq!(memory, Memory::default());
        let motd = Address::new(None, "file", "/etc/motd");
        let known = Known { how: Digest::of(b"x"), response: Response::Reports };
        let host = HostMemory {
            due: Some(Timestamp::UNIX_EPOCH),
            drifted: [(motd.clone(), known)].into(),
            corrections: [(motd.clone(), vec![Timestamp::UNIX_EPOCH])].into(),
            fights: [motd].into(),
            ..HostMemory::default()
        };
        memory.hosts.insert(HostName::new("web1").unwrap(), host);
        keep.write(&memory).unwrap();
        assert_eq!(keep.read().unwrap(), memory);
        assert!(matches!(Keep::hold(&folder.path().join("watch")), Err(MemoryError::Held)));
        drop(keep);
        assert_eq!(Keep::hold(&folder.path().join("watch")).unwrap().read().unwrap(), memory);
    }

    #[test]
    fn what_was_torn_before_the_rename_is_nothing_and_what_is_newer_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let keep = Keep::hold(folder.path()).unwrap();
        fs::write(folder.path().join("watch.json.new"), "{\"vers").unwrap();
        assert_eq!(keep.read().unwrap(), Memory::default());
        fs::write(folder.path().join("watch.json"), "{\"version\":2,\"hosts\":[]}").unwrap();
        assert!(keep.read().unwrap_err().to_string().ends_with("it is of version 2"));
    }
}

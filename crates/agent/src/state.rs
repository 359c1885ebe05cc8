//! The state that Converge keeps on a host between runs: the lock, the journal, the ledger, what a run replaced, and
//! how to restore it without a controller.
//!
//! For root and the system itself it is `/var/lib/converge`. Otherwise it is a folder in the user's own state, one
//! for each folder that stands for a host. Every file names its format in its first line or field. A newer format is
//! refused.

pub(crate) mod armed;
pub(crate) mod journal;
pub(crate) mod ledger;
pub(crate) mod lock;

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use converge_model::Digest;
use converge_resources::system::files::Files;

/// The state folder of one host.
pub(crate) struct State {
    folder: PathBuf,
}

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// There is no folder for it.
    #[error("the state of this host has no folder: XDG_STATE_HOME or HOME must be set")]
    Homeless,
    /// A file of the state cannot be read or written.
    #[error("failed to {what} {path}: {source}")]
    File {
        /// The verb: `read`, `write`, ….
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The folder belongs to another user, or others may write into it.
    #[error("{0} must be a private folder of this account")]
    NotPrivate(PathBuf),
    /// A newer version wrote it.
    #[error("{path} has format {found}; this version of Converge reads up to {known}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this version knows.
        known: u32,
    },
    /// The file is damaged.
    #[error("{0} is damaged")]
    Damaged(PathBuf),
}

impl State {
    /// Returns the state of the system itself, or of the folder `root` that stands for one. It makes nothing.
    pub(crate) fn of(root: Option<&Path>) -> Result<Self, StateError> {
        if root.is_none() && rustix::process::geteuid().is_root() {
            return Ok(Self { folder: PathBuf::from("/var/lib/converge") });
        }
        let home = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
        let home =
            home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state")));
        let home = home.filter(|home| home.is_absolute()).ok_or(StateError::Homeless)?.join("converge/hosts");
        let name = match root {
            None => "self".to_owned(),
            Some(root) => Digest::of(root.as_os_str().as_encoded_bytes()).short(),
        };
        Ok(Self { folder: home.join(name) })
    }

    /// Returns the state in `folder`.
    #[cfg(test)]
    pub(crate) fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Makes the folder with mode 0700, if it is missing. Refuses one that others may write into.
    pub(crate) fn make(&self) -> Result<(), StateError> {
        let fail = |source| StateError::File { what: "make", path: self.folder.clone(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(fail)?;
        let metadata = std::fs::symlink_metadata(&self.folder).map_err(fail)?;
        let own = metadata.uid() == rustix::process::geteuid().as_raw();
        if metadata.is_dir() && own && metadata.mode() & 0o022 == 0 {
            Ok(())
        } else {
            Err(StateError::NotPrivate(self.folder.clone()))
        }
    }

    /// Returns the path of a file of the state.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Makes an empty folder for what a run replaces. Remains of an earlier run are removed.
    pub(crate) fn replaced(&self) -> Result<Files, StateError> {
        let path = self.path("replaced");
        let fail = |source| StateError::File { what: "make", path: path.clone(), source };
        self.discard_replaced()?;
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(fail)?;
        Files::new(&path).map_err(fail)
    }

    /// Removes what a run replaced.
    pub(crate) fn discard_replaced(&self) -> Result<(), StateError> {
        let path = self.path("replaced");
        match std::fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StateError::File { what: "remove", path, source })
            }
            _ => Ok(()),
        }
    }

    /// Returns the key of this host. It is made once and never leaves the host. Digests of values that may be secret
    /// are keyed with it.
    pub(crate) fn key(&self) -> Result<Option<[u8; 32]>, StateError> {
        match read(&self.path("key"), 32)? {
            None => Ok(None),
            Some(bytes) => bytes.try_into().map(Some).map_err(|_| StateError::Damaged(self.path("key"))),
        }
    }

    /// Returns the key, and makes it if there is none.
    pub(crate) fn made_key(&self) -> Result<[u8; 32], StateError> {
        if let Some(key) = self.key()? {
            return Ok(key);
        }
        let path = self.path("key");
        let mut key = [0; 32];
        let fail = |source: io::Error| StateError::File { what: "make", path: path.clone(), source };
        rustix::rand::getrandom(&mut key[..], rustix::rand::GetRandomFlags::empty())
            .map_err(|errno| fail(errno.into()))?;
        replace(&path, &key)?;
        Ok(key)
    }
}

/// Seconds since the epoch, by the host's clock.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Returns the bytes of a state file of at most `limit` bytes. None if it does not exist.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StateError> {
    use std::io::Read;
    let fail = |source| StateError::File { what: "read", path: path.to_owned(), source };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
            return Ok(None);
        }
        Err(error) => return Err(fail(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > limit { Err(StateError::Damaged(path.to_owned())) } else { Ok(Some(bytes)) }
}

/// Replaces a state file whole: a temporary beside it, synced, renamed, the folder synced.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let fail = |source| StateError::File { what: "write", path: path.to_owned(), source };
    let new = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(fail)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(fail)?;
    std::fs::rename(&new, path).map_err(fail)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_may_write_into_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let state = State::in_folder(folder.path().join("state"));
        state.make().unwrap();
        assert_eq!(state.made_key().unwrap(), state.key().unwrap().unwrap(), "the key is made once");
        std::fs::set_permissions(&state.folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(state.make(), Err(StateError::NotPrivate(_))));
    }

    #[test]
    fn a_folder_of_another_user_and_a_link_to_one_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join("theirs");
        std::fs::create_dir(&theirs).unwrap();
        // Only root can change the owner. Other users test with a folder of root.
        let theirs = match std::os::unix::fs::chown(&theirs, Some(1), None) {
            Ok(()) => theirs,
            Err(_) => PathBuf::from("/"),
        };
        assert!(matches!(State::in_folder(theirs).make(), Err(StateError::NotPrivate(_))));
        let (own, link) = (folder.path().join("own"), folder.path().join("link"));
        std::fs::create_dir(&own).unwrap();
        std::os::unix::fs::symlink(&own, &link).unwrap();
        assert!(matches!(State::in_folder(link).make(), Err(StateError::NotPrivate(_))));
    }

    #[test]
    fn a_state_file_that_is_too_long_or_cut_short_is_damaged_and_an_absent_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::in_folder(folder.path().to_owned());
        let path = state.path("file");
        assert_eq!(read(&path, 4).unwrap(), None);
        replace(&path, b"four").unwrap();
        assert_eq!(read(&path, 4).unwrap().as_deref(), Some(&b"four"[..]));
        assert!(matches!(read(&path, 3), Err(StateError::Damaged(_))));
        std::fs::write(state.path("key"), [0; 31]).unwrap();
        assert!(matches!(state.key(), Err(StateError::Damaged(_))));
        for unreadable in [folder.path().to_owned(), path.join("below a file")] {
            assert!(matches!(read(&unreadable, 4), Err(StateError::File { what: "read", .. })));
        }
    }

    #[test]
    fn a_folder_that_stands_for_a_host_has_a_state_of_its_own_beside_those_of_its_user() {
        let of = |root: &str| State::of(Some(Path::new(root))).unwrap().folder;
        let one = of("/srv/one");
        assert!(one.parent().unwrap().ends_with("converge/hosts"), "{one:?}");
        assert!(one == of("/srv/one") && one != of("/srv/two"));
    }

    #[test]
    fn what_a_run_replaced_is_private_and_gone_at_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::in_folder(folder.path().to_owned());
        state.discard_replaced().unwrap();
        drop(state.replaced().unwrap());
        assert_eq!(std::fs::metadata(state.path("replaced")).unwrap().mode() & 0o777, 0o700);
        std::fs::write(state.path("replaced/old"), "").unwrap();
        drop(state.replaced().unwrap());
        assert!(!state.path("replaced/old").exists());
        state.discard_replaced().unwrap();
        assert!(!state.path("replaced").exists());
        std::fs::write(state.path("replaced"), "in the way").unwrap();
        assert!(matches!(state.discard_replaced(), Err(StateError::File { what: "remove", .. })));
    }
}

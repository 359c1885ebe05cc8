//! The private folder of control sockets: short, for a socket's path has room for 107 bytes, and swept of what earlier
//! runs left.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The longest path of a folder: `ssh` appends the name of the socket and a suffix of 17 bytes while it binds.
const LONGEST: usize = 107 - 17 - 17;
/// Nothing younger than this is swept: its master may still be connecting.
const OLD: Duration = Duration::from_secs(15 * 60);

/// The folder.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The user's folder, made where it is missing.
    pub(crate) fn usual() -> io::Result<Self> {
        let runtime =
            std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        let uid = rustix::process::geteuid().as_raw();
        let candidates = runtime.map(|runtime| runtime.join("converge")).into_iter();
        let mut last = io::Error::other("no folder for control sockets");
        for path in candidates.chain([PathBuf::from(format!("/tmp/converge-{uid}"))]) {
            match Self::at(path) {
                Ok(folder) => return Ok(folder),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The folder at `path`: a real folder, the user's own, closed to everyone else.
    pub(crate) fn at(path: PathBuf) -> io::Result<Self> {
        if path.as_os_str().len() > LONGEST {
            return Err(io::Error::other(format!("{} is too long for a control socket", path.display())));
        }
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = std::fs::symlink_metadata(&path)?;
        let ours = found.uid() == rustix::process::geteuid().as_raw();
        if !found.is_dir() || !ours || found.mode() & 0o077 != 0 {
            return Err(io::Error::other(format!("{} is not a private folder of this user", path.display())));
        }
        let folder = Self(path);
        folder.sweep(SystemTime::now());
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Removes the files of masters that have ended.
    fn sweep(&self, now: SystemTime) {
        for entry in std::fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let path = entry.path();
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let old = modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > OLD));
            if old && UnixStream::connect(path.with_extension("")).is_err() {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_folder_that_others_can_enter_is_refused() {
        let scratch = tempfile::tempdir_in("/tmp").unwrap();
        let path = scratch.path().join("c");
        assert!(Folder::at(path.clone()).is_ok());
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        assert!(Folder::at(path.clone()).is_err());
        symlink(scratch.path(), scratch.path().join("l")).unwrap();
        assert!(Folder::at(scratch.path().join("l")).is_err());
        assert!(Folder::at(scratch.path().join("x".repeat(100))).is_err());
    }

    #[test]
    fn the_files_of_dead_masters_are_swept_and_those_of_living_ones_stay() {
        let scratch = tempfile::tempdir_in("/tmp").unwrap();
        let folder = Folder::at(scratch.path().join("c")).unwrap();
        let _living = UnixListener::bind(folder.path().join("aa")).unwrap();
        drop(UnixListener::bind(folder.path().join("bb")).unwrap());
        for log in ["aa.log", "bb.log"] {
            std::fs::write(folder.path().join(log), "").unwrap();
        }
        let left = |now: SystemTime| {
            folder.sweep(now);
            let mut names: Vec<_> =
                std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(left(SystemTime::now()).len(), 4);
        assert_eq!(left(SystemTime::now() + OLD * 2), ["aa", "aa.log"]);
    }
}

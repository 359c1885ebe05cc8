//! The private folder of control sockets. Its path is short, because the path of a socket has room for 107 bytes.
//! Files that earlier runs left there are removed.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::gates::random;

/// The longest path of a folder. `ssh` appends the name of the socket, and a suffix of 17 bytes while it binds.
const LONGEST: usize = 107 - 17 - 17;
/// How many random names are tried. One is enough, unless another user guesses it.
const RANDOM_NAMES: usize = 8;
/// Younger files are not removed: their master may still be connecting.
const OLD: Duration = Duration::from_secs(15 * 60);

/// The place in /tmp for folders with a random name that other users cannot know in advance.
const LAST_RESORT: &str = "/tmp";

/// The folder.
pub(crate) struct Folder(PathBuf);

/// Where the folder of control sockets may be.
struct Places {
    /// The user's runtime folder, which lasts as long as the login.
    runtime: Option<PathBuf>,
    /// The user's folder for the state of Converge.
    state: Option<PathBuf>,
}

impl Places {
    fn of_user() -> Self {
        let absolute =
            |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
        Self { runtime: absolute("XDG_RUNTIME_DIR"), state: state.map(|state| state.join("converge")) }
    }
}

impl Folder {
    /// Returns the user's folder, and creates it if it is missing. Another user cannot block it by taking its name.
    pub(crate) fn usual() -> io::Result<Self> {
        Self::in_places(&Places::of_user())
    }

    fn in_places(places: &Places) -> io::Result<Self> {
        let runtime = places.runtime.iter().filter(|runtime| is_private(runtime));
        let mut candidates = runtime.map(|runtime| runtime.join("converge"));
        if let Some(folder) = candidates.find_map(|path| Self::at(path).ok()) {
            return Ok(folder);
        }
        let Some(state) = &places.state else { return Self::random() };
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state);
        match made.and_then(|()| Self::at(state.join("ssh"))) {
            Ok(folder) => Ok(folder),
            Err(_) => Self::recorded(&state.join("sockets")),
        }
    }

    /// Returns the folder that the file `record` names. It is used if the home has too long a path for a socket, or a
    /// file system without sockets. The next run finds the same folder there. A folder that another user makes in
    /// /tmp is never used.
    fn recorded(record: &Path) -> io::Result<Self> {
        let known = std::fs::read_to_string(record).map(PathBuf::from);
        if let Some(folder) = known.ok().filter(|path| path.is_dir()).and_then(|path| Self::at(path).ok()) {
            return Ok(folder);
        }
        let folder = Self::random()?;
        // If the record cannot be written, the next run has its own folder and its own connections.
        let new = record.with_extension(std::process::id().to_string());
        let _ = std::fs::write(&new, folder.0.as_os_str().as_encoded_bytes())
            .and_then(|()| std::fs::rename(&new, record));
        Ok(folder)
    }

    fn random() -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AlreadyExists);
        for _ in 0..RANDOM_NAMES {
            let path = Path::new(LAST_RESORT).join(format!("converge-{:016x}", random()));
            // A folder that exists already may belong to another program, so it is not used.
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Self::at(path),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Returns the folder at `path`. It must be a real folder of the user, closed to all others, that can hold
    /// sockets.
    pub(crate) fn at(path: PathBuf) -> io::Result<Self> {
        if path.as_os_str().len() > LONGEST {
            return Err(io::Error::other(format!("{} is too long for a control socket", path.display())));
        }
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !is_private(&path) {
            return Err(io::Error::other(format!("{} is not a private folder of this user", path.display())));
        }
        let probe = path.join(format!("{:016x}", random()));
        UnixListener::bind(&probe)?;
        let _ = std::fs::remove_file(probe);
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

/// Whether `path` is a real folder of this user and closed to all others.
fn is_private(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| {
        found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

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

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_folder_is_found_again_wherever_it_had_to_be() {
        let scratch = tempfile::tempdir_in("/tmp").unwrap();
        let at = |name: &str| {
            let path = scratch.path().join(name);
            std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
            path
        };
        let (runtime, open, state) = (at("run"), at("open"), at("state"));
        mode(&open, 0o777);
        let long = at(&"x".repeat(LONGEST));
        let check = |runtime: Option<&PathBuf>, state: Option<&PathBuf>, expected: Option<PathBuf>| {
            let places = Places { runtime: runtime.cloned(), state: state.cloned() };
            let [first, second] = [(), ()].map(|()| Folder::in_places(&places).unwrap().0);
            let remembered = first == second;
            if !first.starts_with(scratch.path()) {
                let name = first.file_name().unwrap().to_str().unwrap().to_owned();
                assert!(first.parent() == Some(Path::new("/tmp")) && name.starts_with("converge-"), "{name}");
                std::fs::remove_dir(&first).unwrap();
                let _ = std::fs::remove_dir(second);
            }
            assert!(remembered || state.is_none(), "the next run takes connections over");
            assert!(expected.is_none_or(|expected| expected == first), "{first:?}");
        };
        check(Some(&runtime), Some(&state), Some(runtime.join("converge")));
        check(None, Some(&state), Some(state.join("ssh")));
        check(Some(&open), Some(&state), Some(state.join("ssh")));
        check(None, Some(&long), None);
        check(None, None, None);
    }

    #[test]
    fn a_folder_that_another_user_made_is_not_taken() {
        let scratch = tempfile::tempdir_in("/tmp").unwrap();
        let (record, taken) = (scratch.path().join("sockets"), scratch.path().join("taken"));
        std::fs::create_dir(&taken).unwrap();
        mode(&taken, 0o777);
        std::fs::write(&record, taken.to_str().unwrap()).unwrap();
        let folder = Folder::recorded(&record).unwrap();
        assert_ne!(folder.path(), taken);
        assert_eq!(std::fs::read_to_string(record).unwrap(), folder.path().to_str().unwrap());
        std::fs::remove_dir(folder.path()).unwrap();
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

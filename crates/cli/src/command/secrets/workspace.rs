//! The folder where a decrypted file is edited. Only the user can read it, and it is in memory if the system has a
//! place for that. It is removed when this value is dropped. The next process removes what a killed process left.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use converge_lang::SECRETS_LIMIT;
use converge_model::Secret;
use tempfile::TempDir;

/// The beginning of the folders' names. The process id follows.
const PREFIX: &str = "converge-secrets-";

/// A folder with the text to edit.
pub(super) struct Workspace {
    folder: TempDir,
    file: PathBuf,
}

impl Workspace {
    /// Creates a folder with `text` in a file called `name`.
    pub(super) fn new(name: &str, text: &Secret) -> io::Result<Self> {
        let place = place();
        sweep(&place);
        let folder = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(place)?;
        let file = folder.path().join(name);
        let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
        opened.write_all(text.expose())?;
        Ok(Self { folder, file })
    }

    /// Returns the path of the file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the current text of the file.
    pub(super) fn text(&self) -> io::Result<Secret> {
        let mut text = Vec::with_capacity(SECRETS_LIMIT + 2);
        fs::File::open(&self.file)?.take(SECRETS_LIMIT as u64 + 1).read_to_end(&mut text)?;
        Ok(Secret::new(text))
    }

    /// Removes the folder. A failure is an error.
    pub(super) fn close(self) -> io::Result<()> {
        self.folder.close()
    }
}

/// Returns memory, otherwise the user's runtime folder (which is in memory too), otherwise the folder for temporary
/// files.
fn place() -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let known = [Some(PathBuf::from("/dev/shm")), runtime].into_iter().flatten();
    known.into_iter().find(|path| path.is_absolute() && writable(path)).unwrap_or_else(std::env::temp_dir)
}

fn writable(path: &Path) -> bool {
    use rustix::fs::{Access, access};
    path.is_dir() && access(path, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Removes the folders of processes that have ended.
fn sweep(place: &Path) {
    let user = rustix::process::geteuid().as_raw();
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        let own = entry.metadata().is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == user);
        if process.is_some_and(|id| own && !Path::new(&format!("/proc/{id}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_user_sees_it_and_nothing_is_left() {
        let workspace = Workspace::new("s.kdl", &Secret::new("a \"1\"")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = workspace.file().parent().unwrap().to_owned();
        assert_eq!((mode(&folder), mode(workspace.file())), (0o700, 0o600));
        assert!(workspace.text().unwrap().expose() == b"a \"1\"");
        fs::write(folder.join(".s.kdl.swp"), "left by an editor").unwrap();
        workspace.close().unwrap();
        assert!(!folder.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_no_more() {
        let place = tempfile::tempdir().unwrap();
        let folder = |name: String| {
            let path = place.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("s.kdl"), "").unwrap();
            path
        };
        // No process has this id: it is above the kernel's limit.
        let left = folder(format!("{PREFIX}4194305-abc"));
        let kept =
            [format!("{PREFIX}{}-abc", std::process::id()), format!("{PREFIX}x"), "other-4194305".to_owned()];
        let kept = kept.map(folder);
        sweep(place.path());
        assert!(!left.exists());
        assert!(kept.iter().all(|path| path.exists()));
    }
}

//! A folder with everything in it: copied, emptied and restored through open descriptors. No link is followed, even
//! if another program puts one in the place of a folder meanwhile.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use super::{DEPTH, Files, Metadata, Spot, names, open_folder, remove_all};

const TO_READ: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
const TO_MAKE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Files {
    /// Copies the folder at `from` with everything in it to `to` below the root of `other`, where nothing may be.
    /// Files get hard links where possible. A program that replaces such a file, and does not write into it, leaves
    /// the copy unchanged. Devices, sockets and FIFOs are not copied.
    pub fn copy_tree(&self, from: &Path, other: &Self, to: &Path) -> io::Result<()> {
        let (from, to) = (self.spot(from)?, other.spot(to)?);
        rustix::fs::mkdirat(&to.folder, &to.name, Mode::from_raw_mode(0o700))?;
        copy_all(&from.whole()?, &to.whole()?, DEPTH)
    }

    /// Removes everything in the folder at `path`. A mount below it is an error.
    pub fn empty(&self, path: &Path) -> io::Result<()> {
        empty(&self.spot(path)?.whole()?)
    }

    /// Restores the folder at `to` from the folder at `path` of `other`, which [`Files::copy_tree`] made.
    pub fn restore_tree(&self, to: &Path, other: &Self, path: &Path) -> io::Result<()> {
        let (to, from) = (self.spot(to)?.whole()?, other.spot(path)?.whole()?);
        // No other user can open it meanwhile. Its owner and mode are restored together with its content.
        let held = File::from(rustix::io::dup(&to)?);
        Metadata::own(0o700).give(&held)?;
        empty(&to)?;
        copy_all(&from, &to, DEPTH)
    }
}

impl Spot {
    /// Opens the folder itself. A link is an error.
    fn whole(&self) -> io::Result<OwnedFd> {
        open_folder(&self.folder, &self.name)
    }
}

fn empty(folder: &OwnedFd) -> io::Result<()> {
    for name in names(folder)? {
        remove_all(&Spot { folder: rustix::io::dup(folder)?, name }, DEPTH)?;
    }
    Ok(())
}

/// Copies the content of `from` into `to`, and then the metadata of `from`.
fn copy_all(from: &OwnedFd, to: &OwnedFd, depth: usize) -> io::Result<()> {
    let deep = || io::Error::other(format!("folders are nested more than {DEPTH} deep"));
    let left = depth.checked_sub(1).ok_or_else(deep)?;
    for name in names(from)? {
        let stat = rustix::fs::statat(from, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                rustix::fs::mkdirat(to, &name, Mode::from_raw_mode(0o700))?;
                copy_all(&open_folder(from, &name)?, &open_folder(to, &name)?, left)?;
            }
            FileType::RegularFile | FileType::Symlink => copy_one(from, to, &name)?,
            _ => {}
        }
    }
    let metadata = Metadata::of(&File::from(rustix::io::dup(from)?))?;
    metadata.give(&File::from(rustix::io::dup(to)?))
}

/// Makes a hard link to the file or link, or a copy of it.
fn copy_one(from: &OwnedFd, to: &OwnedFd, name: &std::ffi::OsStr) -> io::Result<()> {
    if rustix::fs::linkat(from, name, to, name, AtFlags::empty()).is_ok() {
        return Ok(());
    }
    if let Ok(target) = rustix::fs::readlinkat(from, name, Vec::new()) {
        let owner = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        rustix::fs::symlinkat(target, to, name)?;
        let (uid, gid) = (rustix::fs::Uid::from_raw(owner.st_uid), rustix::fs::Gid::from_raw(owner.st_gid));
        return Ok(rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?);
    }
    let mut source = File::from(rustix::fs::openat(from, name, TO_READ, Mode::empty())?);
    if !source.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "another program replaced a file"));
    }
    let mut copy = File::from(rustix::fs::openat(to, name, TO_MAKE, Mode::from_raw_mode(0o600))?);
    io::copy(&mut source, &mut copy)?;
    Metadata::of(&source)?.give(&copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::files::adorned;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::PathBuf;

    struct Bench {
        folder: tempfile::TempDir,
        files: Files,
        store: Files,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("host/tree/below")).unwrap();
            fs::create_dir(folder.path().join("store")).unwrap();
            let files = Files::new(folder.path().join("host")).unwrap();
            let store = Files::new(folder.path().join("store")).unwrap();
            Self { folder, files, store }
        }

        fn at(&self, path: &str) -> PathBuf {
            self.folder.path().join("host").join(path)
        }
    }

    #[test]
    fn a_folder_comes_back_with_all_that_was_in_it_and_nothing_else() {
        let bench = Bench::new();
        fs::write(bench.at("tree/below/file"), "old").unwrap();
        adorned::adorn(&bench.at("tree/below/file"));
        symlink("below/file", bench.at("tree/link")).unwrap();
        fs::set_permissions(bench.at("tree/below"), fs::Permissions::from_mode(0o750)).unwrap();
        bench.files.copy_tree("/tree".as_ref(), &bench.store, "/1".as_ref()).unwrap();
        bench.files.empty("/tree".as_ref()).unwrap();
        assert_eq!(fs::read_dir(bench.at("tree")).unwrap().count(), 0);
        fs::write(bench.at("tree/new"), "new").unwrap();
        for _ in 0..2 {
            bench.files.restore_tree("/tree".as_ref(), &bench.store, "/1".as_ref()).unwrap();
        }
        assert_eq!(fs::read_to_string(bench.at("tree/link")).unwrap(), "old");
        adorned::assert_adorned(&bench.at("tree/below/file"));
        assert_eq!(fs::metadata(bench.at("tree/below")).unwrap().mode() & 0o777, 0o750);
        assert_eq!(fs::metadata(bench.at("tree")).unwrap().mode() & 0o777, 0o755);
        assert!(!bench.at("tree/new").exists());
    }

    #[test]
    fn what_is_kept_of_a_folder_holds_nothing_that_a_link_in_it_leads_to() {
        let bench = Bench::new();
        fs::create_dir(bench.at("secret")).unwrap();
        fs::write(bench.at("secret/shadow"), "root only").unwrap();
        fs::write(bench.at("tree/below/file"), "own").unwrap();
        symlink("../secret", bench.at("tree/link")).unwrap();
        let (one, other) = (bench.at("tree/below"), bench.at("tree/link"));
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ =
                        rustix::fs::renameat_with(rustix::fs::CWD, &one, rustix::fs::CWD, &other, exchange);
                }
            });
            for n in 0..300 {
                // The copy may fail because another program exchanges the folders.
                let _ = bench.files.copy_tree("/tree".as_ref(), &bench.store, format!("/{n}").as_ref());
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        let kept = bench.folder.path().join("store");
        for entry in fs::read_dir(kept).unwrap() {
            for name in ["below", "link"] {
                let folder = entry.as_ref().unwrap().path().join(name);
                let is_real = fs::symlink_metadata(&folder).is_ok_and(|found| found.is_dir());
                assert!(!is_real || !folder.join("shadow").exists());
            }
        }
    }
}

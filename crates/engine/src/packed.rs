//! Packs a folder of a project into one archive. The archive has the same bytes on each machine: only file names,
//! contents and the executable bit count. A folder is packed once, and again only after something in it changed. The
//! host unpacks it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use converge_lang::SourceError;
use converge_model::Digest;
use tar::{Builder, EntryType, Header};

/// The most files and folders in one archive.
const ENTRIES: usize = 100_000;
/// The most bytes of all files in one archive.
const BYTES: u64 = 1 << 30;
/// Names that are left out: they belong to the people who work in the folder, not to the result.
const LEFT_OUT: [&str; 2] = [".git", "__pycache__"];

/// The packed folders, by path.
#[derive(Default)]
pub(crate) struct Packs(Mutex<HashMap<PathBuf, Arc<Packed>>>);

/// A folder as an archive. The archive is in a file without a name, which is gone with its last descriptor.
pub(crate) struct Packed {
    /// The digest of the archive.
    pub(crate) digest: Digest,
    /// Its length in bytes.
    pub(crate) length: u64,
    file: Arc<File>,
    /// Stamp of the folder's files when they were packed.
    stamp: Digest,
}

impl Packs {
    /// Packs the current state of `folder`. A second caller waits and gets the same archive.
    pub(crate) fn of(&self, folder: &Path) -> Result<Arc<Packed>, SourceError> {
        let mut packs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = Vec::new();
        walk(folder, &mut entries)?;
        let stamp = stamp(&entries)?;
        if let Some(known) = packs.get(folder).filter(|known| known.stamp == stamp) {
            return Ok(known.clone());
        }
        let packed = Arc::new(pack(folder, entries, stamp)?);
        packs.insert(folder.to_owned(), packed.clone());
        Ok(packed)
    }
}

impl Packed {
    /// Reads the archive from its beginning. Any number of readers may read at the same time.
    pub(crate) fn bytes(&self) -> impl Read + Send + use<> {
        Reader { file: self.file.clone(), at: 0 }
    }
}

struct Reader {
    file: Arc<File>,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Returns a digest that changes when a file does: its name, length, mode, mtime and ctime. No program can set the
/// ctime.
fn stamp(entries: &[PathBuf]) -> Result<Digest, SourceError> {
    let mut hasher = blake3::Hasher::new();
    for path in entries {
        let metadata = path.symlink_metadata().map_err(|error| failed(path, &error))?;
        let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
        hasher.update(path.as_os_str().as_bytes());
        hasher.update(format!("\0{} {:o} {times:?}\0", metadata.len(), metadata.mode()).as_bytes());
    }
    Ok(hasher.finalize().into())
}

fn pack(folder: &Path, entries: Vec<PathBuf>, stamp: Digest) -> Result<Packed, SourceError> {
    let fail = |error: io::Error| failed(folder, &error);
    let file = tempfile::tempfile().map_err(fail)?;
    let mut builder = Builder::new(Hashed { file, hasher: blake3::Hasher::new(), length: 0 });
    let mut left = BYTES;
    for path in entries {
        add(&mut builder, folder, &path, &mut left)?;
    }
    let Hashed { file, hasher, length } = builder.into_inner().map_err(fail)?;
    Ok(Packed { digest: hasher.finalize().into(), length, file: Arc::new(file), stamp })
}

fn failed(path: &Path, error: &io::Error) -> SourceError {
    SourceError::Failed(format!("{}: {error}", path.display()))
}

/// A file whose digest and length are computed while it is written.
struct Hashed {
    file: File,
    hasher: blake3::Hasher,
    length: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Lists everything below a folder by name. A folder comes before its contents.
fn walk(folder: &Path, entries: &mut Vec<PathBuf>) -> Result<(), SourceError> {
    let fail = |error: io::Error| failed(folder, &error);
    let names = fs::read_dir(folder).map_err(fail)?.take(ENTRIES + 1);
    let mut paths = names.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(fail)?;
    paths.retain(|path| !LEFT_OUT.iter().any(|name| path.ends_with(name)));
    paths.sort();
    for path in paths {
        if entries.len() >= ENTRIES {
            return Err(SourceError::Failed(format!("it holds more than {ENTRIES} files")));
        }
        let is_folder = path.symlink_metadata().map_err(fail)?.is_dir();
        entries.push(path.clone());
        if is_folder {
            walk(&path, entries)?;
        }
    }
    Ok(())
}

fn add(builder: &mut Builder<Hashed>, folder: &Path, path: &Path, left: &mut u64) -> Result<(), SourceError> {
    let fail = |error: io::Error| failed(path, &error);
    let metadata = path.symlink_metadata().map_err(fail)?;
    let name = path.strip_prefix(folder).unwrap_or(path);
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    if metadata.is_dir() {
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        return builder.append_data(&mut header, name, io::empty()).map_err(fail);
    }
    if !metadata.is_file() {
        let message = format!("{} is neither a file nor a folder, and cannot be packed", path.display());
        return Err(SourceError::Failed(message));
    }
    *left = left
        .checked_sub(metadata.len())
        .ok_or_else(|| SourceError::Failed(format!("it holds more than {BYTES} bytes")))?;
    header.set_mode(if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 });
    header.set_size(metadata.len());
    // The limit matters if the file grows meanwhile: more bytes would shift everything that follows.
    let bytes = File::open(path).map_err(fail)?.take(metadata.len());
    builder.append_data(&mut header, name, bytes).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn bytes(folder: &Path) -> Vec<u8> {
        let packed = Packs::default().of(folder).unwrap();
        let mut bytes = Vec::new();
        packed.bytes().read_to_end(&mut bytes).unwrap();
        assert_eq!((bytes.len() as u64, Digest::of(&bytes)), (packed.length, packed.digest));
        bytes
    }

    fn app(folder: &Path, order: [&str; 2]) {
        fs::create_dir_all(folder.join("shop/__pycache__")).unwrap();
        fs::create_dir_all(folder.join(".git")).unwrap();
        fs::write(folder.join("shop/__pycache__/a.pyc"), "left out").unwrap();
        fs::write(folder.join(".git/HEAD"), "left out").unwrap();
        for name in order {
            fs::write(folder.join("shop").join(name), name).unwrap();
        }
        fs::set_permissions(folder.join("shop/b"), fs::Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn the_same_files_are_the_same_bytes_for_each_owner_and_time() {
        let temp = tempfile::tempdir().unwrap();
        let long = "x".repeat(150);
        app(&temp.path().join("one"), ["a", "b"]);
        app(&temp.path().join("two"), ["b", "a"]);
        for folder in ["one", "two"] {
            fs::write(temp.path().join(folder).join(&long), "long").unwrap();
        }
        let packed = bytes(&temp.path().join("one"));
        assert_eq!(packed, bytes(&temp.path().join("two")));
        let mut archive = tar::Archive::new(packed.as_slice());
        let entries = archive.entries().unwrap().map(Result::unwrap);
        let listed: Vec<_> = entries
            .map(|entry| (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap()))
            .collect();
        let expected = [("shop", 0o755), ("shop/a", 0o644), ("shop/b", 0o755), (&*long, 0o644)];
        assert_eq!(listed, expected.map(|(name, mode)| (name.to_owned(), mode)));
        fs::write(temp.path().join("two/shop/a"), "other").unwrap();
        assert_ne!(packed, bytes(&temp.path().join("two")));
    }

    #[test]
    fn a_folder_is_packed_once_until_something_in_it_changes() {
        let temp = tempfile::tempdir().unwrap();
        let change_it: [fn(&Path); 5] = [
            |file| fs::write(file, "longer").unwrap(),
            // The same length and the same mtime, as `rsync -t` and `tar` leave it.
            |file| {
                fs::write(file, "LONGER").unwrap();
                File::open(file).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            },
            |file| fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap(),
            |file| fs::rename(file, file.with_extension("x")).unwrap(),
            |file| fs::create_dir(file).unwrap(),
        ];
        let file = temp.path().join("a");
        fs::write(&file, "short").unwrap();
        let packs = Packs::default();
        let mut before = packs.of(temp.path()).unwrap();
        for change_it in change_it {
            assert!(Arc::ptr_eq(&before, &packs.of(temp.path()).unwrap()));
            change_it(&file);
            let now = packs.of(temp.path()).unwrap();
            assert_ne!(before.digest, now.digest);
            before = now;
        }
    }

    #[test]
    fn what_is_no_file_is_named() {
        let temp = tempfile::tempdir().unwrap();
        symlink("/etc/passwd", temp.path().join("link")).unwrap();
        let error = Packs::default().of(temp.path()).err().unwrap().to_string();
        assert!(error.contains("link is neither a file nor a folder"), "{error}");
    }
}

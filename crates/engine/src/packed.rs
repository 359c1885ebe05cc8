//! A folder of a project as one archive, the same bytes whenever and wherever it is packed: nothing counts but the files
//! themselves, whether they may be executed, and their names. Where it is unpacked again is the host's.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use converge_lang::SourceError;
use tar::{Builder, EntryType, Header};

/// How many files and folders are packed at most.
const ENTRIES: usize = 100_000;
/// The most that they may hold together, in bytes.
const BYTES: u64 = 1 << 30;
/// What belongs to those who work in a folder, not to what is made there.
const LEFT_OUT: [&str; 2] = [".git", "__pycache__"];

/// Packs `folder` into a file that has no name and is gone with its last descriptor; the file, at its beginning, and its
/// length in bytes.
pub(crate) fn pack(folder: &Path) -> Result<(File, u64), SourceError> {
    let failed = |error: io::Error| SourceError::Failed(error.to_string());
    let mut entries = Vec::new();
    walk(folder, &mut entries)?;
    let mut builder = Builder::new(tempfile::tempfile().map_err(failed)?);
    let mut left = BYTES;
    for path in entries {
        add(&mut builder, folder, &path, &mut left)?;
    }
    let mut file = builder.into_inner().map_err(failed)?;
    let length = file.stream_position().map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok((file, length))
}

/// Everything below a folder, by name, folders before what is in them.
fn walk(folder: &Path, entries: &mut Vec<PathBuf>) -> Result<(), SourceError> {
    let failed = |error: io::Error| SourceError::Failed(format!("{}: {error}", folder.display()));
    let names = fs::read_dir(folder).map_err(failed)?.take(ENTRIES + 1);
    let mut paths = names.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    paths.retain(|path| !LEFT_OUT.iter().any(|name| path.ends_with(name)));
    paths.sort();
    for path in paths {
        if entries.len() >= ENTRIES {
            return Err(SourceError::Failed(format!("it holds more than {ENTRIES} files")));
        }
        let is_folder = path.symlink_metadata().map_err(failed)?.is_dir();
        entries.push(path.clone());
        if is_folder {
            walk(&path, entries)?;
        }
    }
    Ok(())
}

fn add(builder: &mut Builder<File>, folder: &Path, path: &Path, left: &mut u64) -> Result<(), SourceError> {
    let failed = |error: io::Error| SourceError::Failed(format!("{}: {error}", path.display()));
    let metadata = path.symlink_metadata().map_err(failed)?;
    let name = path.strip_prefix(folder).unwrap_or(path);
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    if metadata.is_dir() {
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        return builder.append_data(&mut header, name, io::empty()).map_err(failed);
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
    // A file that grows meanwhile would shift what follows it.
    let bytes = io::Read::take(File::open(path).map_err(failed)?, metadata.len());
    builder.append_data(&mut header, name, bytes).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    fn bytes(folder: &Path) -> Vec<u8> {
        let (mut file, length) = pack(folder).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, length);
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
    fn the_same_files_are_the_same_bytes_whoever_made_them_and_when() {
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
    fn what_is_no_file_is_named() {
        let temp = tempfile::tempdir().unwrap();
        symlink("/etc/passwd", temp.path().join("link")).unwrap();
        let error = pack(temp.path()).unwrap_err().to_string();
        assert!(error.contains("link is neither a file nor a folder"), "{error}");
    }
}

//! Reads the files of a project for the language: only regular files, only inside its folder, only up to the
//! requested size.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use converge_lang::{EntryKind, SourceError, Sources};
use converge_model::{Digest, Secret};

use crate::packed::Packs;
use crate::secrets::{self, Identities, SEALED_LIMIT};

/// A project on disk.
pub struct ProjectSources {
    root: PathBuf,
    identities: Arc<Identities>,
    digests: Mutex<HashMap<PathBuf, (Stamp, Digest)>>,
    packs: Packs,
}

/// Changes when a file does: its length and its modification time.
type Stamp = (u64, Option<SystemTime>);

/// The most names in a folder. A folder with more is not part of a project.
const NAMES: usize = 100_000;

impl ProjectSources {
    /// Creates the sources of the project in `root`, an absolute path without symbolic links. Its secrets are opened
    /// with `identities`.
    pub fn new(root: PathBuf, identities: Arc<Identities>) -> Self {
        Self { root, identities, digests: Mutex::default(), packs: Packs::default() }
    }

    /// Opens a file of any size, or a folder as an archive. Returns its bytes and their number.
    pub fn open(&self, path: &str) -> Result<(Box<dyn Read + Send>, u64), SourceError> {
        let resolved = self.resolve(path)?;
        if resolved.is_dir() {
            let packed = self.packs.of(&resolved)?;
            return Ok((Box::new(packed.bytes()), packed.length));
        }
        let (path, metadata) = self.file(path)?;
        Ok((Box::new(File::open(path).map_err(failed)?), metadata.len()))
    }

    /// Resolves a path: follows links, which must stay inside the project.
    fn resolve(&self, path: &str) -> Result<PathBuf, SourceError> {
        let resolved = self.root.join(path).canonicalize().map_err(failed)?;
        if resolved.starts_with(&self.root) { Ok(resolved) } else { Err(SourceError::Outside) }
    }

    fn file(&self, path: &str) -> Result<(PathBuf, Metadata), SourceError> {
        let path = self.resolve(path)?;
        let metadata = fs::metadata(&path).map_err(failed)?;
        if metadata.is_file() { Ok((path, metadata)) } else { Err(SourceError::NotAFile) }
    }

    fn known_digest(&self, path: &Path, stamp: &Stamp) -> Option<Digest> {
        let digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        digests.get(path).filter(|(known, _)| known == stamp).map(|(_, digest)| *digest)
    }
}

impl Sources for ProjectSources {
    fn read(&self, path: &str, limit: u64) -> Result<Arc<[u8]>, SourceError> {
        let (path, metadata) = self.file(path)?;
        if metadata.len() > limit {
            return Err(SourceError::TooLarge { limit });
        }
        // The file may grow while it is read, so the read has a limit too.
        let mut bytes = Vec::with_capacity(metadata.len() as usize);
        File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(failed)?;
        if bytes.len() as u64 > limit { Err(SourceError::TooLarge { limit }) } else { Ok(bytes.into()) }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, SourceError> {
        let entries = fs::read_dir(self.resolve(folder)?).map_err(failed)?.take(NAMES);
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
        // A name that is not UTF-8 cannot be written in an inventory, so it is skipped.
        names.filter_map(Result::transpose).collect::<io::Result<_>>().map_err(failed)
    }

    fn kind(&self, path: &str) -> Result<EntryKind, SourceError> {
        let metadata = match self.resolve(path) {
            Ok(path) => fs::metadata(path).map_err(failed)?,
            Err(SourceError::Missing) => return Ok(EntryKind::Nothing),
            Err(error) => return Err(error),
        };
        match () {
            () if metadata.is_dir() => Ok(EntryKind::Folder),
            () if metadata.is_file() => Ok(EntryKind::File),
            () => Err(SourceError::NotAFile),
        }
    }

    fn digest(&self, path: &str) -> Result<(Digest, u64), SourceError> {
        let (path, metadata) = self.file(path)?;
        let stamp = (metadata.len(), metadata.modified().ok());
        if let Some(digest) = self.known_digest(&path, &stamp) {
            return Ok((digest, stamp.0));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(&path).map_err(failed)?).map_err(failed)?;
        let digest = Digest::from(hasher.finalize());
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).insert(path, (stamp, digest));
        Ok((digest, stamp.0))
    }

    fn packed(&self, folder: &str) -> Result<(Digest, u64), SourceError> {
        let packed = self.packs.of(&self.resolve(folder)?)?;
        Ok((packed.digest, packed.length))
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn secrets(&self, path: &str) -> Result<Secret, SourceError> {
        let sealed = self.read(path, SEALED_LIMIT)?;
        secrets::open(&sealed, &self.identities)
            .map_err(|error| SourceError::Sealed { why: error.to_string(), help: error.help() })
    }
}

fn failed(error: io::Error) -> SourceError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SourceError::Missing,
        io::ErrorKind::IsADirectory => SourceError::NotAFile,
        _ => SourceError::Failed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn project() -> (tempfile::TempDir, ProjectSources) {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap().join("project");
        fs::create_dir_all(root.join("files")).unwrap();
        fs::write(root.join("files/a"), "four").unwrap();
        fs::write(root.join("../outside"), "secret").unwrap();
        (temp, ProjectSources::new(root, Arc::new(Identities::only(Vec::new()))))
    }

    #[test]
    fn links_stay_inside() {
        let (_temp, sources) = project();
        symlink("../../outside", sources.root.join("files/out")).unwrap();
        symlink("files", sources.root.join("in")).unwrap();
        symlink("/etc", sources.root.join("etc")).unwrap();
        assert_eq!(sources.read("in/a", 10).as_deref(), Ok(b"four".as_slice()));
        assert_eq!(sources.read("files/out", 10), Err(SourceError::Outside));
        assert_eq!(sources.kind("files/out"), Err(SourceError::Outside));
        assert_eq!(sources.list("etc"), Err(SourceError::Outside));
        assert_eq!(sources.digest("etc/passwd"), Err(SourceError::Outside));
        assert_eq!(sources.read("../outside", 10), Err(SourceError::Outside));
    }

    #[test]
    fn only_regular_files_of_the_allowed_size_are_read() {
        let (_temp, sources) = project();
        assert_eq!(sources.read("files/a", 3), Err(SourceError::TooLarge { limit: 3 }));
        assert_eq!(sources.read("files", 10), Err(SourceError::NotAFile));
        assert_eq!(sources.read("files/a/b", 10), Err(SourceError::Missing));
        assert_eq!(sources.kind("gone"), Ok(EntryKind::Nothing));
        assert_eq!(sources.list("files"), Ok(vec!["a".to_owned()]));
    }

    #[test]
    fn a_digest_follows_its_file() {
        let (_temp, sources) = project();
        assert_eq!(sources.digest("files/a"), Ok((Digest::of(b"four"), 4)));
        fs::write(sources.root.join("files/a"), "eleven char").unwrap();
        assert_eq!(sources.digest("files/a"), Ok((Digest::of(b"eleven char"), 11)));
    }

    #[test]
    fn a_folder_is_packed_into_what_its_digest_says() {
        let (_temp, sources) = project();
        let (digest, length) = sources.packed("files").unwrap();
        let (mut file, opened) = sources.open("files").unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!((Digest::of(&bytes), bytes.len() as u64), (digest, length));
        assert_eq!(opened, length);
        assert_eq!(sources.digest("files"), Err(SourceError::NotAFile), "only where an archive is meant");
    }

    #[test]
    fn secrets_are_opened_inside_the_project_and_nothing_else_is() {
        let (temp, mut sources) = project();
        let key = temp.path().join("key");
        let (_, recipient) = secrets::keygen(Some(&key)).unwrap();
        let recipients = secrets::Recipients::one(recipient);
        let sealed = secrets::seal(&Secret::new("a \"1\""), &recipients, secrets::Format::Armor).unwrap();
        fs::write(sources.root.join("files/s.age"), &sealed).unwrap();
        fs::write(sources.root.join("../out.age"), &sealed).unwrap();
        symlink("../../out.age", sources.root.join("files/out.age")).unwrap();
        let why = |sources: &ProjectSources, path: &str| sources.secrets(path).err().unwrap();
        assert!(matches!(why(&sources, "files/s.age"), SourceError::Sealed { help: Some(_), .. }));
        sources.identities = Arc::new(Identities::only(vec![key]));
        assert!(sources.secrets("files/s.age").is_ok_and(|text| text.expose() == b"a \"1\""));
        assert_eq!(why(&sources, "files/out.age"), SourceError::Outside);
        assert_eq!(why(&sources, "gone"), SourceError::Missing);
        assert!(matches!(why(&sources, "files/a"), SourceError::Sealed { .. }));
    }
}

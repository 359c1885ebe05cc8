//! The source of the content of catalogs.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use converge_model::Digest;

/// Content by its digest. A host can only ask for content that its own catalog names.
pub trait ContentStore: Send + Sync {
    /// Opens content. Returns None if the content does not exist. It is called on a thread that may block.
    fn open(&self, digest: Digest) -> io::Result<Option<Opened>>;
}

/// Content that was opened.
pub struct Opened {
    /// Its length in bytes.
    pub length: u64,
    /// Its bytes.
    pub bytes: Box<dyn Read + Send>,
}

/// Content in memory.
impl ContentStore for std::collections::HashMap<Digest, Arc<[u8]>> {
    fn open(&self, digest: Digest) -> io::Result<Option<Opened>> {
        Ok(self.get(&digest).map(|bytes| Opened {
            length: bytes.len() as u64,
            bytes: Box::new(io::Cursor::new(bytes.clone())),
        }))
    }
}

/// Content in files.
impl ContentStore for std::collections::HashMap<Digest, PathBuf> {
    fn open(&self, digest: Digest) -> io::Result<Option<Opened>> {
        let Some(path) = self.get(&digest) else { return Ok(None) };
        let file = std::fs::File::open(path)?;
        Ok(Some(Opened { length: file.metadata()?.len(), bytes: Box::new(file) }))
    }
}

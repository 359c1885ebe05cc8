//! The inputs of the language: project files, the environment, decrypted secrets. The language reads the disk only
//! through this trait. This file also has the sources in memory, and the rules for paths.

use std::collections::BTreeMap;
use std::sync::Arc;

use converge_model::{Digest, Secret};

/// A project as the language sees it.
///
/// Paths are relative to the project: the folder of the nearest `converge.kdl`, else the inventory's folder. Their
/// parts are separated by `/`, without `.`, `..`, doubled or trailing slashes; `""` is the project itself. The language
/// checks every path before it calls. An implementation must still refuse a symbolic link that leads out of the
/// project.
pub trait Sources: Send + Sync {
    /// Returns the bytes of a file. [`SourceError::TooLarge`] if it is larger than `limit` bytes; then it is not read.
    fn read(&self, path: &str, limit: u64) -> Result<Arc<[u8]>, SourceError>;

    /// Returns the names (not paths) in a folder, in any order.
    fn list(&self, folder: &str) -> Result<Vec<String>, SourceError>;

    /// Returns the kind of entry at a path.
    fn kind(&self, path: &str) -> Result<EntryKind, SourceError>;

    /// Returns the digest and the length in bytes of a file of any size.
    fn digest(&self, path: &str) -> Result<(Digest, u64), SourceError>;

    /// Returns the digest and the length in bytes of a folder as one archive. Sources that cannot pack archives return
    /// an error.
    fn packed(&self, _folder: &str) -> Result<(Digest, u64), SourceError> {
        Err(SourceError::NotAFile)
    }

    /// Returns a variable of the controller's environment.
    fn env(&self, name: &str) -> Option<String>;

    /// Returns the decrypted KDL of an encrypted file of secrets.
    fn secrets(&self, path: &str) -> Result<Secret, SourceError>;
}

/// The kind of entry at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A file, or a link to one.
    File,
    /// A folder, or a link to one.
    Folder,
    /// Nothing.
    Nothing,
}

/// Why a source cannot be read. The diagnostic adds the path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The file does not exist.
    #[error("no such file")]
    Missing,
    /// It is a folder, a device or another thing that cannot be read.
    #[error("not a regular file")]
    NotAFile,
    /// It is larger than allowed.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The path leads out of the project.
    #[error("leads out of the project")]
    Outside,
    /// It is encrypted and cannot be decrypted here.
    #[error("{why}")]
    Sealed {
        /// The reason, as a fragment.
        why: String,
        /// Advice for the user.
        help: Option<String>,
    },
    /// The system reports an error. The text is its message.
    #[error("{0}")]
    Failed(String),
}

impl SourceError {
    /// Returns what the user can do about it, if the source knows.
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Sealed { help, .. } => help.as_deref(),
            _ => None,
        }
    }
}

/// A module that comes with Converge.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// The name of the module.
    pub name: &'static str,
    /// Its files with their paths below the module's folder: `module.kdl`, `templates/nginx.conf.j2`, ….
    pub files: &'static [(&'static str, &'static [u8])],
}

impl Builtin {
    /// Returns the bytes of one of its files.
    pub fn file(&self, path: &str) -> Option<&'static [u8]> {
        self.files.iter().find(|(name, _)| *name == path).map(|(_, bytes)| *bytes)
    }
}

/// Sources in memory: for tests, editors and unsaved files.
#[derive(Clone, Default)]
pub struct MemorySources {
    files: BTreeMap<String, Arc<[u8]>>,
    env: BTreeMap<String, String>,
    secrets: BTreeMap<String, Secret>,
}

impl MemorySources {
    /// Returns sources without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file.
    pub fn file(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.to_owned(), bytes.into().into());
        self
    }

    /// Sets a variable of the environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Adds a file of secrets. `kdl` is its decrypted text.
    pub fn secret_file(mut self, path: &str, kdl: impl Into<Vec<u8>>) -> Self {
        self.secrets.insert(path.to_owned(), Secret::new(kdl));
        self
    }

    fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        self.files.keys().filter_map(move |path| match folder {
            "" => Some(path.as_str()),
            _ => path.strip_prefix(folder)?.strip_prefix('/'),
        })
    }
}

impl Sources for MemorySources {
    fn read(&self, path: &str, limit: u64) -> Result<Arc<[u8]>, SourceError> {
        let bytes = self.files.get(path).ok_or(SourceError::Missing)?;
        if bytes.len() as u64 > limit { Err(SourceError::TooLarge { limit }) } else { Ok(bytes.clone()) }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, SourceError> {
        let mut names: Vec<String> =
            self.below(folder).filter_map(|rest| rest.split('/').next()).map(str::to_owned).collect();
        names.dedup();
        if names.is_empty() { Err(SourceError::Missing) } else { Ok(names) }
    }

    fn kind(&self, path: &str) -> Result<EntryKind, SourceError> {
        Ok(if self.files.contains_key(path) {
            EntryKind::File
        } else if self.below(path).next().is_some() {
            EntryKind::Folder
        } else {
            EntryKind::Nothing
        })
    }

    fn digest(&self, path: &str) -> Result<(Digest, u64), SourceError> {
        let bytes = self.files.get(path).ok_or(SourceError::Missing)?;
        Ok((Digest::of(bytes), bytes.len() as u64))
    }

    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn secrets(&self, path: &str) -> Result<Secret, SourceError> {
        self.secrets.get(path).cloned().ok_or(SourceError::Missing)
    }
}

/// Sources with other sources on top: unsaved texts of an editor, or cases of a module.
pub struct LayeredSources {
    /// The sources that are asked first.
    pub above: MemorySources,
    /// The sources for everything else.
    pub below: Arc<dyn Sources>,
}

impl LayeredSources {
    fn first<T>(&self, ask: impl Fn(&dyn Sources) -> Result<T, SourceError>) -> Result<T, SourceError> {
        match ask(&self.above) {
            Err(SourceError::Missing) => ask(&*self.below),
            found => found,
        }
    }
}

impl Sources for LayeredSources {
    fn read(&self, path: &str, limit: u64) -> Result<Arc<[u8]>, SourceError> {
        self.first(|sources| sources.read(path, limit))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, SourceError> {
        match (self.above.list(folder), self.below.list(folder)) {
            (Ok(mut names), Ok(more)) => {
                names.extend(more);
                names.sort();
                names.dedup();
                Ok(names)
            }
            (Ok(names), Err(_)) => Ok(names),
            (Err(_), below) => below,
        }
    }

    fn kind(&self, path: &str) -> Result<EntryKind, SourceError> {
        match self.above.kind(path) {
            Ok(EntryKind::Nothing) => self.below.kind(path),
            found => found,
        }
    }

    fn digest(&self, path: &str) -> Result<(Digest, u64), SourceError> {
        self.first(|sources| sources.digest(path))
    }

    fn packed(&self, folder: &str) -> Result<(Digest, u64), SourceError> {
        self.below.packed(folder)
    }

    fn env(&self, name: &str) -> Option<String> {
        self.above.env(name).or_else(|| self.below.env(name))
    }

    fn secrets(&self, path: &str) -> Result<Secret, SourceError> {
        self.first(|sources| sources.secrets(path))
    }
}

/// Returns the path of `relative`, which is written in a file of `folder`. None if it leaves the project.
pub(crate) fn join(folder: &str, relative: &str) -> Option<String> {
    if relative.starts_with('/') || relative.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Returns the folder of a path.
pub(crate) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_and_stay_in_the_project() {
        let check = |folder: &str, relative: &str, path: Option<&str>| {
            assert_eq!(join(folder, relative).as_deref(), path, "{folder:?} {relative:?}");
        };
        check("inventories", "people.kdl", Some("inventories/people.kdl"));
        check("inventories", "../secrets//x.age", Some("secrets/x.age"));
        check("", "./a/./b/", Some("a/b"));
        check("a", "..", Some(""));
        check("a", "../../etc/shadow", None);
        check("", "..", None);
        check("a", "/etc/shadow", None);
    }

    #[test]
    fn memory_knows_files_and_the_folders_above_them() {
        let sources = MemorySources::new().file("a/b/c", "1").file("a/d", "22");
        assert_eq!(sources.kind("a/b"), Ok(EntryKind::Folder));
        assert_eq!(sources.kind("a/b/c"), Ok(EntryKind::File));
        assert_eq!(sources.kind("a/bb"), Ok(EntryKind::Nothing));
        assert_eq!(sources.list("a"), Ok(vec!["b".to_owned(), "d".to_owned()]));
        assert_eq!(sources.read("a/d", 1), Err(SourceError::TooLarge { limit: 1 }));
    }
}

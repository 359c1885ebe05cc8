//! Finds the project of a command: its folder and the inventory in it. The language reads the files.

use std::io;
use std::path::{Path, PathBuf};

/// The file that marks the folder of a project.
pub const MARKER: &str = "converge.kdl";

/// A project on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its folder, absolute and without symbolic links.
    pub root: PathBuf,
    /// The inventory, relative to the folder, with `/` between its parts. `""` is the folder itself.
    pub entry: String,
}

/// Why a project cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The user named no inventory, and no folder has the marker file.
    #[error("found no {MARKER} in {0} or above it, and no inventory was named")]
    NoneMarked(PathBuf),
    /// The named path cannot be read.
    #[error("failed to read {path}: {source}")]
    Unreadable {
        /// The named path.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Its path cannot be written in an inventory.
    #[error("the path {0:?} is not UTF-8")]
    NotUtf8(PathBuf),
}

impl ProjectError {
    /// Returns the advice for the user.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::NoneMarked(_) => {
                Some("name one, as in `converge plan inventory.kdl`, or go to the project's folder")
            }
            Self::Unreadable { path, .. } if is_bare(path) => {
                Some("the argument is a file or a folder; to choose hosts, write `--limit NAME`")
            }
            _ => None,
        }
    }
}

/// Whether a path looks like a name of a host: it has neither an ending nor anything at it.
fn is_bare(path: &Path) -> bool {
    path.extension().is_none() && !path.exists()
}

impl Project {
    /// Finds the project of `inventory`, a file or a folder. The project is the nearest folder with a [`MARKER`] at
    /// or above it, otherwise its own folder. Without an inventory: the project that contains `from`.
    pub fn find(inventory: Option<&Path>, from: &Path) -> Result<Self, ProjectError> {
        let Some(inventory) = inventory else {
            let from = canonical(from)?;
            let root = marked(&from).ok_or_else(|| ProjectError::NoneMarked(from.clone()))?;
            return Ok(Self { root: root.to_owned(), entry: String::new() });
        };
        let path = canonical(&from.join(inventory))?;
        let folder = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(&path) };
        let root = marked(folder).unwrap_or(folder);
        let below = path.strip_prefix(root).unwrap_or(Path::new(""));
        let entry = below.to_str().ok_or_else(|| ProjectError::NotUtf8(path.clone()))?;
        Ok(Self { root: root.to_owned(), entry: entry.to_owned() })
    }

    /// Returns the name by which hosts know the project: the name in its marker file, otherwise the path of its
    /// inventory. `named` is the name that the language read.
    pub fn owner(&self, named: &str) -> String {
        if named == self.entry { self.root.join(named).display().to_string() } else { named.to_owned() }
    }
}

fn canonical(path: &Path) -> Result<PathBuf, ProjectError> {
    path.canonicalize().map_err(|source| ProjectError::Unreadable { path: path.to_owned(), source })
}

fn marked(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|folder| folder.join(MARKER).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_found_from_anywhere_in_it() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("inventories/eu")).unwrap();
        std::fs::write(root.join("inventories/a.kdl"), "").unwrap();
        let check = |inventory: Option<&str>, from: &str, project: &str, entry: &str| {
            let found = Project::find(inventory.map(Path::new), &root.join(from)).unwrap();
            assert_eq!(
                (found.root, found.entry.as_str()),
                (root.join(project), entry),
                "{inventory:?} {from}"
            );
        };
        check(Some("a.kdl"), "inventories", "inventories", "a.kdl");
        check(Some("inventories"), "", "inventories", "");
        std::fs::write(root.join(MARKER), "").unwrap();
        check(None, "inventories/eu", "", "");
        check(Some("a.kdl"), "inventories", "", "inventories/a.kdl");
        check(Some("../inventories"), "inventories/eu/..", "", "inventories");
        check(Some("."), "", "", "");
    }

    #[test]
    fn projects_without_a_name_differ_by_where_they_are() {
        let project = |root: &str| Project { root: root.into(), entry: "inventory.kdl".to_owned() };
        assert_eq!(project("/a").owner("shop"), "shop");
        assert_eq!(project("/a").owner("inventory.kdl"), "/a/inventory.kdl");
        assert_ne!(project("/a").owner("inventory.kdl"), project("/b").owner("inventory.kdl"));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let error = Project::find(Some(Path::new("gone.kdl")), temp.path()).unwrap_err().to_string();
        assert!(error.contains("gone.kdl") && error.contains("No such file"), "{error}");
    }
}

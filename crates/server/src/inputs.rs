//! Finds out whether the files of an inventory changed. It often checks their metadata, and compares the digests from
//! the language if the metadata changed. Files that are sent to hosts are not included, because each run reads them
//! again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Changes when a file or folder does: its inode, length, mtime and ctime.
type Stamp = (u64, u64, (i64, i64), (i64, i64));

/// The state of the files and folders of an inventory when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
}

impl Inputs {
    /// Returns `files`, relative to `root`, and their folders. A new file in such a folder may be part of the
    /// inventory.
    pub(crate) fn of<'a>(root: &Path, files: impl IntoIterator<Item = &'a str>) -> Self {
        let mut paths = BTreeSet::from([root.to_owned()]);
        for file in files {
            let path = root.join(file);
            let folders = path.ancestors().skip(1).take_while(|folder| folder.starts_with(root));
            paths.extend(folders.map(Path::to_owned));
            paths.insert(path);
        }
        Self { stamps: paths.into_iter().map(|path| (path.clone(), stamp(&path))).collect() }
    }

    /// Whether all of `later` are in this set and unchanged.
    pub(crate) fn covers(&self, later: &Self) -> bool {
        later.stamps.iter().all(|(path, stamp)| self.stamps.get(path) == Some(stamp))
    }

    /// Merges this set with `others`. For a path in both, the state in `others` counts.
    pub(crate) fn and(mut self, others: Self) -> Self {
        self.stamps.extend(others.stamps);
        self
    }

    /// Returns the same files in their current state.
    pub(crate) fn now(&self) -> Self {
        Self { stamps: self.stamps.keys().map(|path| (path.clone(), stamp(path))).collect() }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    let length = if found.is_dir() { 0 } else { found.len() };
    Some((found.ino(), length, (found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_file_or_a_new_one_beside_it_shows() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("hosts")).unwrap();
        fs::write(root.join("hosts/a.kdl"), "1").unwrap();
        let files = ["hosts/a.kdl", "gone.kdl"];
        let mut last = Inputs::of(root, files);
        assert_eq!(last.now(), last);
        let mut changes = |what: &dyn Fn()| {
            what();
            let now = Inputs::of(root, files);
            std::mem::replace(&mut last, now.clone()) != now
        };
        assert!(changes(&|| fs::write(root.join("hosts/a.kdl"), "12").unwrap()));
        assert!(changes(&|| fs::write(root.join("hosts/b.kdl"), "").unwrap()));
        assert!(changes(&|| fs::write(root.join("gone.kdl"), "").unwrap()));
        assert!(changes(&|| fs::remove_file(root.join("hosts/a.kdl")).unwrap()));
        assert!(!changes(&|| ()));
    }

    #[test]
    fn what_is_written_while_files_are_read_shows() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::write(root.join("a.kdl"), "1").unwrap();
        let before = Inputs::of(root, ["a.kdl"]);
        assert!(before.covers(&Inputs::of(root, ["a.kdl"])) && before.covers(&Inputs::default()));
        assert!(!Inputs::default().covers(&before));
        fs::write(root.join("b.kdl"), "2").unwrap();
        let after = Inputs::of(root, ["a.kdl", "b.kdl"]);
        assert!(!before.covers(&after));
        assert_eq!(before.and(after.clone()), after);
    }
}

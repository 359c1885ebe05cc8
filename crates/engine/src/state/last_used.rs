//! Remembers which project was last used in a folder. Each folder has its own file, so two runs write the same file
//! only for the same folder. The number of files is limited; the oldest are removed.

use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use converge_model::Digest;
use serde::{Deserialize, Serialize};

use super::write_beside;

/// The version of the files. A file with a newer version is not read.
const VERSION: u16 = 1;
/// The most folders that are remembered.
const FOLDERS: usize = 200;
/// The largest file that is read, in bytes: two paths and a name.
const LARGEST: u64 = 32 * 1024;

/// The last used projects, by the user's working folder.
#[derive(Clone, Debug)]
pub struct LastUsed(pub(super) PathBuf);

/// A project that was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedProject {
    /// The name of the project in the history.
    pub owner: String,
    /// Its inventory, a file or a folder.
    pub inventory: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    version: u16,
    /// The folder in which it was used.
    from: PathBuf,
    #[serde(flatten)]
    project: UsedProject,
}

impl LastUsed {
    /// Returns the project last used in the folder `from`. None if there is none, or its file cannot be read.
    pub fn read(&self, from: &Path) -> Option<UsedProject> {
        let path = self.file(from);
        let small = fs::metadata(&path).ok()?.len() <= LARGEST;
        let entry: Entry = serde_json::from_slice(&small.then(|| fs::read(&path).ok())??).ok()?;
        (entry.version == VERSION && entry.from == from).then_some(entry.project)
    }

    /// Records that `project` was used in the folder `from`. Errors are ignored.
    pub fn keep(&self, from: &Path, project: UsedProject) {
        let entry = Entry { version: VERSION, from: from.to_owned(), project };
        // A path that is not UTF-8 cannot be written.
        if let Ok(bytes) = serde_json::to_vec(&entry) {
            let _ = write_beside(&self.file(from), &bytes);
            self.forget_oldest();
        }
    }

    fn forget_oldest(&self) {
        let Ok(entries) = fs::read_dir(&self.0) else { return };
        let written = |entry: &DirEntry| entry.metadata().and_then(|found| found.modified()).ok();
        let mut files: Vec<(Option<SystemTime>, PathBuf)> =
            entries.flatten().map(|entry| (written(&entry), entry.path())).collect();
        files.sort();
        let surplus = files.len().saturating_sub(FOLDERS);
        for (_, path) in files.iter().take(surplus) {
            let _ = fs::remove_file(path);
        }
    }

    fn file(&self, from: &Path) -> PathBuf {
        self.0.join(format!("{}.json", Digest::of(from.as_os_str().as_encoded_bytes()).short()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> (tempfile::TempDir, LastUsed) {
        let temp = tempfile::tempdir().unwrap();
        let memory = LastUsed(temp.path().join("used"));
        (temp, memory)
    }

    fn project(name: &str) -> UsedProject {
        UsedProject { owner: name.to_owned(), inventory: format!("/srv/{name}.kdl").into() }
    }

    #[test]
    fn the_project_last_used_is_that_of_the_folder() {
        let (_temp, memory) = memory();
        let (home, srv) = (Path::new("/home/ada"), Path::new("/srv"));
        assert_eq!(memory.read(home), None);
        memory.keep(home, project("shop"));
        memory.keep(srv, project("blog"));
        memory.keep(home, project("wiki"));
        assert_eq!((memory.read(home), memory.read(srv)), (Some(project("wiki")), Some(project("blog"))));
    }

    #[test]
    fn what_was_not_written_here_is_as_good_as_none() {
        let (_temp, memory) = memory();
        let home = Path::new("/home/ada");
        memory.keep(home, project("shop"));
        let text = fs::read_to_string(memory.file(home)).unwrap();
        let large = text.replace("shop", &"x".repeat(LARGEST as usize));
        for text in
            [text.replace("\"version\":1", "\"version\":2"), text.replace("ada", "bob"), large, "{".into()]
        {
            fs::write(memory.file(home), text).unwrap();
            assert_eq!(memory.read(home), None);
        }
    }

    #[test]
    fn only_so_many_folders_are_remembered() {
        let (_temp, memory) = memory();
        (0..FOLDERS + 20).for_each(|n| memory.keep(Path::new(&format!("/{n}")), project("shop")));
        assert_eq!(fs::read_dir(&memory.0).unwrap().count(), FOLDERS);
    }
}

//! Runs the real binary in its own world: a cleared environment, its own HOME, its own project.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A project in a temporary folder.
pub(crate) struct World {
    temp: tempfile::TempDir,
}

/// The output of a command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// Its exit code.
    pub(crate) exit: i32,
    /// Its results.
    pub(crate) out: String,
    /// Its messages.
    pub(crate) err: String,
}

impl World {
    /// An empty project.
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("home")).unwrap();
        fs::create_dir_all(temp.path().join("project")).unwrap();
        Self { temp }
    }

    /// A copy of an example, without files that were created in it.
    pub(crate) fn example(name: &str) -> Self {
        let world = Self::new();
        copy(&repository().join("examples").join(name), &world.project());
        world
    }

    /// The folder of the project.
    pub(crate) fn project(&self) -> PathBuf {
        self.temp.path().join("project")
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.project().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Reads a file of the project.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.project().join(path)).unwrap()
    }

    /// Runs a command in the project, without a terminal.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.run_in(&self.project(), arguments)
    }

    /// Runs a command in a folder, without a terminal.
    pub(crate) fn run_in(&self, folder: &Path, arguments: &[&str]) -> Said {
        self.said(self.command(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap())
    }

    /// Returns a command in the project. Its environment has nothing from this process.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_converge"));
        command.args(arguments).current_dir(self.project()).env_clear();
        command.env("HOME", self.temp.path().join("home")).env("USER", "ada");
        command.env("PATH", std::env::var_os("PATH").unwrap());
        command
    }

    /// Returns the output of a finished command.
    pub(crate) fn said(&self, output: Output) -> Said {
        let text = |bytes: Vec<u8>| self.redact(&String::from_utf8(bytes).unwrap());
        Said { exit: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Replaces the path of the world in `text`.
    fn redact(&self, text: &str) -> String {
        let real = self.temp.path().canonicalize().unwrap();
        text.replace(real.to_str().unwrap(), "[world]")
    }

    /// Returns the paths of everything in the world that the tests did not put there.
    pub(crate) fn traces(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(self.temp.path(), self.temp.path(), &mut found);
        found.sort();
        found
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let made = ["dist", "secrets", "sandbox"].map(Into::into);
    for entry in
        fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| !made.contains(&entry.file_name()))
    {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        found.push(path.strip_prefix(root).unwrap().display().to_string());
        if path.is_dir() && !path.is_symlink() {
            walk(root, &path, found);
        }
    }
}

/// The folder of the repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Replaces the duration in `text`.
pub(crate) fn timeless(text: &str) -> String {
    let line = |line: &str| match line.rsplit_once(".   ") {
        Some((words, time)) if time.ends_with(" s") => format!("{words}.   [time]"),
        _ => line.to_owned(),
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

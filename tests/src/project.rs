//! A user's project in its own folder, and runs of `converge` in it. The home and the environment have nothing from
//! this machine's user.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::converge_binary;
use crate::testbed::Testbed;

/// A project.
#[derive(Debug)]
pub struct Project {
    folder: tempfile::TempDir,
    ssh_config: Option<PathBuf>,
}

/// The number of resources of [`Project::forty`] on each host.
pub const FORTY: usize = 40;

const THOUSAND: &str = r#"
connection user="admin" become="sudo"
host "h1"
on "h1" {
    directory "/srv/many"
    for "number" in="range(999)" {
        file "/srv/many/{{ number }}.conf" mode="0644" { content "number {{ number }}" }
    }
}
"#;

/// The result of a run of `converge`.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code. -1 if a signal ended it.
    pub code: i32,
    /// Its results on standard output.
    pub stdout: String,
    /// Its messages on standard error.
    pub stderr: String,
}

impl Project {
    /// Creates a project with `inventory` as its `inventory.kdl`. Its hosts are those of `testbed`.
    ///
    /// # Errors
    /// If its folder cannot be written.
    pub fn new(inventory: &str, testbed: Option<&Testbed>) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("converge-project-").tempdir()?;
        let ssh_config = testbed.map(Testbed::ssh_config_path);
        let project = Self { folder, ssh_config };
        project.write("project/inventory.kdl", inventory)?;
        project.write("project/converge.kdl", "project \"fleet-tests\"\ninventory \"inventory.kdl\"\n")?;
        std::fs::create_dir_all(project.path("home"))?;
        Ok(project)
    }

    /// Creates a project with the forty resources of `data/forty`, on the hosts `h1` to `hHOSTS`.
    ///
    /// # Errors
    /// If its folder cannot be written.
    pub fn forty(hosts: usize, testbed: &Testbed) -> io::Result<Self> {
        let project = Self::new("", Some(testbed))?;
        project.copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/forty"))?;
        let inventory = project.path("project/inventory.kdl");
        let text = std::fs::read_to_string(&inventory)?;
        std::fs::write(&inventory, text.replace("h[1..3]", &format!("h[1..{hosts}]")))?;
        Ok(project)
    }

    /// Creates a project with a thousand resources on `h1`: a directory, and files with content.
    ///
    /// # Errors
    /// If its folder cannot be written.
    pub fn thousand(testbed: &Testbed) -> io::Result<Self> {
        Self::new(THOUSAND, Some(testbed))
    }

    /// Writes a file of the project, or of the home beside it: `project/files/motd`, `home/.profile`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> io::Result<()> {
        let path = self.path(path);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, text)
    }

    /// Returns a path below the folder with the project and its home.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Returns `converge` in the project, ready for arguments.
    #[must_use]
    pub fn command(&self) -> Command {
        self.program(converge_binary())
    }

    /// Returns another program in the same folder and environment.
    #[must_use]
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path("project")).env_clear().stdin(Stdio::null());
        command.env("HOME", self.path("home")).env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        if let Some(config) = &self.ssh_config {
            command.env("CONVERGE_SSH_CONFIG", config);
        }
        command
    }

    /// Copies all files of `folder` and its subfolders into the project.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn copy(&self, folder: &Path) -> io::Result<()> {
        copy(folder, &self.path("project"))
    }

    /// Runs `converge` to its end.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn converge(&self, arguments: &[impl AsRef<OsStr>]) -> io::Result<Ended> {
        let mut command = self.command();
        command.args(arguments);
        command.output().map(Ended::from)
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() { copy(&path, &to)? } else { std::fs::copy(&path, &to).map(drop)? }
    }
    Ok(())
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

//! The cgroups of the test hosts: each host has one on every hierarchy, v1 and v2 alike.
//!
//! A host's processes never leave its group. So the group is also used to find a host and to end it. No process is
//! killed by name, and no process id is kept, because the kernel could give it to another process.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The folder where the kernel's hierarchies are mounted.
const MOUNT: &str = "/sys/fs/cgroup";
/// The folder of all test hosts in each hierarchy.
const OWNER: &str = "converge-testbed";
/// How long killed processes may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A group below [`OWNER`], at the same path in every hierarchy.
#[derive(Debug, Clone)]
pub(crate) struct Cgroup {
    /// The group's folder in each hierarchy. Never empty.
    folders: Vec<PathBuf>,
}

impl Cgroup {
    /// Returns the group at `path` below the folder of all test hosts. It may not exist.
    pub(crate) fn at(path: &str) -> io::Result<Self> {
        Ok(Self::all()?.child(path))
    }

    /// Returns the group of all test hosts.
    pub(crate) fn all() -> io::Result<Self> {
        let folders = hierarchies()?.into_iter().map(|root| root.join(OWNER)).collect();
        Ok(Self { folders })
    }

    /// Returns the group `leaf` in this one.
    pub(crate) fn child(&self, leaf: &str) -> Self {
        Self { folders: self.folders.iter().map(|folder| folder.join(leaf)).collect() }
    }

    /// Returns the group's folder in each hierarchy.
    pub(crate) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Creates the group and its parents, each ready for processes.
    pub(crate) fn create(&self) -> io::Result<()> {
        self.folders.iter().try_for_each(|folder| create_below(Path::new(MOUNT), folder))
    }

    /// Returns every process in the group and below.
    pub(crate) fn processes(&self) -> Vec<u32> {
        // Each process is in one group of every hierarchy, so one hierarchy lists them all.
        let mut found = Vec::new();
        walk(&self.folders[0], &mut |folder| {
            let listed = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(listed.lines().filter_map(|line| line.parse::<u32>().ok()));
        });
        found
    }

    /// Kills the processes in the group and below, then removes the groups.
    pub(crate) fn destroy(&self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = self.processes();
            left.iter().for_each(|pid| kill(*pid));
            if left.is_empty() && self.remove().is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("processes {left:?} of {} do not end", self.folders[0].display()),
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Removes the groups, innermost first. Missing groups are no error.
    fn remove(&self) -> io::Result<()> {
        for top in &self.folders {
            let mut below = Vec::new();
            walk(top, &mut |folder| below.push(folder.to_owned()));
            for folder in below.iter().rev() {
                accept_missing(fs::remove_dir(folder))?;
            }
        }
        Ok(())
    }
}

/// Returns the root of each mounted hierarchy: one on a v2 machine, one for each cgroup controller on a v1 machine.
fn hierarchies() -> io::Result<Vec<PathBuf>> {
    let mount = Path::new(MOUNT);
    if mount.join("cgroup.procs").exists() {
        return Ok(vec![mount.to_owned()]);
    }
    let mut roots = Vec::new();
    for entry in fs::read_dir(mount)? {
        let entry = entry?;
        // `cpu` is a link to `cpu,cpuacct` if both share a hierarchy.
        if entry.file_type()?.is_dir() && entry.path().join("cgroup.procs").exists() {
            roots.push(entry.path());
        }
    }
    if roots.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("no cgroup hierarchy under {MOUNT}")));
    }
    roots.sort();
    Ok(roots)
}

fn create_below(stop: &Path, folder: &Path) -> io::Result<()> {
    if folder == stop {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Ok(()) };
    create_below(stop, parent)?;
    delegate(parent);
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    inherit_cpuset(parent, folder)
}

/// A v1 cpuset accepts no process before its processors and memory nodes are set.
fn inherit_cpuset(parent: &Path, folder: &Path) -> io::Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let Ok(own) = fs::read_to_string(folder.join(file)) else { return Ok(()) };
        if own.trim().is_empty() {
            fs::write(folder.join(file), fs::read_to_string(parent.join(file))?.trim())?;
        }
    }
    Ok(())
}

/// On v2, delegates each cgroup controller. The host works without one that cannot be delegated.
fn delegate(parent: &Path) {
    let Ok(controllers) = fs::read_to_string(parent.join("cgroup.controllers")) else { return };
    for controller in controllers.split_whitespace() {
        let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

/// Calls `visit` for `folder` and every folder below, parents first.
fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(folder);
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), visit);
        }
    }
}

fn kill(pid: u32) {
    // It is no error if the process has ended already.
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn accept_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

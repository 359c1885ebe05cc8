//! Checks whether this machine can run test hosts, and installs the Debian packages for them.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use rustix::process::geteuid;

use super::Error;
use super::cgroup::Cgroup;
use super::command::{is_installed, run, tool};
use super::progress;

/// The required programs and files, each with its package.
const NEEDS: [(&str, &str); 9] = [
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("sshd", "openssh-server"),
    ("ssh", "openssh-client"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    // Draws the terminals for tests.
    ("tmux", "tmux"),
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
];

/// Held by the process that installs packages.
const INSTALLING: &str = "/run/converge-testbed.installing";

/// Kernel limits that all hosts share, because each one's root is this machine's root: (file, minimum). Twenty hosts
/// use up the default of 128 inotify instances.
const LIMITS: [(&str, u64); 2] = [
    ("/proc/sys/fs/inotify/max_user_instances", 16 * 1024),
    ("/proc/sys/fs/inotify/max_user_watches", 1024 * 1024),
];

/// Checks this machine, once for each process, and installs what is missing.
pub(crate) fn check() -> Result<(), Error> {
    static CHECKED: OnceLock<Option<String>> = OnceLock::new();
    match CHECKED.get_or_init(|| obstacle().err()) {
        None => Ok(()),
        Some(reason) => Err(Error::Unavailable(reason.clone())),
    }
}

/// Returns an error if there is an obstacle, in words for people.
fn obstacle() -> Result<(), String> {
    if !geteuid().is_root() {
        return Err("the test hosts need root".to_owned());
    }
    can("namespaces", &["unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "true"])?;
    if !overlay_is_known() {
        return Err("the kernel has no overlay file system".to_owned());
    }
    install_missing(&NEEDS)?;
    // The rest can only be tested by trying it: the root of a container may lack these rights.
    can("a network bridge", &["unshare", "--net", "ip", "link", "add", "try", "type", "bridge"])?;
    can("an nftables table", &["unshare", "--net", "nft", "add table ip try"])?;
    LIMITS.iter().try_for_each(|(file, least)| raise(file, *least))?;
    let group = Cgroup::all().and_then(|group| group.create());
    group.map_err(|error| format!("a cgroup cannot be made here: {error}"))
}

fn can(what: &str, words: &[&str]) -> Result<(), String> {
    let tried = run(tool(words[0]).args(&words[1..])).and_then(super::command::Ran::ok);
    tried.map(|_| ()).map_err(|error| format!("{what} cannot be made here: {error}"))
}

/// Raises a limit until the next boot. It is never lowered.
fn raise(file: &str, least: u64) -> Result<(), String> {
    let failed = |error: io::Error| format!("{file} cannot be raised: {error}");
    let now = fs::read_to_string(file).map_err(failed)?;
    let is_enough = now.trim().parse::<u64>().is_ok_and(|now| now >= least);
    if is_enough { Ok(()) } else { fs::write(file, least.to_string()).map_err(failed) }
}

fn overlay_is_known() -> bool {
    let known = || fs::read_to_string("/proc/filesystems").unwrap_or_default().contains("\toverlay");
    // A module is listed only after it is loaded.
    known() || (run(tool("modprobe").arg("overlay")).is_ok_and(|ran| ran.status.success()) && known())
}

/// Installs the packages of the missing ones among `needs`.
pub(super) fn install_missing(needs: &[(&str, &str)]) -> Result<(), String> {
    if missing(needs).is_empty() {
        return Ok(());
    }
    // Each test is a process, and apt does not wait for the lock of its package lists.
    let locked = File::create(INSTALLING).and_then(|file| file.lock().map(|()| file));
    let _held = locked.map_err(|error| format!("{INSTALLING} cannot be locked: {error}"))?;
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !is_installed("apt-get") {
        return Err(format!("these Debian packages are missing, and there is no apt-get: {names}"));
    }
    progress(&format!("installing Debian packages for the tests: {names}"));
    let update = run(tool("apt-get").arg("update")).and_then(super::command::Ran::ok);
    let mut install = tool("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "-y", "--no-install-recommends"]);
    let done = update.and_then(|_| run(install.args(&missing))).and_then(super::command::Ran::ok);
    done.map(|_| ()).map_err(|error| format!("the Debian packages {names} cannot be installed: {error}"))
}

/// The packages of the missing ones among `needs`.
fn missing<'a>(needs: &[(&str, &'a str)]) -> Vec<&'a str> {
    needs.iter().filter(|(need, _)| !is_there(need)).map(|(_, package)| *package).collect()
}

fn is_there(need: &str) -> bool {
    if need.starts_with('/') { Path::new(need).exists() } else { is_installed(need) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_and_never_lowered() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        for (now, expected) in [("128\n", "200"), ("200\n", "200\n"), ("65536\n", "65536\n")] {
            fs::write(path, now).unwrap();
            raise(path, 200).unwrap();
            assert_eq!(fs::read_to_string(path).unwrap(), expected);
        }
        assert!(raise("/no/such/limit", 1).unwrap_err().starts_with("/no/such/limit cannot be raised: "));
    }
}

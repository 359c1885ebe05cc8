//! Whether this machine can have test hosts, and the Debian packages that it needs for them.

use std::path::Path;
use std::sync::OnceLock;

use rustix::process::geteuid;

use super::Error;
use super::cgroup::Cgroup;
use super::command::{is_installed, run, tool};
use super::progress;

/// Programs and files that are needed, and the packages that bring them.
const NEEDS: [(&str, &str); 8] = [
    ("debootstrap", "debootstrap"),
    ("systemd-nspawn", "systemd-container"),
    ("sshd", "openssh-server"),
    ("ssh", "openssh-client"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
];

/// Checks this machine, once a process, and installs what is missing.
pub(crate) fn check() -> Result<(), Error> {
    static CHECKED: OnceLock<Option<String>> = OnceLock::new();
    match CHECKED.get_or_init(|| obstacle().err()) {
        None => Ok(()),
        Some(reason) => Err(Error::Unavailable(reason.clone())),
    }
}

/// What stands in the way, in words for a person.
fn obstacle() -> Result<(), String> {
    if !geteuid().is_root() {
        return Err("they need root".to_owned());
    }
    can("namespaces", &["unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "true"])?;
    if !overlay_is_known() {
        return Err("the kernel has no overlay file system".to_owned());
    }
    install_missing()?;
    // The rest shows only by trying it: a container's root may lack these rights.
    can("a network bridge", &["unshare", "--net", "ip", "link", "add", "try", "type", "bridge"])?;
    can("an nftables table", &["unshare", "--net", "nft", "add table ip try"])?;
    let group = Cgroup::all().and_then(|group| group.create());
    group.map_err(|error| format!("a cgroup cannot be made here: {error}"))
}

fn can(what: &str, words: &[&str]) -> Result<(), String> {
    let tried = run(tool(words[0]).args(&words[1..])).and_then(super::command::Ran::ok);
    tried.map(|_| ()).map_err(|error| format!("{what} cannot be made here: {error}"))
}

fn overlay_is_known() -> bool {
    let known = || std::fs::read_to_string("/proc/filesystems").unwrap_or_default().contains("\toverlay");
    // A module shows only once it is loaded.
    known() || (run(tool("modprobe").arg("overlay")).is_ok_and(|ran| ran.status.success()) && known())
}

fn install_missing() -> Result<(), String> {
    let missing: Vec<&str> =
        NEEDS.iter().filter(|(need, _)| !is_there(need)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if !is_installed("apt-get") {
        return Err(format!("these Debian packages are missing, and there is no apt-get: {names}"));
    }
    progress(&format!("installing Debian packages for the test hosts: {names}"));
    let update = run(tool("apt-get").arg("update")).and_then(super::command::Ran::ok);
    let mut install = tool("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "-y", "--no-install-recommends"]);
    let done = update.and_then(|_| run(install.args(&missing))).and_then(super::command::Ran::ok);
    done.map(|_| ()).map_err(|error| format!("the Debian packages {names} cannot be installed: {error}"))
}

fn is_there(need: &str) -> bool {
    if need.starts_with('/') { Path::new(need).exists() } else { is_installed(need) }
}

//! The base of all hosts: one Debian root file system. It is made once and kept in a cache outside the build output.
//!
//! Its key is a digest of its recipe: the suite, the packages, the set-up script and the controller's settings.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::Error;
use super::bed::{is_mounted, remove_folder, unmount};
use super::command::{run, tool};
use super::controller::{CA_BUNDLE, Controller, certificates};
use super::progress;

/// Names the folder of the cache.
const CACHE_VARIABLE: &str = "CONVERGE_TESTBED_CACHE";
const DEFAULT_CACHE: &str = "/var/cache/converge-testbed";
/// The folder in the cache that has no base, but tools.
pub(crate) const TOOLS: &str = "tools";
const SUITE: &str = "bookworm";
const PACKAGES: &str =
    "systemd,systemd-sysv,dbus,openssh-server,python3,python3-apt,sudo,iproute2,ca-certificates,nftables";
const SET_UP: &str = include_str!("base.sh");
const ARCHIVE: &str = "http://deb.debian.org/debian";
const SECURITY: &str = "http://deb.debian.org/debian-security";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Returns the folder of the base. Makes the base first if it is missing.
pub(crate) fn prepare() -> Result<PathBuf, Error> {
    let recipe = Recipe::new(Controller::read()?);
    let cache = cache();
    let base = cache.join(recipe.folder_name());
    if base.is_dir() {
        return Ok(base);
    }
    fs::create_dir_all(&cache).map_err(Error::file(&cache))?;
    let lock = cache.join("lock");
    let file = File::create(&lock).map_err(Error::file(&lock))?;
    file.lock().map_err(Error::file(&lock))?;
    if !base.is_dir() {
        remove_unused(&cache)?;
        recipe.make(&base)?;
    }
    Ok(base)
}

/// Returns the folder of things that are made once for all tests: bases, and the tools that Converge is compared
/// with.
pub(crate) fn cache() -> PathBuf {
    env::var_os(CACHE_VARIABLE).unwrap_or_else(|| DEFAULT_CACHE.into()).into()
}

/// Everything that determines the contents of the base.
struct Recipe {
    controller: Controller,
    sources: String,
}

impl Recipe {
    fn new(controller: Controller) -> Self {
        let mirror = |suite: &str, default: &str| {
            controller.mirrors.get(suite).map_or_else(|| default.to_owned(), Clone::clone)
        };
        let line = |suite: String, default| format!("deb {} {suite} main\n", mirror(&suite, default));
        let sources = line(SUITE.to_owned(), ARCHIVE)
            + &line(format!("{SUITE}-updates"), ARCHIVE)
            + &line(format!("{SUITE}-security"), SECURITY);
        Self { controller, sources }
    }

    fn folder_name(&self) -> String {
        let Controller { apt, pip, environment, certificates, .. } = &self.controller;
        let parts = [SUITE, PACKAGES, SET_UP, &self.sources, apt, pip, environment, &certificates.concat()];
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&part.len().to_le_bytes()).update(part.as_bytes());
        }
        format!("{SUITE}-{}", &hasher.finalize().to_hex()[..16])
    }

    fn make(&self, base: &Path) -> Result<(), Error> {
        let draft = base.with_extension("part");
        progress(&format!(
            "building the base of the test hosts in {} (a minute or two, once)",
            base.display()
        ));
        unmount(&draft.join("proc"))?;
        remove_folder(&draft)?;
        self.bootstrap(&draft)?;
        self.write_settings(&draft)?;
        set_up(&draft)?;
        fs::rename(&draft, base).map_err(Error::file(base))
    }

    fn bootstrap(&self, draft: &Path) -> Result<(), Error> {
        let mirror = self.controller.mirrors.get(SUITE).map_or(ARCHIVE, String::as_str);
        let (keyring, include) = (format!("--keyring={KEYRING}"), format!("--include={PACKAGES}"));
        let mut debootstrap = tool("debootstrap");
        debootstrap.args(["--variant=minbase", &keyring, &include, SUITE]).arg(draft).arg(mirror);
        run(&mut debootstrap)?.ok()?;
        Ok(())
    }

    fn write_settings(&self, draft: &Path) -> Result<(), Error> {
        let Controller { apt, pip, environment, .. } = &self.controller;
        let files = [
            ("etc/apt/sources.list", &self.sources),
            ("etc/apt/apt.conf.d/90controller", apt),
            ("etc/pip.conf", pip),
            ("etc/environment", environment),
        ];
        for (path, text) in files {
            let path = draft.join(path);
            fs::write(&path, text).map_err(Error::file(&path))?;
        }
        self.write_certificates(draft)
    }

    /// Adds the certificates that the controller trusts and Debian does not. They go to the folder from which
    /// packages rebuild the bundle.
    fn write_certificates(&self, draft: &Path) -> Result<(), Error> {
        let known = certificates(&draft.join(CA_BUNDLE.trim_start_matches('/')));
        let folder = draft.join("usr/local/share/ca-certificates");
        fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
        let unknown = self.controller.certificates.iter().filter(|certificate| !known.contains(certificate));
        for (index, certificate) in unknown.enumerate() {
            let path = folder.join(format!("controller-{index}.crt"));
            fs::write(&path, certificate).map_err(Error::file(&path))?;
        }
        Ok(())
    }
}

fn set_up(draft: &Path) -> Result<(), Error> {
    let proc = draft.join("proc");
    run(tool("mount").args(["-t", "proc", "proc"]).arg(&proc))?.ok()?;
    let done =
        run(tool("chroot").arg(draft).args(["/bin/sh", "-c", SET_UP])).and_then(super::command::Ran::ok);
    unmount(&proc)?;
    done?;
    Ok(())
}

/// Removes bases of earlier recipes that no host uses.
fn remove_unused(cache: &Path) -> Result<(), Error> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(Error::file("/proc/self/mounts"))?;
    for entry in fs::read_dir(cache).map_err(Error::file(cache))? {
        let path = entry.map_err(Error::file(cache))?.path();
        let in_use =
            mounts.contains(&format!("lowerdir={}", path.display())) || is_mounted(&path.join("proc"))?;
        if path.is_dir() && !in_use && path.file_name() != Some(TOOLS.as_ref()) {
            remove_folder(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controller() -> Controller {
        Controller {
            mirrors: [("bookworm".to_owned(), "http://mirror/debian".to_owned())].into(),
            apt: String::new(),
            pip: String::new(),
            environment: String::new(),
            certificates: Vec::new(),
        }
    }

    #[test]
    fn sources_use_the_mirror_of_the_controller_where_it_has_one() {
        assert_eq!(
            Recipe::new(controller()).sources,
            "deb http://mirror/debian bookworm main\n\
             deb http://deb.debian.org/debian bookworm-updates main\n\
             deb http://deb.debian.org/debian-security bookworm-security main\n"
        );
    }

    #[test]
    fn every_setting_is_part_of_the_key() {
        let name = |change: fn(&mut Controller)| {
            let mut changed = controller();
            change(&mut changed);
            Recipe::new(changed).folder_name()
        };
        let plain = name(|_| {});
        assert_eq!(plain, name(|_| {}));
        assert_ne!(plain, name(|controller| controller.pip.push('x')));
        assert_ne!(plain, name(|controller| controller.apt.push('x')));
        assert_ne!(plain, name(|controller| controller.mirrors.clear()));
        assert_ne!(plain, name(|controller| controller.certificates.push("x".to_owned())));
    }
}

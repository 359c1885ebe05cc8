//! The state of a bed on this machine: its record, its lock, and how beds are claimed and released.
//!
//! Everything is in one folder of `/run`. The bed `x` has the record `x.bed`, the lock `x.lock`, and a tmpfs `x/`
//! with all its hosts. The kernel releases the lock when the process that holds it ends in any way. A bed that
//! belonged to a process and has a free lock is a leak.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::Error;
use super::cgroup::Cgroup;
use super::command::{run, tool};
use super::network::{self, Network};

/// The folder of the records, locks and disks of all beds.
const STATE: &str = "/run/converge-testbed";
/// The first line of a record.
const FORMAT: &str = "converge-testbed 1";
/// The prefix of beds that belong to a process. There are few names, so that few lock files are left.
const OWN: &str = "own-";

/// How long the hosts of a bed run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until the process that booted them ends, in any way.
    Process,
    /// Until a user takes them down.
    Kept,
}

/// The record of a bed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bed {
    pub(crate) name: String,
    pub(crate) network: Network,
    pub(crate) lifetime: Lifetime,
    /// Names of its hosts. The index in the list determines the address.
    pub(crate) hosts: Vec<String>,
}

/// A held lock on a bed. It is released when this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct Lease {
    _lock: File,
}

impl Bed {
    /// Claims a new bed that ends with this process. Removes leaked beds first.
    pub(crate) fn claim_own() -> Result<(Self, Lease), Error> {
        let registry = Registry::lock()?;
        remove_leaks(&registry)?;
        let network = free_network()?;
        let name = format!("{OWN}{}", network.slot);
        let lease = Lease::take(&name)?;
        let bed = Self { name, network, lifetime: Lifetime::Process, hosts: Vec::new() };
        bed.register(&registry)?;
        Ok((bed, lease))
    }

    /// Claims the kept bed `name`, and creates it if needed. Blocks while another process uses it.
    pub(crate) fn claim_kept(name: &str) -> Result<(Self, Lease), Error> {
        check_name(name)?;
        fs::create_dir_all(STATE).map_err(Error::file(STATE))?;
        let lease = Lease::take(name)?;
        let registry = Registry::lock()?;
        remove_leaks(&registry)?;
        if let Some(bed) = Self::read(name)? {
            network::open_way_out()?;
            return Ok((bed, lease));
        }
        let (name, lifetime) = (name.to_owned(), Lifetime::Kept);
        let bed = Self { name, network: free_network()?, lifetime, hosts: Vec::new() };
        bed.register(&registry)?;
        Ok((bed, lease))
    }

    /// Returns the record of the bed `name`. None if there is no such bed.
    pub(crate) fn read(name: &str) -> Result<Option<Self>, Error> {
        let path = record(name);
        match fs::read_to_string(&path) {
            Ok(text) => parse(name, &text).ok_or(Error::Record { path }).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::file(&path)(error)),
        }
    }

    /// Returns the records of all beds, sorted by name.
    pub(crate) fn all() -> Result<Vec<Self>, Error> {
        let names = names()?;
        names.iter().filter_map(|name| Self::read(name).transpose()).collect()
    }

    /// Adds those of `names` that are new, all or none of them.
    pub(crate) fn add(&mut self, names: &[&str]) -> Result<(), Error> {
        names.iter().try_for_each(|name| check_name(name))?;
        let mut hosts = self.hosts.clone();
        for name in names {
            if !hosts.iter().any(|known| known == name) {
                hosts.push((*name).to_owned());
            }
        }
        if hosts.len() > Network::CAPACITY {
            return Err(Error::TooMany);
        }
        self.hosts = hosts;
        Ok(())
    }

    /// Writes the record before the hosts are made, so that they can be found again.
    pub(crate) fn write(&self) -> Result<(), Error> {
        let path = record(&self.name);
        let draft = path.with_extension("draft");
        fs::write(&draft, self.render()).map_err(Error::file(&draft))?;
        fs::rename(&draft, &path).map_err(Error::file(&path))
    }

    /// Returns the folder of the bed, which is a tmpfs.
    pub(crate) fn folder(&self) -> PathBuf {
        Path::new(STATE).join(&self.name)
    }

    /// Returns the path of the ssh_config for its hosts.
    pub(crate) fn ssh_config(&self) -> PathBuf {
        self.folder().join("ssh_config")
    }

    /// Mounts the folder, unless it is mounted.
    pub(crate) fn mount(&self) -> Result<(), Error> {
        let folder = self.folder();
        if is_mounted(&folder)? {
            return Ok(());
        }
        fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
        let options = ["-t", "tmpfs", "-o", "mode=0755,size=75%,nr_inodes=0", "converge-testbed"];
        run(tool("mount").args(options).arg(&folder))?.ok()?;
        Ok(())
    }

    /// Ends the hosts and removes everything of the bed except its lock.
    pub(crate) fn destroy(&self) -> Result<(), Error> {
        self.end_hosts()?;
        self.forget(&Registry::lock()?)
    }

    fn register(&self, _: &Registry) -> Result<(), Error> {
        self.write()?;
        network::open_way_out()
    }

    fn end_hosts(&self) -> Result<(), Error> {
        let group = Cgroup::at(&self.name).map_err(Error::file("/sys/fs/cgroup"))?;
        group.destroy().map_err(Error::file(self.folder()))?;
        for (index, host) in self.hosts.iter().enumerate() {
            self.network.unlink(index)?;
            unmount(&self.folder().join(host).join("root"))?;
        }
        unmount(&self.folder())?;
        remove_folder(&self.folder())
    }

    fn forget(&self, _: &Registry) -> Result<(), Error> {
        self.network.destroy()?;
        let record = record(&self.name);
        fs::remove_file(&record).map_err(Error::file(&record))?;
        if names()?.is_empty() { network::close_way_out() } else { Ok(()) }
    }

    fn render(&self) -> String {
        let lifetime = if self.lifetime == Lifetime::Kept { "kept" } else { "process" };
        let mut text = format!("{FORMAT}\nslot {}\nlifetime {lifetime}\n", self.network.slot);
        for host in &self.hosts {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "host {host}");
        }
        text
    }
}

impl Lease {
    /// Waits for the lock of the bed `name`.
    pub(crate) fn take(name: &str) -> Result<Self, Error> {
        let path = lock(name);
        let file = File::create(&path).map_err(Error::file(&path))?;
        file.lock().map_err(Error::file(&path))?;
        Ok(Self { _lock: file })
    }

    /// Takes the lock of the bed `name`. None if a process holds it.
    pub(crate) fn try_take(name: &str) -> Result<Option<Self>, Error> {
        let path = lock(name);
        let file = File::create(&path).map_err(Error::file(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _lock: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::file(&path)(error)),
        }
    }
}

/// Checks a name. It is used in file names, host names and interface names.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = (1..=40).contains(&name.len()) && name.bytes().all(plain);
    if fits && !name.starts_with('-') && !name.ends_with('-') && !name.starts_with(OWN) {
        return Ok(());
    }
    Err(Error::Name { name: name.to_owned() })
}

/// Unmounts `path` if something is mounted there.
pub(crate) fn unmount(path: &Path) -> Result<(), Error> {
    if is_mounted(path)? && !run(tool("umount").arg(path))?.status.success() {
        // A mount namespace that is just ending may still use it.
        run(tool("umount").arg("--lazy").arg(path))?.ok()?;
    }
    Ok(())
}

/// Removes a folder with everything in it, if it exists.
pub(crate) fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::file(path)(error)),
        _ => Ok(()),
    }
}

/// Whether something is mounted at `path`.
pub(crate) fn is_mounted(path: &Path) -> Result<bool, Error> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(Error::file("/proc/self/mounts"))?;
    let path = path.to_string_lossy();
    Ok(mounts.lines().any(|line| line.split(' ').nth(1) == Some(&*path)))
}

/// The lock for creating and removing beds.
struct Registry {
    _lock: File,
}

impl Registry {
    fn lock() -> Result<Self, Error> {
        fs::create_dir_all(STATE).map_err(Error::file(STATE))?;
        let path = Path::new(STATE).join("registry");
        let file = File::create(&path).map_err(Error::file(&path))?;
        file.lock().map_err(Error::file(&path))?;
        Ok(Self { _lock: file })
    }
}

/// Removes the beds of processes that have ended.
fn remove_leaks(registry: &Registry) -> Result<(), Error> {
    for bed in Bed::all()?.into_iter().filter(|bed| bed.lifetime == Lifetime::Process) {
        if let Some(_lease) = Lease::try_take(&bed.name)? {
            bed.end_hosts()?;
            bed.forget(registry)?;
        }
    }
    Ok(())
}

fn free_network() -> Result<Network, Error> {
    let taken: BTreeSet<Network> = Bed::all()?.into_iter().map(|bed| bed.network).collect();
    let mut free = (0..=u8::MAX).map(|slot| Network { slot }).filter(|network| !taken.contains(network));
    free.next().ok_or(Error::NoNetwork)
}

fn names() -> Result<Vec<String>, Error> {
    let Ok(entries) = fs::read_dir(STATE) else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::file(STATE))?.path();
        if path.extension().is_some_and(|end| end == "bed") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

fn record(name: &str) -> PathBuf {
    Path::new(STATE).join(format!("{name}.bed"))
}

fn lock(name: &str) -> PathBuf {
    Path::new(STATE).join(format!("{name}.lock"))
}

fn parse(name: &str, text: &str) -> Option<Bed> {
    let mut lines = text.lines();
    if lines.next()? != FORMAT {
        return None;
    }
    let slot = lines.next()?.strip_prefix("slot ")?.parse().ok()?;
    let lifetime = match lines.next()? {
        "lifetime kept" => Lifetime::Kept,
        "lifetime process" => Lifetime::Process,
        _ => return None,
    };
    let hosts = lines.map(|line| line.strip_prefix("host ").map(str::to_owned)).collect::<Option<_>>()?;
    Some(Bed { name: name.to_owned(), network: Network { slot }, lifetime, hosts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bed() -> Bed {
        let (name, network, lifetime) = ("hand".to_owned(), Network { slot: 7 }, Lifetime::Kept);
        Bed { name, network, lifetime, hosts: vec!["web1".to_owned(), "db1".to_owned()] }
    }

    #[test]
    fn a_bed_takes_all_of_the_new_hosts_or_none() {
        let mut bed = bed();
        bed.add(&["db1", "h1", "h1"]).unwrap();
        assert_eq!(bed.hosts, ["web1", "db1", "h1"]);
        assert!(matches!(bed.add(&["h2", "../h3"]), Err(Error::Name { .. })));
        let many: Vec<String> = (0..Network::CAPACITY).map(|number| format!("n{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(matches!(bed.add(&many), Err(Error::TooMany)));
        assert_eq!(bed.hosts, ["web1", "db1", "h1"]);
    }

    #[test]
    fn a_record_reads_back() {
        let bed = bed();
        assert_eq!(parse("hand", &bed.render()), Some(bed));
    }

    #[test]
    fn a_record_of_another_format_is_refused() {
        for text in ["", "converge-testbed 2\nslot 1\nlifetime kept\n", "converge-testbed 1\nslot 256\n"] {
            assert_eq!(parse("x", text), None, "{text:?}");
        }
    }

    #[test]
    fn names_are_plain() {
        for name in ["web1", "db-2", "h10"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "-a", "a-", "a.b", "a/b", "Web", "a b", &"x".repeat(41)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}

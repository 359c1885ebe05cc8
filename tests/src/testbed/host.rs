//! One test host: its disk, its boot, and the operations for tests.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Error;
use super::bed::{Bed, is_mounted, remove_folder, unmount};
use super::cgroup::Cgroup;
use super::command::{Ran, run, tail, tool};
use super::controller;
use super::network::Network;
use super::snapshot::{Change, Snapshot};
use super::ssh;

/// Starts a host, and starts it again after a reboot.
const BOOT: &str = include_str!("boot.sh");
/// How long a boot may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long to wait before the next check.
const GLANCE: Duration = Duration::from_millis(15);
/// The environment of a login as root.
const ROOT_ENVIRONMENT: [&str; 4] = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "USER=root",
    "LANG=C.UTF-8",
];

/// A real Debian with its own systemd, sshd, network and disk.
///
/// This is a handle: copies refer to the same host.
#[derive(Debug, Clone)]
pub struct Host {
    name: String,
    address: String,
    network: Network,
    /// Its number in the network.
    index: usize,
    /// The folder of the bed. The host's folder is in it.
    bed: PathBuf,
    folder: PathBuf,
    group: Cgroup,
}

impl Host {
    /// The name for ssh, which is also its host name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its IPv4 address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Runs a shell line over ssh as `admin`.
    ///
    /// # Errors
    /// Only if ssh cannot be started. If the host cannot be reached, the exit status is 255.
    pub fn ssh(&self, line: &str) -> Result<Ran, Error> {
        Ok(run(self.ssh_command().arg("--").arg(line))?)
    }

    /// Runs `words` over ssh with this process's terminal. Without words, runs a shell. Returns the exit code.
    ///
    /// # Errors
    /// If ssh cannot be started.
    pub fn attach(&self, words: &[String]) -> Result<u8, Error> {
        let mut command = self.ssh_command();
        command.stdin(Stdio::inherit()).args(words);
        let status = command.status().map_err(Error::file("ssh"))?;
        Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(255))
    }

    /// Returns `ssh` to this host, ready for arguments. Its input is closed.
    #[must_use]
    pub fn ssh_command(&self) -> Command {
        let mut command = tool("ssh");
        command.arg("-F").arg(self.bed.join("ssh_config")).arg(&self.name);
        command
    }

    /// Runs a shell line as root inside the host: without ssh, sudo or network, and in no session.
    ///
    /// # Errors
    /// If the host does not run. A failed line is an exit status, not an error.
    pub fn exec_root(&self, line: &str) -> Result<Ran, Error> {
        let leader = self.leader().ok_or_else(|| self.down())?.to_string();
        let mut command = tool("nsenter");
        command.args(["--all", "--target", &leader, "--", "/usr/bin/env", "-i"]).args(ROOT_ENVIRONMENT);
        Ok(run(command.args(["/bin/sh", "-c", line]))?)
    }

    /// Returns the difference of its disk from the base, except for `/var/log` and the file that `sudo` writes at a
    /// first login.
    ///
    /// # Errors
    /// If a file of the host cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        let upper = self.folder.join("upper");
        Snapshot::take(&self.base(), &upper).map_err(Error::file(&upper))
    }

    /// Returns the digest of [`Self::snapshot`]. If it is the same twice, nothing was written meanwhile.
    ///
    /// # Errors
    /// As for [`Self::snapshot`].
    pub fn digest(&self) -> Result<String, Error> {
        Ok(self.snapshot()?.digest())
    }

    /// Returns every path that changed since `before`.
    ///
    /// # Errors
    /// As for [`Self::snapshot`].
    pub fn changes_since(&self, before: &Snapshot) -> Result<Vec<Change>, Error> {
        Ok(self.snapshot()?.changes_since(before))
    }

    /// Returns the kernel's id of this boot.
    ///
    /// # Errors
    /// If the host does not run.
    pub fn boot_id(&self) -> Result<String, Error> {
        let leader = self.leader().ok_or_else(|| self.down())?;
        let path = inside(leader, "proc/sys/kernel/random/boot_id");
        let id = fs::read_to_string(&path).map_err(Error::file(&path))?;
        Ok(id.trim().to_owned())
    }

    /// Returns the units that failed since boot.
    ///
    /// # Errors
    /// If the host does not run.
    pub fn failed_units(&self) -> Result<Vec<String>, Error> {
        let listed = self.exec_root("systemctl list-units --state=failed --plain --no-legend")?.ok()?;
        Ok(listed.lines().filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect())
    }

    /// Reboots the host in the regular way and waits until it is up again.
    ///
    /// # Errors
    /// If the host does not run, or does not come up again.
    pub fn reboot(&self) -> Result<(), Error> {
        let before = self.boot_id()?;
        // The reboot may end this command itself.
        let _ = self.exec_root("systemctl reboot")?;
        self.wait_until_up(Some(&before))
    }

    /// Cuts the power: no process on the host can finish. The disk is kept.
    ///
    /// # Errors
    /// If its processes do not end.
    pub fn cut_power(&self) -> Result<(), Error> {
        self.group.destroy().map_err(Error::file(&self.folder))?;
        self.network.unlink(self.index)
    }

    /// Boots a host that is off, and waits until it is up. A running host is not changed.
    ///
    /// # Errors
    /// If it does not come up. The message has the end of its console.
    pub fn power_on(&self) -> Result<(), Error> {
        if self.leader().is_none() {
            // Removes what a failed boot left.
            self.cut_power()?;
            self.make_disk()?;
            self.boot()?;
        }
        self.wait_until_up(None)
    }

    /// Removes the disk and boots again, with the same keys, address and machine id.
    ///
    /// # Errors
    /// As for [`Self::power_on`].
    pub fn reset(&self) -> Result<(), Error> {
        self.cut_power()?;
        unmount(&self.root())?;
        for part in ["upper", "work"] {
            remove_folder(&self.folder.join(part))?;
        }
        self.power_on()
    }

    /// Whether the host runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.leader().is_some()
    }

    /// Returns the handle of host number `index` of a bed.
    pub(crate) fn new(bed: &Bed, index: usize) -> Result<Self, Error> {
        let name = bed.hosts[index].clone();
        let group = Cgroup::at(&format!("{}/{name}", bed.name)).map_err(Error::file("/sys/fs/cgroup"))?;
        let address = bed.network.address(index).ok_or(Error::TooMany)?;
        let folder = bed.folder().join(&name);
        Ok(Self { name, address, network: bed.network, index, bed: bed.folder(), folder, group })
    }

    /// Creates its key, machine id and choice of base. They last as long as the bed.
    pub(crate) fn make_identity(&self, base: &Path) -> Result<(), Error> {
        fs::create_dir_all(&self.folder).map_err(Error::file(&self.folder))?;
        if !self.base().exists() {
            symlink(base, self.base()).map_err(Error::file(self.base()))?;
        }
        ssh::make_key(&self.host_key(), &format!("root@{}", self.name))?;
        let id = self.folder.join("machine-id");
        if !id.exists() {
            let random = "/proc/sys/kernel/random/uuid";
            let uuid = fs::read_to_string(random).map_err(Error::file(random))?;
            fs::write(&id, uuid.replace('-', "")).map_err(Error::file(&id))?;
        }
        Ok(())
    }

    /// Returns the public key of its host key.
    pub(crate) fn public_key(&self) -> Result<String, Error> {
        ssh::public_key(&self.host_key())
    }

    /// Mounts the overlay over the base and writes the host's own files. An existing disk is kept.
    fn make_disk(&self) -> Result<(), Error> {
        let root = self.root();
        if is_mounted(&root)? {
            return Ok(());
        }
        let (upper, work) = (self.folder.join("upper"), self.folder.join("work"));
        for folder in [&root, &upper, &work] {
            fs::create_dir_all(folder).map_err(Error::file(folder))?;
        }
        let base = fs::read_link(self.base()).map_err(Error::file(self.base()))?;
        let (base, upper, work) = (base.display(), upper.display(), work.display());
        let options = format!("lowerdir={base},upperdir={upper},workdir={work},redirect_dir=on");
        run(tool("mount").args(["-t", "overlay", "-o", &options, "overlay"]).arg(&root))?.ok()?;
        self.write_identity()
    }

    fn write_identity(&self) -> Result<(), Error> {
        let name = &self.name;
        self.write("etc/hostname", &format!("{name}\n"))?;
        self.write("etc/hosts", &format!("127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost\n"))?;
        self.write("etc/resolv.conf", &controller::resolv_conf()?)?;
        self.write("etc/systemd/network/10-testbed.network", &self.network.networkd(&self.address))?;
        self.copy(&self.folder.join("machine-id"), "etc/machine-id", 0o444)?;
        self.copy(&self.host_key(), "etc/ssh/ssh_host_ed25519_key", 0o600)?;
        let public = self.host_key().with_added_extension("pub");
        self.copy(&public, "etc/ssh/ssh_host_ed25519_key.pub", 0o644)?;
        let keys = ".ssh/authorized_keys";
        let home = format!("home/{}", ssh::USER);
        self.copy(&self.bed.join("id_ed25519.pub"), &format!("{home}/{keys}"), 0o600)?;
        self.give(&format!("{home}/{keys}"), &home)
    }

    fn write(&self, path: &str, text: &str) -> Result<(), Error> {
        let path = self.root().join(path);
        // The base may have a link here that leads outside.
        let _ = fs::remove_file(&path);
        fs::write(&path, text).map_err(Error::file(&path))
    }

    fn copy(&self, from: &Path, to: &str, mode: u32) -> Result<(), Error> {
        self.write(to, &fs::read_to_string(from).map_err(Error::file(from))?)?;
        let to = self.root().join(to);
        fs::set_permissions(&to, fs::Permissions::from_mode(mode)).map_err(Error::file(&to))
    }

    /// Sets the owner of `path` to the owner of `model`.
    fn give(&self, path: &str, model: &str) -> Result<(), Error> {
        let (path, model) = (self.root().join(path), self.root().join(model));
        let owner = fs::metadata(&model).map_err(Error::file(&model))?;
        chown(&path, Some(owner.uid()), Some(owner.gid())).map_err(Error::file(&path))
    }

    /// Starts the loop around systemd-nspawn, in its own session and in the host's cgroup.
    fn boot(&self) -> Result<(), Error> {
        for leaf in ["loop", "machine"] {
            let path = self.group.folders()[0].join(leaf);
            self.group.child(leaf).create().map_err(Error::file(&path))?;
        }
        let path = self.console();
        let console = fs::File::create(&path).map_err(Error::file(&path))?;
        let errors = console.try_clone().map_err(Error::file(&path))?;
        let machine = self.network.machine(self.index);
        let mut command = tool("setsid");
        command.args(["sh", "-c", BOOT, "boot.sh", &machine]).arg(self.root());
        command.arg(self.network.bridge()).args(self.group.folders());
        command.stdout(Stdio::from(console)).stderr(Stdio::from(errors));
        let status = command.status().map_err(Error::file("setsid"))?;
        if status.success() { Ok(()) } else { Err(self.down()) }
    }

    /// Waits until a boot other than `previous` has finished and accepts logins.
    fn wait_until_up(&self, previous: Option<&str>) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        while !self.lets_people_in(previous) {
            if Instant::now() > deadline || self.group.processes().is_empty() {
                return Err(self.down());
            }
            sleep(GLANCE);
        }
        // Waits for the rest of the boot, so that its writes do not count as changes. The caller decides whether
        // `degraded` is an error.
        let _ = self.exec_root("systemctl is-system-running --wait")?;
        Ok(())
    }

    fn lets_people_in(&self, previous: Option<&str>) -> bool {
        let Some(leader) = self.leader() else { return false };
        let is_new = self.boot_id().is_ok_and(|id| Some(id.as_str()) != previous);
        let is_open =
            inside(leader, "run/systemd/private").exists() && !inside(leader, "run/nologin").exists();
        is_new && is_open && self.greets()
    }

    /// Whether sshd sends its banner.
    fn greets(&self) -> bool {
        let Ok(address) = format!("{}:22", self.address).parse::<SocketAddr>() else { return false };
        let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) else { return false };
        let mut banner = String::new();
        let timed = stream.set_read_timeout(Some(Duration::from_secs(5)));
        timed.is_ok() && BufReader::new(stream).read_line(&mut banner).is_ok() && banner.starts_with("SSH-")
    }

    /// Returns the host's first process, with its id on this machine.
    fn leader(&self) -> Option<u32> {
        self.group.processes().into_iter().find(|pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            let mut numbers = numbers.split_whitespace();
            numbers.next().is_some() && numbers.next_back() == Some("1")
        })
    }

    fn down(&self) -> Error {
        let console = fs::read_to_string(self.console()).unwrap_or_default();
        Error::Down { host: self.name.clone(), console: tail(&console, 15) }
    }

    fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Returns a link to the read-only root file system below the host's disk.
    fn base(&self) -> PathBuf {
        self.folder.join("base")
    }

    fn console(&self) -> PathBuf {
        self.folder.join("console")
    }

    fn host_key(&self) -> PathBuf {
        self.folder.join("ssh_host_ed25519_key")
    }
}

/// Returns the current path of a file inside the host with the first process `leader`, mounts included.
fn inside(leader: u32, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{leader}/root")).join(path)
}

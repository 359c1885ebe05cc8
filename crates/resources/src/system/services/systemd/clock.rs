//! The clock of systemd: transient timers of `systemd-run`, and a unit that the next boot starts.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::system::files::Files;
use crate::system::processes::{Command, Processes};
use crate::system::services::clock::{AT_MOST, Clock};

/// The unit that the next boot starts.
pub const BOOT_UNIT: &str = "/etc/systemd/system/converge-revert.service";
/// The link by which the boot starts it.
pub const BOOT_LINK: &str = "/etc/systemd/system/multi-user.target.wants/converge-revert.service";

/// The clock of a host with systemd.
pub struct SystemdClock<'s> {
    files: &'s Files,
    processes: &'s dyn Processes,
}

impl<'s> SystemdClock<'s> {
    /// Returns the clock of the host with these files and processes.
    pub fn new(files: &'s Files, processes: &'s dyn Processes) -> Self {
        Self { files, processes }
    }

    fn run(&self, command: Command) -> io::Result<()> {
        let command = Command { timeout: AT_MOST, ..command };
        let finished = self.processes.run(&command, &mut |_| {});
        let finished = finished.map_err(|error| io::Error::other(error.to_string()))?;
        if finished.success() {
            return Ok(());
        }
        let output = String::from_utf8_lossy(&finished.output);
        Err(io::Error::other(format!("{}: {}", command.program(), output.trim())))
    }
}

impl Clock for SystemdClock<'_> {
    /// The timer is transient: it is removed together with the unit that it starts.
    fn arm(&self, timer: &str, seconds: u32, words: &[String]) -> io::Result<()> {
        let (unit, after) = (format!("--unit={timer}"), format!("--on-active={seconds}s"));
        let (accuracy, again) = ("--timer-property=AccuracySec=100ms", "--property=Restart=on-abnormal");
        let first = ["systemd-run", "--quiet", "--collect", &unit, &after, accuracy, again];
        self.run(Command::new(first.into_iter().chain(words.iter().map(String::as_str))))
    }

    fn is_armed(&self, timer: &str) -> bool {
        self.run(Command::new(["systemctl", "is-active", "--quiet", &format!("{timer}.timer")])).is_ok()
    }

    /// systemd reads the unit at boot.
    fn at_boot(&self, words: &[String], folder: &Path) -> io::Result<()> {
        let [unit, link] = [BOOT_UNIT, BOOT_LINK].map(|path| self.files.outside(Path::new(path)));
        let wants = link.parent().map(PathBuf::from).unwrap_or_default();
        std::fs::create_dir_all(&wants)?;
        write(&unit, &boot_unit(words, folder))?;
        // A link of an earlier group may be there, and may lead anywhere by now.
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink("../converge-revert.service", &link)?;
        std::fs::File::open(wants)?.sync_all()
    }

    fn boot_files(&self) -> Vec<PathBuf> {
        [BOOT_UNIT, BOOT_LINK].map(|path| self.files.outside(Path::new(path))).to_vec()
    }

    fn start_apart(&self, words: &[String]) {
        let first = ["systemd-run", "--quiet", "--collect", "--wait"];
        let _ = self.run(Command::new(first.into_iter().chain(words.iter().map(String::as_str))));
    }

    fn disarm(&self, timer: Option<&str>) {
        for path in [BOOT_LINK, BOOT_UNIT] {
            let _ = std::fs::remove_file(self.files.outside(Path::new(path)));
        }
        if let Some(timer) = timer {
            let _ = self.run(Command::new(["systemctl", "stop", &format!("{timer}.timer")]));
        }
    }
}

fn boot_unit(words: &[String], folder: &Path) -> String {
    format!(
        "[Unit]\n\
         Description=Revert changes of Converge that no login confirmed\n\
         DefaultDependencies=no\n\
         RequiresMountsFor={} /etc\n\
         After=local-fs.target\n\
         Before=network-pre.target sysinit.target nftables.service converge-firewall.service systemd-networkd.service networking.service \
         NetworkManager.service ssh.service ssh.socket sshd.service\n\
         Conflicts=shutdown.target\n\
         Before=shutdown.target\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         ExecStart={}\n",
        folder.display(),
        words.join(" ")
    )
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::System;
    use crate::system::fake::World;
    use crate::system::services::Units;
    use crate::system::services::systemd::{FolderUnits, NoUnits};

    #[test]
    fn a_host_has_a_clock_if_systemd_runs_on_it() {
        assert!(NoUnits.clock().is_none() && FolderUnits.clock().is_none());
        let host = tempfile::tempdir().unwrap();
        let world = World::new(host.path()).unwrap();
        assert!(world.units().clock().is_none());
        std::fs::create_dir_all(host.path().join("run/systemd/system")).unwrap();
        assert!(world.units().clock().is_some());
    }

    #[test]
    fn what_armed_a_group_goes_and_may_be_gone_already() {
        let host = tempfile::tempdir().unwrap();
        let world = World::new(host.path()).unwrap();
        std::fs::create_dir_all(host.path().join("etc/systemd/system")).unwrap();
        world.command("systemctl is-active --quiet t.timer", |_| 0);
        world.command("systemctl stop t.timer", |_| 0);
        let clock = SystemdClock::new(world.files(), &world);
        clock.at_boot(&["/x/reverter".to_owned()], Path::new("/x")).unwrap();
        assert!(clock.is_armed("t") && !clock.is_armed("other"));
        let exist = || clock.boot_files().iter().all(|path| path.symlink_metadata().is_ok());
        assert!(exist());
        clock.disarm(Some("t"));
        assert!(!exist());
        clock.disarm(None);
        let runs = ["run systemctl is-active --quiet t.timer", "run systemctl stop t.timer"];
        assert_eq!(world.log().iter().filter(|line| runs.contains(&line.as_str())).count(), 2);
    }
}

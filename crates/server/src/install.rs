//! The systemd unit of the daemon. It is hardened as far as ssh, and the project's use of this machine, allow.
//!
//! The command line parses the daemon's arguments.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The values of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The name of the project, for people.
    pub project: String,
    /// The absolute path of the program.
    pub program: PathBuf,
    /// Its arguments, without `--install`.
    pub arguments: Vec<String>,
    /// The working folder: the folder of the project.
    pub folder: PathBuf,
    /// The account that runs it.
    pub user: String,
    /// The folders that it may write: its state.
    pub writes: Vec<PathBuf>,
    /// Variables that it needs, like XDG_STATE_HOME. Secrets belong in [`Unit::environment_file`].
    pub environment: Vec<(String, String)>,
    /// A file with secret variables that only root may read. It is optional.
    pub environment_file: PathBuf,
    /// Whether the project manages this machine itself. Then the unit restricts no access to the machine.
    pub manages_this_machine: bool,
}

/// The folder for an administrator's units.
pub const FOLDER: &str = "/etc/systemd/system";

impl Unit {
    /// The name of its file: `converge-shop.service`.
    pub fn name(&self) -> String {
        let known = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let project: String = self.project.chars().map(known).collect();
        format!("converge-{}.service", project.trim_matches('-'))
    }

    /// Returns its text in the format of systemd.service(5) and systemd.exec(5).
    pub fn text(&self) -> String {
        let mut text = format!(
            "# Written by `converge watch --install`; running it again overwrites this file.\n\
             [Unit]\n\
             Description=Converge: drift of {}\n\
             Documentation=man:ssh(1)\n\
             Wants=network-online.target\n\
             After=network-online.target\n\
             \n\
             [Service]\n\
             Type=notify\n\
             ExecStart={}\n\
             WorkingDirectory={}\n\
             User={}\n",
            plain(&self.project),
            self.command(),
            path(&self.folder),
            plain(&self.user),
        );
        for (name, value) in &self.environment {
            let _ = writeln!(text, "Environment={}", word(&format!("{name}={value}"), Dollar::Plain));
        }
        let _ = writeln!(text, "EnvironmentFile=-{}", path(&self.environment_file));
        text.push_str(SERVICE);
        match self.manages_this_machine {
            true => text.push_str("# The daemon manages this machine too, so it runs without a sandbox.\n"),
            false => self.harden(&mut text),
        }
        text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
        text
    }

    fn command(&self) -> String {
        let program = self.program.display().to_string();
        let words = std::iter::once(&program).chain(&self.arguments);
        words.map(|text| word(text, Dollar::Doubled)).collect::<Vec<_>>().join(" ")
    }

    fn harden(&self, text: &mut String) {
        text.push_str(HARDENED);
        let writes: Vec<_> =
            self.writes.iter().map(|folder| word(&folder.display().to_string(), Dollar::Plain)).collect();
        if !writes.is_empty() {
            let _ = writeln!(text, "ReadWritePaths={}", writes.join(" "));
        }
    }

    /// Writes it into `folder`, readable for all, and replaces an old file as a whole. Returns its path.
    ///
    /// # Errors
    /// The first error of the system.
    pub fn write(&self, folder: &Path) -> io::Result<PathBuf> {
        let path = folder.join(self.name());
        let temporary = folder.join(format!(".{}.{}", self.name(), std::process::id()));
        let written = (|| {
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary)?;
            file.write_all(self.text().as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(folder)?.sync_all()
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written.map(|()| path)
    }
}

/// How it is started, watched and stopped. The stop waits for running steps, because a package may need time.
const SERVICE: &str = "\
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=10s
WatchdogSec=2min
TimeoutStartSec=5min
TimeoutStopSec=35min
KillMode=mixed
# A lock that another daemon of this project holds does not go away by itself.
RestartPreventExitStatus=5
UMask=0077
";

/// Access that ssh and an agent under it do not need. The home folder can be read, for keys and known hosts.
const HARDENED: &str = "\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictSUIDSGID=yes
RestrictRealtime=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
CapabilityBoundingSet=
";

/// Whether `$` starts a variable at this place of a unit file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dollar {
    /// It does, on command lines: it is doubled.
    Doubled,
    Plain,
}

/// Returns a text as one word of a unit file: in quotes, and without parts that systemd would replace.
fn word(text: &str, dollar: Dollar) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '%' => out.push_str("%%"),
            '$' if dollar == Dollar::Doubled => out.push_str("$$"),
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out + "\""
}

/// Returns a path for a line that takes it without quotes.
fn path(path: &Path) -> String {
    plain(&path.display().to_string())
}

/// Returns a text for the rest of a line.
fn plain(text: &str) -> String {
    text.replace('%', "%%").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn unit(manages_this_machine: bool) -> Unit {
        Unit {
            project: "Shop (eu)".to_owned(),
            program: "/bin/true".into(),
            arguments: ["watch", "/srv/50% \"off\"/inventory.kdl", "--notify-command", "tell $USER \\n"]
                .map(str::to_owned)
                .to_vec(),
            folder: "/tmp".into(),
            user: "root".to_owned(),
            writes: vec!["/var/lib/state of it".into()],
            environment: vec![("XDG_STATE_HOME".to_owned(), "/var/lib/50%".to_owned())],
            environment_file: "/etc/converge/watch.env".into(),
            manages_this_machine,
        }
    }

    #[test]
    fn words_survive_what_systemd_makes_of_them() {
        let text = unit(false).text();
        let command = r#"ExecStart="/bin/true" "watch" "/srv/50%% \"off\"/inventory.kdl" "--notify-command" "tell $$USER \\n""#;
        for line in [
            command,
            "WorkingDirectory=/tmp",
            "Environment=\"XDG_STATE_HOME=/var/lib/50%%\"",
            "ReadWritePaths=\"/var/lib/state of it\"",
            "ProtectSystem=strict",
            "Type=notify",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let open = unit(true).text();
        assert!(!open.contains("ProtectSystem") && !open.contains("NoNewPrivileges"), "{open}");
        assert_eq!(unit(true).name(), "converge-shop--eu.service");
    }

    #[test]
    fn a_newline_begins_no_directive() {
        let evil = Unit { project: "x\nExecStartPre=/bin/false".to_owned(), ..unit(false) };
        assert!(!evil.text().lines().any(|line| line.starts_with("ExecStartPre")));
        let arguments = vec!["a\nExecStartPre=/bin/false".to_owned()];
        assert!(
            !Unit { arguments, ..unit(false) }.text().lines().any(|line| line.starts_with("ExecStartPre"))
        );
    }

    #[test]
    fn it_is_replaced_whole_and_systemd_finds_nothing_to_say() {
        let temp = tempfile::tempdir().unwrap();
        for manages_this_machine in [true, false] {
            let path = unit(manages_this_machine).write(temp.path()).unwrap();
            assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
            let verified = Command::new("systemd-analyze").arg("verify").arg(&path).output().unwrap();
            let said = String::from_utf8_lossy(&verified.stderr).into_owned();
            let of_it: Vec<_> = said.lines().filter(|line| line.contains("converge-")).collect();
            assert!(verified.status.success() && of_it.is_empty(), "{said}");
        }
        assert!(unit(false).write(&temp.path().join("none")).is_err());
    }
}

//! A real `sshd` on a loopback address. All its files are in a temporary folder.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use converge_fleet::{Agent, Fleet, Host, Options, Reach, SshSettings};

use crate::support::{options, scratch, skipped, target};

/// A running sshd, its log, and a client configuration for it.
pub(crate) struct Sshd {
    pub(crate) scratch: tempfile::TempDir,
    pub(crate) port: u16,
    log: Arc<Mutex<String>>,
    process: Child,
}

impl Drop for Sshd {
    /// Ends the server and the kept connections to it.
    fn drop(&mut self) {
        for socket in std::fs::read_dir(self.path("control")).into_iter().flatten().flatten() {
            let mut ssh = Command::new("ssh");
            ssh.args(["-O", "exit", "-S"]).arg(socket.path()).arg("host").stderr(Stdio::null());
            let _ = socket.path().extension().is_none().then(|| ssh.status());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Sshd {
    /// Starts a server with these lines in its configuration. If there is no sshd, reports the skipped test and
    /// returns None.
    pub(crate) fn start(lines: &str) -> Option<Self> {
        let Some(sshd) = program() else {
            skipped("no sshd on this machine");
            return None;
        };
        let scratch = scratch();
        let at = |name: &str| scratch.path().join(name);
        for key in ["host_key", "id"] {
            generate(&at(key));
        }
        std::fs::copy(at("id.pub"), at("authorized_keys")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::write(at("sshd_config"), server_config(scratch.path(), port, lines)).unwrap();
        // The sshd of root needs this empty folder. The sshd of another account does not.
        let _ = std::fs::create_dir("/run/sshd");
        let mut process = Command::new(sshd)
            .args(["-D", "-e", "-f"])
            .arg(at("sshd_config"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = listen(BufReader::new(process.stderr.take().unwrap()));
        let sshd = Self { scratch, port, log, process };
        sshd.trust(&sshd.path("host_key.pub"));
        std::fs::write(sshd.path("ssh_config"), sshd.client_config()).unwrap();
        Some(sshd)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Returns how often the server's log has `mark` so far.
    pub(crate) fn logged(&self, mark: &str) -> usize {
        self.log.lock().unwrap().matches(mark).count()
    }

    /// Sets `key` as the only known key of the server.
    pub(crate) fn trust(&self, key: &Path) {
        let key = std::fs::read_to_string(key).unwrap();
        std::fs::write(self.path("known_hosts"), format!("[127.0.0.1]:{} {key}", self.port)).unwrap();
    }

    fn client_config(&self) -> String {
        format!(
            "UserKnownHostsFile {0}/known_hosts\nGlobalKnownHostsFile /dev/null\nIdentityFile {0}/id\n\
             IdentitiesOnly yes\nIdentityAgent none\nPort {1}\nKexAlgorithms curve25519-sha256\n",
            self.scratch.path().display(),
            self.port
        )
    }

    pub(crate) fn options(&self) -> Options {
        Options { ssh_config: Some(self.path("ssh_config")), ..options(self.scratch.path()) }
    }

    pub(crate) fn settings(&self) -> SshSettings {
        SshSettings { address: "127.0.0.1".into(), ..SshSettings::default() }
    }

    /// Returns the host behind this server, with an agent.
    pub(crate) fn host(&self, agent: Agent) -> Host {
        self.host_with(agent, self.options(), self.settings())
    }

    pub(crate) fn host_with(&self, agent: Agent, options: Options, settings: SshSettings) -> Host {
        Fleet::new(agent, options).unwrap().host(target(Reach::Ssh(settings)))
    }
}

/// A new key without a passphrase.
pub(crate) fn generate(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.unwrap().success());
}

fn program() -> Option<&'static str> {
    ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"]
        .into_iter()
        .find(|path| Path::new(path).exists())
}

fn server_config(scratch: &Path, port: u16, lines: &str) -> String {
    let mut config = String::new();
    writeln!(config, "{lines}\nListenAddress 127.0.0.1:{port}\nHostKey {}/host_key", scratch.display())
        .unwrap();
    writeln!(config, "AuthorizedKeysFile {}/authorized_keys", scratch.display()).unwrap();
    config
        + "PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nLogLevel VERBOSE\n"
}

/// Waits until the server listens, then collects its log.
fn listen(mut stderr: BufReader<std::process::ChildStderr>) -> Arc<Mutex<String>> {
    let mut line = String::new();
    while !line.contains("Server listening") {
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "sshd ended: {line}");
    }
    let log = Arc::new(Mutex::new(line));
    let kept = log.clone();
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            let mut log = kept.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
    log
}

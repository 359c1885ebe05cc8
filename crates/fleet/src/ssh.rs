//! SSH connections: a master process of the system's `ssh` for each host, which the next run can reuse.
//!
//! The master uses the user's own ssh agent, keys, known hosts and configuration. It writes to a log file, never to a
//! pipe of this process, and it belongs to no terminal. It ends by itself after it was idle for long enough. Commands
//! use it through the multiplexing protocol of the `openssh` crate.

mod config;
mod diagnosis;
mod folder;
mod policy;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use converge_model::Digest;
use openssh::Session;

use crate::counters::Counters;
use crate::gates::{self, Gates, Leave};
use crate::target::{SshSettings, TargetError};

use config::Strictness;
use policy::Policy;

pub use diagnosis::ConnectError;
pub(crate) use folder::Folder;

/// How often a login is tried again if the host dropped the connection before the login.
const RETRIES: u32 = 4;
/// If connections are not kept for other runs: how long a master waits for the next command of its own run, in
/// seconds.
const OWN_IDLE: u64 = 60;

/// The settings for connections.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The user's ssh_config(5) instead of the usual ones.
    pub(crate) ssh_config: Option<PathBuf>,
    /// How long an idle connection is kept for other runs. Zero: it is not kept.
    pub(crate) keep: Duration,
    /// How long a connection may take.
    pub(crate) connect: Duration,
}

/// An open connection.
pub(crate) struct Connected {
    pub(crate) session: Arc<Session>,
    /// Whether it belongs to this run alone, which must close it.
    own: bool,
}

impl Connected {
    /// Asks the master to end after its commands have ended.
    pub(crate) async fn close(self) {
        if self.own
            && let Some(session) = Arc::into_inner(self.session)
        {
            // An error means that the master is gone already, which is fine.
            let _ = session.close().await;
        }
    }
}

/// Connects to `target`. Reuses an open connection unless it must be `fresh`.
pub(crate) async fn connect(
    target: &SshSettings,
    settings: &Settings,
    folder: &Folder,
    fresh: bool,
    gates: &Gates,
    counters: &Counters,
) -> Result<Connected, ConnectError> {
    target.check()?;
    let own = fresh || settings.keep.is_zero();
    let mut text = config::text(settings, Strictness::Refuse);
    let master = Master::new(folder, target, &text, settings, own);
    if !own && let Some(session) = master.resume().await {
        return Ok(Connected { session: Arc::new(session), own });
    }
    let identity = format!("{:?} {:?}", target.user, target.key);
    let mut policy = None;
    for attempt in 0.. {
        if !fresh && gates.given_up(&identity) {
            return Err(ConnectError::GivenUp);
        }
        let leave = gates.login(target.jump.as_deref()).await.map_err(|_| ConnectError::GivenUp)?;
        match master.launch(target, &text, leave, own).await {
            Ok((session, launched)) => {
                gates.accepted(&identity);
                launched.then(|| counters.connected());
                return Ok(Connected { session: Arc::new(session), own });
            }
            Err(error) if error.is_unknown_key() && policy.is_none() => {
                match policy.insert(master.policy(target).await) {
                    Policy::AcceptNew => text = config::text(settings, Strictness::AcceptNew),
                    policy => return Err(error.under(*policy)),
                }
            }
            Err(error) if error.is_drop() && attempt < RETRIES => {
                tokio::time::sleep(gates::pause(attempt)).await
            }
            Err(error) => {
                // A fresh connection tests whether a change locked this host. A refusal there says nothing about
                // other hosts.
                (error.is_refusal() && !fresh).then(|| gates.refused(&identity));
                return Err(error);
            }
        }
    }
    Err(ConnectError::GivenUp)
}

/// The files of one master in the folder of control sockets.
struct Master<'a> {
    base: PathBuf,
    settings: &'a Settings,
}

impl<'a> Master<'a> {
    /// A hash of all settings of the connection names the master. So a run only reuses a connection with the same
    /// settings.
    fn new(folder: &Folder, target: &SshSettings, config: &str, settings: &'a Settings, own: bool) -> Self {
        let user_config = settings.ssh_config.clone().or_else(config::usual).map(std::fs::read);
        let user_config = user_config.and_then(Result::ok).unwrap_or_default();
        let salt = if own { gates::random() } else { 0 };
        let identity = format!("{target:?}\n{config}\n{}\n{salt:x}", Digest::of(&user_config));
        let name = Digest::of(identity.as_bytes()).to_string();
        Self { base: folder.path().join(&name[..16]), settings }
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.base.with_extension(extension)
    }

    /// Returns the session of a master that is alive.
    async fn resume(&self) -> Option<Session> {
        let log = self.file("log");
        let session = Session::resume_mux(self.base.clone().into(), Some(log.clone().into()));
        let alive = tokio::time::timeout(Duration::from_secs(2), session.check()).await;
        if !matches!(alive, Ok(Ok(()))) {
            return None;
        }
        // The master appends to its log as long as it runs. The older lines are not needed, so the log is emptied.
        if let Ok(log) = std::fs::File::options().write(true).open(log) {
            let _ = log.set_len(0);
        }
        Some(session)
    }

    /// Starts a master, unless another process has started it meanwhile. Returns whether it did.
    async fn launch(
        &self,
        target: &SshSettings,
        config: &str,
        leave: Leave,
        own: bool,
    ) -> Result<(Session, bool), ConnectError> {
        let lock = self.lock().await?;
        if !own && let Some(session) = self.resume().await {
            return Ok((session, false));
        }
        self.clear();
        std::fs::write(self.file("config"), config).map_err(ConnectError::Folder)?;
        let mut ssh = self.command(target);
        let limit = self.settings.connect;
        let status = match tokio::time::timeout(limit, ssh.status()).await {
            Err(_) => return Err(ConnectError::Slow(limit.as_secs())),
            Ok(status) => status.map_err(ConnectError::NoSsh)?,
        };
        drop((leave, lock));
        if !status.success() {
            return Err(diagnosis::diagnose(&self.log("log"), &self.log("jump")).await);
        }
        Ok((Session::resume_mux(self.base.clone().into(), Some(self.file("log").into())), true))
    }

    /// Returns what the user's configuration says about unknown keys. Called only if a key was unknown.
    async fn policy(&self, target: &SshSettings) -> Policy {
        let file = self.file("asked");
        match std::fs::write(&file, config::text(self.settings, Strictness::AsConfigured)) {
            Ok(()) => policy::policy(&file, target).await,
            Err(_) => Policy::Strict,
        }
    }

    fn log(&self, extension: &str) -> String {
        let bytes = std::fs::read(self.file(extension)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Removes the files of an earlier master that is dead.
    fn clear(&self) {
        for path in [self.base.clone(), self.file("log"), self.file("jump")] {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Locks the master's files. If two runs start together, the second one waits here and reuses the connection of
    /// the first.
    async fn lock(&self) -> Result<std::fs::File, ConnectError> {
        let path = self.file("lock");
        let locked = tokio::task::spawn_blocking(move || {
            let file = std::fs::File::create(path)?;
            rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
            Ok(file)
        });
        let locked = tokio::time::timeout(self.settings.connect * 2, locked).await;
        locked
            .map_err(|_| ConnectError::Slow(self.settings.connect.as_secs() * 2))?
            .map_err(|_| ConnectError::GivenUp)?
            .map_err(ConnectError::Folder)
    }

    fn command(&self, target: &SshSettings) -> tokio::process::Command {
        let mut ssh = tokio::process::Command::new("ssh");
        ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // The new process group keeps the terminal's signals away. Dropping the future kills `ssh`; after the login
        // it has become another process.
        ssh.process_group(0).kill_on_drop(true);
        ssh.arg("-F").arg(self.file("config")).arg("-E").arg(self.file("log")).arg("-S").arg(&self.base);
        let idle = if self.settings.keep.is_zero() { OWN_IDLE } else { self.settings.keep.as_secs().max(1) };
        ssh.args(["-M", "-N", "-f", "-T", "-o", &format!("ControlPersist={idle}s")]);
        if let Some(user) = &target.user {
            ssh.args(["-l", user]);
        }
        if let Some(port) = target.port {
            ssh.args(["-p", &port.to_string()]);
        }
        if let Some(key) = &target.key {
            ssh.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(key);
        }
        if let Some(jump) = &target.jump {
            ssh.arg("-o").arg(format!("ProxyCommand={}", self.proxy(jump)));
        }
        ssh.arg("--").arg(&target.address);
        ssh
    }

    /// Returns the command that `ProxyJump` would start, with its own log. Without the log, the reason why a jump
    /// host refuses would be lost.
    fn proxy(&self, jump: &str) -> String {
        let (before, last) =
            jump.rsplit_once(',').map_or((None, jump), |(before, last)| (Some(before), last));
        // The parts were checked: no character has a meaning for a shell. `%` has one for ssh, so it is doubled.
        let Ok(hop) = crate::target::jump(last) else { return String::new() };
        let path = |path: &Path| format!("'{}'", path.display().to_string().replace('%', "%%"));
        let mut command = format!("ssh -F {} -E {}", path(&self.file("config")), path(&self.file("jump")));
        before.iter().for_each(|before| command += &format!(" -J {before}"));
        hop.user.iter().for_each(|user| command += &format!(" -l {user}"));
        hop.port.iter().for_each(|port| command += &format!(" -p {port}"));
        command + &format!(" -W '[%h]:%p' -- {}", hop.address.replace('%', "%%"))
    }
}

impl From<TargetError> for ConnectError {
    fn from(error: TargetError) -> Self {
        Self::Setting(error)
    }
}

//! Finds out from the log of `ssh` why a connection failed. The messages of ssh are not translated.

use std::io;
use std::process::Stdio;

use tokio::io::AsyncWriteExt;

use super::policy::Policy;
use crate::target::TargetError;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A setting of the connection is invalid.
    #[error("failed to connect: {0}")]
    Setting(#[source] TargetError),
    /// The host does not answer, or the answer cannot be used.
    #[error("failed to connect: {why}")]
    Unreachable {
        /// The message of ssh.
        why: String,
    },
    /// The host closed the connection before the login. An sshd with too many logins in progress does that.
    #[error("the host dropped the connection before the login: {why}")]
    Dropped {
        /// The message of ssh.
        why: String,
    },
    /// The host refuses the user.
    #[error("the login was refused: {why}")]
    AuthRefused {
        /// The message of ssh.
        why: String,
        /// The keys that were offered.
        offered: Vec<String>,
    },
    /// The key of the host is not known.
    #[error("the host's key is not known: the host offers {offered}")]
    HostKeyUnknown {
        /// The algorithm and fingerprint that the host offers.
        offered: String,
        /// Whether ssh_config says to accept any key. Converge does not do that.
        unchecked: bool,
    },
    /// The key of the host is not the known one.
    #[error("the host's key has changed: the host offers {offered}, but the known key is {known}")]
    HostKeyChanged {
        /// The algorithm and fingerprint that the host offers.
        offered: String,
        /// The fingerprint that is known, and where.
        known: String,
    },
    /// The user's ssh_config, or a file that it names, cannot be used.
    #[error("ssh cannot use its configuration: {0}")]
    Config(String),
    /// The connection was not made in time.
    #[error("the connection timed out after {0} s")]
    Slow(u64),
    /// Other hosts refused this identity, and no host accepted it.
    #[error("not tried: several hosts refused this user and key, and none accepted it")]
    GivenUp,
    /// `ssh` is not installed, or cannot be started.
    #[error("failed to start ssh")]
    NoSsh(#[source] io::Error),
    /// The folder of control sockets cannot be used.
    #[error("failed to use the folder of control sockets")]
    Folder(#[source] io::Error),
}

impl ConnectError {
    /// Whether another attempt is useful.
    pub(crate) fn is_drop(&self) -> bool {
        matches!(self, Self::Dropped { .. })
    }

    /// Whether the key of the host is not known.
    pub(crate) fn is_unknown_key(&self) -> bool {
        matches!(self, Self::HostKeyUnknown { .. })
    }

    /// Adds what the user's configuration says about unknown keys.
    pub(super) fn under(self, policy: Policy) -> Self {
        match self {
            Self::HostKeyUnknown { offered, .. } => {
                Self::HostKeyUnknown { offered, unchecked: policy == Policy::Unchecked }
            }
            error => error,
        }
    }

    /// Whether the host refused the user.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::AuthRefused { .. })
    }

    /// Returns the advice for the user.
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::AuthRefused { offered, .. } if offered.is_empty() => {
                "no key was offered: name one with `key=`, or load it into the ssh agent".to_owned()
            }
            Self::AuthRefused { offered, .. } => format!(
                "the host refused these keys: {}. Converge does not try again, because sshd locks out repeated failures",
                offered.join(", ")
            ),
            Self::HostKeyUnknown { unchecked: true, .. } => {
                "`StrictHostKeyChecking no` of your ssh_config is not honoured, because it accepts any key at any time. \
                 Write `accept-new` there, or put the key into known_hosts"
                    .to_owned()
            }
            Self::HostKeyUnknown { .. } => {
                "compare the fingerprint with the host's own, then log in once with ssh to accept it. Without a user, as in CI, \
                 bring a known_hosts file, or write `StrictHostKeyChecking accept-new` into ssh_config"
                    .to_owned()
            }
            Self::HostKeyChanged { .. } => {
                "an attacker may intercept the connection. If the host was reinstalled, remove its old key with `ssh-keygen -R`".to_owned()
            }
            Self::GivenUp => "see why the first of them refused; sshd locks out repeated failures".to_owned(),
            _ => return None,
        })
    }
}

/// Returns the error from the log of the connection. If that has no reason, returns the one from the log of the jump
/// host.
pub(super) async fn diagnose(log: &str, jump: &str) -> ConnectError {
    match failure(log) {
        ConnectError::HostKeyChanged { offered, .. } => {
            ConnectError::HostKeyChanged { offered, known: known_key(log).await }
        }
        // A failed jump host looks like a dropped connection here. The reason is in the jump host's own log.
        ConnectError::Dropped { .. } | ConnectError::Unreachable { .. } if !jump.is_empty() => {
            through(failure(jump))
        }
        error => error,
    }
}

fn through(error: ConnectError) -> ConnectError {
    match error {
        ConnectError::Unreachable { why } => {
            ConnectError::Unreachable { why: format!("at the jump host: {why}") }
        }
        ConnectError::AuthRefused { why, offered } => {
            ConnectError::AuthRefused { why: format!("by the jump host: {why}"), offered }
        }
        ConnectError::HostKeyUnknown { offered, unchecked } => {
            ConnectError::HostKeyUnknown { offered: format!("{offered} (the jump host)"), unchecked }
        }
        error => error,
    }
}

fn failure(log: &str) -> ConnectError {
    let said = said(log);
    let has = |mark: &str| said.iter().find(|line| line.contains(mark));
    if has("REMOTE HOST IDENTIFICATION HAS CHANGED").is_some() {
        return ConnectError::HostKeyChanged { offered: offered_key(log), known: "another".to_owned() };
    }
    if has("Host key verification failed").is_some() {
        return ConnectError::HostKeyUnknown { offered: offered_key(log), unchecked: false };
    }
    if let Some(line) = has("Permission denied (").or_else(|| has("Too many authentication failures")) {
        return ConnectError::AuthRefused { why: shown(line), offered: offered_identities(log) };
    }
    if let Some(line) = has("Bad configuration option").or_else(|| has("Can't open user config file")) {
        return ConnectError::Config(shown(line));
    }
    let why = said.last().map_or_else(|| "ssh gave no reason".to_owned(), |line| shown(line));
    let refused_address = has("Not allowed at this time").is_some();
    if dropped(log, &said) && !refused_address {
        ConnectError::Dropped { why }
    } else {
        ConnectError::Unreachable { why }
    }
}

/// Whether the host answered and closed the connection before the login.
fn dropped(log: &str, said: &[&str]) -> bool {
    let hung_up = [
        "kex_exchange_identification",
        "ssh_exchange_identification",
        "Connection reset",
        "Connection closed by",
    ];
    let asked = log.contains("Authentications that can continue");
    !asked && said.iter().any(|line| hung_up.iter().any(|mark| line.contains(mark)))
}

/// Returns the lines that are not debugging lines, without their line ends.
fn said(log: &str) -> Vec<&str> {
    let told = |line: &&str| !line.is_empty() && !line.starts_with("debug") && !line.starts_with("OpenSSH_");
    log.lines().map(str::trim).filter(told).collect()
}

fn shown(line: &str) -> String {
    let line = line.strip_prefix("ssh: ").unwrap_or(line);
    line.chars().filter(|c| !c.is_control()).take(300).collect()
}

fn after<'a>(log: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    log.lines().filter_map(move |line| line.split_once(mark)).map(|(_, rest)| rest.trim())
}

fn offered_key(log: &str) -> String {
    after(log, "debug1: Server host key: ").next().map_or_else(|| "an unknown key".to_owned(), shown)
}

fn offered_identities(log: &str) -> Vec<String> {
    after(log, "debug1: Offering public key: ").map(shown).take(8).collect()
}

/// Returns the fingerprint of the known key that does not match. The log has its place:
/// `Offending ED25519 key in FILE:LINE`.
async fn known_key(log: &str) -> String {
    let place = log.lines().find_map(|line| line.strip_prefix("Offending ")?.split_once(" key in "));
    let Some((_, place)) = place else { return "another".to_owned() };
    match fingerprint(place.trim()).await {
        Some(fingerprint) => format!("{fingerprint} (in {})", shown(place)),
        None => format!("the key in {}", shown(place)),
    }
}

/// Returns the fingerprint of the key at `FILE:LINE`. ssh-keygen(1) computes it from the key on its standard input.
async fn fingerprint(place: &str) -> Option<String> {
    let (file, line) = place.rsplit_once(':')?;
    let known = std::fs::read_to_string(file).ok()?;
    let entry = known.lines().nth(line.parse::<usize>().ok()?.checked_sub(1)?)?;
    // The key type and the key follow an optional marker and the host names.
    let fields: Vec<_> = entry.split_whitespace().filter(|field| !field.starts_with('@')).collect();
    let key = fields.get(1..3)?.join(" ");
    let mut keygen = tokio::process::Command::new("ssh-keygen");
    keygen.args(["-l", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = keygen.kill_on_drop(true).spawn().ok()?;
    child.stdin.take()?.write_all(key.as_bytes()).await.ok()?;
    let output = child.wait_with_output().await.ok()?;
    String::from_utf8_lossy(&output.stdout).split(' ').nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(log: &str, expected: &str) {
        assert_eq!(failure(log).to_string(), expected);
    }

    #[test]
    fn the_log_tells_what_is_wrong() {
        check(
            "debug1: Server host key: ssh-ed25519 SHA256:abc\r\nNo ED25519 host key is known for x and you have \
             requested strict checking.\r\nHost key verification failed.\r\n",
            "the host's key is not known: the host offers ssh-ed25519 SHA256:abc",
        );
        check(
            "debug1: Authentications that can continue: publickey\nada@x: Permission denied (publickey).",
            "the login was refused: ada@x: Permission denied (publickey).",
        );
        check(
            "ssh: connect to host 127.0.0.9 port 1: Connection refused",
            "failed to connect: connect to host 127.0.0.9 port 1: Connection refused",
        );
        check(
            "ssh: Could not resolve hostname nowhere.invalid: Name or service not known",
            "failed to connect: Could not resolve hostname nowhere.invalid: Name or service not known",
        );
        check("", "failed to connect: ssh gave no reason");
    }

    #[test]
    fn a_login_that_was_dropped_is_not_one_that_was_refused() {
        assert!(failure("kex_exchange_identification: Connection closed by remote host").is_drop());
        assert!(failure("Connection reset by 10.0.0.1 port 22").is_drop());
        let asked =
            "debug1: Authentications that can continue: publickey\nConnection closed by 10.0.0.1 port 22";
        assert!(!failure(asked).is_drop());
        assert!(!failure("kex_exchange_identification: x\nNot allowed at this time").is_drop());
    }

    #[test]
    fn what_a_host_says_cannot_reach_the_terminal() {
        assert_eq!(shown("ssh: a\x1b[2Jb"), "a[2Jb");
    }
}

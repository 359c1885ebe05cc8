//! Asks `ssh` what the user's ssh_config(5) says about hosts whose key is not known.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::target::{SshSettings, jump};

/// How long `ssh` may take to read its configuration. It may have to look up names.
const LIMIT: Duration = Duration::from_secs(10);
/// The most jump hosts before a target.
const MOST_HOPS: usize = 8;

/// The policy for a host and all jump hosts before it. The later variant wins: `no` for one host is no reason to
/// accept a key that another host's setting refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Policy {
    /// Unknown keys are accepted, changed ones are refused: `accept-new`.
    AcceptNew,
    /// Any key is accepted: `no`.
    Unchecked,
    /// Unknown keys are refused, or the user is asked.
    Strict,
}

/// Returns the policy of the configuration `config` for `target`. With jump hosts, the strictest policy counts.
pub(super) async fn policy(config: &Path, target: &SshSettings) -> Policy {
    let Some(told) = told(config, target.user.as_deref(), target.port, &target.address).await else {
        return Policy::Strict;
    };
    let hops = target.jump.clone().or_else(|| value(&told, "proxyjump"));
    let mut policy = of(&told);
    for hop in hops.iter().flat_map(|hops| hops.split(',')).filter(|hop| *hop != "none").take(MOST_HOPS) {
        let Ok(hop) = jump(hop) else { return Policy::Strict };
        let told = self::told(config, hop.user, hop.port, hop.address).await;
        policy = policy.max(told.map_or(Policy::Strict, |told| of(&told)));
    }
    policy
}

/// Returns the output of `ssh -G`: the resulting settings for one host.
async fn told(config: &Path, user: Option<&str>, port: Option<u16>, address: &str) -> Option<String> {
    let mut ssh = Command::new("ssh");
    ssh.arg("-G").arg("-F").arg(config).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    if let Some(user) = user {
        ssh.args(["-l", user]);
    }
    if let Some(port) = port {
        ssh.args(["-p", &port.to_string()]);
    }
    let output = timeout(LIMIT, ssh.arg("--").arg(address).output()).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn of(told: &str) -> Policy {
    match value(told, "stricthostkeychecking").as_deref() {
        Some("accept-new") => Policy::AcceptNew,
        Some("no" | "off" | "false") => Policy::Unchecked,
        _ => Policy::Strict,
    }
}

fn value(told: &str, name: &str) -> Option<String> {
    told.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .map(|value| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_as_ssh_tells_it() {
        let check = |value: &str, expected| {
            let told = format!("user ada\nstricthostkeychecking {value}\nport 22\n");
            assert_eq!(of(&told), expected, "{value}");
        };
        check("accept-new", Policy::AcceptNew);
        check("no", Policy::Unchecked);
        check("off", Policy::Unchecked);
        check("false", Policy::Unchecked);
        for strict in ["yes", "true", "ask", "whatever comes"] {
            check(strict, Policy::Strict);
        }
        assert_eq!(of(""), Policy::Strict);
    }

    #[test]
    fn a_policy_is_that_of_the_strictest_host_on_the_way() {
        use Policy::{AcceptNew, Strict, Unchecked};
        let strictest = |policies: &[Policy]| policies.iter().copied().max();
        assert_eq!(strictest(&[AcceptNew, AcceptNew]), Some(AcceptNew));
        assert_eq!(strictest(&[AcceptNew, Unchecked]), Some(Unchecked));
        assert_eq!(strictest(&[Unchecked, Strict, AcceptNew]), Some(Strict));
    }
}

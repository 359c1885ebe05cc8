//! The address of a host and how it is reached: the settings of a `connection`. They are checked before they become
//! part of a command.

use std::path::PathBuf;

use converge_model::{Become, HostName};

/// One host that can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name in the inventory.
    pub name: HostName,
    /// How it is reached.
    pub reach: Reach,
    /// How the agent becomes root.
    pub escalation: Become,
    /// The folder that is used as `/`. Only for `local`.
    pub root: Option<PathBuf>,
}

/// How a host is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The machine that the controller runs on.
    Local,
    /// SSH.
    Ssh(SshSettings),
}

/// The inventory's settings of an SSH connection. All other settings come from the user's ssh_config(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SshSettings {
    /// A name, an address, or a `Host` of the user's ssh_config.
    pub address: String,
    /// The account to log in to.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The file of the only key to offer.
    pub key: Option<PathBuf>,
    /// Jump hosts, `[user@]host[:port]`, separated by commas. The first one is nearest to the controller.
    pub jump: Option<String>,
}

/// The value of a connection setting is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {value:?} {why}")]
pub struct TargetError {
    setting: &'static str,
    value: String,
    why: &'static str,
}

impl SshSettings {
    /// Checks that no setting can be read as an option of `ssh`, a word of a shell or a line of a configuration.
    pub fn check(&self) -> Result<(), TargetError> {
        word("address", &self.address)?;
        self.user.as_deref().map_or(Ok(()), |user| word("user", user))?;
        for hop in self.jump.iter().flat_map(|jump| jump.split(',')) {
            jump(hop)?;
        }
        match self.key.as_deref().map(std::path::Path::to_str) {
            None => Ok(()),
            Some(Some(key)) if key.chars().any(|c| c.is_control() || c == '"') => Err(TargetError {
                setting: "key",
                value: key.to_owned(),
                why: "has a character that ssh does not accept",
            }),
            Some(Some(_)) => Ok(()),
            Some(None) => Err(TargetError { setting: "key", value: String::new(), why: "is not UTF-8" }),
        }
    }
}

/// The parts of one jump host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Jump<'a> {
    pub(crate) user: Option<&'a str>,
    pub(crate) address: &'a str,
    pub(crate) port: Option<u16>,
}

/// Splits `[user@]host[:port]` into its parts. An IPv6 address with a port is in brackets.
pub(crate) fn jump(hop: &str) -> Result<Jump<'_>, TargetError> {
    let error = |why| TargetError { setting: "jump", value: hop.to_owned(), why };
    let (user, rest) = hop.rsplit_once('@').map_or((None, hop), |(user, rest)| (Some(user), rest));
    let (address, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address, port.strip_prefix(':')),
        None if rest.matches(':').count() == 1 => {
            rest.split_once(':').map_or((rest, None), |(a, p)| (a, Some(p)))
        }
        None => (rest, None),
    };
    let port = port.map(str::parse).transpose().map_err(|_| error("has a port that is not a number"))?;
    word("jump", address)?;
    user.map_or(Ok(()), |user| word("jump", user))?;
    Ok(Jump { user, address, port })
}

/// Checks that a value has only letters, digits and the signs that names and addresses need.
fn word(setting: &'static str, value: &str) -> Result<(), TargetError> {
    let error = |why| Err(TargetError { setting, value: value.to_owned(), why });
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | ':' | '@' | '+' | '%');
    match value.chars().next() {
        None => error("is empty"),
        Some('-') => error("starts with `-`, which ssh reads as an option"),
        Some(_) if value.len() > 255 => error("is longer than 255 bytes"),
        Some(_) if !value.chars().all(allowed) => error("has a character that is not allowed"),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_cannot_become_options_words_or_lines() {
        let check =
            |settings: SshSettings, good: bool| assert_eq!(settings.check().is_ok(), good, "{settings:?}");
        let at = |address: &str| SshSettings { address: address.to_owned(), ..SshSettings::default() };
        check(at("web1.example.com"), true);
        check(at("fe80::1%eth0"), true);
        for bad in ["", "-oProxyCommand=x", "a b", "a;b", "a\nb", "$(x)", "a'b"] {
            check(at(bad), false);
            check(SshSettings { user: Some(bad.to_owned()), ..at("a") }, false);
            check(SshSettings { jump: Some(bad.to_owned()), ..at("a") }, false);
        }
        check(SshSettings { key: Some("/home/ada/my keys/id".into()), ..at("a") }, true);
        check(SshSettings { key: Some("/home/\nProxyCommand x".into()), ..at("a") }, false);
    }

    #[test]
    fn hops_come_apart() {
        let check = |hop: &str, user: Option<&str>, address: &str, port: Option<u16>| {
            assert_eq!(jump(hop).unwrap(), Jump { user, address, port });
        };
        check("bastion", None, "bastion", None);
        check("ada@bastion:2222", Some("ada"), "bastion", Some(2222));
        check("[fd00::1]:22", None, "fd00::1", Some(22));
        check("fd00::1", None, "fd00::1", None);
        assert!(jump("bastion:ssh").is_err());
    }
}

//! The configuration that `ssh` is given: ours first, for ssh takes the first value it meets, then the user's own.

use std::path::PathBuf;

use super::Settings;

/// What is done about a host whose key is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    /// It is refused.
    Refuse,
    /// Its key is noted and taken, as the user's configuration says.
    AcceptNew,
    /// What the user's configuration says: to be asked for, not to connect with.
    AsConfigured,
}

impl Strictness {
    const fn line(self) -> &'static str {
        match self {
            Self::Refuse => "StrictHostKeyChecking yes\n",
            Self::AcceptNew => "StrictHostKeyChecking accept-new\n",
            Self::AsConfigured => "",
        }
    }
}

/// The text of the configuration. Jump hosts read it too, so nothing in it is about one host.
pub(super) fn text(settings: &Settings, strictness: Strictness) -> String {
    let user = settings.ssh_config.clone().or_else(usual);
    let system = settings.ssh_config.is_none().then(|| PathBuf::from("/etc/ssh/ssh_config"));
    let included = user.into_iter().chain(system).map(|path| format!("Include \"{}\"\n", path.display()));
    // The log tells which host key was offered and which keys were tried; nothing more comes of it at this level.
    format!(
        "BatchMode yes\n\
         {}UpdateHostKeys no\n\
         ConnectTimeout {}\n\
         ConnectionAttempts 1\n\
         ServerAliveInterval 15\n\
         ServerAliveCountMax 3\n\
         LogLevel DEBUG1\n\
         ForwardAgent no\n\
         ForwardX11 no\n\
         ClearAllForwardings yes\n\
         PermitLocalCommand no\n\
         RemoteCommand none\n\
         RequestTTY no\n\
         Tunnel no\n\
         AddKeysToAgent no\n{}",
        strictness.line(),
        settings.connect.as_secs().clamp(1, 10),
        included.collect::<String>(),
    )
}

/// The user's own configuration.
pub(super) fn usual() -> Option<PathBuf> {
    Some(PathBuf::from(std::env::var_os("HOME")?).join(".ssh/config"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_must_hold_stands_before_what_the_user_says() {
        let settings =
            |ssh_config| Settings { ssh_config, keep: Duration::ZERO, connect: Duration::from_secs(30) };
        let text = text(&settings(Some("/home/ada/ssh config".into())), Strictness::Refuse);
        let (ours, theirs) = text.split_once("Include").unwrap();
        assert!(ours.contains("StrictHostKeyChecking yes\n") && ours.contains("ForwardAgent no\n"));
        assert_eq!(theirs, " \"/home/ada/ssh config\"\n");
    }
}

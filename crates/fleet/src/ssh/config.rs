//! The configuration for `ssh`. Converge's settings come first, because ssh uses the first value that it reads. The
//! user's own configuration follows.

use std::path::PathBuf;

use super::Settings;

/// How to handle a host whose key is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    /// Refuse the host.
    Refuse,
    /// Accept the key and record it, as the user's configuration says.
    AcceptNew,
    /// Use the setting of the user's configuration. This is for `ssh -G`, not for connecting.
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

/// Returns the text of the configuration. Jump hosts read it too, so it has no setting for a single host.
pub(super) fn text(settings: &Settings, strictness: Strictness) -> String {
    let user = settings.ssh_config.clone().or_else(usual);
    let system = settings.ssh_config.is_none().then(|| PathBuf::from("/etc/ssh/ssh_config"));
    let included = user.into_iter().chain(system).map(|path| format!("Include \"{}\"\n", path.display()));
    // At this level the log has the offered host key and the tried keys, and no more debugging lines.
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

/// Returns the path of the user's own configuration.
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

//! Whom news are told to: what is wrong with a target, and what became of a try to tell it something.

use std::time::Duration;

/// How long a try may take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// A target makes no sense. No message holds more of an address than its host: the rest may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is no address.
    #[error("the web address for notifications is not one")]
    Address,
    /// It is not encrypted, and leads to another machine.
    #[error("notifications go to {0} unencrypted")]
    Plain(String),
    /// A header is not `NAME: VALUE`.
    #[error("a header for notifications is not NAME: VALUE")]
    Header,
    /// The words of a command cannot be told apart, or there are none.
    #[error("the command for notifications is empty")]
    Command,
}

impl TargetError {
    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Address => "write it as https://host/path",
            Self::Plain(_) => "use https; only this machine itself is told over http",
            Self::Header => "write it as `Authorization: Bearer …`, one a line",
            Self::Command => "name a program and its arguments",
        }
    }
}

/// A try that failed.
pub(crate) struct Failed {
    pub(crate) why: String,
    /// Whether there is no use in another one.
    pub(crate) is_final: bool,
    /// How long another one has to wait, at least.
    pub(crate) after: Duration,
}

impl Failed {
    /// One that may go better any time.
    pub(crate) fn now(why: impl ToString) -> Self {
        Self { why: why.to_string(), is_final: false, after: Duration::ZERO }
    }
}

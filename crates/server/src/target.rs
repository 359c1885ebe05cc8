//! The targets of news: why a target is invalid, and the result of one try.

use std::time::Duration;

/// The timeout of one try.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// Why a target is invalid. A message has only the host of an address, because the rest may be secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is not an address.
    #[error("the target of notifications must be a web address")]
    Address,
    /// It is not encrypted and leads to another machine.
    #[error("notifications to {0} must be encrypted")]
    Plain(String),
    /// A header is not `NAME: VALUE`.
    #[error("a header for notifications must be NAME: VALUE")]
    Header,
    /// The command is empty, or its words cannot be parsed.
    #[error("the command for notifications is empty")]
    Command,
}

impl TargetError {
    /// Returns the advice for the user.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Address => "write it as https://host/path",
            Self::Plain(_) => "use https; http is allowed only to this machine",
            Self::Header => "write it as `Authorization: Bearer …`, one per line",
            Self::Command => "name a program and its arguments",
        }
    }
}

/// A try that failed.
pub(crate) struct Failed {
    pub(crate) why: String,
    /// Whether another try would be useless.
    pub(crate) is_final: bool,
    /// The shortest pause before another try.
    pub(crate) after: Duration,
}

impl Failed {
    /// Creates a failure that can be tried again at any time.
    pub(crate) fn now(why: impl ToString) -> Self {
        Self { why: why.to_string(), is_final: false, after: Duration::ZERO }
    }
}

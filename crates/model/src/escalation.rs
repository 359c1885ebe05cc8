//! How a login becomes root on a host.

use serde::Serialize;

/// How the agent comes to be root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Become {
    /// It stays the account that logged in.
    #[default]
    None,
    /// sudo, or sudo-rs.
    Sudo,
    /// doas.
    Doas,
    /// su.
    Su,
}

impl Become {
    /// Every way, by the name that an inventory gives it.
    pub const ALL: [(&'static str, Self); 4] =
        [("none", Self::None), ("sudo", Self::Sudo), ("doas", Self::Doas), ("su", Self::Su)];
}

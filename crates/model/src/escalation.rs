//! Escalation: the way an agent becomes root on a host.

use serde::Serialize;

/// The tool that makes the agent root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Become {
    /// No tool: the agent stays the account that logged in.
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
    /// All tools with their names in an inventory.
    pub const ALL: [(&'static str, Self); 4] =
        [("none", Self::None), ("sudo", Self::Sudo), ("doas", Self::Doas), ("su", Self::Su)];
}

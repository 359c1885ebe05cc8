//! The login that a run came by, and the paths, units and accounts that it depends on.

use converge_model::{Claim, Extent};

use crate::system::System;
use crate::system::services::full_name;

/// Paths that decide who gets in, each with all that is below it.
const PATHS: [&str; 41] = [
    "/etc/ssh",
    "/etc/default/ssh",
    "/etc/hosts.allow",
    "/etc/hosts.deny",
    "/etc/pam.d",
    "/etc/security",
    "/etc/nsswitch.conf",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/sudo.conf",
    "/etc/doas.conf",
    "/etc/doas.d",
    "/etc/bash.bashrc",
    "/etc/zsh",
    "/etc/zshenv",
    "/etc/ld.so.preload",
    "/etc/nftables.conf",
    "/etc/nftables.d",
    "/etc/nftables",
    "/etc/iptables",
    "/etc/ufw",
    "/etc/firewalld",
    "/etc/fail2ban",
    "/etc/network",
    "/etc/netplan",
    "/etc/systemd/network",
    "/etc/NetworkManager",
    "/etc/sysconfig/network-scripts",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/gshadow",
    "/etc/nologin",
    "/run/nologin",
    "/bin/sh",
    "/bin/bash",
    "/usr/bin/sh",
    "/usr/bin/bash",
    "/usr/bin/sudo",
    "/usr/sbin/sshd",
    "/usr/lib/openssh",
];

/// Units that let people in, keep them out, or carry the network.
const UNITS: [&str; 13] = [
    "ssh.service",
    "ssh.socket",
    "sshd.service",
    "nftables.service",
    "converge-firewall.service",
    "iptables.service",
    "ufw.service",
    "firewalld.service",
    "fail2ban.service",
    "networking.service",
    "systemd-networkd.service",
    "NetworkManager.service",
    "network.service",
];

/// Accounts that must be there for every login: the one that it becomes, and the one that sshd speaks to strangers as.
const ACCOUNTS: [&str; 2] = ["root", "sshd"];

/// Files that a shell reads in the home of the login before it does what it is told over ssh.
const STARTUP: [&str; 5] = [".bashrc", ".zshenv", ".cshrc", ".tcshrc", ".config/fish"];

/// Where unit files are written that an administrator writes.
const UNIT_FILES: &str = "/etc/systemd/system/";

/// The login in use, and what belongs to it.
#[derive(Clone, Debug, Default)]
pub struct Login {
    pub(super) name: String,
    pub(super) home: Option<String>,
    pub(super) groups: Vec<String>,
    /// Whether the host can take changes back by itself. If it cannot, a file that users often write into their own homes
    /// is no reason to refuse it.
    pub(super) is_guarded: bool,
}

impl Login {
    /// The login that the run came by. `is_guarded`: whether the host can take changes back by itself.
    pub fn of(system: &dyn System, is_guarded: bool) -> Self {
        let Some(name) = system.accounts().login() else { return Self::default() };
        let Ok(table) = system.accounts().table() else { return Self { name, ..Self::default() } };
        let user = table.users.get(&name);
        let primary = user.and_then(|user| table.group_name(user.gid)).map(str::to_owned);
        let groups = table.groups_of(&name).into_iter().chain(primary).collect();
        // The home of some logins is `/` itself.
        let home = user.map(|user| user.home.trim_end_matches('/').to_owned());
        Self { home, groups, name, is_guarded }
    }

    /// Whether it is root's own: then it does not have to become root.
    pub fn is_root(&self) -> bool {
        self.name == "root"
    }

    /// Whether it needs the account `name`.
    pub fn needs_account(&self, name: &str) -> bool {
        name == self.name || ACCOUNTS.contains(&name)
    }

    /// Whether it is the login of `name`.
    pub fn is_of(&self, name: &str) -> bool {
        name == self.name
    }

    /// Whether it is a member of the group `name`.
    pub fn is_member(&self, name: &str) -> bool {
        self.groups.iter().any(|group| group == name)
    }

    /// Whether one of the claims is on something that decides whether the login gets in.
    pub fn depends_on(&self, claims: &[Claim]) -> bool {
        claims.iter().any(|claim| self.is_critical(claim, false))
    }

    /// As [`Login::depends_on`], for things that other paths lead through: folders, links, mounts.
    pub fn passes_through(&self, claims: &[Claim]) -> bool {
        claims.iter().any(|claim| self.is_critical(claim, true))
    }

    /// Whether a claim is on something critical; `is_place`: or on a folder that leads there.
    fn is_critical(&self, claim: &Claim, is_place: bool) -> bool {
        let Claim::Path { path, extent } = claim else { return false };
        let unit = path.strip_prefix(UNIT_FILES).and_then(|rest| rest.split('/').next());
        let unit = unit.map(|unit| unit.trim_end_matches(".d"));
        let home = self.home.as_deref();
        let own = home.and_then(|home| path.strip_prefix(home)?.strip_prefix('/'));
        let is_shells = |own: &str| self.is_guarded && STARTUP.iter().any(|one| is_at(own, one));
        let opens = own.is_some_and(|own| is_at(own, ".ssh") || is_shells(own));
        // A folder that is closed closes everything below it.
        let is_place = is_place || matches!(extent, Extent::Metadata | Extent::Absence);
        let leads_to = |place: &str| is_place && is_at(place, path.trim_end_matches('/'));
        opens
            || home.is_some_and(leads_to)
            || unit.is_some_and(|unit| UNITS.contains(&unit))
            || PATHS.iter().any(|one| is_at(path, one) || leads_to(one))
    }
}

/// Whether the unit lets people in, keeps them out, or carries the network.
pub fn is_critical_unit(unit: &str) -> bool {
    UNITS.contains(&full_name(unit).as_str())
}

/// Whether a claim is on `place`, or on something below it.
pub fn is_below(claims: &[Claim], place: &str) -> bool {
    let below = |claim: &Claim| matches!(claim, Claim::Path { path, .. } if is_at(path, place));
    claims.iter().any(below)
}

fn is_at(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

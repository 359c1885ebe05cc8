//! The login that a run uses, and the paths, units and accounts that it depends on.

use converge_model::{Claim, Extent};

use crate::system::System;
use crate::system::services::full_name;

/// Paths that decide who can log in. Each includes everything below it.
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

/// Units that let users log in, keep them out, or carry the network.
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

/// Accounts that every login needs: the one that it becomes, and the one for sshd's unprivileged part.
const ACCOUNTS: [&str; 2] = ["root", "sshd"];

/// Files in the home of the login that a shell reads before it runs a command over ssh.
const STARTUP: [&str; 5] = [".bashrc", ".zshenv", ".cshrc", ".tcshrc", ".config/fish"];

/// The folder of the administrator's unit files.
const UNIT_FILES: &str = "/etc/systemd/system/";

/// The login of the run, and what belongs to it.
#[derive(Clone, Debug, Default)]
pub struct Login {
    pub(super) name: String,
    pub(super) home: Option<String>,
    pub(super) groups: Vec<String>,
    /// Whether the host can revert changes by itself. If it cannot, shell startup files are not critical: users often
    /// change them, and the change would be refused.
    pub(super) is_guarded: bool,
}

impl Login {
    /// Returns the login of the run. `is_guarded`: whether the host can revert changes by itself.
    pub fn of(system: &dyn System, is_guarded: bool) -> Self {
        let Some(name) = system.accounts().login() else { return Self::default() };
        let Ok(table) = system.accounts().table() else { return Self { name, ..Self::default() } };
        let user = table.users.get(&name);
        let primary = user.and_then(|user| table.group_name(user.gid)).map(str::to_owned);
        let groups = table.groups_of(&name).into_iter().chain(primary).collect();
        // The home of some accounts is `/` itself.
        let home = user.map(|user| user.home.trim_end_matches('/').to_owned());
        Self { home, groups, name, is_guarded }
    }

    /// Whether this is the login of root, which does not have to become root.
    pub fn is_root(&self) -> bool {
        self.name == "root"
    }

    /// Whether the login needs the account `name`.
    pub fn needs_account(&self, name: &str) -> bool {
        name == self.name || ACCOUNTS.contains(&name)
    }

    /// Whether this is the login of `name`.
    pub fn is_of(&self, name: &str) -> bool {
        name == self.name
    }

    /// Whether the login is a member of the group `name`.
    pub fn is_member(&self, name: &str) -> bool {
        self.groups.iter().any(|group| group == name)
    }

    /// Whether one of the claims is on something that decides whether the user can log in.
    pub fn depends_on(&self, claims: &[Claim]) -> bool {
        claims.iter().any(|claim| self.is_critical(claim, false))
    }

    /// Like [`Login::depends_on`], for things that other paths lead through: folders, links, mounts.
    pub fn passes_through(&self, claims: &[Claim]) -> bool {
        claims.iter().any(|claim| self.is_critical(claim, true))
    }

    /// Whether a claim is on something critical. `is_place`: folders above something critical count too.
    fn is_critical(&self, claim: &Claim, is_place: bool) -> bool {
        let Claim::Path { path, extent } = claim else { return false };
        let unit = path.strip_prefix(UNIT_FILES).and_then(|rest| rest.split('/').next());
        let unit = unit.map(|unit| unit.trim_end_matches(".d"));
        let home = self.home.as_deref();
        let own = home.and_then(|home| path.strip_prefix(home)?.strip_prefix('/'));
        let is_shells = |own: &str| self.is_guarded && STARTUP.iter().any(|one| is_at(own, one));
        let opens = own.is_some_and(|own| is_at(own, ".ssh") || is_shells(own));
        // A closed folder closes everything below it.
        let is_place = is_place || matches!(extent, Extent::Metadata | Extent::Absence);
        let leads_to = |place: &str| is_place && is_at(place, path.trim_end_matches('/'));
        opens
            || home.is_some_and(leads_to)
            || unit.is_some_and(|unit| UNITS.contains(&unit))
            || PATHS.iter().any(|one| is_at(path, one) || leads_to(one))
    }
}

/// Whether the unit lets users log in, keeps them out, or carries the network.
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

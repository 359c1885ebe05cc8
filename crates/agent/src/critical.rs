//! Which resources are access-critical: their change may shut out whoever makes it. By path, by kind, and by the login
//! that the run came by.

pub(crate) mod plan;
mod policy;
mod warning;

use std::collections::BTreeSet;

use converge_model::{Catalog, Change, Claim, Extent, Resource, Shown, Value, Verb};
use converge_resources::System;
use converge_resources::system::services::full_name;

use crate::state::armed::has_systemd;

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

/// Kinds of what other paths lead through.
const PLACES: [&str; 3] = ["directory", "link", "mount"];

/// Accounts that must be there, whoever comes: the one that is become, and the one that sshd speaks to strangers as.
const ACCOUNTS: [&str; 2] = ["root", "sshd"];

/// What a shell reads in the home of the login before it does what it is told over ssh.
const STARTUP: [&str; 5] = [".bashrc", ".zshenv", ".cshrc", ".tcshrc", ".config/fish"];

/// Where unit files are written that an administrator writes.
const UNIT_FILES: &str = "/etc/systemd/system/";

/// The login in use, and what belongs to it.
#[derive(Default)]
pub(crate) struct Login {
    name: String,
    home: Option<String>,
    groups: Vec<String>,
    /// Whether the host can take changes back by itself. Where it cannot, what people often write into their own homes
    /// is no reason to refuse it.
    is_guarded: bool,
}

impl Login {
    /// The login that the run came by.
    pub(crate) fn of(system: &dyn System) -> Self {
        let Some(name) = system.accounts().login() else { return Self::default() };
        let Ok(table) = system.accounts().table() else { return Self { name, ..Self::default() } };
        let user = table.users.get(&name);
        let primary = user.and_then(|user| table.group_name(user.gid)).map(str::to_owned);
        let groups = table.groups_of(&name).into_iter().chain(primary).collect();
        // That of some logins is `/` itself.
        let home = user.map(|user| user.home.trim_end_matches('/').to_owned());
        Self { home, groups, name, is_guarded: has_systemd(system) }
    }

    /// The access-critical resources of a catalog. Whose files a critical service is notified of is critical with it.
    pub(crate) fn critical(&self, catalog: &Catalog) -> BTreeSet<u32> {
        let resources = &catalog.resources;
        let tells = |resource: &Resource| {
            let mut targets = resource.notify.iter().filter_map(|to| resources.get(to.target as usize));
            has_paths(resource) && targets.any(is_critical_unit)
        };
        let places = resources.iter().enumerate();
        places.filter(|(_, one)| self.concerns(one) || tells(one)).map(|(place, _)| place as u32).collect()
    }

    fn concerns(&self, resource: &Resource) -> bool {
        let name = first(resource);
        match resource.kind.as_str() {
            "sudo-rule" | "firewall-policy" => return true,
            "user" if name == self.name || ACCOUNTS.contains(&name) => return true,
            "authorized-key" if name == self.name => return true,
            "group" if self.groups.iter().any(|group| group == name) => return true,
            _ => {}
        }
        let is_place = PLACES.contains(&resource.kind.as_str());
        is_critical_unit(resource) || resource.claims.iter().any(|claim| self.is_critical(claim, is_place))
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
        // A folder that is closed closes all that is below it.
        let is_place = is_place || matches!(extent, Extent::Metadata | Extent::Absence);
        let leads_to = |place: &str| is_place && is_at(place, path.trim_end_matches('/'));
        opens
            || home.is_some_and(leads_to)
            || unit.is_some_and(|unit| UNITS.contains(&unit))
            || PATHS.iter().any(|one| is_at(path, one) || leads_to(one))
    }

    /// The package without which the login does not get in, or become root, where `change` of `resource` takes it away:
    /// itself, because it cannot stay beside what is asked, or because nothing needs it.
    pub(crate) fn loses(&self, resource: &Resource, change: &Change) -> Option<&'static str> {
        let others = change.properties.iter().filter(|property| property.property == "removes");
        let others = others.filter_map(|property| match &property.before {
            Shown::Text(names) => Some(names.split(", ")),
            _ => None,
        });
        let own = (resource.kind == "package" && change.verb == Verb::Remove).then(|| first(resource));
        let mut gone = others.flatten().chain(own).map(|name| name.split(':').next().unwrap_or(name));
        gone.find_map(|name| self.needs().iter().find(|needed| **needed == name)).copied()
    }

    /// The packages without which the login does not get in, or become root.
    pub(crate) fn needs(&self) -> &'static [&'static str] {
        if self.name == "root" { &NEEDED[..1] } else { &NEEDED }
    }
}

/// Packages without which nobody gets in, or becomes root.
const NEEDED: [&str; 2] = ["openssh-server", "sudo"];

/// Whether a resource is about files of fail2ban.
pub(crate) fn bans(resource: &Resource) -> bool {
    is_below(resource, "/etc/fail2ban")
}

/// Whether a resource claims `place`, or something below it.
fn is_below(resource: &Resource, place: &str) -> bool {
    let below = |claim: &Claim| matches!(claim, Claim::Path { path, .. } if is_at(path, place));
    resource.claims.iter().any(below)
}

/// The first parameter of a resource: what it is about.
fn first(resource: &Resource) -> &str {
    let name = match resource.kind.as_str() {
        "authorized-key" => "user",
        _ => "name",
    };
    match resource.params.get(name) {
        Some(Value::Scalar(converge_model::Scalar::Text(text))) => text,
        _ => "",
    }
}

fn is_critical_unit(resource: &Resource) -> bool {
    resource.kind == "service" && UNITS.contains(&full_name(first(resource)).as_str())
}

fn has_paths(resource: &Resource) -> bool {
    !resource.claims.is_empty() && resource.claims.iter().all(|claim| matches!(claim, Claim::Path { .. }))
}

fn is_at(path: &str, place: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{order, resource};
    use converge_model::{Notify, NotifyHow};

    fn login() -> Login {
        Login {
            name: "ada".into(),
            home: Some("/home/ada".into()),
            groups: vec!["sudo".into(), "ada".into()],
            is_guarded: true,
        }
    }

    /// A key of `user`.
    fn keyed(user: &str) -> Resource {
        let mut one = resource("authorized-key", user);
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
        one.params.set("key", Value::from(key));
        one
    }

    #[test]
    fn paths_kinds_and_the_login_in_use_are_critical() {
        let check = |kind: &str, name: &str, critical: bool| {
            let mut one = if kind == "authorized-key" { keyed(name) } else { resource(kind, name) };
            if kind == "firewall-policy" {
                one.params.set("rules", Value::from("chain input { }"));
            }
            if kind == "sudo-rule" {
                one.params.set("user", Value::from("bob"));
            }
            let found = login().critical(&order(&[one]).catalog);
            assert_eq!(!found.is_empty(), critical, "{kind} {name}");
        };
        for path in ["/etc/ssh/sshd_config", "/etc/sudoers.d/x", "/etc/nftables.conf", "/etc/netplan/1.yaml"]
        {
            check("file", path, true);
        }
        check("file", "/home/ada/.ssh/authorized_keys", true);
        check("file", "/home/bob/.ssh/authorized_keys", false);
        check("file", "/home/ada/.profile", false);
        check("file", "/etc/systemd/system/ssh.service.d/limit.conf", true);
        check("file", "/etc/systemd/system/sshguard.service", false);
        check("file", "/etc/sshguard.conf", false);
        check("directory", "/etc/ssh", true);
        check("directory", "/home/ada", true);
        check("directory", "/home", true);
        check("directory", "/", true);
        check("directory", "/home/bob", false);
        check("directory", "/srv", false);
        check("file", "/home/ada/.bashrc", true);
        let own = order(&[resource("file", "/home/ada/.bashrc")]);
        let alone = Login { is_guarded: false, ..login() };
        assert!(
            alone.critical(&own.catalog).is_empty(),
            "without root everybody may write into their own home"
        );
        check("file", "/etc/hosts.deny", true);
        check("file", "/etc/nsswitch.conf", true);
        check("file", "/etc/fail2ban/jail.local", true);
        check("authorized-key", "ada", true);
        check("authorized-key", "bob", false);
        let key = order(&[keyed("ada")]);
        let remote = Login { home: None, ..login() };
        assert!(!remote.critical(&key.catalog).is_empty(), "a login that no file of the host knows");
        check("user", "ada", true);
        check("user", "bob", false);
        check("user", "sshd", true);
        check("group", "sudo", true);
        check("group", "www-data", false);
        check("sudo-rule", "deploy", true);
        check("firewall-policy", "converge", true);
        check("service", "ssh", true);
        check("service", "nginx", false);
        check("package", "openssh-server", false);
    }

    #[test]
    fn a_login_is_known_by_the_accounts_of_the_host() {
        let check = |home: &str, keys: &str| {
            let bench = crate::testing::Bench::new();
            let passwd = format!("ada:x:1000:1000::{home}:/bin/sh\n");
            bench.world.write("/etc/passwd".as_ref(), &passwd);
            bench.world.write("/etc/group".as_ref(), "ada:x:1000:\nops:x:1001:ada\nstaff:x:1002:\n");
            bench.world.log_in("ada");
            let login = Login::of(&bench.world);
            let resources = [
                resource("file", keys),
                resource("group", "ops"),
                resource("group", "ada"),
                resource("group", "staff"),
                resource("user", "ada"),
                resource("directory", "/srv"),
            ];
            assert_eq!(login.critical(&order(&resources).catalog), BTreeSet::from([0, 1, 2, 4]), "{home}");
        };
        check("/home/ada", "/home/ada/.ssh/authorized_keys");
        check("/", "/.ssh/authorized_keys");
    }

    #[test]
    fn packages_that_the_login_needs_are_missed_however_they_go() {
        let root = || Login { name: "root".into(), ..login() };
        let check = |login: Login, property: &str, names: &str, lost: Option<&str>| {
            let change = Change::new(Verb::Create);
            let change = change.property(converge_model::PropertyChange::new(property, names, Shown::Absent));
            assert_eq!(login.loses(&resource("package", "doas"), &change), lost, "{property} {names}");
        };
        check(login(), "removes", "libx, sudo:amd64", Some("sudo"));
        check(login(), "removes", "openssh-server", Some("openssh-server"));
        check(login(), "removes", "sudo-ldap", None);
        check(login(), "brings", "sudo", None);
        check(root(), "removes", "sudo", None);
        check(root(), "removes", "openssh-server", Some("openssh-server"));
        let removal = |kind: &str| login().loses(&resource(kind, "sudo"), &Change::new(Verb::Remove));
        assert_eq!((removal("package"), removal("user")), (Some("sudo"), None));
        assert_eq!(login().loses(&resource("package", "sudo"), &Change::new(Verb::Update)), None);
    }

    #[test]
    fn files_that_sshd_is_told_of_are_critical_and_packages_are_not() {
        let tells = |kind: &str, name: &str| {
            let mut one = resource(kind, name);
            one.notify = vec![Notify { target: 1, how: NotifyHow::AsTargetSays }];
            login().critical(&order(&[one, resource("service", "ssh")]).catalog)
        };
        assert_eq!(tells("file", "/srv/keys/ada"), BTreeSet::from([0, 1]));
        assert_eq!(tells("package", "openssh-server"), BTreeSet::from([1]));
    }
}

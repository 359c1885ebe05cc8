//! Which resources are access-critical: their change may shut out whoever makes it. By path, by kind, and by the login
//! that the run came by.

pub(crate) mod plan;

use std::collections::BTreeSet;

use converge_model::{Catalog, Claim, Resource, TextDiff, Value};
use converge_resources::System;
use converge_resources::system::units::full_name;

/// Paths that decide who gets in, each with all that is below it.
const PATHS: [&str; 20] = [
    "/etc/ssh",
    "/etc/default/ssh",
    "/etc/pam.d",
    "/etc/security",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/nftables.conf",
    "/etc/nftables.d",
    "/etc/nftables",
    "/etc/iptables",
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
];

/// Units that let people in, keep them out, or carry the network.
const UNITS: [&str; 10] = [
    "ssh.service",
    "ssh.socket",
    "sshd.service",
    "nftables.service",
    "converge-firewall.service",
    "iptables.service",
    "networking.service",
    "systemd-networkd.service",
    "NetworkManager.service",
    "network.service",
];

/// Where unit files are written that an administrator writes.
const UNIT_FILES: &str = "/etc/systemd/system/";

/// The login in use, and what belongs to it.
#[derive(Default)]
pub(crate) struct Login {
    name: String,
    home: Option<String>,
    groups: Vec<String>,
}

impl Login {
    /// The login that the run came by.
    pub(crate) fn of(system: &dyn System) -> Self {
        let Some(name) = system.accounts().login() else { return Self::default() };
        let Ok(table) = system.accounts().table() else { return Self { name, ..Self::default() } };
        let user = table.users.get(&name);
        let primary = user.and_then(|user| table.group_name(user.gid)).map(str::to_owned);
        let groups = table.groups_of(&name).into_iter().chain(primary).collect();
        Self { home: user.map(|user| user.home.clone()).filter(|home| home.len() > 1), groups, name }
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
            "user" if name == self.name => return true,
            "authorized-key" if name == self.name => return true,
            "group" if self.groups.iter().any(|group| group == name) => return true,
            _ => {}
        }
        is_critical_unit(resource) || resource.claims.iter().any(|claim| self.is_critical(claim))
    }

    fn is_critical(&self, claim: &Claim) -> bool {
        let Claim::Path { path, .. } = claim else { return false };
        let unit = path.strip_prefix(UNIT_FILES).and_then(|rest| rest.split('/').next());
        let unit = unit.map(|unit| unit.trim_end_matches(".d"));
        let own = self.home.as_ref().is_some_and(|home| path == home || is_at(path, &format!("{home}/.ssh")));
        own || unit.is_some_and(|unit| UNITS.contains(&unit)) || PATHS.iter().any(|one| is_at(path, one))
    }

    /// Whether the login does not get in, or become root, without the package of `resource`.
    pub(crate) fn needs(&self, resource: &Resource) -> bool {
        let name = first(resource);
        resource.kind == "package" && (name == "openssh-server" || (name == "sudo" && self.name != "root"))
    }

    /// What the new lines of a file of sshd are known to mean for the login; none where nothing speaks against them.
    pub(crate) fn warning(&self, resource: &Resource, diff: &TextDiff) -> Option<String> {
        let sshd = |claim: &Claim| matches!(claim, Claim::Path { path, .. } if is_at(path, "/etc/ssh"));
        if !resource.claims.iter().any(sshd) {
            return None;
        }
        let mut added = diff.unified.lines().filter_map(|line| line.strip_prefix('+'));
        added.find_map(|line| self.shut_out_by(line))
    }

    fn shut_out_by(&self, line: &str) -> Option<String> {
        let mut words = line.split_whitespace();
        let option = words.next()?.to_ascii_lowercase();
        let names: Vec<&str> = words.map(|name| name.split('@').next().unwrap_or(name)).collect();
        let of = |list: &[String]| names.iter().any(|name| list.iter().any(|own| name == own));
        let (login, plain) = (&self.name, names.iter().all(|name| !name.contains(['*', '?'])));
        let shuts_out = match option.as_str() {
            "allowusers" => plain && !names.contains(&login.as_str()),
            "denyusers" => names.contains(&login.as_str()),
            "allowgroups" => plain && !of(&self.groups),
            "denygroups" => of(&self.groups),
            "permitrootlogin" => login == "root" && names == ["no"],
            "port" | "listenaddress" => {
                return Some(format!("`{}` may move sshd from where this run reaches it", line.trim()));
            }
            _ => false,
        };
        shuts_out.then(|| format!("`{}` shuts out {login}, whose login this run uses", line.trim()))
    }
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
        }
    }

    #[test]
    fn paths_kinds_and_the_login_in_use_are_critical() {
        let check = |kind: &str, name: &str, critical: bool| {
            let mut one = resource(kind, name);
            if kind == "authorized-key" {
                let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
                one.params.set("key", Value::from(key));
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
        check("authorized-key", "ada", true);
        check("authorized-key", "bob", false);
        check("user", "ada", true);
        check("user", "bob", false);
        check("group", "sudo", true);
        check("group", "www-data", false);
        check("sudo-rule", "deploy", true);
        check("service", "ssh", true);
        check("service", "nginx", false);
        check("package", "openssh-server", false);
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

    #[test]
    fn lines_that_shut_the_login_out_are_known() {
        let check =
            |line: &str, warns: bool| assert_eq!(login().shut_out_by(line).is_some(), warns, "{line}");
        check("AllowUsers bob", true);
        check("AllowUsers bob ada@10.0.0.*", false);
        check("AllowUsers a*", false);
        check("  denyusers ada", true);
        check("AllowGroups staff sudo", false);
        check("AllowGroups staff", true);
        check("Port 2222", true);
        check("PermitRootLogin no", false);
        check("PrintMotd no", false);
        check("", false);
    }
}

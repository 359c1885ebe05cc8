//! Access-critical resources: their change may shut out the run that makes it. Each kind says which of its changes
//! are critical. This file computes what follows from a whole catalog.

pub(crate) mod plan;
mod session;

use std::collections::BTreeSet;

use converge_model::{Claim, Resource};
use converge_resources::System;
use converge_resources::access::{Login, is_below};
use converge_resources::system::packages::EntryPackages;

use crate::decoded::Decoded;
use crate::state::armed::has_clock;

/// Returns the login of the run.
pub(crate) fn login(system: &dyn System) -> Login {
    Login::of(system, has_clock(system))
}

/// Returns the access-critical resources of a catalog. If a resource with files notifies a critical service, it is
/// critical too.
pub(crate) fn critical(decoded: &Decoded<'_>, login: &Login) -> BTreeSet<u32> {
    let is_critical = |index: u32| decoded.wanted.get(index as usize).is_some_and(|one| one.access(login));
    let has_unit = |index: u32| decoded.wanted.get(index as usize).is_some_and(|one| !one.units().is_empty());
    let tells = |resource: &Resource| {
        let mut targets = resource.notify.iter().map(|to| to.target);
        has_paths(resource) && targets.any(|target| has_unit(target) && is_critical(target))
    };
    let places = (0_u32..).zip(&decoded.catalog.resources);
    places.filter(|(place, one)| is_critical(*place) || tells(one)).map(|(place, _)| place).collect()
}

/// Returns the packages that the login needs to log in or to become root.
pub(crate) fn needed(login: &Login, entry: EntryPackages) -> Vec<&'static str> {
    entry.needed(login.is_root()).collect()
}

/// Returns the first removed package that `needed` names. A removed package may be named with its architecture.
pub(crate) fn lost(removed: &[String], needed: &[&'static str]) -> Option<&'static str> {
    let mut gone = removed.iter().map(|name| name.split(':').next().unwrap_or(name));
    gone.find_map(|name| needed.iter().find(|one| **one == name)).copied()
}

/// Whether a resource changes files of fail2ban.
pub(crate) fn bans(resource: &Resource) -> bool {
    is_below(&resource.claims, "/etc/fail2ban")
}

fn has_paths(resource: &Resource) -> bool {
    !resource.claims.is_empty() && resource.claims.iter().all(|claim| matches!(claim, Claim::Path { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoded::decode;
    use crate::testing::{Bench, order, resource};
    use converge_model::{Catalog, Notify, NotifyHow, Value};

    /// A host with a run that came as `ada`.
    fn bench() -> Bench {
        let bench = Bench::new();
        let passwd = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n";
        bench.world.write("/etc/passwd".as_ref(), passwd);
        bench.world.write("/etc/group".as_ref(), "ada:x:1000:\nsudo:x:27:ada\n");
        bench.world.log_in("ada");
        bench
    }

    /// The critical resources of a catalog on `bench`.
    fn found(bench: &Bench, is_guarded: bool, catalog: &Catalog) -> BTreeSet<u32> {
        let decoded = decode(catalog, &bench.controller);
        let decoded = decoded.unwrap_or_else(|problems| unreachable!("{problems:?}"));
        critical(&decoded, &Login::of(&bench.world, is_guarded))
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
        let bench = bench();
        let check = |kind: &str, name: &str, critical: bool| {
            let mut one = if kind == "authorized-key" { keyed(name) } else { resource(kind, name) };
            if kind == "firewall-policy" {
                one.params.set("rules", Value::from("chain input { }"));
            }
            if kind == "sudo-rule" {
                one.params.set("user", Value::from("bob"));
            }
            let found = found(&bench, true, &order(&[one]).catalog);
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
        let unguarded = found(&bench, false, &own.catalog);
        assert!(unguarded.is_empty(), "without root all users may write into their own homes");
        check("file", "/etc/hosts.deny", true);
        check("file", "/etc/nsswitch.conf", true);
        check("file", "/etc/fail2ban/jail.local", true);
        check("authorized-key", "ada", true);
        check("authorized-key", "bob", false);
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
        let key = order(&[keyed("ada")]);
        bench.world.write("/etc/passwd".as_ref(), "root:x:0:0:root:/root:/bin/sh\n");
        assert!(!found(&bench, true, &key.catalog).is_empty(), "a login that no file of the host knows");
    }

    #[test]
    fn a_login_is_known_by_the_accounts_of_the_host() {
        let check = |home: &str, keys: &str| {
            let bench = Bench::new();
            let passwd = format!("ada:x:1000:1000::{home}:/bin/sh\n");
            bench.world.write("/etc/passwd".as_ref(), &passwd);
            bench.world.write("/etc/group".as_ref(), "ada:x:1000:\nops:x:1001:ada\nstaff:x:1002:\n");
            bench.world.log_in("ada");
            let resources = [
                resource("file", keys),
                resource("group", "ops"),
                resource("group", "ada"),
                resource("group", "staff"),
                resource("user", "ada"),
                resource("directory", "/srv"),
            ];
            let found = found(&bench, true, &order(&resources).catalog);
            assert_eq!(found, BTreeSet::from([0, 1, 2, 4]), "{home}");
        };
        check("/home/ada", "/home/ada/.ssh/authorized_keys");
        check("/", "/.ssh/authorized_keys");
    }

    #[test]
    fn packages_that_the_login_needs_are_missed_however_they_go() {
        let entry = EntryPackages { server: &["openssh-server"], escalation: &["sudo"] };
        let check = |name: &str, removed: &[&str], expected: Option<&str>| {
            let bench = Bench::new();
            bench.world.log_in(name);
            let needed = needed(&Login::of(&bench.world, true), entry);
            let removed: Vec<_> = removed.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(lost(&removed, &needed), expected, "{name} {removed:?}");
        };
        check("ada", &["libx", "sudo:amd64"], Some("sudo"));
        check("ada", &["openssh-server"], Some("openssh-server"));
        check("ada", &["sudo-ldap"], None);
        check("ada", &[], None);
        check("root", &["sudo"], None);
        check("root", &["openssh-server"], Some("openssh-server"));
    }

    #[test]
    fn files_that_sshd_is_told_of_are_critical_and_packages_are_not() {
        let tells = |kind: &str, name: &str| {
            let mut one = resource(kind, name);
            one.notify = vec![Notify { target: 1, how: NotifyHow::AsTargetSays }];
            let mut ssh = resource("service", "ssh");
            ssh.params.set("running", false.into());
            found(&bench(), true, &order(&[one, ssh]).catalog)
        };
        assert_eq!(tells("file", "/srv/keys/ada"), BTreeSet::from([0, 1]));
        assert_eq!(tells("package", "openssh-server"), BTreeSet::from([1]));
    }
}

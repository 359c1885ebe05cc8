//! Words that are known to shut a login out, in lines that a change adds or removes. The host detects other lock-outs
//! when no new connection comes.

use converge_model::{Change, Claim, Shown, TextDiff};

use super::login::{Login, is_below};
use crate::system::services::full_name;

/// The units that let logins in.
const SSHD: [&str; 3] = ["ssh.service", "sshd.service", "ssh.socket"];

impl Login {
    /// Returns the known effect of `change` on the login, for a resource with these claims. None if there is no
    /// objection.
    pub fn warning(&self, claims: &[Claim], change: &Change) -> Option<String> {
        let is_below = |place: &str| is_below(claims, place);
        if is_below("/etc/ssh") {
            added(change).find_map(|line| self.shut_out_by(line))
        } else if is_below("/etc/hosts.deny") {
            added(change).find_map(denies)
        } else if is_below("/etc/sudoers") || is_below("/etc/sudoers.d") {
            gone(change).find_map(|line| self.loses_rule(line))
        } else if self.home.as_ref().is_some_and(|home| is_below(&format!("{home}/.ssh"))) {
            gone(change).find_map(|line| self.loses_key(line))
        } else {
            None
        }
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
                return Some(format!(
                    "`{}` may move sshd away from the address that this run uses",
                    line.trim()
                ));
            }
            "pubkeyauthentication" if names == ["no"] => {
                return Some(format!("`{}` locks out users who log in with a key", line.trim()));
            }
            _ => false,
        };
        shuts_out.then(|| format!("`{}` locks out {login}, whose login this run uses", line.trim()))
    }

    fn loses_rule(&self, line: &str) -> Option<String> {
        let who = line.split_whitespace().next()?;
        let group = who.strip_prefix('%').is_some_and(|name| self.groups.iter().any(|group| group == name));
        (who == self.name || group).then(|| {
            format!("`{}` is removed; it is a rule of {}, whose login this run uses", line.trim(), self.name)
        })
    }

    fn loses_key(&self, line: &str) -> Option<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let key = words.iter().position(|word| word.starts_with("AAAA"))?;
        let name = words[key + 1..].join(" ");
        let name = if name.is_empty() { "without a name".to_owned() } else { format!("of {name}") };
        Some(format!("a key {name} is removed; this run may use it to log in as {}", self.name))
    }
}

/// Returns the known effect of `change` on the service `unit`, if it is the service of sshd.
pub fn switched_off(unit: &str, change: &Change) -> Option<String> {
    if !SSHD.contains(&full_name(unit).as_str()) {
        return None;
    }
    let is_no = |name: &str| {
        let mut all = change.properties.iter();
        all.any(|one| one.property == name && matches!(&one.after, Shown::Text(after) if after == "no"))
    };
    if is_no("running") {
        Some("once it stops, no user can log in over ssh".to_owned())
    } else {
        is_no("enabled").then(|| {
            "after the next boot no user can log in over ssh; a new connection now cannot test that"
                .to_owned()
        })
    }
}

/// Returns a warning if a line of hosts.deny(5) is about sshd.
fn denies(line: &str) -> Option<String> {
    let (daemons, _) = line.split_once(':')?;
    let about_sshd = daemons.split([' ', ',']).any(|name| name == "ALL" || name == "sshd");
    (about_sshd && !line.starts_with('#'))
        .then(|| format!("`{}` may lock out the address of this run", line.trim()))
}

/// The lines that a change adds.
fn added(change: &Change) -> impl Iterator<Item = &str> {
    lines(change, '+').into_iter()
}

/// The lines that a change removes and does not add elsewhere.
fn gone(change: &Change) -> impl Iterator<Item = &str> {
    let stays = lines(change, '+');
    lines(change, '-').into_iter().filter(move |line| !stays.contains(line))
}

/// The lines of a diff that begin with `sign`.
fn lines(change: &Change, sign: char) -> Vec<&str> {
    let texts = change.properties.iter().filter_map(|property| property.diff.as_ref());
    texts
        .flat_map(|TextDiff { unified, .. }| unified.lines().filter_map(move |line| line.strip_prefix(sign)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::{Extent, PropertyChange, Verb};

    fn login() -> Login {
        let groups = vec!["sudo".into(), "ada".into()];
        Login { name: "ada".into(), home: Some("/home/ada".into()), groups, is_guarded: true }
    }

    fn diff(unified: &str) -> PropertyChange {
        let mut property = PropertyChange::new("content", "old", "new");
        property.diff = Some(TextDiff { unified: unified.to_owned(), cut: false });
        property
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
        check("PubkeyAuthentication no", true);
        check("PubkeyAuthentication yes", false);
        check("DenyGroups wheel sudo", true);
        check("DenyGroups wheel", false);
        check("DenyUsers bob", false);
        let root = Login { name: "root".into(), ..login() };
        let of_root = ["no", "yes", "prohibit-password"].map(|word| format!("PermitRootLogin {word}"));
        assert_eq!(of_root.map(|line| root.shut_out_by(&line).is_some()), [true, false, false]);
        check("PrintMotd no", false);
        check("", false);
    }

    #[test]
    fn a_diff_tells_what_goes_that_the_login_may_need() {
        let check = |path: &str, unified: &str, told: Option<&str>| {
            let claims = [Claim::path(path, Extent::Whole)];
            let warning = login().warning(&claims, &Change::new(Verb::Update).property(diff(unified)));
            assert_eq!(warning.is_some(), told.is_some(), "{path}: {warning:?}");
            assert!(warning.unwrap_or_default().contains(told.unwrap_or_default()), "{path}");
        };
        let keys = "/home/ada/.ssh/authorized_keys";
        check(keys, "-ssh-ed25519 AAAAC3 ada@home\n+ssh-ed25519 AAAAC4 ada@work\n", Some("of ada@home"));
        check(keys, "-ssh-ed25519 AAAAC3\n+ssh-ed25519 AAAAC3\n", None);
        check("/home/bob/.ssh/authorized_keys", "-ssh-ed25519 AAAAC3 bob\n", None);
        check(
            "/etc/sudoers.d/ops",
            "-%sudo ALL=(ALL) ALL\n+%sudo ALL=(nobody) ALL\n",
            Some("`%sudo ALL=(ALL) ALL`"),
        );
        check("/etc/sudoers", "-bob ALL=(ALL) ALL\n", None);
        check("/etc/sudoers", "-%wheel ALL=(ALL) ALL\n", None);
        check("/etc/hosts.deny", "+sshd, vsftpd: 10.0.0.0/8\n", Some("`sshd, vsftpd: 10.0.0.0/8`"));
        check("/etc/hosts.deny", "+# ALL: ALL\n+vsftpd: ALL\n", None);
        check("/etc/ssh/sshd_config", "-AllowUsers ada\n+AllowUsers bob\n", Some("`AllowUsers bob`"));
    }

    #[test]
    fn a_service_of_sshd_that_is_switched_off_is_known() {
        let check = |name: &str, property: &str, after: &str, told: Option<&str>| {
            let change = Change::new(Verb::Update).property(PropertyChange::new(property, "yes", after));
            let warning = switched_off(name, &change);
            assert_eq!(warning.is_some(), told.is_some(), "{name} {property} {after}");
            assert!(warning.unwrap_or_default().starts_with(told.unwrap_or_default()), "{name} {property}");
        };
        check("ssh", "enabled", "no", Some("after the next boot no user can log in"));
        check("sshd.service", "running", "no", Some("once it stops, no user can log in"));
        check("ssh", "enabled", "yes", None);
        check("nginx", "running", "no", None);
    }
}

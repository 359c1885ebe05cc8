//! The name and features of a package manager, the same on every host that has it. Plans read them, so that they stay
//! pure.

use std::cmp::Ordering;

/// A package manager, independent of a host.
pub struct Manager {
    /// Its name: `apt`.
    pub name: &'static str,
    /// Its features beside installing and removing.
    pub features: Features,
    /// The files and folders that define package sources.
    pub sources: &'static [&'static str],
    /// The packages that logins need.
    pub entry: EntryPackages,
    /// Whether `name` can be the name of a package for it.
    pub is_name: fn(&str) -> bool,
    /// Whether a version (the second) matches the asked one (the first), which may be a pattern.
    pub matches: fn(&str, &str) -> bool,
    /// Compares two versions.
    pub compare: fn(&str, &str) -> Ordering,
}

/// The features of a package manager beside installing and removing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// It can hold a package at its version.
    pub hold: bool,
    /// Its packages recommend others.
    pub recommends: bool,
    /// It can remove the configuration that a removed package left behind.
    pub purge: bool,
    /// It can replace a newer version by an older one.
    pub downgrade: bool,
    /// It accepts a version with `*` and `?`.
    pub globs: bool,
    /// It knows which packages came with others and are no longer needed.
    pub autoremove: bool,
}

impl Features {
    /// All features.
    pub const ALL: Self =
        Self { hold: true, recommends: true, purge: true, downgrade: true, globs: true, autoremove: true };

    /// No features: the manager can only install and remove.
    pub const NONE: Self = Self {
        hold: false,
        recommends: false,
        purge: false,
        downgrade: false,
        globs: false,
        autoremove: false,
    };
}

/// The packages that a login needs to log in, or to become root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryPackages {
    /// The packages of the ssh server.
    pub server: &'static [&'static str],
    /// The packages by which a login becomes root.
    pub escalation: &'static [&'static str],
}

impl EntryPackages {
    /// Returns the packages that a login needs. Root does not have to become root.
    pub fn needed(&self, is_root: bool) -> impl Iterator<Item = &'static str> {
        let escalation = if is_root { &[] } else { self.escalation };
        self.server.iter().chain(escalation).copied()
    }
}

/// Whether `name` can be the name of a package for some manager. It has ASCII letters and digits, and `+`, `.`, `_`,
/// `-`, `~`, `@`, `:` after the first character. So no name is read as an option, a path or a pattern. The host's own
/// manager may have a narrower rule.
pub fn is_package_name(name: &str) -> bool {
    name.len() <= NAME_LIMIT
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "+._-~@:".contains(c))
}

/// The longest name of a package, in bytes. Names are parts of file names.
const NAME_LIMIT: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_some_manager_has() {
        let check = |name: &str, is_one: bool| assert_eq!(is_package_name(name), is_one, "{name:?}");
        for name in ["nginx", "NetworkManager", "libstdc++6", "libc6:i386", "7zip", "python3.12", "perl-Git"]
        {
            check(name, true);
        }
        for name in ["", "-y", "--purge", "a b", "a*", "../etc", "a=1", "a;b", ".hidden", "über"] {
            check(name, false);
        }
        check(&"x".repeat(256), false);
    }

    #[test]
    fn root_does_not_have_to_become_root() {
        let entry = EntryPackages { server: &["sshd"], escalation: &["sudo"] };
        assert_eq!(entry.needed(true).collect::<Vec<_>>(), ["sshd"]);
        assert_eq!(entry.needed(false).collect::<Vec<_>>(), ["sshd", "sudo"]);
    }
}

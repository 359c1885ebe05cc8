//! What a package manager is and can: the same on every host that has it. Plans ask it, so that they stay pure.

use std::cmp::Ordering;

/// A package manager, apart from any host.
pub struct Manager {
    /// Its name: `apt`.
    pub name: &'static str,
    /// What it can do beside installing and removing.
    pub features: Features,
    /// The files and folders that say what packages come from.
    pub sources: &'static [&'static str],
    /// The packages that keep the way in open.
    pub entry: EntryPackages,
    /// Whether it can have a package of this name.
    pub is_name: fn(&str) -> bool,
    /// Whether a version (the second) is the one that is asked for (the first), which may be a pattern.
    pub matches: fn(&str, &str) -> bool,
    /// How two versions follow each other.
    pub compare: fn(&str, &str) -> Ordering,
}

/// What a package manager can do beside installing and removing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// It can hold a package at its version.
    pub hold: bool,
    /// Its packages recommend others.
    pub recommends: bool,
    /// It can remove the configuration that a package left behind.
    pub purge: bool,
    /// It can put an older version in the place of a newer one.
    pub downgrade: bool,
    /// It takes a version with `*` and `?`.
    pub globs: bool,
    /// It knows which packages came along with others and are not needed any more.
    pub autoremove: bool,
}

impl Features {
    /// A manager that can do all of it.
    pub const ALL: Self =
        Self { hold: true, recommends: true, purge: true, downgrade: true, globs: true, autoremove: true };

    /// A manager that can only install and remove.
    pub const NONE: Self = Self {
        hold: false,
        recommends: false,
        purge: false,
        downgrade: false,
        globs: false,
        autoremove: false,
    };
}

/// The packages without which a login does not get in, or does not become root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryPackages {
    /// Those of the ssh server.
    pub server: &'static [&'static str],
    /// Those by which a login becomes root.
    pub escalation: &'static [&'static str],
}

impl EntryPackages {
    /// Those that a login needs: root does not have to become root.
    pub fn needed(&self, is_root: bool) -> impl Iterator<Item = &'static str> {
        let escalation = if is_root { &[] } else { self.escalation };
        self.server.iter().chain(escalation).copied()
    }
}

/// Whether `name` can be the name of a package for some manager: letters and digits of ASCII, and `+`, `.`, `_`, `-`, `~`,
/// `@`, `:` after the first character. So no name is taken for an option, a path or a pattern. The host's own manager
/// may have a narrower rule.
pub fn is_package_name(name: &str) -> bool {
    name.len() <= NAME_LIMIT
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "+._-~@:".contains(c))
}

/// The longest name of a package, in bytes: names are parts of file names.
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

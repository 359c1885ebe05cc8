//! Account files that do not agree. Each user and each group is in two files, one that all users may read and one for
//! root only. If a program of the shadow suite is killed between the two writes, they differ.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::text;
use crate::system::files::Files;

/// The differences between the files.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Torn {
    /// Users of `/etc/passwd` without a line in `/etc/shadow`: they cannot log in.
    pub users: Vec<String>,
    /// Whether `/etc/shadow` has lines of users that do not exist.
    pub orphans: bool,
    /// Whether `/etc/gshadow` has other names or members than `/etc/group`.
    pub groups: bool,
}

impl Torn {
    /// Compares the files. If the files for root are missing or may not be read, nothing counts as torn.
    pub fn read(files: &Files) -> io::Result<Self> {
        let secret = |path| match text(files, path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(String::new()),
            other => other,
        };
        Ok(Self::between(
            [&text(files, "/etc/passwd")?, &secret("/etc/shadow")?],
            [&text(files, "/etc/group")?, &secret("/etc/gshadow")?],
        ))
    }

    fn between([passwd, shadow]: [&str; 2], [group, gshadow]: [&str; 2]) -> Self {
        let mut torn = Self::default();
        if !shadow.is_empty() {
            let (users, shadows) = (lines(passwd), lines(shadow));
            let missing =
                users.iter().filter(|(name, fields)| fields[0] == "x" && !shadows.contains_key(*name));
            torn.users = missing.map(|(name, _)| (*name).to_owned()).collect();
            torn.orphans = shadows.keys().any(|name| !users.contains_key(name));
        }
        if !gshadow.is_empty() {
            torn.groups = members(group) != members(gshadow);
        }
        torn
    }
}

/// Returns the fields after the name, by name. Lines for accounts of a network are left out.
fn lines(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let lines = text.lines().filter(|line| !line.starts_with(['+', '-', '#']));
    let lines = lines.filter_map(|line| line.split_once(':'));
    lines.map(|(name, rest)| (name, rest.split(':').collect())).collect()
}

/// Returns the members of each group. Both group(5) and gshadow(5) have them in the fourth field.
fn members(text: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let members = |fields: Vec<_>| {
        fields.get(2).map_or("", |list| *list).split(',').filter(|name| !name.is_empty()).collect()
    };
    lines(text).into_iter().map(|(name, fields)| (name, members(fields))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nada:x:2001:100::/home/ada:/bin/sh\n+::::::\n";
    const SHADOW: &str = "root:*:20000:0:99999:7:::\nada:!:20000:0:99999:7:::\n";
    const GROUP: &str = "root:x:0:\nops:x:999:ada,bob\n";
    const GSHADOW: &str = "root:*::\nops:!::bob,ada\n";

    #[test]
    fn torn_files_are_those_of_a_program_that_was_killed_between_them() {
        let check = |[passwd, shadow, group, gshadow]: [&str; 4], expected: Torn| {
            let torn = Torn::between([passwd, shadow], [group, gshadow]);
            assert_eq!(torn, expected, "{passwd}{shadow}{group}{gshadow}");
        };
        check([PASSWD, SHADOW, GROUP, GSHADOW], Torn::default());
        check([PASSWD, "", GROUP, ""], Torn::default());
        let added = PASSWD.to_owned() + "eve:x:2002:100::/home/eve:/bin/sh\n";
        check([&added, SHADOW, GROUP, GSHADOW], Torn { users: vec!["eve".to_owned()], ..Torn::default() });
        let old = PASSWD.to_owned() + "eve:*:2002:100::/home/eve:/bin/sh\n";
        check([&old, SHADOW, GROUP, GSHADOW], Torn::default());
        let removed = PASSWD.replace("ada:", "#");
        check([&removed, SHADOW, GROUP, GSHADOW], Torn { orphans: true, ..Torn::default() });
        let torn = || Torn { groups: true, ..Torn::default() };
        check([PASSWD, SHADOW, "root:x:0:\n", GSHADOW], torn());
        check([PASSWD, SHADOW, GROUP, "root:*::\n"], torn());
        check([PASSWD, SHADOW, &GROUP.replace(",bob", ""), GSHADOW], torn());
    }
}

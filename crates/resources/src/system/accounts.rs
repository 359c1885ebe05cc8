//! Users and groups: what `/etc/passwd`, `/etc/group` and `/etc/shadow` say, and who changes them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crate::system::files::Files;

/// All users and groups of a host, as its files have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountTable {
    /// By name.
    pub users: BTreeMap<String, User>,
    /// By name.
    pub groups: BTreeMap<String, Group>,
}

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The number.
    pub uid: u32,
    /// The number of the primary group.
    pub gid: u32,
    /// The comment (GECOS).
    pub comment: String,
    /// The home folder.
    pub home: String,
    /// The login shell.
    pub shell: String,
    /// The day after which the account is closed, in days since the epoch.
    pub expires: Option<i64>,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The number.
    pub gid: u32,
    /// The members that `/etc/group` lists: users whose primary group it is are not among them.
    pub members: Vec<String>,
}

/// Who knows and changes the accounts of a host.
pub trait Accounts: Send + Sync {
    /// Every local user and group, read anew.
    fn table(&self) -> io::Result<Arc<AccountTable>>;
}

/// The largest account file that is read, in bytes.
const LIMIT: usize = 16 * 1024 * 1024;

impl AccountTable {
    /// Reads the files below the root of `files`; one that is absent is empty.
    pub fn read(files: &Files) -> io::Result<Self> {
        let text = |path: &str| match files.read(path.as_ref(), LIMIT) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(String::new())
            }
            Err(error) => Err(error),
        };
        let mut table = Self::default();
        table.users.extend(text("/etc/passwd")?.lines().filter_map(user));
        table.groups.extend(text("/etc/group")?.lines().filter_map(group));
        Ok(table)
    }

    /// The name of a user's number: the first by name that has it.
    pub fn user_name(&self, uid: u32) -> Option<&str> {
        self.users.iter().find(|(_, user)| user.uid == uid).map(|(name, _)| name.as_str())
    }

    /// The name of a group's number.
    pub fn group_name(&self, gid: u32) -> Option<&str> {
        self.groups.iter().find(|(_, group)| group.gid == gid).map(|(name, _)| name.as_str())
    }
}

/// A line of passwd(5).
fn user(line: &str) -> Option<(String, User)> {
    let fields: Vec<_> = line.split(':').collect();
    let [name, _, uid, gid, comment, home, shell] = fields[..] else { return None };
    let user = User {
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        comment: comment.to_owned(),
        home: home.to_owned(),
        shell: shell.to_owned(),
        expires: None,
    };
    Some((name.to_owned(), user))
}

/// A line of group(5).
fn group(line: &str) -> Option<(String, Group)> {
    let fields: Vec<_> = line.split(':').collect();
    let [name, _, gid, members] = fields[..] else { return None };
    let members = members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect();
    Some((name.to_owned(), Group { gid: gid.parse().ok()?, members }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_none_are_passed_over() {
        assert_eq!(
            user("root:x:0:0:root:/root:/bin/bash").map(|(name, user)| (name, user.uid)),
            Some(("root".into(), 0))
        );
        assert!(user("+::::::").is_none());
        assert!(user("# a comment").is_none());
        let (_, ops) = group("ops:x:100:ada,grace").unwrap();
        assert_eq!(ops.members, ["ada", "grace"]);
        assert!(group("bad:x:y:").is_none());
    }
}

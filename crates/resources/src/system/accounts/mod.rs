//! Users and groups: the entries of `/etc/passwd`, `/etc/group` and `/etc/shadow`, and how they are changed.
//!
//! Reading is the same everywhere and starts no process. Requests for changes are in [`change`].

pub mod backends;
pub mod change;
pub mod shadow_utils;
mod torn;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use converge_model::Secret;

pub use change::{AccountChange, Expiry, GroupChange, UserChange};
pub use torn::Torn;

use crate::system::backend::Parts;
use crate::system::files::Files;

/// All users and groups of a host, from its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountTable {
    /// The users by name.
    pub users: BTreeMap<String, User>,
    /// The groups by name.
    pub groups: BTreeMap<String, Group>,
    /// The defaults of a new account.
    pub defaults: AccountDefaults,
    /// Whether `/etc/shadow` could be read. Only root may read it.
    pub shadow_readable: bool,
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
    /// The entry in `/etc/shadow`. None if there is none, or it may not be read.
    pub shadow: Option<Shadow>,
}

/// The line of a user in shadow(5).
#[derive(Clone, PartialEq, Eq)]
pub struct Shadow {
    /// The second field: a crypt hash, `*` or nothing. A `!` before it means that the account is locked.
    pub password: Secret,
    /// The least number of days between two changes of the password.
    pub min_days: Option<i64>,
    /// After how many days the password must be changed.
    pub max_days: Option<i64>,
    /// How many days before that the user is warned.
    pub warn_days: Option<i64>,
    /// When the account expires.
    pub expires: Expiry,
}

/// A group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The number.
    pub gid: u32,
    /// The members in `/etc/group`. Users with this primary group are not among them.
    pub members: Vec<String>,
}

/// The defaults for new accounts, from `/etc/login.defs` and `/etc/default/useradd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountDefaults {
    /// The mode of a new home.
    pub home_mode: u32,
    /// The folder of homes.
    pub homes: PathBuf,
    /// The folder with the initial content of a new home.
    pub skeleton: PathBuf,
    /// The login shell. None if the files name none.
    pub shell: Option<String>,
    /// The smallest number of an account for a person.
    pub first_uid: u32,
    /// Whether a user's own group is removed with the user.
    pub own_group_goes: bool,
}

impl Default for AccountDefaults {
    fn default() -> Self {
        Self {
            home_mode: 0o755,
            homes: "/home".into(),
            skeleton: "/etc/skel".into(),
            shell: None,
            first_uid: 1000,
            own_group_goes: false,
        }
    }
}

/// Opens the accounts of a host.
pub type Open = fn(Parts) -> Box<dyn Accounts>;

/// The accounts of a host: reading and changing them.
pub trait Accounts: Send + Sync {
    /// Reads all local users and groups again.
    fn table(&self) -> io::Result<Arc<AccountTable>>;

    /// Returns a user that is in no file of the host, from the other sources of its name service. None if there are
    /// no other sources, or they do not know it.
    fn remote_user(&self, name: &str) -> io::Result<Option<User>>;

    /// Returns a group that is in no file of the host, as for users.
    fn remote_group(&self, name: &str) -> io::Result<Option<Group>>;

    /// Makes one change. A change that fails may have been made in part.
    fn change(&self, change: &AccountChange) -> Result<(), AccountError>;

    /// Makes the files agree again after a change that was cut off midway: see [`Torn`].
    fn mend(&self) -> Result<(), AccountError>;

    /// Returns the user whose login the run uses, before it became root. None if it is not known.
    fn login(&self) -> Option<String>;
}

/// Why an account was not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The files could not be read or written.
    #[error("failed to {what}: {source}")]
    Files {
        /// `add the user ada`.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// A program could not be run.
    #[error("failed to {what}: {source}")]
    Program {
        /// `add the user ada`.
        what: String,
        /// The cause.
        source: crate::system::processes::ProcessError,
    },
    /// A program refused.
    #[error("failed to {what}: {why}")]
    Refused {
        /// `add the user ada`.
        what: String,
        /// The last line of its output.
        why: String,
        /// Its whole output.
        output: Vec<u8>,
    },
}

/// The largest account file that is read, in bytes.
const LIMIT: usize = 16 * 1024 * 1024;

impl AccountTable {
    /// Reads the files below the root of `files`. A missing file counts as empty.
    pub fn read(files: &Files) -> io::Result<Self> {
        let mut table = Self { shadow_readable: true, ..Self::default() };
        table.users.extend(text(files, "/etc/passwd")?.lines().filter_map(user));
        table.groups.extend(text(files, "/etc/group")?.lines().filter_map(group));
        table.defaults =
            AccountDefaults::of(&text(files, "/etc/login.defs")?, &text(files, "/etc/default/useradd")?);
        match text(files, "/etc/shadow") {
            Ok(lines) => lines.lines().filter_map(shadow).for_each(|(name, shadow)| {
                if let Some(user) = table.users.get_mut(&name) {
                    user.shadow = Some(shadow);
                }
            }),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => table.shadow_readable = false,
            Err(error) => return Err(error),
        }
        Ok(table)
    }

    /// Returns the name of a user's number. If several users have it, the first by name.
    pub fn user_name(&self, uid: u32) -> Option<&str> {
        self.users.iter().find(|(_, user)| user.uid == uid).map(|(name, _)| name.as_str())
    }

    /// Returns the name of a group's number.
    pub fn group_name(&self, gid: u32) -> Option<&str> {
        self.groups.iter().find(|(_, group)| group.gid == gid).map(|(name, _)| name.as_str())
    }

    /// Returns the groups that list `user` as a member, by name.
    pub fn groups_of(&self, user: &str) -> Vec<String> {
        let lists = |group: &Group| group.members.iter().any(|member| member == user);
        self.groups.iter().filter(|(_, group)| lists(group)).map(|(name, _)| name.clone()).collect()
    }

    /// Whether removing `user` removes the group of the same name: it is the primary group of this user and no other
    /// uses it.
    pub fn own_group_goes(&self, user: &str) -> bool {
        let (Some(account), Some(group)) = (self.users.get(user), self.groups.get(user)) else {
            return false;
        };
        let shared = self.users.iter().any(|(name, other)| name != user && other.gid == group.gid);
        let others = group.members.iter().any(|member| member != user);
        self.defaults.own_group_goes && account.gid == group.gid && !shared && !others
    }
}

impl AccountDefaults {
    /// Returns the defaults from the two files.
    fn of(login_defs: &str, useradd: &str) -> Self {
        let defs: BTreeMap<_, _> = login_defs
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(char::is_whitespace))
            .map(|(key, value)| (key, value.trim()))
            .collect();
        let useradd: BTreeMap<_, _> = useradd
            .lines()
            .map(str::trim)
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key, value.trim_matches('"')))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let octal = |key: &str| u32::from_str_radix(defs.get(key)?, 8).ok().filter(|mode| *mode <= 0o777);
        let path = |key: &str| useradd.get(key).filter(|path| path.starts_with('/')).map(PathBuf::from);
        let usual = Self::default();
        Self {
            home_mode: octal("HOME_MODE").unwrap_or(0o777 & !octal("UMASK").unwrap_or(0o022)),
            homes: path("HOME").unwrap_or(usual.homes),
            skeleton: path("SKEL").unwrap_or(usual.skeleton),
            shell: useradd.get("SHELL").map(|shell| (*shell).to_owned()),
            first_uid: defs.get("UID_MIN").and_then(|uid| uid.parse().ok()).unwrap_or(usual.first_uid),
            own_group_goes: defs.get("USERGROUPS_ENAB").is_some_and(|word| word.eq_ignore_ascii_case("yes")),
        }
    }
}

impl Shadow {
    /// Whether the account is locked: no password is valid.
    pub fn is_locked(&self) -> bool {
        self.password.expose().starts_with(b"!")
    }

    /// Returns the password field without the marks of a lock.
    pub fn unlocked(&self) -> &[u8] {
        unlocked(self.password.expose())
    }
}

/// Returns a password field without the marks of a lock.
pub fn unlocked(field: &[u8]) -> &[u8] {
    let marks = field.iter().take_while(|byte| **byte == b'!').count();
    &field[marks..]
}

impl fmt::Debug for Shadow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shadow").field("expires", &self.expires).finish_non_exhaustive()
    }
}

fn text(files: &Files, path: &str) -> io::Result<String> {
    match files.read(Path::new(path), LIMIT) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(String::new())
        }
        Err(error) => Err(error),
    }
}

/// Parses a line of passwd(5).
pub fn user(line: &str) -> Option<(String, User)> {
    let fields: Vec<_> = line.split(':').collect();
    let [name, _, uid, gid, comment, home, shell] = fields[..] else { return None };
    let user = User {
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        comment: comment.to_owned(),
        home: home.to_owned(),
        shell: shell.to_owned(),
        shadow: None,
    };
    Some((name.to_owned(), user))
}

/// Parses a line of group(5).
pub fn group(line: &str) -> Option<(String, Group)> {
    let fields: Vec<_> = line.split(':').collect();
    let [name, _, gid, members] = fields[..] else { return None };
    let members = members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect();
    Some((name.to_owned(), Group { gid: gid.parse().ok()?, members }))
}

/// Parses a line of shadow(5).
fn shadow(line: &str) -> Option<(String, Shadow)> {
    let fields: Vec<_> = line.split(':').collect();
    let [name, password, _, min, max, warn, _, expires, _] = fields[..] else { return None };
    let shadow = Shadow {
        password: Secret::new(password),
        min_days: min.parse().ok(),
        max_days: max.parse().ok(),
        warn_days: warn.parse().ok(),
        // A negative day means never, like an empty field.
        expires: expires.parse().ok().filter(|day| *day >= 0).map_or(Expiry::Never, Expiry::Day),
    };
    Some((name.to_owned(), shadow))
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
        assert!(shadow("ada:!").is_none());
    }

    #[test]
    fn a_shadow_line_tells_lock_and_expiry_and_hides_the_hash() {
        let (_, ada) = shadow("ada:!$y$j9T$salt$hash:19000:0:99999:7::20818:").unwrap();
        assert!(ada.is_locked());
        assert!(ada.unlocked() == b"$y$j9T$salt$hash");
        assert_eq!(ada.expires, Expiry::Day(20818));
        assert_eq!((ada.min_days, ada.max_days, ada.warn_days), (Some(0), Some(99999), Some(7)));
        assert!(!format!("{ada:?}").contains("salt"));
        let (_, never) = shadow("x:*:::::::").unwrap();
        assert_eq!((never.is_locked(), never.expires), (false, Expiry::Never));
    }

    #[test]
    fn the_defaults_are_those_of_the_host() {
        let check = |defs: &str, mode: u32| {
            assert_eq!(AccountDefaults::of(defs, "").home_mode, mode, "{defs}");
        };
        check("", 0o755);
        check("UMASK\t\t027\n", 0o750);
        check("#HOME_MODE 0711\nHOME_MODE 0700\nUMASK 022\n", 0o700);
        check("UMASK nonsense\n", 0o755);
        let debian = AccountDefaults::of("USERGROUPS_ENAB yes\n", "SHELL=/bin/sh\n# HOME=/srv\n");
        assert!(debian.own_group_goes);
        assert_eq!((debian.shell.as_deref(), debian.homes.as_path()), (Some("/bin/sh"), Path::new("/home")));
    }

    #[test]
    fn an_own_group_stays_while_others_use_it() {
        let check = |passwd: &str, groups: &str, goes: bool| {
            let mut table = AccountTable::default();
            table.defaults.own_group_goes = true;
            table.users.extend(passwd.lines().filter_map(user));
            table.groups.extend(groups.lines().filter_map(group));
            assert_eq!(table.own_group_goes("ada"), goes, "{passwd} {groups}");
        };
        check("ada:x:7:7::/:/", "ada:x:7:", true);
        check("ada:x:7:7::/:/\nbob:x:8:7::/:/", "ada:x:7:", false);
        check("ada:x:7:7::/:/", "ada:x:7:bob", false);
        check("ada:x:7:9::/:/", "ada:x:7:", false);
    }
}

//! Changes of accounts as data: what is asked for, and what undoes it.

use std::fmt;
use std::path::PathBuf;

use converge_model::Secret;

use super::{AccountTable, User};

/// One change of the accounts of a host.
#[derive(Clone, PartialEq, Eq)]
pub enum AccountChange {
    /// Adds a group.
    AddGroup {
        /// Its name.
        name: String,
        /// The desired values.
        group: GroupChange,
    },
    /// Changes an existing group.
    ChangeGroup {
        /// Its name.
        name: String,
        /// The values to change.
        group: GroupChange,
    },
    /// Removes a group.
    RemoveGroup {
        /// Its name.
        name: String,
    },
    /// Adds a user without a home. The kind makes the home from files.
    AddUser {
        /// The name.
        name: String,
        /// The desired values.
        user: UserChange,
    },
    /// Changes an existing user.
    ChangeUser {
        /// The name.
        name: String,
        /// The values to change.
        user: UserChange,
    },
    /// Removes a user, and the group of the same name if no other user needs it.
    RemoveUser {
        /// The name.
        name: String,
        /// Whether the home is removed too.
        home: bool,
    },
}

/// The desired values of a group. None: the value stays, or the host chooses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupChange {
    /// The number.
    pub gid: Option<u32>,
    /// For a new group: whether its number is from the range of the system.
    pub system: bool,
    /// Exactly these members.
    pub members: Option<Vec<String>>,
}

/// The desired values of a user. None: the value stays, or the host chooses it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserChange {
    /// The number.
    pub uid: Option<u32>,
    /// The name of the primary group. None for a new user: a group of the same name, made with the user.
    pub group: Option<String>,
    /// Exactly these other groups.
    pub groups: Option<Vec<String>>,
    /// The comment.
    pub comment: Option<String>,
    /// The home folder.
    pub home: Option<PathBuf>,
    /// Whether the content of the old home is moved to the new one.
    pub move_home: bool,
    /// The login shell.
    pub shell: Option<String>,
    /// For a new user: whether its number is from the range of the system.
    pub system: bool,
    /// The whole password field of shadow(5), including the mark of a lock.
    pub password: Option<Secret>,
    /// When the account expires.
    pub expires: Option<Expiry>,
}

/// When an account expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expiry {
    /// Never.
    #[default]
    Never,
    /// After this day, counted from 1970-01-01.
    Day(i64),
}

impl AccountChange {
    /// Returns what the change does, for messages: `add the user ada`.
    pub fn what(&self) -> String {
        match self {
            Self::AddGroup { name, .. } => format!("add the group {name}"),
            Self::ChangeGroup { name, .. } => format!("change the group {name}"),
            Self::RemoveGroup { name } => format!("remove the group {name}"),
            Self::AddUser { name, .. } => format!("add the user {name}"),
            Self::ChangeUser { name, .. } => format!("change the user {name}"),
            Self::RemoveUser { name, .. } => format!("remove the user {name}"),
        }
    }

    /// Whether the change is not needed: what it adds exists, or what it removes or changes does not.
    pub fn is_needless(&self, table: &AccountTable) -> bool {
        match self {
            Self::AddGroup { name, .. } => table.groups.contains_key(name),
            Self::ChangeGroup { name, .. } | Self::RemoveGroup { name } => !table.groups.contains_key(name),
            Self::AddUser { name, .. } => table.users.contains_key(name),
            Self::ChangeUser { name, .. } | Self::RemoveUser { name, .. } => !table.users.contains_key(name),
        }
    }

    /// Returns the changes that undo it, in order, from the state in `table`.
    pub fn inverse(&self, table: &AccountTable) -> Vec<Self> {
        match self {
            Self::AddGroup { name, .. } => vec![Self::RemoveGroup { name: name.clone() }],
            Self::ChangeGroup { name, .. } => {
                let before = GroupChange::of(table, name);
                vec![Self::ChangeGroup { name: name.clone(), group: before }]
            }
            Self::RemoveGroup { name } => {
                vec![Self::AddGroup { name: name.clone(), group: GroupChange::of(table, name) }]
            }
            Self::AddUser { name, .. } => {
                let remove = Self::RemoveUser { name: name.clone(), home: false };
                [remove].into_iter().chain(own_group(table, name)).collect()
            }
            Self::ChangeUser { name, user } => {
                let before = UserChange::of(table, name).only_where(user);
                vec![Self::ChangeUser { name: name.clone(), user: before }]
            }
            Self::RemoveUser { name, .. } => {
                let add = Self::AddUser { name: name.clone(), user: UserChange::of(table, name) };
                own_group(table, name).into_iter().chain([add]).collect()
            }
        }
    }
}

/// Returns the change that restores the group with the name of a user, which may be removed with the user.
fn own_group(table: &AccountTable, name: &str) -> Option<AccountChange> {
    let there = table.groups.contains_key(name);
    there.then(|| AccountChange::AddGroup { name: name.to_owned(), group: GroupChange::of(table, name) })
}

impl GroupChange {
    fn of(table: &AccountTable, name: &str) -> Self {
        let Some(group) = table.groups.get(name) else { return Self::default() };
        Self { gid: Some(group.gid), system: false, members: Some(group.members.clone()) }
    }
}

impl UserChange {
    /// Returns all values of an existing user.
    fn of(table: &AccountTable, name: &str) -> Self {
        let Some(User { uid, gid, comment, home, shell, shadow }) = table.users.get(name).cloned() else {
            return Self::default();
        };
        Self {
            uid: Some(uid),
            group: Some(table.group_name(gid).map_or_else(|| gid.to_string(), str::to_owned)),
            groups: Some(table.groups_of(name)),
            comment: Some(comment),
            home: Some(home.into()),
            move_home: false,
            shell: Some(shell),
            system: false,
            expires: shadow.as_ref().map(|shadow| shadow.expires),
            password: shadow.map(|shadow| shadow.password),
        }
    }

    /// Keeps only the values that `asked` has too.
    fn only_where(self, asked: &Self) -> Self {
        Self {
            uid: self.uid.filter(|_| asked.uid.is_some()),
            group: self.group.filter(|_| asked.group.is_some()),
            groups: self.groups.filter(|_| asked.groups.is_some()),
            comment: self.comment.filter(|_| asked.comment.is_some()),
            home: self.home.filter(|_| asked.home.is_some()),
            move_home: asked.move_home,
            shell: self.shell.filter(|_| asked.shell.is_some()),
            system: false,
            password: self.password.filter(|_| asked.password.is_some()),
            expires: self.expires.filter(|_| asked.expires.is_some()),
        }
    }
}

impl Expiry {
    /// Parses `never`, or a date like `2026-12-31`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "never" {
            return Some(Self::Never);
        }
        let fields: Vec<_> = text.split('-').collect();
        let [year, month, day] = fields[..] else { return None };
        if (year.len(), month.len(), day.len()) != (4, 2, 2) {
            return None;
        }
        let number = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok());
        let day = day_number(number(year)??, number(month)??, number(day)??);
        let expiry = Self::Day(day);
        // Only a valid date gives the same text again. The epoch itself is refused: some programs give it another
        // meaning.
        (day > 0 && expiry.to_string() == text).then_some(expiry)
    }
}

/// Returns the days from 1970-01-01 to a date of the Gregorian calendar.
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Returns the date of a number of days from 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year_of_era + era * 400 + carry, month, day)
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Day(days) => {
                let (year, month, day) = date(*days);
                write!(f, "{year:04}-{month:02}-{day:02}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::accounts::{group, user};

    #[test]
    fn dates_are_days_and_back() {
        let check = |text: &str, expiry: Option<Expiry>| assert_eq!(Expiry::parse(text), expiry, "{text}");
        check("never", Some(Expiry::Never));
        check("1970-01-02", Some(Expiry::Day(1)));
        check("2000-03-01", Some(Expiry::Day(11_017)));
        check("2026-12-31", Some(Expiry::Day(20_818)));
        check("2024-02-29", Some(Expiry::Day(19_782)));
        check("2026-02-29", None);
        check("2026-13-01", None);
        check("1970-01-01", None);
        check("26-12-31", None);
        check("2026-+1-31", None);
        check("soon", None);
        for day in (1..60_000).step_by(13) {
            let expiry = Expiry::Day(day);
            assert_eq!(Expiry::parse(&expiry.to_string()), Some(expiry));
        }
    }

    fn table() -> AccountTable {
        let mut table = AccountTable::default();
        table.users.extend(user("ada:x:2001:2001:Ada:/home/ada:/bin/bash"));
        table.groups.extend(["ada:x:2001:", "ops:x:50:ada,bob"].into_iter().filter_map(group));
        table
    }

    #[test]
    fn a_change_is_restored_only_where_it_changed_something() {
        let asked = UserChange {
            shell: Some("/bin/sh".into()),
            groups: Some(Vec::new()),
            home: Some("/srv/ada".into()),
            move_home: true,
            ..UserChange::default()
        };
        let change = AccountChange::ChangeUser { name: "ada".into(), user: asked };
        let back = UserChange {
            shell: Some("/bin/bash".into()),
            groups: Some(vec!["ops".into()]),
            home: Some("/home/ada".into()),
            move_home: true,
            ..UserChange::default()
        };
        assert!(change.inverse(&table()) == [AccountChange::ChangeUser { name: "ada".into(), user: back }]);
    }

    #[test]
    fn a_removed_user_comes_back_after_its_own_group() {
        let change = AccountChange::RemoveUser { name: "ada".into(), home: false };
        let back = change.inverse(&table());
        assert_eq!(
            back.iter().map(AccountChange::what).collect::<Vec<_>>(),
            ["add the group ada", "add the user ada"]
        );
        let AccountChange::AddUser { user, .. } = &back[1] else { panic!("no user comes back") };
        assert_eq!((user.uid, user.group.as_deref()), (Some(2001), Some("ada")));
        assert!(back.iter().all(|back| back.is_needless(&table())), "both are still there");
        assert!(!change.is_needless(&table()));
    }

    #[test]
    fn a_group_that_was_there_before_its_user_outlives_the_undo() {
        let mut before = table();
        before.users.clear();
        let add = AccountChange::AddUser { name: "ada".into(), user: UserChange::default() };
        let what: Vec<_> = add.inverse(&before).iter().map(AccountChange::what).collect();
        assert_eq!(what, ["remove the user ada", "add the group ada"]);
    }
}

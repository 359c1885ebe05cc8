//! The accounts of the trial host: its own `/etc/passwd`, `/etc/group` and `/etc/shadow`. They are changed like the
//! shadow suite does it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::World;
use crate::system::System;
use crate::system::accounts::{
    AccountChange, AccountError, AccountTable, Accounts, Expiry, Group, GroupChange, Torn, User, UserChange,
};

impl World {
    /// Sets `name` as the login of the run.
    pub fn log_in(&self, name: &str) {
        self.state().login = Some(name.to_owned());
    }

    /// Adds a user that only the name service knows.
    pub fn remote_user(&self, name: &str, user: User) {
        self.state().remote.insert(name.to_owned(), user);
    }

    /// Adds a group that only the name service knows.
    pub fn remote_group(&self, name: &str, group: Group) {
        self.state().remote_groups.insert(name.to_owned(), group);
    }
}

impl Accounts for World {
    fn table(&self) -> io::Result<Arc<AccountTable>> {
        AccountTable::read(&self.files).map(Arc::new)
    }

    fn remote_user(&self, name: &str) -> io::Result<Option<User>> {
        Ok(self.state().remote.get(name).cloned())
    }

    fn remote_group(&self, name: &str) -> io::Result<Option<Group>> {
        Ok(self.state().remote_groups.get(name).cloned())
    }

    fn change(&self, change: &AccountChange) -> Result<(), AccountError> {
        self.state().log.push(change.what());
        let done = AccountTable::read(&self.files).and_then(|table| self.carry_out(change, &table));
        done.map_err(|source| AccountError::Files { what: change.what(), source })
    }

    fn mend(&self) -> Result<(), AccountError> {
        let mended = Torn::read(&self.files).and_then(|torn| self.make_agree(&torn));
        mended
            .map_err(|source| AccountError::Files { what: "make the account files agree".to_owned(), source })
    }

    fn login(&self) -> Option<String> {
        self.state().login.clone()
    }
}

impl World {
    fn carry_out(&self, change: &AccountChange, table: &AccountTable) -> io::Result<()> {
        let there = |there: bool| if there { Ok(()) } else { Err(io::Error::from(io::ErrorKind::NotFound)) };
        match change {
            AccountChange::AddGroup { name, group } => self.add_group(table, name, group),
            AccountChange::ChangeGroup { name, group } => {
                there(table.groups.contains_key(name))?;
                self.change_group(name, group)
            }
            AccountChange::RemoveGroup { name } => self.edit("group", |key, _| (key != name).then_some(())),
            AccountChange::AddUser { name, user } => self.add_user_as(table, name, user),
            AccountChange::ChangeUser { name, user } => {
                there(table.users.contains_key(name))?;
                self.change_user(table, name, user)
            }
            AccountChange::RemoveUser { name, home } => {
                there(table.users.contains_key(name))?;
                self.remove_user(table, name, *home)
            }
        }
    }

    fn make_agree(&self, torn: &Torn) -> io::Result<()> {
        let users = AccountTable::read(&self.files)?.users;
        self.edit("shadow", |key, _| users.contains_key(key).then_some(()))?;
        let lock = |name| self.append("shadow", &[name, "!", "20000", "0", "99999", "7", "", "", ""]);
        torn.users.iter().try_for_each(|name| lock(name))
    }

    fn add_group(&self, table: &AccountTable, name: &str, group: &GroupChange) -> io::Result<()> {
        let first = if group.system { 100 } else { 1000 };
        let gid = group
            .gid
            .unwrap_or_else(|| (first..).find(|gid| table.group_name(*gid).is_none()).unwrap_or(first));
        self.append("group", &[name, "x", &gid.to_string(), ""])?;
        self.change_group(name, group)
    }

    fn change_group(&self, name: &str, group: &GroupChange) -> io::Result<()> {
        self.edit("group", |key, fields| {
            if key == name {
                replace(fields, 2, group.gid.map(|gid| gid.to_string()));
                replace(fields, 3, group.members.as_ref().map(|members| members.join(",")));
            }
            Some(())
        })
    }

    fn add_user_as(&self, table: &AccountTable, name: &str, user: &UserChange) -> io::Result<()> {
        let first = if user.system { 100 } else { 1000 };
        let free = || (first..).find(|uid| table.user_name(*uid).is_none()).unwrap_or(first);
        let uid = user.uid.unwrap_or_else(free);
        if user.group.is_none() {
            let gid = (table.group_name(uid).is_none()).then_some(uid);
            self.add_group(table, name, &GroupChange { gid, system: user.system, members: None })?;
        }
        let number = uid.to_string();
        self.append("passwd", &[name, "x", &number, &number, "", "", ""])?;
        self.append("shadow", &[name, "!", "20000", "0", "99999", "7", "", "", ""])?;
        let group = user.group.clone().or_else(|| Some(name.to_owned()));
        let table = AccountTable::read(&self.files)?;
        self.change_user(&table, name, &UserChange { group, ..user.clone() })
    }

    fn change_user(&self, table: &AccountTable, name: &str, user: &UserChange) -> io::Result<()> {
        let gid = user.group.as_ref().and_then(|group| {
            table.groups.get(group).map(|group| group.gid.to_string()).or_else(|| Some(group.clone()))
        });
        if let (true, Some(new), Some(old)) = (user.move_home, &user.home, table.users.get(name)) {
            std::fs::rename(self.files().outside(Path::new(&old.home)), self.files().outside(new))?;
        }
        self.edit("passwd", |key, fields| {
            if key == name {
                replace(fields, 2, user.uid.map(|uid| uid.to_string()));
                replace(fields, 3, gid.clone());
                replace(fields, 4, user.comment.clone());
                replace(fields, 5, user.home.as_ref().map(|home| home.to_string_lossy().into_owned()));
                replace(fields, 6, user.shell.clone());
            }
            Some(())
        })?;
        self.edit("shadow", |key, fields| {
            if key == name {
                let password = user.password.as_ref().map(|field| String::from_utf8_lossy(field.expose()));
                replace(fields, 1, password.map(std::borrow::Cow::into_owned));
                replace(fields, 7, user.expires.map(expiry));
            }
            Some(())
        })?;
        match &user.groups {
            Some(groups) => self.set_groups(name, groups),
            None => Ok(()),
        }
    }

    fn set_groups(&self, user: &str, groups: &[String]) -> io::Result<()> {
        self.edit("group", |key, fields| {
            let mut members: Vec<_> = fields[3].split(',').filter(|name| !name.is_empty()).collect();
            let (is, should) = (members.contains(&user), groups.iter().any(|group| group == key));
            if is && !should {
                members.retain(|member| *member != user);
            } else if should && !is {
                members.push(user);
            }
            let members = members.join(",");
            replace(fields, 3, Some(members));
            Some(())
        })
    }

    fn remove_user(&self, table: &AccountTable, name: &str, home: bool) -> io::Result<()> {
        self.set_groups(name, &[])?;
        for file in ["passwd", "shadow"] {
            self.edit(file, |key, _| (key != name).then_some(()))?;
        }
        if table.own_group_goes(name) {
            self.edit("group", |key, _| (key != name).then_some(()))?;
        }
        match table.users.get(name).filter(|_| home) {
            Some(user) => match std::fs::remove_dir_all(self.files().outside(Path::new(&user.home))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }

    fn append(&self, file: &str, fields: &[&str]) -> io::Result<()> {
        let path = self.files().outside(&Path::new("/etc").join(file));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::write(path, text + &fields.join(":") + "\n")
    }

    /// Gives each line's name and fields to `edit`. If it returns None, the line is removed.
    fn edit(&self, file: &str, mut edit: impl FnMut(&str, &mut Vec<String>) -> Option<()>) -> io::Result<()> {
        let path = self.files().outside(&Path::new("/etc").join(file));
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let mut text = String::new();
        for line in before.lines() {
            let mut fields: Vec<_> = line.split(':').map(str::to_owned).collect();
            let name = fields[0].clone();
            if edit(&name, &mut fields).is_some() {
                text += &(fields.join(":") + "\n");
            }
        }
        std::fs::write(path, text)
    }
}

fn replace(fields: &mut [String], at: usize, value: Option<String>) {
    if let (Some(field), Some(value)) = (fields.get_mut(at), value) {
        *field = value;
    }
}

fn expiry(expiry: Expiry) -> String {
    match expiry {
        Expiry::Never => String::new(),
        Expiry::Day(day) => day.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(world: &World, change: AccountChange) {
        world.change(&change).unwrap();
    }

    #[test]
    fn what_is_restored_leaves_the_files_as_they_were() {
        let root = tempfile::tempdir().unwrap();
        let world = World::new(root.path()).unwrap();
        let name = || "ada".to_owned();
        let read = || {
            ["passwd", "group", "shadow"]
                .map(|file| std::fs::read_to_string(root.path().join("etc").join(file)).unwrap())
        };
        let user = UserChange {
            comment: Some("Ada".into()),
            home: Some("/home/ada".into()),
            ..UserChange::default()
        };
        change(&world, AccountChange::AddUser { name: name(), user });
        change(&world, AccountChange::AddGroup { name: "ops".into(), group: GroupChange::default() });
        let before = read();
        let moved = UserChange {
            groups: Some(vec!["ops".into()]),
            password: Some(converge_model::Secret::new("$y$hash")),
            expires: Some(Expiry::Day(20_000)),
            ..UserChange::default()
        };
        let step = AccountChange::ChangeUser { name: name(), user: moved };
        let back = step.inverse(&world.table().unwrap());
        change(&world, step);
        let table = world.table().unwrap();
        assert_eq!(table.groups_of("ada"), ["ops"]);
        let shadow = table.users["ada"].shadow.clone().unwrap();
        assert!(shadow.expires == Expiry::Day(20_000) && !shadow.is_locked());
        back.into_iter().for_each(|step| change(&world, step));
        assert_eq!(read(), before);
    }
}

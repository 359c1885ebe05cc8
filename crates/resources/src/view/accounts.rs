//! Users and groups as a kind sees them. They come from the host's files with the effects of earlier steps. For a
//! name that the files do not have, the name service is asked.

use std::path::PathBuf;

use super::View;
use super::base::{Base, Memory};
use super::seen::{LookError, Seen};
use crate::overlay::{PlannedGroup, PlannedUser};
use crate::system::accounts::{AccountTable, Group, User};

impl Base<'_> {
    /// Returns a user of the host, from any source.
    pub(super) fn user(&self, name: &str) -> Result<Option<User>, LookError> {
        match self.accounts()?.users.get(name) {
            Some(user) => Ok(Some(user.clone())),
            None => remembered(&self.remote_users, name, || self.system.accounts().remote_user(name)),
        }
    }

    /// Returns a group of the host, from any source.
    pub(super) fn group(&self, name: &str) -> Result<Option<Group>, LookError> {
        match self.accounts()?.groups.get(name) {
            Some(group) => Ok(Some(group.clone())),
            None => remembered(&self.remote_groups, name, || self.system.accounts().remote_group(name)),
        }
    }
}

fn remembered<T: Clone>(
    memory: &Memory<String, Result<Option<T>, String>>,
    name: &str,
    ask: impl FnOnce() -> std::io::Result<Option<T>>,
) -> Result<Option<T>, LookError> {
    let found = memory.get(name, || ask().map_err(|error| error.to_string()));
    found.map_err(|why| LookError::Other(format!("failed to look up {name}: {why}")))
}

impl View<'_> {
    /// Returns the home of the user `name`, who may be planned.
    pub fn home(&self, name: &str) -> Result<Seen<PathBuf>, LookError> {
        if let Some(Some(planned)) = self.overlay.and_then(|overlay| overlay.users.get(name)) {
            let home = planned.home.as_ref().filter(|home| home.starts_with('/'));
            return Ok(home.map_or_else(|| Seen::Unknown(Vec::new()), |home| Seen::Known(home.into())));
        }
        Ok(match self.user(name)? {
            Seen::Known(user) => Seen::Known(user.home.into()),
            Seen::Absent => Seen::Absent,
            Seen::MayCome(steps) => Seen::MayCome(steps),
            Seen::Unknown(steps) => Seen::Unknown(steps),
        })
    }

    /// Returns the user `name` from the host's own files, property by property, after earlier steps. The name service
    /// is not asked, because its users cannot be changed here.
    pub fn account(&self, name: &str) -> Result<Seen<PlannedUser>, LookError> {
        if let Some(planned) = self.overlay.and_then(|overlay| overlay.users.get(name)) {
            return Ok(planned.clone().map_or_else(|| self.absent(), Seen::Known));
        }
        let table = self.accounts()?;
        let Some(user) = table.users.get(name) else { return Ok(self.absent()) };
        let mut account = PlannedUser::of(table, user);
        account.groups = Some(self.groups_of(table, name));
        Ok(Seen::Known(account))
    }

    /// Returns the group `name` from the host's own files, after earlier steps.
    pub fn local_group(&self, name: &str) -> Result<Seen<PlannedGroup>, LookError> {
        if let Some(planned) = self.overlay.and_then(|overlay| overlay.groups.get(name)) {
            let group = planned.clone();
            let group = group.map(|group| self.with_planned_members(name, group));
            return Ok(group.map_or_else(|| self.absent(), Seen::Known));
        }
        let Some(group) = self.accounts()?.groups.get(name) else { return Ok(self.absent()) };
        let group = PlannedGroup { gid: Some(group.gid), members: Some(group.members.clone()) };
        Ok(Seen::Known(self.with_planned_members(name, group)))
    }

    /// Returns a user whose primary group will be `name`. None if there is none.
    pub fn primary_of(&self, name: &str) -> Result<Option<String>, LookError> {
        let table = self.accounts()?;
        let gid = table.groups.get(name).map(|group| group.gid);
        let planned = |user: &str| self.overlay.and_then(|overlay| overlay.users.get(user));
        let found =
            table.users.iter().find(|(user, account)| Some(account.gid) == gid && planned(user).is_none());
        let mut new = self.overlay.into_iter().flat_map(|overlay| &overlay.users);
        let mut new =
            || new.find(|(_, user)| user.as_ref().is_some_and(|user| user.group.as_deref() == Some(name)));
        Ok(found.map(|(user, _)| user).or_else(|| new().map(|(user, _)| user)).cloned())
    }

    /// Whether only the name service knows the user `name`.
    pub fn is_remote_user(&self, name: &str) -> Result<bool, LookError> {
        Ok(!self.accounts()?.users.contains_key(name) && self.base.user(name)?.is_some())
    }

    /// Whether only the name service knows the group `name`.
    pub fn is_remote_group(&self, name: &str) -> Result<bool, LookError> {
        Ok(!self.accounts()?.groups.contains_key(name) && self.base.group(name)?.is_some())
    }

    /// Returns the user whose login the run uses. None if it is not known.
    pub fn login(&self) -> Option<String> {
        self.base.system.accounts().login()
    }

    /// Returns the groups that will list `user`.
    fn groups_of(&self, table: &AccountTable, user: &str) -> Vec<String> {
        let planned = |name: &String| {
            let group = self.overlay?.groups.get(name)?.as_ref();
            Some(group.is_some_and(|group| group.members.iter().flatten().any(|member| member == user)))
        };
        let mut groups = table.groups_of(user);
        groups.retain(|name| planned(name) != Some(false));
        let new = self.overlay.into_iter().flat_map(|overlay| overlay.groups.keys());
        let new: Vec<_> =
            new.filter(|name| planned(name) == Some(true) && !groups.contains(name)).cloned().collect();
        groups.extend(new);
        groups.sort();
        groups
    }

    /// Returns the group with the members that planned users add, and without those that they remove.
    fn with_planned_members(&self, name: &str, mut group: PlannedGroup) -> PlannedGroup {
        let Some(overlay) = self.overlay else { return group };
        let Some(members) = &mut group.members else { return group };
        for (user, planned) in &overlay.users {
            let groups = planned.as_ref().map_or(Some(&[][..]), |user| user.groups.as_deref());
            let Some(groups) = groups else { continue };
            let (is, will) = (members.contains(user), groups.iter().any(|group| group == name));
            if is && !will {
                members.retain(|member| member != user);
            } else if will && !is {
                members.push(user.clone());
            }
        }
        group
    }
}

impl PlannedUser {
    /// Returns the user from the host's files, without its other groups.
    fn of(table: &AccountTable, user: &User) -> Self {
        Self {
            uid: Some(user.uid),
            group: Some(table.group_name(user.gid).map_or_else(|| user.gid.to_string(), str::to_owned)),
            home: Some(user.home.clone()),
            groups: None,
            comment: Some(user.comment.clone()),
            shell: Some(user.shell.clone()),
            shadow: user.shadow.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::{Effect, Overlay};
    use crate::system::fake::World;

    #[test]
    fn memberships_are_seen_from_both_sides() {
        let root = tempfile::tempdir().unwrap();
        let world = World::new(root.path()).unwrap();
        world.write("/etc/passwd".as_ref(), "ada:x:7:7::/home/ada:/bin/sh\n");
        world.write("/etc/group".as_ref(), "ada:x:7:\nops:x:8:ada\ndba:x:9:\n");
        let base = Base::new(&world);
        let mut overlay = Overlay::default();
        let user = PlannedUser { groups: Some(vec!["dba".into()]), ..PlannedUser::default() };
        let group = PlannedGroup { gid: None, members: Some(vec!["ada".into()]) };
        let check = |effects: Vec<Effect>, name: &str, members: &[&str]| {
            let mut overlay = Overlay::default();
            overlay.add(0, effects);
            let found = View::under(&base, &overlay).local_group(name).unwrap().known().unwrap();
            assert_eq!(found.members.unwrap(), members, "{name}");
        };
        check(vec![Effect::User("ada".into(), Some(user.clone()))], "ops", &[]);
        check(vec![Effect::User("ada".into(), Some(user))], "dba", &["ada"]);
        check(vec![Effect::User("ada".into(), None)], "ops", &[]);
        overlay.add(0, [Effect::Group("new".into(), Some(group)), Effect::Group("ops".into(), None)]);
        let ada = View::under(&base, &overlay).account("ada").unwrap().known().unwrap();
        assert_eq!(ada.groups.unwrap(), ["new"]);
    }

    #[test]
    fn homes_are_known_of_planned_users_and_of_those_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        let world = World::new(root.path()).unwrap();
        world.remote_user("eve", User { home: "/net/eve".into(), ..User::default() });
        let base = Base::new(&world);
        let mut overlay = Overlay::default();
        let user = PlannedUser { home: Some("/srv/ada".into()), ..PlannedUser::default() };
        overlay.add(0, [Effect::User("ada".into(), Some(user))]);
        let view = View::under(&base, &overlay);
        let check = |name: &str, home: Seen<PathBuf>| assert_eq!(view.home(name).unwrap(), home, "{name}");
        check("ada", Seen::Known("/srv/ada".into()));
        check("root", Seen::Known("/root".into()));
        check("eve", Seen::Known("/net/eve".into()));
        check("bob", Seen::Absent);
        assert!(view.is_remote_user("eve").unwrap() && !view.is_remote_user("root").unwrap());
    }
}

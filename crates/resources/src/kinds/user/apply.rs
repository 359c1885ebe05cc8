//! The apply of a `user`.

use super::Wish;
use super::observe::Found;
use super::plan::asked;
use crate::actor::{Actor, ApplyError};
use crate::system::accounts::{AccountChange, UserChange};
use crate::view::Seen;

/// Applies the wish to the account, then makes its home.
pub(super) fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
    let name = wish.name.clone();
    if wish.absent {
        return actor.change_accounts(&AccountChange::RemoveUser {
            name,
            home: wish.remove_home && found.home_there,
        });
    }
    let user = asked(wish, found);
    match &found.account {
        Seen::Known(_) if user == UserChange::default() => {}
        Seen::Known(_) => actor.change_accounts(&AccountChange::ChangeUser { name, user })?,
        _ => actor.change_accounts(&AccountChange::AddUser { name, user })?,
    }
    match &found.new_home {
        Some(skeleton) => skeleton.make(actor, &found.home, &wish.name, &primary_group(actor, &wish.name)?),
        None => Ok(()),
    }
}

/// The number of the home's group. Two groups with one number would have one name.
fn primary_group(actor: &Actor<'_>, user: &str) -> Result<String, ApplyError> {
    let table = actor.system.accounts().table().map_err(|error| ApplyError::new(error.to_string()))?;
    let account = table.users.get(user).ok_or_else(|| ApplyError::new(format!("there is no user {user}")))?;
    Ok(account.gid.to_string())
}

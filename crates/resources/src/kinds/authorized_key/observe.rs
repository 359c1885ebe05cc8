//! The paths of a user's keys, and their content.

use std::path::{Path, PathBuf};

use super::{Goal, Wish};
use crate::system::files::Sort;
use crate::view::{LookError, Need, Place, Seen, View};

/// The state of the host.
pub struct Found {
    /// The user.
    pub(super) user: Need,
    /// The paths. None while the home is unknown.
    pub(super) places: Option<Places>,
    /// The name of the user's primary group.
    pub(super) group: String,
    pub(super) own: (String, String),
    pub(super) login: Option<String>,
}

/// The key file and its folder.
pub(super) struct Places {
    /// The folder `~/.ssh`, if the kind manages it.
    pub(super) folder: Option<(PathBuf, Seen<Place>)>,
    pub(super) path: PathBuf,
    pub(super) file: Seen<Place>,
    pub(super) text: Seen<Vec<u8>>,
    /// Whether the file belongs to the user because it is in the home.
    pub(super) theirs: bool,
    /// The folder that must exist: the home, or the parent of the file.
    pub(super) parent: Need,
}

/// Finds the home of the user and reads the files. An earlier step may create the user.
pub(super) fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
    let home = view.home(&wish.user)?;
    let home = home.known().filter(|home| home.is_absolute());
    let places = match (&wish.path, &home) {
        (None, None) => None,
        (path, home) => Some(places(view, wish, path.as_deref(), home.as_deref())?),
    };
    Ok(Found {
        user: view.need_user(&wish.user)?,
        places,
        group: primary_group(view, &wish.user)?,
        own: view.own_names()?,
        login: view.login(),
    })
}

fn places(
    view: &View<'_>,
    wish: &Wish,
    path: Option<&Path>,
    home: Option<&Path>,
) -> Result<Places, LookError> {
    let ssh = home.map(|home| home.join(".ssh"));
    let path = match (path, &ssh) {
        (Some(path), _) => path.to_owned(),
        (None, Some(ssh)) => ssh.join("authorized_keys"),
        (None, None) => super::usual_path(&wish.user),
    };
    let parent = path.parent().unwrap_or(Path::new("/"));
    let looked_after = ssh.as_deref() == Some(parent);
    let needed = if looked_after { home.unwrap_or(parent) } else { parent };
    let file = view.place(&path)?;
    let is_file = matches!(&file, Seen::Known(place) if place.sort == Sort::File);
    Ok(Places {
        folder: if looked_after { Some((parent.to_owned(), view.place(parent)?)) } else { None },
        text: if is_file { view.text(&path)? } else { Seen::Absent },
        theirs: home.is_some_and(|home| path.starts_with(home)),
        parent: if wish.goal == Goal::Absent { Need::Met } else { view.need_folder(needed)? },
        file,
        path,
    })
}

fn primary_group(view: &View<'_>, user: &str) -> Result<String, LookError> {
    if let Seen::Known(account) = view.account(user)?
        && let Some(group) = account.group
    {
        return Ok(group);
    }
    match view.user(user)? {
        Seen::Known(account) => view.group_name(&account.gid.to_string()),
        _ => Ok(user.to_owned()),
    }
}

//! A folder that a kind makes if it is missing, because the system expects it there. Examples: the folder of a unit's
//! drop-ins, `/etc/sysctl.d`, a mount point. It is never changed afterwards and never removed.

use std::path::{Path, PathBuf};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::overlay::Effect;
use crate::system::files::Sort;
use crate::view::{Body, LookError, Need, Place, Seen, View};

/// The folder as it was found.
pub struct NewFolder {
    path: PathBuf,
    /// Owner and group of the folder once it is made. None if it exists.
    own: Option<(String, String)>,
    /// The need for the parent folder, or for the folder itself if something is in its place.
    pub need: Need,
}

/// Looks for the folder at `path`.
pub fn observe(view: &View<'_>, path: &Path) -> Result<NewFolder, LookError> {
    let missing = matches!(view.followed(path)?, Seen::Absent | Seen::MayCome(_));
    let need = if missing {
        view.need_folder(path.parent().unwrap_or(Path::new("/")))?
    } else {
        view.need_folder(path)?
    };
    let own = if missing { Some(view.own_names()?) } else { None };
    Ok(NewFolder { path: path.to_owned(), own, need })
}

impl NewFolder {
    /// Whether the folder will be made.
    pub fn is_new(&self) -> bool {
        self.own.is_some()
    }

    /// Returns what later steps see of it.
    pub fn effect(&self) -> Option<Effect> {
        let (owner, group) = self.own.clone()?;
        let (target, body) = (None, Body::OnDisk);
        let place = Place { sort: Sort::Folder, mode: 0o755, owner, group, size: 0, target, body };
        Some(Effect::Path(self.path.clone(), Some(place)))
    }

    /// Makes the folder, if it is missing.
    pub fn make(&self, actor: &mut Actor<'_>) -> Result<(), ApplyError> {
        if self.is_new() { actor.make_folder(&self.path, &Attributes::default()) } else { Ok(()) }
    }
}

/// Returns the nearest folder above `path` that exists or may come, and the missing folders between, which no step
/// brings.
pub fn above(view: &View<'_>, path: &Path) -> Result<(Need, Vec<PathBuf>), LookError> {
    let mut missing = Vec::new();
    for folder in path.ancestors().skip(1) {
        if !matches!(view.followed(folder)?, Seen::Absent) {
            missing.reverse();
            return Ok((view.need_folder(folder)?, missing));
        }
        missing.push(folder.to_owned());
    }
    Ok((Need::Met, Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::Trial;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_is_made_where_it_is_missing_and_left_alone_where_it_is() {
        let trial = Trial::new();
        let path = Path::new("/etc/app.d");
        let found = || trial.view(|view| observe(view, path).unwrap());
        let make = |folder: &NewFolder| {
            let mut undo = trial.undo();
            trial.act(&mut undo, |actor| folder.make(actor)).map(|()| undo)
        };
        let new = found();
        assert!(new.is_new() && new.need == Need::Met);
        let promised = trial.view_after(new.effect().into_iter().collect(), |view| view.place(path).unwrap());
        let undo = make(&new).unwrap();
        let there = trial.view(|view| view.place(path).unwrap());
        let shape = |place: Seen<Place>| place.known().map(|at| (at.sort, at.mode, at.owner, at.group));
        assert_eq!(shape(promised), shape(there));

        fs::set_permissions(trial.at("/etc/app.d"), fs::Permissions::from_mode(0o700)).unwrap();
        let old = found();
        assert!(!old.is_new() && old.effect().is_none() && old.need == Need::Met);
        make(&old).unwrap();
        assert_eq!(fs::metadata(trial.at("/etc/app.d")).unwrap().permissions().mode() & 0o777, 0o700);
        trial.restore(undo);
        assert!(!trial.at("/etc/app.d").exists());

        trial.write("/etc/app.d", "a file");
        assert!(matches!(found().need, Need::Absent { what, .. } if what == "the folder /etc/app.d"));
        let below = trial.view(|view| observe(view, Path::new("/none/app.d")).unwrap());
        assert!(matches!(below.need, Need::Absent { what, .. } if what == "the folder /none"));
    }

    #[test]
    fn the_folders_that_are_missing_above_a_path_are_named_the_outermost_first() {
        let trial = Trial::new();
        let path = Path::new("/etc/one/two/file");
        let (need, missing) = trial.view(|view| above(view, path).unwrap());
        assert_eq!((need, missing), (Need::Met, vec!["/etc/one".into(), "/etc/one/two".into()]));
        let (need, missing) = trial.view_after(vec![Effect::Open], |view| above(view, path).unwrap());
        assert!(matches!(need, Need::MayCome { .. }) && missing.is_empty(), "an earlier step may bring them");
    }
}

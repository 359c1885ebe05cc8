//! A folder that a kind makes where it is missing, because the system expects it there: the folder of a unit's drop-ins,
//! `/etc/sysctl.d`, a mount point. It is never changed afterwards, and never removed.

use std::path::{Path, PathBuf};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::overlay::Effect;
use crate::system::files::Sort;
use crate::view::{Body, LookError, Need, Place, Seen, View};

/// What was found of the folder.
pub struct NewFolder {
    path: PathBuf,
    /// Who owns it once it is made; none where it is there.
    own: Option<(String, String)>,
    /// The need for the folder that holds it, or for itself where something is in its way.
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
    /// Whether it is made.
    pub fn is_new(&self) -> bool {
        self.own.is_some()
    }

    /// What later steps will see of it.
    pub fn effect(&self) -> Option<Effect> {
        let (owner, group) = self.own.clone()?;
        let (target, body) = (None, Body::OnDisk);
        let place = Place { sort: Sort::Folder, mode: 0o755, owner, group, size: 0, target, body };
        Some(Effect::Path(self.path.clone(), Some(place)))
    }

    /// Makes it, where it is missing.
    pub fn make(&self, actor: &mut Actor<'_>) -> Result<(), ApplyError> {
        if self.is_new() { actor.make_folder(&self.path, &Attributes::default()) } else { Ok(()) }
    }
}

/// The nearest folder above `path` that is there or may come, and those between that nobody brings.
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

//! The mount point: a folder, or a file for the bind of a file. It is created if it is missing.

use std::path::{Path, PathBuf};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::kit::parent_folder::{self, NewFolder};
use crate::overlay::{Bytes, Effect};
use crate::system::files::Sort;
use crate::view::{Body, LookError, Need, Place, Seen, View};

/// A mount point.
pub(super) struct Point {
    made: Made,
    /// The need for its parent folder, or for the mount point itself if another entry is in the way.
    pub(super) need: Need,
}

/// The entry that is created if it is missing.
enum Made {
    Folder(NewFolder),
    /// A file with its owner and group.
    File(PathBuf, (String, String)),
    Nothing,
}

/// Looks for the mount point at `path`. It must be a file if `file` is set.
pub(super) fn observe(view: &View<'_>, path: &Path, file: bool) -> Result<Point, LookError> {
    if !file {
        let folder = parent_folder::observe(view, path)?;
        let need = folder.need.clone();
        return Ok(Point { made: Made::Folder(folder), need });
    }
    Ok(match view.followed(&view.resolved(path)?)? {
        Seen::Known((_, place)) if place.sort == Sort::Folder => {
            let what = format!("a file at {}", path.display());
            let help = Some("the source is a file, but the mount point is a folder".to_owned());
            Point { made: Made::Nothing, need: Need::Absent { what, help } }
        }
        Seen::Known(_) => Point { made: Made::Nothing, need: Need::Met },
        Seen::Absent | Seen::MayCome(_) | Seen::Unknown(_) => {
            let need = view.need_folder(path.parent().unwrap_or(Path::new("/")))?;
            Point { made: Made::File(path.to_owned(), view.own_names()?), need }
        }
    })
}

impl Point {
    /// Whether the mount point will be created.
    pub(super) fn is_new(&self) -> bool {
        match &self.made {
            Made::Folder(folder) => folder.is_new(),
            Made::File(..) => true,
            Made::Nothing => false,
        }
    }

    /// Its effect for later steps.
    pub(super) fn effect(&self) -> Option<Effect> {
        match &self.made {
            Made::Folder(folder) => folder.effect(),
            Made::File(path, (owner, group)) => {
                let (owner, group, body) =
                    (owner.clone(), group.clone(), Body::Text(Bytes::from(Vec::new())));
                let place =
                    Place { sort: Sort::File, mode: 0o644, owner, group, size: 0, target: None, body };
                Some(Effect::Path(path.clone(), Some(place)))
            }
            Made::Nothing => None,
        }
    }

    /// Creates it if it is missing.
    pub(super) fn make(&self, actor: &mut Actor<'_>) -> Result<(), ApplyError> {
        match &self.made {
            Made::Folder(folder) => folder.make(actor),
            Made::File(path, _) => actor.write_text(path, b"", &Attributes::default(), |_, _| Ok(())),
            Made::Nothing => Ok(()),
        }
    }
}

//! Reads the path of a `directory`, and its content if asked.

use std::path::{Path, PathBuf};

use super::Wish;
use crate::actor::Attributes;
use crate::kit::attributes::{self, Asked};
use crate::kit::parent_folder::above;
use crate::kit::replace_file;
use crate::system::files::Sort;
use crate::view::{Claimed, LookError, Need, Place, Seen, View};

/// The state of the host.
pub struct Found {
    /// The folder. If the path is a link to a folder: its target.
    pub(super) place: Seen<Place>,
    /// The real path of the folder.
    pub(super) path: PathBuf,
    /// The desired mode and owner.
    pub(super) asked: Asked,
    /// The nearest folder above that exists or may be created.
    pub(super) folder: Need,
    /// The folders between that one and the path, outermost first. They are created on the way.
    pub(super) missing: Vec<PathBuf>,
    /// The content that is not in sync.
    pub(super) below: Vec<Item>,
    /// The amount that is removed.
    pub(super) going: Amount,
}

/// An entry of the content that is not in sync.
pub(super) struct Item {
    pub(super) path: PathBuf,
    pub(super) place: Place,
    pub(super) fate: Fate,
}

/// The change to an entry.
pub(super) enum Fate {
    /// It is removed with its content.
    Goes,
    /// It gets this mode and owner.
    Gets(Asked),
}

/// An amount of entries to remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// Whether there is a device, a socket or a FIFO. These cannot be restored.
    pub(super) special: bool,
    /// The path of a mount among the entries.
    pub(super) mount: Option<PathBuf>,
}

/// The most entries and bytes of a removal that are kept until the run ends.
const KEPT_ENTRIES: u64 = 10_000;
const KEPT_BYTES: u64 = 64 * 1024 * 1024;

/// The deepest nesting of folders.
const DEPTH: usize = 256;

impl Amount {
    /// Whether the removed entries are kept until the run ends.
    pub(super) fn is_kept(&self) -> bool {
        self.entries <= KEPT_ENTRIES && self.bytes <= KEPT_BYTES && !self.special
    }

    fn add(&mut self, place: &Place) {
        self.entries += 1;
        match place.sort {
            Sort::File => self.bytes = self.bytes.saturating_add(place.size),
            Sort::Special => self.special = true,
            Sort::Folder | Sort::Link => {}
        }
    }
}

/// Reads the folder, and its content if asked.
pub(super) fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
    let (path, place) = at(view, wish)?;
    let (folder, missing) = match wish.absent {
        true => (Need::Met, Vec::new()),
        false => above(view, &wish.path)?,
    };
    if wish.below.purge && (path != wish.path || view.claimed(&wish.path) != Claimed::Itself) {
        // Claims are paths as written. Behind a link, or without claims, the owner of an entry is unknown.
        let why =
            format!("{} cannot be purged: it is a link, or its claims are unknown", wish.path.display());
        return Err(LookError::Other(why));
    }
    let asked = attributes::observe(view, &wish.attributes)?;
    let mut found =
        Found { place, path, asked, folder, missing, below: Vec::new(), going: Amount::default() };
    if matches!(&found.place, Seen::Known(place) if place.sort == Sort::Folder) {
        let path = found.path.clone();
        if wish.absent {
            measure(view, &path, 0, &mut found.going)?;
        } else if wish.below.is_asked() {
            let recursed = Recursed::of(view, wish)?;
            go_through(view, wish, &recursed, &path, 0, &mut found)?;
        }
    }
    Ok(found)
}

/// A link to a folder counts as a folder: `/var/run`, `/lib`.
fn at(view: &View<'_>, wish: &Wish) -> Result<(PathBuf, Seen<Place>), LookError> {
    match view.place(&wish.path)? {
        Seen::Known(place) if place.sort == Sort::Link && !wish.absent => match view.followed(&wish.path)? {
            Seen::Known((path, target)) if target.sort == Sort::Folder => Ok((path, Seen::Known(target))),
            _ => Ok((wish.path.clone(), Seen::Known(place))),
        },
        other => Ok((wish.path.clone(), other)),
    }
}

/// The desired attributes of the content.
struct Recursed {
    files: Attributes,
    folders: Attributes,
}

impl Recursed {
    fn of(view: &View<'_>, wish: &Wish) -> Result<Self, LookError> {
        let owned = if wish.below.recurse { wish.attributes.clone() } else { Attributes::default() };
        let asked = attributes::observe(view, &owned)?.attributes;
        Ok(Self {
            files: Attributes { mode: wish.below.file_mode, ..asked.clone() },
            folders: Attributes { mode: wish.below.dir_mode, ..asked },
        })
    }

    fn asked(&self, sort: Sort) -> Asked {
        let attributes = match sort {
            Sort::Folder => self.folders.clone(),
            Sort::File => self.files.clone(),
            // A link has no mode of its own. The file mode is not for special files.
            Sort::Link | Sort::Special => Attributes { mode: None, ..self.files.clone() },
        };
        Asked { attributes, needs: Vec::new(), own: (String::new(), String::new()) }
    }
}

fn go_through(
    view: &View<'_>,
    wish: &Wish,
    recursed: &Recursed,
    folder: &Path,
    depth: usize,
    found: &mut Found,
) -> Result<(), LookError> {
    for (path, place) in children(view, folder, depth)? {
        let claimed = view.claimed(&path);
        if claimed == Claimed::Itself || replace_file::is_backup(view, &path) {
            continue;
        }
        let is_folder = place.sort == Sort::Folder;
        if wish.below.purge && claimed == Claimed::Nothing {
            found.going.add(&place);
            if is_folder {
                measure(view, &path, depth + 1, &mut found.going)?;
            }
            found.below.push(Item { path, place, fate: Fate::Goes });
            continue;
        }
        let enter = is_folder && !view.is_mount(&path)?;
        let asked = recursed.asked(place.sort);
        if !asked.changes(&place).is_empty() && (enter || !is_folder) {
            found.below.push(Item { path: path.clone(), place, fate: Fate::Gets(asked) });
        }
        if enter {
            go_through(view, wish, recursed, &path, depth + 1, found)?;
        }
    }
    Ok(())
}

/// Adds all entries below `folder`, and notes a mount among them.
fn measure(view: &View<'_>, folder: &Path, depth: usize, amount: &mut Amount) -> Result<(), LookError> {
    if view.is_mount(folder)? {
        amount.mount.get_or_insert(folder.to_owned());
        return Ok(());
    }
    for (path, place) in children(view, folder, depth)? {
        amount.add(&place);
        if place.sort == Sort::Folder {
            measure(view, &path, depth + 1, amount)?;
        }
    }
    Ok(())
}

/// The entries of `folder`, by name. Skips an entry that disappears meanwhile.
fn children(view: &View<'_>, folder: &Path, depth: usize) -> Result<Vec<(PathBuf, Place)>, LookError> {
    if depth > DEPTH {
        return Err(LookError::Other(format!("the directories below it are nested more than {DEPTH} deep")));
    }
    let mut children = Vec::new();
    for name in view.list(folder)?.known().unwrap_or_default() {
        let path = folder.join(name);
        if let Seen::Known(place) = view.glance(&path)? {
            children.push((path, place));
        }
    }
    Ok(children)
}

//! What is at the path of a `directory`, and below it where that is asked.

use std::path::{Path, PathBuf};

use super::Wish;
use crate::actor::Attributes;
use crate::kit::attributes::{self, Asked};
use crate::kit::parent_folder::above;
use crate::kit::replace_file;
use crate::system::files::Sort;
use crate::view::{Claimed, LookError, Need, Place, Seen, View};

/// What was found.
pub struct Found {
    /// The folder: behind the link, where a link leads to one.
    pub(super) place: Seen<Place>,
    /// Where the folder really is.
    pub(super) path: PathBuf,
    /// Mode and owner as asked.
    pub(super) asked: Asked,
    /// The nearest folder above it that is there or may come.
    pub(super) folder: Need,
    /// The folders between that one and it, which are made on the way, the outermost first.
    pub(super) missing: Vec<PathBuf>,
    /// What is below it and is not as it should be.
    pub(super) below: Vec<Item>,
    /// How much goes.
    pub(super) going: Amount,
}

/// Something below the folder that is not as it should be.
pub(super) struct Item {
    pub(super) path: PathBuf,
    pub(super) place: Place,
    pub(super) fate: Fate,
}

/// What becomes of it.
pub(super) enum Fate {
    /// It goes, with all that is below it.
    Goes,
    /// It gets this mode and owner.
    Gets(Asked),
}

/// How much is removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) entries: u64,
    pub(super) bytes: u64,
    /// Whether there is a device, a socket or a FIFO, which cannot be put back.
    pub(super) special: bool,
    /// Something that is mounted in it.
    pub(super) mount: Option<PathBuf>,
}

/// What is kept of a removal until the run ends, at most.
const KEPT_ENTRIES: u64 = 10_000;
const KEPT_BYTES: u64 = 64 * 1024 * 1024;

/// How deep folders may be nested in one another.
const DEPTH: usize = 256;

impl Amount {
    /// Whether what goes is kept until the run ends.
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

/// Reads the folder, and what is below it where that is asked.
pub(super) fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
    let (path, place) = at(view, wish)?;
    let (folder, missing) = match wish.absent {
        true => (Need::Met, Vec::new()),
        false => above(view, &wish.path)?,
    };
    if wish.below.purge && (path != wish.path || view.claimed(&wish.path) != Claimed::Itself) {
        // Claims are paths as written: behind a link, or without them, nobody can tell what is whose.
        let why =
            format!("{} cannot be purged: it is a link, or the claims are not known", wish.path.display());
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

/// A link to a folder serves as one: `/var/run`, `/lib`.
fn at(view: &View<'_>, wish: &Wish) -> Result<(PathBuf, Seen<Place>), LookError> {
    match view.place(&wish.path)? {
        Seen::Known(place) if place.sort == Sort::Link && !wish.absent => match view.followed(&wish.path)? {
            Seen::Known((path, target)) if target.sort == Sort::Folder => Ok((path, Seen::Known(target))),
            _ => Ok((wish.path.clone(), Seen::Known(place))),
        },
        other => Ok((wish.path.clone(), other)),
    }
}

/// What is asked of what is below.
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
            // A link has no mode of its own, and what is special is not a file's mode to have.
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

/// Adds all that is below `folder`, and notes what is mounted there.
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

/// What is in `folder`, by name; what goes away meanwhile is passed over.
fn children(view: &View<'_>, folder: &Path, depth: usize) -> Result<Vec<(PathBuf, Place)>, LookError> {
    if depth > DEPTH {
        return Err(LookError::Other(format!(
            "more than {DEPTH} directories are nested in one another below it"
        )));
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

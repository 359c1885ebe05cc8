//! What is at the places of a `tree`'s files and links.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{Part, Thing, Wanted, Wish};
use crate::kind::{Kind, Planned};
use crate::kinds::new_folder::{self, NewFolder};
use crate::kinds::{attributes, file, link};
use crate::overlay::Effect;
use crate::system::files::Sort;
use crate::system::receipts::Receipt;
use crate::view::{Claimed, LookError, Need, Seen, View};

/// What was found.
pub struct Found {
    /// What makes the tree impossible, and what to do about it.
    pub(super) obstacle: Option<(String, Option<String>)>,
    /// The folder itself, and the program that checks.
    pub(super) needs: Vec<Need>,
    /// The folders below it that are made, those above others first.
    pub(super) folders: Vec<(PathBuf, NewFolder)>,
    /// The parts of the wish, in its order.
    pub(super) parts: Vec<Looked>,
    /// What the tree brought earlier and does not hold any more.
    pub(super) stale: Vec<(PathBuf, Looked)>,
    /// What the tree brought.
    pub(super) receipt: Option<Receipt>,
}

/// A part with what was found of it.
pub(super) enum Looked {
    File(Box<(file::Wish, <file::File as Kind>::Found)>),
    Link(Box<(link::Wish, link::Found)>),
}

impl Looked {
    pub(super) fn plan(&self) -> Planned {
        match self {
            Self::File(looked) => file::File::plan(&looked.0, &looked.1),
            Self::Link(looked) => link::Link::plan(&looked.0, &looked.1),
        }
    }

    pub(super) fn effects(&self) -> Vec<Effect> {
        match self {
            Self::File(looked) => file::File::effects(&looked.0, &looked.1),
            Self::Link(looked) => link::Link::effects(&looked.0, &looked.1),
        }
    }

    /// Whether nothing is there.
    pub(super) fn is_new(&self) -> bool {
        match self {
            Self::File(looked) => looked.1.is_new(),
            Self::Link(looked) => looked.1.is_new(),
        }
    }
}

/// The key under which it is noted what the tree brought.
pub(super) fn key(wish: &Wish) -> String {
    format!("tree:{}", wish.path.to_string_lossy())
}

/// Reads the place of each part, and of what the tree brought earlier.
pub(super) fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
    let receipt = view.receipt(&key(wish))?;
    let mut found = Found {
        obstacle: in_the_way(view, &wish.path)?,
        needs: vec![view.need_folder(&wish.path)?],
        folders: Vec::new(),
        parts: Vec::new(),
        stale: Vec::new(),
        receipt: None,
    };
    // Below a folder that stands for a host commands are those of the machine itself.
    if let (Some(program), None) = (wish.validate.first(), view.root().parent()) {
        found.needs.push(Need::program(&view.program(program)?, program));
    }
    for name in folders(&wish.parts) {
        found.folder(view, wish, name)?;
    }
    for part in &wish.parts {
        found.parts.push(look(view, part.below(&wish.path, wish.replace))?);
    }
    for name in receipt.iter().flat_map(|receipt| &receipt.paths) {
        found.left(view, wish, name)?;
    }
    Ok(Found { receipt, ..found })
}

/// The folders that hold parts which should be there.
fn folders(parts: &[Part]) -> BTreeSet<&Path> {
    let made = parts.iter().filter(|part| !matches!(part.thing, Thing::Absent));
    let above = made.flat_map(|part| part.name.ancestors().skip(1));
    above.filter(|name| !name.as_os_str().is_empty()).collect()
}

/// A link would lead what is written, in the copy too, to somewhere else.
fn in_the_way(view: &View<'_>, folder: &Path) -> Result<Option<(String, Option<String>)>, LookError> {
    let Seen::Known(place) = view.place(folder)? else { return Ok(None) };
    let target = place.target.as_deref().map(|target| attributes::printable(target.as_os_str()));
    let help =
        target.map(|target| format!("name the directory that it leads to, {target}, in a tree of its own"));
    Ok(match place.sort {
        Sort::Folder => None,
        sort => Some((format!("a {} is in the way at {}", sort.word(), folder.display()), help)),
    })
}

fn look(view: &View<'_>, wanted: Wanted) -> Result<Looked, LookError> {
    Ok(match wanted {
        Wanted::File(wish) => {
            let found = file::File::observe(view, &wish)?.without_folder();
            Looked::File(Box::new((wish, found)))
        }
        Wanted::Link(wish) => {
            let found = link::Link::observe(view, &wish)?.without_folder();
            Looked::Link(Box::new((wish, found)))
        }
    })
}

impl Found {
    fn folder(&mut self, view: &View<'_>, wish: &Wish, name: &Path) -> Result<(), LookError> {
        let path = wish.path.join(name);
        if self.obstacle.is_none() {
            self.obstacle = in_the_way(view, &path)?;
        }
        let folder = new_folder::observe(view, &path)?;
        if folder.is_new() {
            self.folders.push((name.to_owned(), folder));
        }
        Ok(())
    }

    /// What was brought and is still there goes, unless it is somebody else's by now.
    fn left(&mut self, view: &View<'_>, wish: &Wish, name: &Path) -> Result<(), LookError> {
        let path = wish.path.join(name);
        let plain =
            matches!(view.place(&path)?, Seen::Known(place) if matches!(place.sort, Sort::File | Sort::Link));
        if plain && view.claimed(&path) == Claimed::Nothing {
            let part = Part { name: name.to_owned(), thing: Thing::Absent };
            self.stale.push((name.to_owned(), look(view, part.below(&wish.path, false))?));
        }
        Ok(())
    }
}

//! What is at the places of a `tree`'s files and links.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use converge_model::Digest;

use super::{Part, Thing, Wanted, Wish};
use crate::kind::{Kind, Planned};
use crate::kinds::{file, link};
use crate::kit::attributes;
use crate::kit::parent_folder::{self, NewFolder};
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
    /// The files elsewhere that are read, as they are.
    pub(super) reads: Vec<Read>,
    /// What the tree brought, and what it read.
    pub(super) receipt: Option<Receipt>,
}

/// A file elsewhere.
pub(super) struct Read {
    pub(super) path: PathBuf,
    pub(super) digest: Seen<Digest>,
    /// Whether it is as it was when the tree was last applied; none: it was not read before.
    pub(super) same: Option<bool>,
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
        reads: Vec::new(),
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
    for path in &wish.reads {
        found.read(view, path, receipt.as_ref())?;
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
        let folder = parent_folder::observe(view, &path)?;
        if folder.is_new() {
            self.folders.push((name.to_owned(), folder));
        }
        Ok(())
    }

    fn read(&mut self, view: &View<'_>, path: &Path, receipt: Option<&Receipt>) -> Result<(), LookError> {
        let what = format!("the file {}", path.display());
        let digest = match view.followed(path)? {
            Seen::Known((path, place)) if place.sort == Sort::File => view.digest(&path)?,
            Seen::MayCome(steps) | Seen::Unknown(steps) => {
                self.needs.push(Need::MayCome { what, steps: steps.clone() });
                Seen::MayCome(steps)
            }
            _ => {
                let help = Some("it is read with the tree: bring it before, or name another".to_owned());
                self.needs.push(Need::Absent { what, help });
                Seen::Absent
            }
        };
        let before = receipt.and_then(|receipt| read_before(receipt, path));
        let same = before.map(|before| matches!(&digest, Seen::Known(now) if now.to_string() == before));
        self.reads.push(Read { path: path.to_owned(), digest, same });
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

/// The files that are read, as a receipt keeps them: a line each, a digest and a path.
pub(super) fn noted(reads: &[Read]) -> String {
    let line = |read: &Read| match &read.digest {
        Seen::Known(digest) => format!("{digest} {}\n", read.path.display()),
        _ => String::new(),
    };
    reads.iter().map(line).collect()
}

/// The digest of `path` when the tree was last applied.
fn read_before<'r>(receipt: &'r Receipt, path: &Path) -> Option<&'r str> {
    let lines = receipt.text.lines().filter_map(|line| line.split_once(' '));
    lines.filter(|(_, read)| Path::new(read) == path).map(|(digest, _)| digest).next()
}

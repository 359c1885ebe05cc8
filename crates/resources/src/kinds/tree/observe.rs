//! Reads the paths of a `tree`'s files and links.

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

/// The state of the host.
pub struct Found {
    /// The reason why the tree is impossible, and a help text.
    pub(super) obstacle: Option<(String, Option<String>)>,
    /// The folder itself, and the validation program.
    pub(super) needs: Vec<Need>,
    /// The missing folders below it, parents first.
    pub(super) folders: Vec<(PathBuf, NewFolder)>,
    /// The parts in the order of the wish.
    pub(super) parts: Vec<Looked>,
    /// The entries that the tree created earlier and does not declare any more.
    pub(super) stale: Vec<(PathBuf, Looked)>,
    /// The files outside the folder, with their present state.
    pub(super) reads: Vec<Read>,
    /// The receipt: the tree's entries, and the files that it read.
    pub(super) receipt: Option<Receipt>,
}

/// A file outside the folder.
pub(super) struct Read {
    pub(super) path: PathBuf,
    pub(super) digest: Seen<Digest>,
    /// Whether the file is unchanged since the last apply. None: it was not read before.
    pub(super) same: Option<bool>,
}

/// A part with its state on the host.
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

    /// Whether the path does not exist.
    pub(super) fn is_new(&self) -> bool {
        match self {
            Self::File(looked) => looked.1.is_new(),
            Self::Link(looked) => looked.1.is_new(),
        }
    }
}

/// The key of the tree's receipt.
pub(super) fn key(wish: &Wish) -> String {
    format!("tree:{}", wish.path.to_string_lossy())
}

/// Reads the path of each part, and of the entries that the tree created earlier.
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
    // If a folder stands for the host, its commands are those of the machine itself.
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

/// The folders that contain desired parts.
fn folders(parts: &[Part]) -> BTreeSet<&Path> {
    let made = parts.iter().filter(|part| !matches!(part.thing, Thing::Absent));
    let above = made.flat_map(|part| part.name.ancestors().skip(1));
    above.filter(|name| !name.as_os_str().is_empty()).collect()
}

/// Refuses a link on the way: writes would go through it to another place, even from the copy.
fn in_the_way(view: &View<'_>, folder: &Path) -> Result<Option<(String, Option<String>)>, LookError> {
    let Seen::Known(place) = view.place(folder)? else { return Ok(None) };
    let target = place.target.as_deref().map(|target| attributes::printable(target.as_os_str()));
    let help = target.map(|target| format!("declare a separate `tree` for its target, {target}"));
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
                let help = Some("the tree reads it: create it before, or change `reads`".to_owned());
                self.needs.push(Need::Absent { what, help });
                Seen::Absent
            }
        };
        let before = receipt.and_then(|receipt| read_before(receipt, path));
        let same = before.map(|before| matches!(&digest, Seen::Known(now) if now.to_string() == before));
        self.reads.push(Read { path: path.to_owned(), digest, same });
        Ok(())
    }

    /// Marks an entry of an earlier apply for removal, if it still exists and no other resource claims it.
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

/// The files that are read, in the form of a receipt: one line each, with a digest and a path.
pub(super) fn noted(reads: &[Read]) -> String {
    let line = |read: &Read| match &read.digest {
        Seen::Known(digest) => format!("{digest} {}\n", read.path.display()),
        _ => String::new(),
    };
    reads.iter().map(line).collect()
}

/// The digest of `path` at the last apply.
fn read_before<'r>(receipt: &'r Receipt, path: &Path) -> Option<&'r str> {
    let lines = receipt.text.lines().filter_map(|line| line.split_once(' '));
    lines.filter(|(_, read)| Path::new(read) == path).map(|(digest, _)| digest).next()
}

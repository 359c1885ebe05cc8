//! The apply of a `tree`: validation, then writing.

use std::path::{Path, PathBuf};

use converge_model::Digest;

use super::observe::{Found, Looked, key, noted};
use super::{Thing, Wanted, Wish};
use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Kind, Planned};
use crate::kinds::{file, link};
use crate::system::processes::{Command, Substitute};
use crate::system::receipts::Receipt;

/// Validates the new files in a private copy, then applies all parts.
pub(super) fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
    if !wish.validate.is_empty() {
        rehearse(actor, wish, found)?;
    }
    make(actor, wish, found, &wish.path)?;
    note(actor, wish, found)
}

fn rehearse(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
    if !actor.files().is_folder() && !rustix::process::geteuid().is_root() {
        return Err(ApplyError::new(format!(
            "`validate` needs root to show the new files in place of {}",
            wish.path.display()
        )));
    }
    actor.rehearse(&wish.path, |actor, copy| {
        make(actor, wish, found, copy)?;
        let substitute = Substitute { folder: copy.to_owned(), at: wish.path.clone() };
        let check = Command { substitute: Some(substitute), ..Command::new(&wish.validate) };
        let checked = actor.run(&check);
        checked.map(drop).map_err(|error| ApplyError {
            message: format!("the new files were refused: {}", error.message),
            output: error.output,
        })
    })
}

/// Applies the parts in `folder`: the live folder or a copy of it.
fn make(actor: &mut Actor<'_>, wish: &Wish, found: &Found, folder: &Path) -> Result<(), ApplyError> {
    for (name, _) in &found.folders {
        actor.make_folder(&folder.join(name), &Attributes::default())?;
    }
    let differs = |looked: &Looked| !matches!(looked.plan(), Planned::InSync(_));
    for (part, looked) in wish.parts.iter().zip(&found.parts).filter(|(_, looked)| differs(looked)) {
        match (part.below(folder, wish.replace), looked) {
            (Wanted::File(wish), Looked::File(looked)) => file::File::apply(actor, &wish, &looked.1)?,
            (Wanted::Link(wish), Looked::Link(looked)) => link::Link::apply(actor, &wish, &looked.1)?,
            _ => return Err(ApplyError::at("write", &folder.join(&part.name), &"it has another type")),
        }
    }
    found.stale.iter().try_for_each(|(name, _)| actor.remove(&folder.join(name)))
}

/// Notes the entries that the tree owns, and the files that it read. The tree owns entries that it created, now or
/// earlier, and still declares.
fn note(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
    let earlier = |name: &PathBuf| found.receipt.as_ref().is_some_and(|receipt| receipt.paths.contains(name));
    let parts = wish.parts.iter().zip(&found.parts).filter(|(part, _)| !matches!(part.thing, Thing::Absent));
    let brought = parts.filter(|(part, looked)| looked.is_new() || earlier(&part.name));
    let paths: Vec<_> = brought.map(|(part, _)| part.name.clone()).collect();
    // The next plan compares the tree's own files directly, so no digest of them is noted.
    let none = Digest::of(b"");
    let text = noted(&found.reads);
    actor.set_receipt(&key(wish), Some(&Receipt { source: none, seen: none, paths, text }))
}

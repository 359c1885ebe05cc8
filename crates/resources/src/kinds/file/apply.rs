//! Writing and removing a `file`.

use std::ffi::OsString;
use std::path::Path;

use super::observe::Found;
use super::{State, Wish};
use crate::actor::{Actor, ApplyError};
use crate::system::files::Sort;
use crate::system::processes::Command;
use crate::view::Seen;

/// Makes the file what it should be.
pub(super) fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
    if wish.state == State::Absent {
        return actor.remove(&wish.path);
    }
    let there = matches!(&found.place, Seen::Known(place) if place.sort == Sort::File);
    let same = matches!((&found.digest, found.wanted), (Some(Seen::Known(digest)), Some(wanted)) if *digest == wanted);
    match &wish.content {
        Some(content) if !same => {
            if wish.backup && there {
                back_up(actor, &wish.path)?;
            }
            let check = |actor: &mut Actor<'_>, new: &Path| validate(actor, wish, new);
            actor.write(&wish.path, content, &wish.attributes, check)
        }
        None if !there => actor.write_text(&wish.path, b"", &wish.attributes, |_, _| Ok(())),
        _ => actor.set_attributes(&wish.path, &wish.attributes),
    }
}

fn validate(actor: &mut Actor<'_>, wish: &Wish, new: &Path) -> Result<(), ApplyError> {
    if wish.validate.is_empty() {
        return Ok(());
    }
    let new = new.to_string_lossy();
    let words = wish.validate.iter().map(|word| word.replace("%s", &new));
    let checked = actor.run(&Command::new(words));
    checked.map(drop).map_err(|error| ApplyError {
        message: format!("the new content was refused: {}", error.message),
        output: error.output,
    })
}

fn back_up(actor: &mut Actor<'_>, path: &Path) -> Result<(), ApplyError> {
    let mut name = OsString::from(path.file_name().unwrap_or_default());
    name.push(".converge-backup");
    let backup = path.with_file_name(name);
    actor.keep(&backup)?;
    actor.copy_file(path, &backup)
}

//! The apply of a `file`.

use std::path::Path;

use super::observe::Found;
use super::{State, Wish};
use crate::actor::{Actor, ApplyError};
use crate::system::files::Sort;
use crate::view::Seen;

/// Writes, changes or removes the file.
pub(super) fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
    if wish.state == State::Absent {
        return actor.remove(&wish.path);
    }
    let there = matches!(&found.place, Seen::Known(place) if place.sort == Sort::File);
    let same = matches!((&found.digest, found.wanted), (Some(Seen::Known(digest)), Some(wanted)) if *digest == wanted);
    match &wish.content {
        Some(content) if !same => {
            if there {
                wish.precautions.back_up(actor, &wish.path)?;
            }
            let check = |actor: &mut Actor<'_>, new: &Path| wish.precautions.check(actor, new);
            actor.write(&wish.path, content, &wish.attributes, check)
        }
        None if !there => actor.write_text(&wish.path, b"", &wish.attributes, |_, _| Ok(())),
        _ => actor.set_attributes(&wish.path, &wish.attributes),
    }
}

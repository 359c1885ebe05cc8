//! Making, changing, clearing and removing a `directory`.

use super::Wish;
use super::observe::{Fate, Found};
use crate::actor::{Actor, ApplyError, Attributes};
use crate::view::Seen;

/// Makes the folder what it should be.
pub(super) fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
    let remove = if found.going.is_kept() { Actor::remove_tree } else { Actor::discard_tree };
    if wish.absent {
        return remove(actor, &found.path);
    }
    match &found.place {
        Seen::Known(place) if found.asked.changes(place).is_empty() => {}
        Seen::Known(_) => actor.set_attributes(&found.path, &wish.attributes)?,
        _ => {
            for parent in &found.missing {
                actor.make_folder(parent, &Attributes::default())?;
            }
            actor.make_folder(&found.path, &wish.attributes)?;
        }
    }
    // What is deepest first: a mode that shuts a folder must not shut out what is below it.
    for item in found.below.iter().rev() {
        match &item.fate {
            Fate::Goes => remove(actor, &item.path)?,
            Fate::Gets(asked) => actor.set_attributes(&item.path, &asked.attributes)?,
        }
    }
    Ok(())
}

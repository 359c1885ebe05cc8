//! The apply of a `directory`.

use super::Wish;
use super::observe::{Fate, Found};
use crate::actor::{Actor, ApplyError, Attributes};
use crate::view::Seen;

/// Creates, changes or removes the folder, then its content.
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
    // Deepest entries first: the new mode of a folder could block access to its content.
    for item in found.below.iter().rev() {
        match &item.fate {
            Fate::Goes => remove(actor, &item.path)?,
            Fate::Gets(asked) => actor.set_attributes(&item.path, &asked.attributes)?,
        }
    }
    Ok(())
}

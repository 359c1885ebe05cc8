//! The plan of a `command`.

use converge_model::{Change, PropertyChange, Shown, Verb};

use super::observe::Found;
use super::{When, Wish};
use crate::kind::{Depend, Planned};

/// Returns a run of the command, unless it is done or waits for a notification.
pub(super) fn plan(wish: &Wish, found: &Found) -> Planned {
    if let Some(why) = &found.done {
        return Planned::InSync(why.clone());
    }
    let planned = match wish.when {
        When::Notified => return Planned::InSync("it runs only when it is notified".to_owned()),
        When::Always | When::Once(_) => Planned::always(action(wish)),
        When::Guarded(_) => {
            let mut change = action(wish);
            found.doubts.iter().for_each(|(what, steps)| change.depend(what, steps));
            if let Some(line) = &found.wrote {
                // The plan shows it, and so does the step that ran without its guard's consent.
                let why = format!("guard `{line}` tried to write: Read-only file system");
                change = change.property(PropertyChange::new("guard", Shown::Absent, why));
            }
            Planned::change(change)
        }
    };
    planned.given(found.needs.iter().cloned())
}

fn action(wish: &Wish) -> Change {
    Change::new(Verb::Act)
        .property(PropertyChange::new("run", Shown::Absent, wish.line()))
        .irreversible("the effects of a command are unknown")
}

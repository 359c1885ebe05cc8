//! The plan of a `directory`.

use converge_model::{Change, PropertyChange, Shown, Verb};

use super::Wish;
use super::observe::{Fate, Found, Item};
use crate::actor::Attributes;
use crate::kind::{Depend, Planned};
use crate::kit::attributes::{Asked, printable};
use crate::overlay::Effect;
use crate::system::files::Sort;
use crate::view::{Body, Place, Seen};

/// The most changes below a directory that a plan lists.
const LISTED: usize = 100;

/// Plans the changes.
pub(super) fn plan(wish: &Wish, found: &Found) -> Planned {
    if let Some(mount) = &found.going.mount {
        return Planned::Impossible {
            message: format!(
                "a file system is mounted at {}, which would be removed",
                printable(mount.as_os_str())
            ),
            help: Some("unmount it first".to_owned()),
        };
    }
    let planned = match (wish.absent, &found.place) {
        (true, Seen::Absent | Seen::MayCome(_)) => Planned::InSync("it does not exist".to_owned()),
        (_, Seen::Known(place)) if place.sort != Sort::Folder => {
            Planned::impossible(format!("a {} is in the way", place.sort.word()))
        }
        (true, Seen::Known(_)) => remove(found),
        (true, Seen::Unknown(steps)) => {
            let mut change = Change::new(Verb::Remove);
            change.depend("it", steps);
            Planned::change(change)
        }
        (false, Seen::Known(place)) => update(wish, found, place),
        (false, _) => {
            let parents = found
                .missing
                .iter()
                .map(|path| PropertyChange::new("parent", Shown::Absent, printable(path.as_os_str())));
            let properties = parents.chain(found.asked.created()).collect();
            Planned::change(Change { properties, ..Change::new(Verb::Create) })
        }
    };
    planned.given(found.asked.needs.iter().cloned().chain([found.folder.clone()]))
}

fn remove(found: &Found) -> Planned {
    let before = match found.going.entries {
        0 => "directory, empty".to_owned(),
        entries => format!("directory with {entries} entries, {} bytes", found.going.bytes),
    };
    let change = Change::new(Verb::Remove).property(PropertyChange::new("state", before, Shown::Absent));
    Planned::change(irreversible(change, found))
}

fn irreversible(change: Change, found: &Found) -> Change {
    match (found.going.is_kept(), found.going.special) {
        (true, _) => change,
        (false, true) => change.irreversible("a device, a socket or a FIFO in it cannot be restored"),
        (false, false) => change.irreversible("it is too large to keep"),
    }
}

fn update(wish: &Wish, found: &Found, place: &Place) -> Planned {
    let mut properties = found.asked.changes(place);
    let own = properties.len();
    properties.extend(found.below.iter().flat_map(|item| changes(found, item)).take(LISTED + 1));
    if properties.is_empty() {
        let below = if wish.below.is_asked() { ", and so is everything below" } else { "" };
        return Planned::InSync(format!("mode and owner are as asked{below}"));
    }
    if properties.len() > own + LISTED {
        let all: usize = found.below.iter().map(|item| changes(found, item).len()).sum();
        properties.truncate(own + LISTED);
        let more = format!("{} more changes below it", all - LISTED);
        properties.push(PropertyChange::new("…", Shown::Absent, more));
    }
    Planned::change(irreversible(Change { properties, ..Change::new(Verb::Update) }, found))
}

/// The changes of an entry, each with its path relative to the folder.
fn changes(found: &Found, item: &Item) -> Vec<PropertyChange> {
    let path = item.path.strip_prefix(&found.path).unwrap_or(&item.path);
    let path = printable(path.as_os_str());
    match &item.fate {
        Fate::Goes => vec![PropertyChange::new(&path, item.place.sort.word(), Shown::Absent)],
        Fate::Gets(asked) => {
            let named = |change: PropertyChange| {
                let property = format!("{path}: {}", change.property);
                PropertyChange { property, ..change }
            };
            asked.changes(&item.place).into_iter().map(named).collect()
        }
    }
}

/// The effects for later steps.
pub(super) fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
    if wish.absent {
        return vec![Effect::Path(found.path.clone(), None)];
    }
    let before = found.place.clone().known();
    let place = found.asked.place(before.as_ref(), Sort::Folder, 0o755, Body::OnDisk);
    let below = found.below.iter().map(|item| {
        let place = match &item.fate {
            Fate::Goes => None,
            Fate::Gets(asked) => {
                let target = item.place.target.clone();
                let place =
                    asked.place(Some(&item.place), item.place.sort, item.place.mode, item.place.body.clone());
                Some(Place { target, ..place })
            }
        };
        Effect::Path(item.path.clone(), place)
    });
    let own = Asked { attributes: Attributes::default(), needs: Vec::new(), own: found.asked.own.clone() };
    let parents = found
        .missing
        .iter()
        .map(|path| Effect::Path(path.clone(), Some(own.place(None, Sort::Folder, 0o755, Body::OnDisk))));
    parents.chain([Effect::Path(found.path.clone(), Some(place))]).chain(below).collect()
}

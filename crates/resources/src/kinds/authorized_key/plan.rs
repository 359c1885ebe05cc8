//! The changes to a user's keys.

use converge_model::{Change, PropertyChange, Shown, Verb};

use super::Wish;
use super::key::{Goal, Keys};
use super::observe::{Found, Places};
use crate::actor::{Actor, ApplyError, Attributes};
use crate::diff;
use crate::kind::{Depend, Planned};
use crate::kit::account_names::locks_out;
use crate::kit::attributes::octal;
use crate::overlay::{Bytes, Effect};
use crate::system::files::Sort;
use crate::view::{Body, Need, Place, Seen};

/// The mode of `~/.ssh`.
const FOLDER_MODE: u32 = 0o700;

/// Plans the changes.
pub(super) fn plan(wish: &Wish, found: &Found) -> Planned {
    let Some(places) = &found.places else { return homeless(wish, found) };
    if let Some((what, place)) = in_the_way(places) {
        return Planned::Impossible {
            message: format!("a {} is in the way at {what}", place.sort.word()),
            help: (place.sort == Sort::Link)
                .then(|| "Converge does not follow links here; set `path` to the file".to_owned()),
        };
    }
    if let Some(refused) = of_another(wish, places) {
        return refused;
    }
    let planned = match (&places.file, &places.text) {
        (Seen::Absent | Seen::MayCome(_), _) if wish.goal == Goal::Absent => {
            return Planned::InSync("the file of the keys does not exist".to_owned());
        }
        (_, Seen::Unknown(steps) | Seen::MayCome(steps)) => undecided(wish, steps),
        (_, text) => edit(wish, found, places, text.clone().known()),
    };
    let needs =
        if wish.goal == Goal::Absent { Vec::new() } else { vec![found.user.clone(), places.parent.clone()] };
    planned.given(needs)
}

/// The plan for a user whose home is unknown.
fn homeless(wish: &Wish, found: &Found) -> Planned {
    match (wish.goal, &found.user) {
        (Goal::Absent, Need::Absent { .. } | Need::MayCome { .. }) => {
            Planned::InSync("the user does not exist".to_owned())
        }
        (_, Need::Met) => Planned::impossible(format!("{} has no home", wish.user)),
        (_, need) => undecided(wish, &[]).given([need.clone()]),
    }
}

/// The plan for a text that is unknown before the run.
fn undecided(wish: &Wish, steps: &[u32]) -> Planned {
    let keys = wish.keys.iter().map(super::Key::label).collect::<Vec<_>>().join(", ");
    let before = Shown::Unknown("an earlier step decides it".to_owned());
    let (verb, before, after) = match wish.goal {
        Goal::Absent => (Verb::Update, Shown::Text(keys), Shown::Absent),
        Goal::Present | Goal::Exclusive => (Verb::Update, before, Shown::Text(keys)),
    };
    let mut change = Change::new(verb).property(PropertyChange::new("key", before, after));
    if !steps.is_empty() {
        change.depend("the file of the keys", steps);
    }
    Planned::change(change)
}

fn in_the_way(places: &Places) -> Option<(String, &Place)> {
    let folder = places.folder.as_ref().map(|(path, place)| (path, place, Sort::Folder));
    let file = (&places.path, &places.file, Sort::File);
    folder.into_iter().chain([file]).find_map(|(path, place, sort)| match place {
        Seen::Known(place) if place.sort != sort => Some((path.display().to_string(), place)),
        _ => None,
    })
}

/// Refuses to give a file of another owner to the user. The user may have placed it there without the right to read
/// it.
fn of_another(wish: &Wish, places: &Places) -> Option<Planned> {
    let Seen::Known(place) = &places.file else { return None };
    let is_closed = place.owner != wish.user && place.mode & 0o004 == 0;
    (places.theirs && is_closed && wish.goal != Goal::Absent).then(|| Planned::Impossible {
        message: format!(
            "{} belongs to {}, and {} may not read it",
            places.path.display(),
            place.owner,
            wish.user
        ),
        help: Some(format!(
            "remove it, or change its owner to {} if all its content belongs to them",
            wish.user
        )),
    })
}

fn edit(wish: &Wish, found: &Found, places: &Places, text: Option<Vec<u8>>) -> Planned {
    let new = text.is_none();
    let before = text.unwrap_or_default();
    let after = wish.keys().edit(&before);
    if found.login.as_deref() == Some(&wish.user) && Keys::count(&before) > 0 && Keys::count(&after) == 0 {
        return locks_out(&wish.user, "removing its last key");
    }
    let mut change = Change::new(if new { Verb::Create } else { Verb::Update });
    if new || before != after {
        let size = (!new).then(|| format!("{} bytes", before.len()));
        let mut property = PropertyChange::new("content", size, format!("{} bytes", after.len()));
        property.diff = diff::unified(&before, &after);
        change.properties.push(property);
    }
    if wish.goal != Goal::Absent {
        change.properties.extend(metadata(wish, places));
    }
    if change.properties.is_empty() {
        let why = if wish.goal == Goal::Absent {
            "the file has none of the keys"
        } else {
            "the file has the keys as asked"
        };
        return Planned::InSync(why.to_owned());
    }
    Planned::change(change)
}

/// Mode and owner, if the kind manages them. sshd refuses keys that other users could have written.
fn metadata(wish: &Wish, places: &Places) -> Vec<PropertyChange> {
    let folder = places.folder.as_ref().map(|(_, place)| ("directory-", place, FOLDER_MODE));
    let file = Some(("", &places.file, file_mode(places))).filter(|_| places.theirs);
    let mut changes = Vec::new();
    for (prefix, place, mode) in folder.into_iter().chain(file) {
        let (before_mode, before_owner) = match place {
            Seen::Known(place) => (Some(octal(place.mode)), Some(place.owner.clone())),
            _ => (None, None),
        };
        let owner = places.theirs.then(|| wish.user.clone());
        let all = [("mode", before_mode, Some(octal(mode))), ("owner", before_owner, owner)];
        for (name, before, after) in all {
            if before != after && after.is_some() {
                changes.push(PropertyChange::new(&format!("{prefix}{name}"), before, after));
            }
        }
    }
    changes
}

fn file_mode(places: &Places) -> u32 {
    if places.theirs { 0o600 } else { 0o644 }
}

fn is_there(place: &Seen<Place>) -> bool {
    matches!(place, Seen::Known(_))
}

/// The effects for later steps.
pub(super) fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
    let Some(places) = &found.places else { return Vec::new() };
    let text = match (&places.file, &places.text) {
        (_, Seen::Unknown(_) | Seen::MayCome(_)) => return Vec::new(),
        (_, Seen::Known(text)) => text.clone(),
        (Seen::Absent, _) if wish.goal == Goal::Absent => return Vec::new(),
        _ => Vec::new(),
    };
    let text = wish.keys().edit(&text);
    let size = text.len() as u64;
    let body = Body::Text(Bytes::from(text));
    let file = match places.file.clone().known() {
        Some(place) if wish.goal == Goal::Absent || !places.theirs => Place { size, body, ..place },
        before => Place { size, body, ..made(wish, found, places, before, Sort::File, file_mode(places)) },
    };
    let folder = places.folder.as_ref().filter(|_| wish.goal != Goal::Absent).map(|(path, place)| {
        let place = made(wish, found, places, place.clone().known(), Sort::Folder, FOLDER_MODE);
        Effect::Path(path.clone(), Some(place))
    });
    folder.into_iter().chain([Effect::Path(places.path.clone(), Some(file))]).collect()
}

/// The planned place. A new one gets the user's group as well.
fn made(wish: &Wish, found: &Found, places: &Places, before: Option<Place>, sort: Sort, mode: u32) -> Place {
    let group = before.map(|place| place.group);
    let (owner, new_group) =
        if places.theirs { (wish.user.clone(), found.group.clone()) } else { found.own.clone() };
    Place { sort, mode, owner, group: group.unwrap_or(new_group), size: 0, target: None, body: Body::OnDisk }
}

/// Makes the folder, then writes the file.
pub(super) fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
    let Some(places) = &found.places else {
        return Err(ApplyError::new(format!("the home of {} is not known", wish.user)));
    };
    let before = places.text.clone().known();
    let after = wish.keys().edit(before.as_deref().unwrap_or_default());
    if wish.goal == Goal::Absent {
        let old = before.as_deref().unwrap_or_default();
        return actor.write_edited(&places.path, [old, &after], &Attributes::default(), |_, _| Ok(()));
    }
    if let Some((path, place)) = &places.folder {
        let asked = attributes(wish, found, places, place, FOLDER_MODE);
        match place {
            Seen::Known(place) if place.mode == FOLDER_MODE && place.owner == wish.user => {}
            Seen::Known(_) => actor.set_attributes(path, &asked)?,
            _ => actor.make_folder(path, &asked)?,
        }
    }
    let asked = if places.theirs || before.is_none() {
        attributes(wish, found, places, &places.file, file_mode(places))
    } else {
        Attributes::default()
    };
    if before.as_ref() == Some(&after) {
        return actor.set_attributes(&places.path, &asked);
    }
    match &before {
        Some(before) => actor.write_edited(&places.path, [before, &after], &asked, |_, _| Ok(())),
        None => actor.write_text(&places.path, &after, &asked, |_, _| Ok(())),
    }
}

/// The desired mode and owner. Only a new place gets the group.
fn attributes(wish: &Wish, found: &Found, places: &Places, place: &Seen<Place>, mode: u32) -> Attributes {
    let new = !is_there(place);
    Attributes {
        mode: Some(mode),
        owner: places.theirs.then(|| wish.user.clone()),
        group: (places.theirs && new).then(|| found.group.clone()),
        secret: false,
    }
}

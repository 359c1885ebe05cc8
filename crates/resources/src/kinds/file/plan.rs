//! The plan of a `file`.

use converge_model::{Change, Content, PropertyChange, Shown, Verb};

use super::observe::Found;
use super::{State, Wish};
use crate::diff::unified;
use crate::kind::{Depend, DiffRequest, Planned, PlannedChange};
use crate::kit::attributes;
use crate::kit::replace_file::SENSITIVE;
use crate::overlay::{Bytes, Effect};
use crate::system::files::Sort;
use crate::view::{Body, Place, Seen};
use crate::wish::Filling;

/// Plans the changes.
pub(super) fn plan(wish: &Wish, found: &Found) -> Planned {
    let planned = match (wish.state, &found.place) {
        (State::Absent, Seen::Absent | Seen::MayCome(_)) => Planned::InSync("it does not exist".to_owned()),
        (State::Absent, Seen::Known(place)) => remove(place),
        (State::Absent, Seen::Unknown(steps)) => {
            let mut change = Change::new(Verb::Remove);
            change.depend("it", steps);
            Planned::change(change)
        }
        (State::Present, Seen::Known(place)) => present(wish, found, place),
        (State::Present, _) => create(wish, found, Verb::Create, None),
    };
    planned.given(found.asked.needs.iter().cloned().chain([found.folder.clone()]))
}

fn remove(place: &Place) -> Planned {
    match place.sort {
        Sort::Folder | Sort::Special => Planned::impossible(format!(
            "a {} is in the way; `file` removes only files and links",
            place.sort.word()
        )),
        Sort::File | Sort::Link => {
            let sort = PropertyChange::new("state", place.sort.word(), Shown::Absent);
            Planned::change(Change::new(Verb::Remove).property(sort))
        }
    }
}

fn present(wish: &Wish, found: &Found, place: &Place) -> Planned {
    match place.sort {
        Sort::File => update(wish, found, place),
        Sort::Link if wish.replace => {
            let target = place.target.as_ref().map(|target| target.display().to_string());
            let link = PropertyChange::new("link", target, Shown::Absent);
            create(wish, found, Verb::Replace, Some(link))
        }
        sort => Planned::Impossible {
            message: format!("a {} is in the way", sort.word()),
            help: (sort == Sort::Link)
                .then(|| "write `replace=#true`, or name the file that it leads to".to_owned()),
        },
    }
}

fn create(wish: &Wish, found: &Found, verb: Verb, first: Option<PropertyChange>) -> Planned {
    let mut change = Change::new(verb);
    change.properties.extend(first);
    let mut diffs = Vec::new();
    if let Some(content) = &wish.content {
        diffs.extend(content_change(&mut change, Shown::Absent, content, None));
    }
    change.properties.extend(found.asked.created());
    Planned::Change(Box::new(PlannedChange { change, diffs, always: false, warnings: Vec::new() }))
}

fn update(wish: &Wish, found: &Found, place: &Place) -> Planned {
    let mut change = Change::new(Verb::Update);
    let mut diffs = Vec::new();
    if let (Some(content), Some(seen)) = (&wish.content, &found.digest) {
        let same = matches!((seen, found.wanted), (Seen::Known(digest), Some(wanted)) if *digest == wanted);
        if !same {
            let before = Shown::Text(format!("{} bytes", place.size));
            diffs.extend(content_change(&mut change, before, content, found.text.clone()));
            change.properties.extend(wish.precautions.shown(&wish.path, true));
        }
        if let Seen::Unknown(steps) | Seen::MayCome(steps) = seen {
            change.depend("its content", steps);
        }
    }
    change.properties.extend(found.asked.changes(place));
    if change.properties.is_empty() {
        return Planned::InSync("content, mode and owner are as asked".to_owned());
    }
    let warnings = attributes::exposed(&wish.path, place, &wish.attributes).into_iter().collect();
    Planned::Change(Box::new(PlannedChange { change, diffs, always: false, warnings }))
}

/// Adds the content to `change`. Returns a request for the diff if both sides are short. The diff of a secret is
/// complete here already; the agent decides which lines to show.
fn content_change(
    change: &mut Change,
    before: Shown,
    content: &Filling,
    text: Option<Vec<u8>>,
) -> Option<DiffRequest> {
    let place = change.properties.len();
    let create = before == Shown::Absent;
    let (digest, length) = match content {
        Filling::Plain { digest, length } => (digest, length),
        Filling::Secret(secret) => {
            let before = if create { Shown::Absent } else { Shown::Masked };
            let mut property = PropertyChange::new("content", before, Shown::Masked);
            let short = secret.expose().len() as u64 <= converge_model::wire::TEXT_LIMIT;
            if short && (create || text.is_some()) {
                property.diff = unified(&text.unwrap_or_default(), secret.expose());
            }
            change.properties.push(property);
            change.irreversible = (!create).then(|| SENSITIVE.to_owned());
            return None;
        }
    };
    change.properties.push(PropertyChange::new("content", before, format!("{length} bytes")));
    let short = *length <= converge_model::wire::TEXT_LIMIT && (create || text.is_some());
    short.then_some(DiffRequest {
        property: place,
        before: text,
        after: Content::Plain { digest: *digest, length: *length },
    })
}

/// The effects for later steps.
pub(super) fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
    let place = match wish.state {
        State::Absent => None,
        State::Present => {
            let before = match &found.place {
                Seen::Known(place) if place.sort == Sort::File => Some(place),
                _ => None,
            };
            let body = match (&wish.content, before) {
                (Some(content), _) => Body::Planned(content.clone()),
                (None, Some(before)) => before.body.clone(),
                (None, None) => Body::Text(Bytes::default()),
            };
            Some(found.asked.place(before, Sort::File, found.asked.new_file(), body))
        }
    };
    vec![Effect::Path(wish.path.clone(), place)]
}

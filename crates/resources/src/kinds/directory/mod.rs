//! `directory`: a folder with its mode and owner, what is below it on request, or its absence.

use std::path::PathBuf;

use converge_model::{Change, Claim, Extent, KindSchema, Param, PropertyChange, Shown, Type, Verb};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Depend, Kind, Planned};
use crate::kinds::attributes::{self, Asked};
use crate::overlay::Effect;
use crate::system::files::Sort;
use crate::view::{Body, LookError, Need, Place, Seen, View};
use crate::wish::Reader;

/// The kind.
pub struct Directory;

/// What the folder should be.
pub struct Wish {
    path: PathBuf,
    absent: bool,
    attributes: Attributes,
}

/// What was found.
pub struct Found {
    place: Seen<Place>,
    asked: Asked,
    folder: Need,
}

impl Kind for Directory {
    type Wish = Wish;
    type Found = Found;

    fn schema() -> KindSchema {
        let [mode, owner, group] = attributes::params();
        KindSchema::new("directory", "A directory: its mode and owner")
            .param(Param::new("path", Type::Path, "Where the directory is.").argument(0).required())
            .param(
                Param::new(
                    "state",
                    Type::Text,
                    "Whether it should be there. Absent removes it with all that is in it.",
                )
                .one_of(&["present", "absent"])
                .default("present"),
            )
            .param(mode)
            .param(owner)
            .param(group)
            .example("A directory", "directory \"/srv/app\" mode=\"0750\"")
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        Wish {
            path: params.path("path"),
            absent: params.choice("state", &[("present", false), ("absent", true)]),
            attributes: attributes::decode(params),
        }
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        let extent = if wish.absent { Extent::Absence } else { Extent::Whole };
        vec![Claim::path(wish.path.to_string_lossy(), extent)]
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let place = match view.place(&wish.path)? {
            // A link to a directory serves as one: /var/run, /lib.
            Seen::Known(place) if place.sort == Sort::Link && !wish.absent => {
                match view.followed(&wish.path)? {
                    Seen::Known((_, target)) if target.sort == Sort::Folder => Seen::Known(target),
                    _ => Seen::Known(place),
                }
            }
            other => other,
        };
        let folder =
            if wish.absent { Need::Met } else { view.need_folder(wish.path.parent().unwrap_or(&wish.path))? };
        Ok(Found { place, asked: attributes::observe(view, &wish.attributes)?, folder })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        let planned = match (wish.absent, &found.place) {
            (true, Seen::Absent) => Planned::InSync("it is not there".to_owned()),
            (true, Seen::Known(place)) if place.sort != Sort::Folder => {
                Planned::impossible(format!("a {} is in the way", place.sort.word()))
            }
            (true, Seen::Known(_)) => Planned::change(
                Change::new(Verb::Remove)
                    .property(PropertyChange::new("state", "directory", Shown::Absent))
                    .irreversible("what is in it is not kept"),
            ),
            (true, Seen::MayCome(steps) | Seen::Unknown(steps)) => {
                let mut change = Change::new(Verb::Remove);
                change.depend("it", steps);
                Planned::change(change)
            }
            (false, Seen::Known(place)) if place.sort != Sort::Folder => {
                Planned::impossible(format!("a {} is in the way", place.sort.word()))
            }
            (false, Seen::Known(place)) => {
                let changes = found.asked.changes(place);
                if changes.is_empty() {
                    Planned::InSync("mode and owner are as asked".to_owned())
                } else {
                    Planned::change(Change { properties: changes, ..Change::new(Verb::Update) })
                }
            }
            (false, _) => Planned::change(Change {
                properties: found.asked.created(0o755),
                ..Change::new(Verb::Create)
            }),
        };
        planned.given(found.asked.needs.iter().cloned().chain([found.folder.clone()]))
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        let before = match &found.place {
            Seen::Known(place) => Some(place),
            _ => None,
        };
        let place = (!wish.absent).then(|| found.asked.place(before, Sort::Folder, 0o755, Body::OnDisk));
        vec![Effect::Path(wish.path.clone(), place)]
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        match (&found.place, wish.absent) {
            (_, true) => actor.remove_tree(&wish.path),
            (Seen::Known(_), false) => actor.set_attributes(&wish.path, &wish.attributes),
            (_, false) => actor.make_folder(&wish.path, &wish.attributes),
        }
    }
}

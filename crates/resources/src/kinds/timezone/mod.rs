//! `timezone`: the time zone of the host: the link `/etc/localtime` and, if the distribution has it, the file
//! `/etc/timezone`.

use std::path::{Path, PathBuf};

use converge_model::{Claim, Extent, KindSchema, Param, ParamProblem, PropertyChange, Shown, Type, Verb};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Kind, Planned};
use crate::kit::rendered_file::{self, Rendered};
use crate::overlay::Effect;
use crate::system::files::Sort;
use crate::view::{Body, LookError, Need, Place, Seen, View};
use crate::wish::{Reader, normal_path};

/// The kind.
pub struct Timezone;

/// The desired time zone.
pub struct Wish {
    zone: String,
    file: Rendered,
}

/// The state of the host.
pub struct Found {
    link: Seen<Place>,
    /// The file `/etc/timezone` with the name. None if the distribution does not have it.
    file: Option<rendered_file::Found>,
    data: Need,
    own: (String, String),
}

const LINK: &str = "/etc/localtime";
const ZONES: &str = "/usr/share/zoneinfo";

impl Kind for Timezone {
    type Wish = Wish;
    type Found = Found;

    fn schema() -> KindSchema {
        KindSchema::new("timezone", "The time zone of the host")
            .details(
                "Running programs can keep the old zone until they restart. Use `notify` to restart them.",
            )
            .param(
                Param::new("name", Type::Text, "Zone name of the tz database: `Europe/Berlin`, `UTC`")
                    .argument(0)
                    .required(),
            )
            .example("A time zone", "package \"tzdata\"\ntimezone \"Europe/Berlin\"")
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let zone = params.required_text("name");
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-_/".contains(&byte);
        let normal = normal_path(&format!("/{zone}")) == Some(PathBuf::from(format!("/{zone}")));
        if zone.is_empty() || !zone.bytes().all(allowed) || !normal || zone.ends_with('/') {
            params.problem(ParamProblem::new("name", format!("{zone:?} cannot be the name of a time zone")));
        }
        let file = Rendered {
            path: "/etc/timezone".into(),
            text: Some(format!("{zone}\n").into_bytes()),
            attributes: Attributes { mode: Some(0o644), ..Attributes::default() },
            validate: Vec::new(),
            secret: false,
        };
        Wish { zone, file }
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        vec![Claim::path(LINK, Extent::Whole), Claim::path(wish.file.path.to_string_lossy(), Extent::Whole)]
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let debian = |path: &str| Ok(matches!(view.place(Path::new(path))?, Seen::Known(_)));
        let keeps_name = debian("/etc/debian_version")? || debian("/etc/timezone")?;
        let data = view.followed(&Path::new(ZONES).join(&wish.zone))?;
        let data = Need::of(data, format!("the time zone {}", wish.zone), || {
            "before it, install tzdata, or correct the name".to_owned()
        });
        let file = if keeps_name { Some(rendered_file::observe(view, &wish.file)?) } else { None };
        Ok(Found { link: view.place(Path::new(LINK))?, file, data, own: view.own_names()? })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        let planned = match &found.file {
            Some(file) => rendered_file::plan(&wish.file, file),
            None => Planned::InSync(String::new()),
        };
        let planned = match (&planned, link_change(wish, found)) {
            (Planned::Impossible { .. }, _) => planned,
            (_, Err(why)) => Planned::impossible(why),
            (_, Ok(None)) => planned,
            (_, Ok(Some((verb, property)))) => planned.also(verb, property),
        };
        match planned {
            Planned::InSync(_) => Planned::InSync(format!("it is {}", wish.zone)),
            other => other.given([found.data.clone()]),
        }
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        let (owner, group) = found.own.clone();
        let target = target(wish);
        let size = target.as_os_str().len() as u64;
        let (sort, body, target) = (Sort::Link, Body::OnDisk, Some(target));
        let place = Place { sort, mode: 0o777, owner, group, size, target, body };
        let mut effects = Vec::new();
        if !is_right(wish, &found.link) {
            effects.push(Effect::Path(LINK.into(), Some(place)));
        }
        effects.extend(found.file.iter().flat_map(|file| rendered_file::effects(&wish.file, file)));
        effects
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        if !is_right(wish, &found.link) {
            actor.link(Path::new(LINK), &target(wish))?;
        }
        match &found.file {
            Some(file) if !rendered_file::plan(&wish.file, file).is_in_sync() => {
                rendered_file::apply(actor, &wish.file, file)
            }
            _ => Ok(()),
        }
    }
}

/// The change of the link. An error if an entry that cannot be replaced is in its place.
fn link_change(wish: &Wish, found: &Found) -> Result<Option<(Verb, PropertyChange)>, String> {
    let change =
        |verb, before: Shown| Ok(Some((verb, PropertyChange::new("zone", before, wish.zone.clone()))));
    match &found.link {
        link if is_right(wish, link) => Ok(None),
        Seen::Known(place) => match (place.sort, &place.target) {
            (Sort::Link, Some(target)) => change(Verb::Update, zone_of(target).into()),
            // A copy of the zone data. Some installers leave one.
            (Sort::File, _) => change(Verb::Replace, "a file".into()),
            (sort, _) => Err(format!("a {} is in the way at {LINK}", sort.word())),
        },
        _ => change(Verb::Create, Shown::Absent),
    }
}

fn target(wish: &Wish) -> PathBuf {
    Path::new(ZONES).join(&wish.zone)
}

/// The zone of the link's target, or the target itself if it is no zone.
fn zone_of(target: &Path) -> String {
    let absolute = absolute(target);
    absolute.strip_prefix(ZONES).unwrap_or(&absolute).display().to_string()
}

/// The absolute target. Links to zones are often relative to `/etc`.
fn absolute(target: &Path) -> PathBuf {
    match target.strip_prefix("..") {
        Ok(rest) => Path::new("/").join(rest),
        Err(_) => target.to_owned(),
    }
}

fn is_right(wish: &Wish, link: &Seen<Place>) -> bool {
    let leads = |place: &Place| place.target.as_deref().map(absolute);
    matches!(link, Seen::Known(place) if leads(place) == Some(target(wish)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{Trial, change, impossible, params};
    use std::os::unix::fs::symlink;

    fn trial() -> Trial {
        let trial = Trial::new();
        trial.write("/usr/share/zoneinfo/Europe/Berlin", "TZif");
        trial.write("/usr/share/zoneinfo/Etc/UTC", "TZif");
        trial
    }

    fn berlin() -> converge_model::Params {
        params([("name", "Europe/Berlin".into())])
    }

    #[test]
    fn the_link_is_set_and_the_name_where_debian_keeps_it() {
        let trial = trial();
        trial.laws("timezone", &berlin());
        assert!(!trial.at("/etc/timezone").exists());
        trial.write("/etc/debian_version", "12.5\n");
        trial.laws("timezone", &berlin());
        assert_eq!(trial.read("/etc/timezone"), b"Europe/Berlin\n");
    }

    #[test]
    fn a_relative_link_counts_and_a_copy_makes_way() {
        let trial = trial();
        symlink("../usr/share/zoneinfo/Europe/Berlin", trial.at(LINK)).unwrap();
        trial.assert_in_sync("timezone", &berlin());
        let utc = params([("name", "Etc/UTC".into())]);
        let changed = trial.laws("timezone", &utc);
        assert_eq!(changed.properties[0].before, Shown::Text("Europe/Berlin".into()));
        std::fs::remove_file(trial.at(LINK)).unwrap();
        trial.write(LINK, "TZif");
        assert_eq!(change(trial.plan("timezone", &utc)).verb, Verb::Replace);
        trial.laws("timezone", &utc);
    }

    #[test]
    fn a_zone_without_data_is_a_need_and_a_strange_name_a_mistake() {
        let trial = trial();
        let mars = params([("name", "Mars/Olympus".into())]);
        assert_eq!(impossible(trial.plan("timezone", &mars)), "the time zone Mars/Olympus does not exist");
        for name in ["../../etc/shadow", "", "Europe/", "a b"] {
            assert_eq!(trial.problems("timezone", &params([("name", name.into())])).len(), 1, "{name}");
        }
    }
}

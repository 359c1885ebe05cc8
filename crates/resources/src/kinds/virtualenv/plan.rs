//! The plan of an environment, distribution by distribution.

use std::path::Path;

use converge_model::{Change, PropertyChange, Shown, Verb};

use super::environment::{Distribution, Environment, SEEDS, short};
use super::requirement::same_version;
use super::{Found, Wish};
use crate::kind::Planned;
use crate::system::files::Sort;
use crate::view::Seen;

/// The work of an apply on an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Make a new environment.
    Make,
    /// Rebuild the environment.
    Rebuild,
    /// Keep the environment and change its content.
    Change,
}

pub(super) fn plan(wish: &Wish, found: &Found) -> Planned {
    let blocked = match &found.place {
        Seen::Known(place) if place.sort != Sort::Folder => {
            Some(format!("a {} is in the way", place.sort.word()))
        }
        Seen::Known(_) if found.environment.is_none() && found.occupied => {
            Some("a directory that is not a virtual environment is in the way".to_owned())
        }
        _ => found.demand.problem.clone(),
    };
    if let Some(message) = blocked {
        return Planned::impossible(message);
    }
    let reasons = rebuild(wish, found);
    let planned = match work(wish, found) {
        Work::Make => {
            let program = found.interpreter.as_ref().map_or(&wish.python, |it| &it.shown);
            let mut change = Change::new(Verb::Create).property(PropertyChange::new(
                "python",
                Shown::Absent,
                program.clone(),
            ));
            change.properties.extend(
                found
                    .own
                    .attributes
                    .owner
                    .iter()
                    .map(|owner| PropertyChange::new("owner", Shown::Absent, owner.clone())),
            );
            change.properties.extend(distributions(wish, found, None));
            Planned::change(change)
        }
        Work::Rebuild => {
            let mut change = Change::new(Verb::Replace);
            change.properties.extend(reasons);
            change.properties.extend(distributions(wish, found, found.environment.as_ref()));
            Planned::change(change)
        }
        Work::Change => {
            let properties = distributions(wish, found, found.environment.as_ref());
            if properties.is_empty() {
                return Planned::InSync("every distribution is installed in its version".to_owned());
            }
            Planned::change(Change { properties, ..Change::new(Verb::Update) })
        }
    };
    planned.given(found.needs.iter().chain(&found.demand.needs).chain(&found.own.needs).cloned())
}

/// Decides the work.
pub(super) fn work(wish: &Wish, found: &Found) -> Work {
    match &found.environment {
        None => Work::Make,
        Some(_) if !rebuild(wish, found).is_empty() => Work::Rebuild,
        Some(_) => Work::Change,
    }
}

/// The reasons for a rebuild.
fn rebuild(wish: &Wish, found: &Found) -> Vec<PropertyChange> {
    let (Some(environment), Seen::Known(place)) = (&found.environment, &found.place) else {
        return Vec::new();
    };
    let mut reasons = Vec::new();
    if let Some(damage) = &environment.damage {
        reasons.push(PropertyChange::new("state", damage.clone(), "whole"));
    }
    if let Some(place) = &environment.made_at {
        let shown = |path: &Path| path.display().to_string();
        reasons.push(PropertyChange::new("made for", shown(place), shown(&wish.path)));
    }
    reasons.extend(other_interpreter(wish, found, environment));
    if environment.system_site_packages != wish.system_site_packages {
        let shown = |value: bool| value.to_string();
        reasons.push(PropertyChange::new(
            "system-site-packages",
            shown(environment.system_site_packages),
            shown(wish.system_site_packages),
        ));
    }
    reasons.extend(found.own.changes(place));
    reasons
}

/// The change of the interpreter, if it differs from the environment's or is missing.
fn other_interpreter(wish: &Wish, found: &Found, environment: &Environment) -> Option<PropertyChange> {
    let chosen = found.interpreter.as_ref();
    if let Some(chosen) = chosen {
        let same_version = match (&chosen.is.version, &environment.version) {
            (Some(now), Some(then)) => *now == short(then),
            _ => true,
        };
        if same_version && environment.program.as_ref() == Some(&chosen.is.program) {
            return None;
        }
    }
    let program = environment.program.as_ref();
    let before = program.map_or_else(|| "missing".to_owned(), |program| program.display().to_string());
    let version = environment.version.as_deref().unwrap_or("unknown");
    let after = chosen.map_or(&wish.python, |chosen| &chosen.shown).clone();
    Some(PropertyChange::new("python", format!("{before} ({version})"), after))
}

/// The distributions to add, change and remove in `environment`. None: it is new.
fn distributions(wish: &Wish, found: &Found, environment: Option<&Environment>) -> Vec<PropertyChange> {
    let demand = &found.demand;
    let rebuilt = environment.is_some() && work(wish, found) == Work::Rebuild;
    let there = |name: &str| environment?.distribution(name);
    let version = |name: &str| Some(there(name)?.version.clone());
    let stale = |name: &str| stale(wish, found, there(name).filter(|_| !rebuilt)?);
    let mut properties = Vec::new();
    for (name, pin) in &demand.pins {
        let before = version(name);
        if before.as_ref().is_none_or(|version| !same_version(pin, version)) {
            properties.push(PropertyChange::new(name, before, pin.clone()));
        } else if let Some(Stale { property, before, after }) = stale(name) {
            properties.push(PropertyChange::new(&property, before, after));
        }
    }
    if let Some(why) = &demand.open {
        let unknown = || Shown::Unknown(why.clone());
        let settled = environment.is_some() && !rebuilt && found.is_noted();
        for name in &demand.loose {
            if let Some(Stale { property, before, after }) = stale(name) {
                let after = match property == *name {
                    true => Shown::Unknown(format!("only the installer knows the version {after}")),
                    false => Shown::Text(after),
                };
                properties.push(PropertyChange::new(&property, before, after));
            } else if there(name).is_none() || (rebuilt && !demand.hidden) {
                properties.push(PropertyChange::new(name, version(name), unknown()));
            }
        }
        let lost = found.lost();
        properties.extend(lost.iter().map(|name| PropertyChange::new(name, version(name), unknown())));
        if demand.hidden && (!settled || !properties.is_empty()) {
            let before = environment.map(|environment| format!("{} of them", environment.installed.len()));
            properties.push(PropertyChange::new("distributions", before, unknown()));
        }
    }
    properties.extend(
        surplus(wish, found, environment)
            .into_iter()
            .map(|(name, version)| PropertyChange::new(&name, version, Shown::Absent)),
    );
    properties
}

/// The reason why a distribution must be installed again although its version is accepted.
struct Stale {
    property: String,
    before: String,
    after: String,
}

/// Why an installed distribution differs from the asked one, beside its version. None if it is complete, from the
/// asked source, and the source is unchanged.
fn stale(wish: &Wish, found: &Found, there: &Distribution) -> Option<Stale> {
    let name = &there.name;
    let changed = |before: String, after: String| Some(Stale { property: name.clone(), before, after });
    if let Some(gone) = &there.gone {
        return changed(format!("{} ({gone} is gone)", there.version), there.version.clone());
    }
    let from = |place: String| format!("{} from {place}", there.version);
    let origin = there.origin.as_ref().map(|origin| from(origin.to_string()));
    let Some(direct) = found.demand.directs.iter().find(|direct| direct.name == *name) else {
        // A dependency may come from a source that only the metadata of its parent names.
        let may_be = found.demand.hidden && found.is_noted();
        return origin.filter(|_| !may_be).and_then(|origin| changed(origin, "from an index".to_owned()));
    };
    if !direct.is(there, &wish.path) {
        let before = origin.unwrap_or_else(|| from("an index".to_owned()));
        return changed(before, format!("from {}", direct.from));
    }
    if let Some((_, commit)) = found.moved.iter().find(|(moved, _)| moved == name) {
        let commit = commit.get(..12).unwrap_or(commit);
        return changed(origin.unwrap_or_default(), format!("from {} ({commit})", direct.from));
    }
    if direct.is_current(there, found) {
        return None;
    }
    let is_project = found.demand.project.as_ref() == Some(name);
    Some(Stale {
        property: if is_project { "project".to_owned() } else { name.clone() },
        before: "as it was installed".to_owned(),
        after: "as it is now".to_owned(),
    })
}

/// The names of the distributions to install again: stale ones with an accepted version, and incomplete ones that
/// no source names.
pub(super) fn again(wish: &Wish, found: &Found) -> Vec<String> {
    let installed = found.environment.iter().flat_map(|environment| &environment.installed);
    let is_again = |there: &&Distribution| match found.demand.names(&there.name) {
        true => stale(wish, found, there).is_some(),
        false => there.gone.is_some() && found.demand.hidden,
    };
    let names = installed.filter(is_again).map(|there| there.name.clone());
    names.filter(|name| !SEEDS.contains(&name.as_str())).collect()
}

/// The distributions to remove, by name, with their versions. With `exact`, these are all that no source names. The
/// same applies to a rebuild if all names are known.
pub(super) fn surplus(
    wish: &Wish,
    found: &Found,
    environment: Option<&Environment>,
) -> Vec<(String, String)> {
    let Some(environment) = environment else { return Vec::new() };
    let rebuilt = work(wish, found) == Work::Rebuild;
    if found.demand.hidden || !(wish.exact || rebuilt) {
        return Vec::new();
    }
    let goes = |name: &str| !found.demand.names(name) && !SEEDS.contains(&name);
    let others = environment.installed.iter().filter(|there| goes(&there.name));
    let mut others: Vec<_> = others.map(|there| (there.name.clone(), there.version.clone())).collect();
    others.sort();
    others
}

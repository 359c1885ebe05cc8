//! What would change in an environment, distribution by distribution.

use converge_model::{Change, PropertyChange, Shown, Verb};

use super::environment::{Environment, SEEDS, short};
use super::requirement::same_version;
use super::{Found, Wish};
use crate::kind::Planned;
use crate::system::files::Sort;
use crate::view::Seen;

/// What apply does about an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// There is none: it is made.
    Make,
    /// It is made anew.
    Rebuild,
    /// It stays, and what is in it changes.
    Change,
}

pub(super) fn plan(wish: &Wish, found: &Found) -> Planned {
    let blocked = match &found.place {
        Seen::Known(place) if place.sort != Sort::Folder => {
            Some(format!("a {} is in the way", place.sort.word()))
        }
        Seen::Known(_) if found.environment.is_none() && found.occupied => {
            Some("a directory that is no virtual environment is in the way".to_owned())
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
                return Planned::InSync("every distribution is there in its version".to_owned());
            }
            Planned::change(Change { properties, ..Change::new(Verb::Update) })
        }
    };
    planned.given(found.needs.iter().chain(&found.demand.needs).chain(&found.own.needs).cloned())
}

/// What is to be done, if anything is.
pub(super) fn work(wish: &Wish, found: &Found) -> Work {
    match &found.environment {
        None => Work::Make,
        Some(_) if !rebuild(wish, found).is_empty() => Work::Rebuild,
        Some(_) => Work::Change,
    }
}

/// Why the environment cannot stay.
fn rebuild(wish: &Wish, found: &Found) -> Vec<PropertyChange> {
    let (Some(environment), Seen::Known(place)) = (&found.environment, &found.place) else {
        return Vec::new();
    };
    let mut reasons = Vec::new();
    if let Some(damage) = environment.damage {
        reasons.push(PropertyChange::new("state", damage, "whole"));
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

/// The interpreter, where it is another one than the environment was made of, or is not there.
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
    let before =
        program.map_or_else(|| "one that is gone".to_owned(), |program| program.display().to_string());
    let version = environment.version.as_deref().unwrap_or("unknown");
    let after = chosen.map_or(&wish.python, |chosen| &chosen.shown).clone();
    Some(PropertyChange::new("python", format!("{before} ({version})"), after))
}

/// What is added, changed and removed in `environment`; none: it is new.
fn distributions(wish: &Wish, found: &Found, environment: Option<&Environment>) -> Vec<PropertyChange> {
    let demand = &found.demand;
    let rebuilt = environment.is_some() && work(wish, found) == Work::Rebuild;
    let installed = |name: &str| {
        let environment = environment?;
        let there = environment.installed.iter().chain(&environment.lent).find(|there| there.name == name)?;
        Some(there.version.clone())
    };
    let mut properties = Vec::new();
    for (name, pin) in &demand.pins {
        let before = installed(name);
        if before.as_ref().is_none_or(|version| !same_version(pin, version)) {
            properties.push(PropertyChange::new(name, before, pin.clone()));
        }
    }
    if environment.is_some() && !rebuilt && found.project_moved() {
        properties.push(PropertyChange::new("project", "as it was installed", "as it is now"));
    }
    if let Some(why) = &demand.open {
        let unknown = || Shown::Unknown(why.clone());
        let settled = environment.is_some() && !rebuilt && found.is_noted();
        // What is taken from its place is taken again when it is another place.
        let again = |name: &str| installed(name).is_none() || !(settled || demand.hidden);
        let loose = demand.loose.iter().filter(|name| again(name));
        properties.extend(loose.map(|name| PropertyChange::new(name, installed(name), unknown())));
        let lost = found.lost();
        properties.extend(lost.iter().map(|name| PropertyChange::new(name, installed(name), unknown())));
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

/// What goes, by name, with its version: with `exact`, all that no source names; of what is built anew, too, where all of
/// it can be named.
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

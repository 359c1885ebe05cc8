//! The plan of a `package`.

use std::cmp::Ordering;

use converge_model::{Change, PropertyChange, Shown, Verb};

use super::{Found, Wish};
use crate::kind::{Depend, Planned};
use crate::overlay::{Effect, Version};
use crate::system::packages::{Features, Installed, PackageGoal, PackageRequest};
use crate::view::Seen;

/// Plans the changes.
pub(super) fn plan(wish: &Wish, found: &Found) -> Planned {
    if let Some(impossible) = unable(wish, found) {
        return impossible;
    }
    match (&wish.goal, &found.installed) {
        (PackageGoal::Absent { purge }, installed) => absent(wish, found, *purge, installed),
        (_, Seen::Known(installed)) => present(wish, found, installed),
        (_, Seen::Unknown(_)) => Planned::InSync("an earlier step brings it".to_owned()),
        (_, Seen::Absent | Seen::MayCome(_)) => create(wish, found),
    }
}

/// The first wish that the host's package manager cannot satisfy.
fn unable(wish: &Wish, found: &Found) -> Option<Planned> {
    let manager = found.manager;
    if !(manager.is_name)(&wish.name) {
        let message = format!("{} does not accept the package name {:?}", manager.name, wish.name);
        return Some(Planned::impossible(message));
    }
    let lacks = lacking(wish, manager.features)?;
    let (what, param) = lacks;
    let help = format!("leave `{param}` out, or limit it with `when` to hosts that support it");
    Some(Planned::Impossible { message: format!("{} cannot {what}", manager.name), help: Some(help) })
}

/// The wish that a manager with these features cannot satisfy, and the parameter for it.
fn lacking(wish: &Wish, has: Features) -> Option<(&'static str, &'static str)> {
    let pattern = matches!(&wish.goal, PackageGoal::Version(version) if is_pattern(version));
    let needs = [
        (has.hold, wish.hold == Some(true), "hold a package", "hold"),
        (has.recommends, wish.recommends == Some(true), "install recommended packages", "recommends"),
        (
            has.purge,
            wish.goal == PackageGoal::Absent { purge: true },
            "purge the configuration of a package",
            "purge",
        ),
        (has.downgrade, wish.downgrade, "downgrade a package", "allow-downgrade"),
        (has.globs, pattern, "match versions by a pattern", "version"),
    ];
    needs.into_iter().find(|(can, asked, ..)| *asked && !can).map(|(.., what, param)| (what, param))
}

fn absent(wish: &Wish, found: &Found, purge: bool, installed: &Seen<Installed>) -> Planned {
    let left = purge && found.upkeep.leftovers.contains(&wish.name);
    let mut change = Change::new(Verb::Remove).irreversible("packages are not restored");
    match installed {
        Seen::Known(installed) if installed.held => return held(installed),
        Seen::Known(installed) => {
            change.properties.push(PropertyChange::new("version", installed.version.as_str(), Shown::Absent))
        }
        Seen::Absent | Seen::MayCome(_) if left => {
            change.properties.push(PropertyChange::new("configuration", "left behind", Shown::Absent));
        }
        Seen::Absent | Seen::MayCome(_) => return Planned::InSync("it is not installed".to_owned()),
        Seen::Unknown(steps) => change.depend("the package", steps),
    }
    repair(found, &mut change);
    Planned::change(change)
}

fn create(wish: &Wish, found: &Found) -> Planned {
    match &found.provider {
        Ok(provider) if wish.goal == PackageGoal::Present && wish.hold.is_none() => {
            return Planned::InSync(format!("{provider} provides it"));
        }
        Ok(provider) => return provided(wish, std::slice::from_ref(provider)),
        // If the lists are as new as the sources, no package has this name.
        Err(providers) if !providers.is_empty() && outdated(wish, found).is_none() => {
            return provided(wish, providers);
        }
        Err(_) => {}
    }
    let mut change = Change::new(Verb::Create).irreversible("packages are not restored");
    change.properties.push(PropertyChange::new("version", Shown::Absent, after(wish, found)));
    if let Some(true) = wish.hold {
        change.properties.push(PropertyChange::new("hold", Shown::Absent, "yes"));
    }
    complete(wish, found, change)
}

fn present(wish: &Wish, found: &Found, installed: &Installed) -> Planned {
    let mut change = Change::new(Verb::Update).irreversible("packages are not restored");
    let moves = moves(wish, found, installed);
    if moves && installed.held && wish.hold.is_none() {
        return held(installed);
    }
    if moves && is_downgrade(wish, found) && !wish.downgrade {
        let help = "write `allow-downgrade=#true` to install the older version".to_owned();
        return Planned::Impossible {
            message: format!(
                "version {} is installed, which is newer than the wanted version",
                installed.version
            ),
            help: Some(help),
        };
    }
    if moves {
        change.properties.push(PropertyChange::new(
            "version",
            installed.version.as_str(),
            after(wish, found),
        ));
    } else if !installed.whole {
        change.properties.push(PropertyChange::new("state", "half-installed", "installed"));
    }
    if let Some(hold) = wish.hold.filter(|hold| *hold != installed.held) {
        change.properties.push(PropertyChange::new("hold", word(installed.held), word(hold)));
    }
    if change.properties.is_empty() {
        return Planned::InSync(format!("version {} is installed", installed.version));
    }
    complete(wish, found, change)
}

/// Refuses a name that only these other packages provide.
fn provided(wish: &Wish, providers: &[String]) -> Planned {
    let help = match providers {
        [one] => format!("declare `package \"{one}\"`"),
        _ => "declare one of them".to_owned(),
    };
    let message = format!("{} is a virtual package, provided by {}", wish.name, providers.join(", "));
    Planned::Impossible { message, help: Some(help) }
}

/// Adds the steps before the transaction: updating the lists, repairing the database.
fn complete(wish: &Wish, found: &Found, mut change: Change) -> Planned {
    if let Some(why) = stale(wish, found) {
        change.properties.push(PropertyChange::new("lists", why, "updated"));
        if found.sources_change {
            change.depend("updated lists", &[]);
        }
    }
    repair(found, &mut change);
    Planned::change(change)
}

fn repair(found: &Found, change: &mut Change) {
    if found.upkeep.interrupted {
        let before = match &found.upkeep.busy {
            Some(holder) => format!("in use by {holder}"),
            None => "interrupted".to_owned(),
        };
        change.properties.push(PropertyChange::new("database", before, "repaired"));
    }
}

fn held(installed: &Installed) -> Planned {
    Planned::Impossible {
        message: format!("it is held at version {}", installed.version),
        help: Some(
            "write `hold=#true` to change it and keep it held, or `hold=#false` to release it".to_owned(),
        ),
    }
}

/// Whether the installed version should change.
fn moves(wish: &Wish, found: &Found, installed: &Installed) -> bool {
    match &wish.goal {
        PackageGoal::Latest => {
            found.order == Some(Ordering::Less)
                || found.sources_change
                || found.upkeep.sources_newer
                || found.upkeep.lists_age.is_none()
        }
        PackageGoal::Version(pattern) => !(found.manager.matches)(pattern, &installed.version),
        PackageGoal::Present | PackageGoal::Kept | PackageGoal::Absent { .. } => false,
    }
}

/// Whether a version without wildcards is older than the installed one. Only the package manager can tell this of a
/// pattern.
fn is_downgrade(wish: &Wish, found: &Found) -> bool {
    let PackageGoal::Version(version) = &wish.goal else { return false };
    !is_pattern(version) && found.order == Some(Ordering::Greater)
}

fn is_pattern(version: &str) -> bool {
    version.contains(['*', '?'])
}

/// The version after the change, if it is known.
fn after(wish: &Wish, found: &Found) -> Shown {
    let unknown = |why: &str| Shown::Unknown(why.to_owned());
    match (&wish.goal, &found.candidate) {
        (PackageGoal::Version(version), _) if !is_pattern(version) => Shown::Text(version.clone()),
        _ if found.upkeep.interrupted => unknown("the package database is repaired first"),
        _ if stale(wish, found).is_some() => unknown("the lists are updated first"),
        (PackageGoal::Latest, Some(candidate)) => Shown::Text(candidate.clone()),
        _ => unknown("the package manager chooses it"),
    }
}

/// The reason why the lists must be updated before an installation.
fn stale(wish: &Wish, found: &Found) -> Option<String> {
    let installs = match &found.installed {
        Seen::Known(installed) => moves(wish, found, installed),
        _ => true,
    };
    if !installs || matches!(wish.goal, PackageGoal::Absent { .. } | PackageGoal::Kept) {
        return None;
    }
    if let Some(why) = outdated(wish, found) {
        return Some(why.to_owned());
    }
    match (&wish.goal, &found.candidate) {
        (_, None) => Some(format!("without {}", wish.name)),
        (PackageGoal::Version(pattern), Some(candidate)) if !(found.manager.matches)(pattern, candidate) => {
            Some(format!("without {} {pattern}", wish.name))
        }
        _ => None,
    }
}

/// The reason why the lists are outdated, whatever their content.
fn outdated(wish: &Wish, found: &Found) -> Option<&'static str> {
    let Some(age) = found.upkeep.lists_age else { return Some("never fetched") };
    if found.sources_change || found.upkeep.sources_newer {
        return Some("older than the sources");
    }
    wish.refresh.is_some_and(|limit| age > limit).then_some("older than `refresh` allows")
}

fn word(held: bool) -> &'static str {
    if held { "yes" } else { "no" }
}

/// The request to the package manager.
pub(super) fn request(wish: &Wish, found: &Found) -> PackageRequest {
    let goal = match (&wish.goal, &found.installed) {
        (PackageGoal::Absent { .. }, _) => wish.goal.clone(),
        (goal, Seen::Known(installed)) if installed.whole && !moves(wish, found, installed) => match goal {
            PackageGoal::Absent { .. } => goal.clone(),
            _ => PackageGoal::Kept,
        },
        (goal, _) => goal.clone(),
    };
    PackageRequest {
        name: wish.name.clone(),
        goal,
        hold: wish.hold,
        recommends: wish.recommends,
        downgrade: wish.downgrade,
        refresh: stale(wish, found).is_some(),
    }
}

/// The effects for later steps: the package itself, and anything that it may bring.
pub(super) fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
    if let PackageGoal::Absent { .. } = wish.goal {
        return vec![Effect::Package(wish.name.clone(), None), Effect::Elsewhere];
    }
    if request(wish, found).goal == PackageGoal::Kept {
        return Vec::new();
    }
    let version = match after(wish, found) {
        Shown::Text(version) => Version::Known(version),
        _ => Version::Unknown,
    };
    let mut effects = vec![Effect::Package(wish.name.clone(), Some(version)), Effect::Open];
    if stale(wish, found).is_none() && !found.upkeep.interrupted {
        effects.push(Effect::PackagesNamed);
    }
    effects
}

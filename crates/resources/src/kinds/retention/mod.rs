//! `retention`: keeps the newest releases of a folder and removes the others. It never removes the current release or
//! the one before.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use converge_model::{
    Change, Claim, Digest, KindSchema, Param, ParamProblem, PropertyChange, Shown, Type, Verb,
};

use crate::actor::{Actor, ApplyError};
use crate::kind::{Kind, Planned};
use crate::kit::attributes::printable;
use crate::overlay::Effect;
use crate::system::files::Sort;
use crate::system::receipts::Receipt;
use crate::view::{LookError, Seen, View};
use crate::wish::Reader;

/// The kind.
pub struct Retention;

/// The number of releases to keep.
pub struct Wish {
    path: PathBuf,
    current: PathBuf,
    keep: usize,
}

/// The state of the host.
pub struct Found {
    /// The release in use. None if the link leads to no release.
    current: Option<PathBuf>,
    /// The releases that were in use, the latest first, from the receipt. Removed ones are left out.
    noted: Vec<PathBuf>,
    /// The releases that were never in use, the newest first.
    others: Vec<PathBuf>,
}

impl Kind for Retention {
    type Wish = Wish;
    type Found = Found;

    fn schema() -> KindSchema {
        KindSchema::new("retention", "Cleanup of old releases")
            .details(
                "The kind keeps the releases in the folder that were in use last, then the newest ones. It \
                 removes all other directories for good. The target of `current` always stays, and so does the \
                 release before it, for a rollback. Converge records on the host which releases were in use.",
            )
            .param(Param::new("path", Type::Path, "Folder of the releases").argument(0).required())
            .param(Param::new("current", Type::Path, "Link to the release in use").required())
            .param(Param::new("keep", Type::Int, "Number of releases to keep").range(1, 1000).default(5))
            .example(
                "Three releases",
                "directory \"/srv/tool/releases/1\"\nlink \"/srv/tool/current\" to=\"releases/1\"\nretention \"/srv/tool/releases\" current=\"/srv/tool/current\" keep=3",
            )
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let wish = Wish {
            path: params.path("path"),
            current: params.path("current"),
            keep: params.number("keep").and_then(|keep| keep.try_into().ok()).unwrap_or(5),
        };
        if wish.current.starts_with(&wish.path) {
            params.problem(ParamProblem::new("current", "must not be in the folder of the releases"));
        }
        wish
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        vec![Claim::named("retention", wish.path.to_string_lossy())]
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let mut names: Vec<PathBuf> = Vec::new();
        for name in view.list(&wish.path)?.known().unwrap_or_default() {
            if is_folder(view, &wish.path.join(&name))? {
                names.push(name.into());
            }
        }
        let leads = view.followed(&wish.current)?.known().map(|(path, _)| path);
        let current = leads.and_then(|path| Some(path.strip_prefix(&wish.path).ok()?.to_owned()));
        let current = current.filter(|name| names.contains(name));
        let noted = were_in_use(view, &wish.path)?;
        let used: HashSet<&PathBuf> = noted.iter().chain(&current).collect();
        let mut dated = Vec::new();
        for name in names.into_iter().filter(|name| !used.contains(name)) {
            dated.push((view.modified(&wish.path.join(&name))?, name));
        }
        // A release of this plan has no time yet and counts as the newest.
        dated.sort_by_key(|(modified, _)| (modified.is_some(), Reverse(*modified)));
        Ok(Found { current, noted, others: dated.into_iter().map(|(_, name)| name).collect() })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        let Some(current) = &found.current else {
            return Planned::InSync("no release is in use".to_owned());
        };
        let mut change = Change::new(Verb::Update);
        if found.noted.first() != Some(current) {
            let name = |name: &PathBuf| printable(name.as_os_str());
            change =
                change.property(PropertyChange::new("current", found.noted.first().map(name), name(current)));
        }
        for name in found.surplus(wish) {
            change =
                change.property(PropertyChange::new(&printable(name.as_os_str()), "kept", Shown::Absent));
            change.irreversible = Some("removed releases are not kept".to_owned());
        }
        if change.properties.is_empty() {
            return Planned::InSync("there are no more releases than asked".to_owned());
        }
        Planned::change(change)
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        found.surplus(wish).into_iter().map(|name| Effect::Path(wish.path.join(name), None)).collect()
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        let surplus = found.surplus(wish);
        for name in &surplus {
            actor.discard_tree(&wish.path.join(name))?;
        }
        let gone: HashSet<&PathBuf> = surplus.into_iter().collect();
        let paths = found.used().filter(|name| !gone.contains(name)).cloned().collect();
        let source = Digest::of(wish.current.as_os_str().as_encoded_bytes());
        actor.set_receipt(
            &key(&wish.path),
            Some(&Receipt { source, seen: source, paths, text: String::new() }),
        )
    }
}

/// The names of the releases in `folder` that were in use and still exist, the latest first.
pub(crate) fn were_in_use(view: &View<'_>, folder: &Path) -> Result<Vec<PathBuf>, LookError> {
    let noted = view.receipt(&key(folder))?.map(|receipt| receipt.paths).unwrap_or_default();
    let mut there = Vec::new();
    for name in noted {
        if is_folder(view, &folder.join(&name))? {
            there.push(name);
        }
    }
    Ok(there)
}

fn is_folder(view: &View<'_>, path: &Path) -> Result<bool, LookError> {
    Ok(matches!(view.glance(path)?, Seen::Known(place) if place.sort == Sort::Folder))
}

fn key(folder: &Path) -> String {
    format!("retention:{}", folder.to_string_lossy())
}

impl Found {
    /// The releases that are or were in use, the latest first.
    fn used(&self) -> impl Iterator<Item = &PathBuf> {
        let before = self.noted.iter().filter(|name| self.current.as_ref() != Some(*name));
        self.current.iter().chain(before)
    }

    /// The releases to remove.
    fn surplus<'a>(&'a self, wish: &Wish) -> Vec<&'a PathBuf> {
        let safe = self.used().take(2).count();
        let rest = self.others.iter().chain(self.used().skip(2));
        rest.skip(wish.keep.saturating_sub(safe)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{Trial, change, params};
    use converge_model::Params;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn releases(keep: i64) -> Params {
        params([("path", "/srv/releases".into()), ("current", "/srv/current".into()), ("keep", keep.into())])
    }

    fn switch(trial: &Trial, name: &str) {
        fs::create_dir_all(trial.at("/srv/releases").join(name)).unwrap();
        let _ = fs::remove_file(trial.at("/srv/current"));
        symlink(Path::new("releases").join(name), trial.at("/srv/current")).unwrap();
    }

    fn names(trial: &Trial) -> Vec<String> {
        let entries = fs::read_dir(trial.at("/srv/releases")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Puts releases into use one after the other.
    fn in_use(trial: &Trial, all: &[&str], keep: i64) {
        for name in all {
            switch(trial, name);
            trial.apply("retention", &releases(keep)).unwrap();
            trial.assert_in_sync("retention", &releases(keep));
        }
    }

    #[test]
    fn the_latest_stay_and_the_plan_names_what_goes() {
        let trial = Trial::new();
        in_use(&trial, &["a", "b", "c"], 3);
        switch(&trial, "d");
        let planned = change(trial.plan("retention", &releases(3)));
        trial.apply("retention", &releases(3)).unwrap();
        trial.assert_in_sync("retention", &releases(3));
        let shown: Vec<_> =
            planned.properties.iter().map(|p| (p.property.as_str(), p.after.clone())).collect();
        assert_eq!(shown, [("current", Shown::Text("d".into())), ("a", Shown::Absent)]);
        assert!(planned.irreversible.is_some());
        assert_eq!(names(&trial), ["b", "c", "d"]);
    }

    #[test]
    fn the_one_in_use_and_the_one_before_stay_whatever_their_age() {
        let trial = Trial::new();
        in_use(&trial, &["a", "b", "c", "a", "d"], 1);
        assert_eq!(names(&trial), ["a", "d"], "a was in use before d");
    }

    #[test]
    fn what_never_was_in_use_counts_by_its_age() {
        let trial = Trial::new();
        in_use(&trial, &["a", "b"], 9);
        for name in ["old", "new"] {
            fs::create_dir(trial.at("/srv/releases").join(name)).unwrap();
            let seconds = if name == "old" { 1_000 } else { 2_000 };
            let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            fs::File::open(trial.at("/srv/releases").join(name)).unwrap().set_modified(time).unwrap();
        }
        trial.write("/srv/releases/note.txt", "mine");
        trial.apply("retention", &releases(3)).unwrap();
        assert_eq!(names(&trial), ["a", "b", "new", "note.txt"]);
    }

    #[test]
    fn without_one_in_use_nothing_goes() {
        let trial = Trial::new();
        fs::create_dir_all(trial.at("/srv/releases/a")).unwrap();
        trial.assert_in_sync("retention", &releases(1));
        symlink("elsewhere", trial.at("/srv/current")).unwrap();
        trial.assert_in_sync("retention", &releases(1));
    }

    #[test]
    fn a_folder_of_releases_has_one_owner_and_its_own_note() {
        let trial = Trial::new();
        let claims = |path: &str| {
            let wish = params([("path", path.into()), ("current", "/srv/current".into())]);
            trial.claims("retention", &wish).iter().map(Claim::key).collect::<Vec<_>>()
        };
        assert_eq!(claims("/srv/releases"), ["retention:/srv/releases"]);
        in_use(&trial, &["a", "b"], 3);
        let other = params([("path", "/opt/releases".into()), ("current", "/opt/current".into())]);
        fs::create_dir_all(trial.at("/opt/releases/b")).unwrap();
        symlink("releases/b", trial.at("/opt/current")).unwrap();
        let first = change(trial.plan("retention", &other));
        assert_eq!(first.properties[0].before, Shown::Absent, "what was in use elsewhere is not its own");
        trial.apply("retention", &other).unwrap();
        trial.assert_in_sync("retention", &other);
        trial.assert_in_sync("retention", &releases(3));
    }

    #[test]
    fn later_steps_see_what_goes() {
        let trial = Trial::new();
        in_use(&trial, &["a", "b", "c"], 3);
        switch(&trial, "d");
        let effects = trial.look("retention", &releases(3)).effects;
        let seen = trial.view_after(effects, |view| view.list(Path::new("/srv/releases")).unwrap());
        assert_eq!(seen, Seen::Known(["b", "c", "d"].map(std::ffi::OsString::from).to_vec()));
    }
}

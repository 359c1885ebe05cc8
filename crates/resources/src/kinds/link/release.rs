//! The target of a rollback: a release that was in use on this host and still exists, found by its name.

use std::path::{Path, PathBuf};

use crate::kinds::retention::were_in_use;
use crate::kit::attributes::printable;
use crate::view::{LookError, View};

/// The reason why the asked release is missing.
pub(super) struct Missing {
    pub(super) message: String,
    /// The releases that the user can ask for instead.
    pub(super) help: String,
}

/// The target of a link in `folder` to the release among `releases` that `asked` names.
pub(super) fn among(
    view: &View<'_>,
    folder: &Path,
    releases: &Path,
    asked: &Path,
) -> Result<Result<PathBuf, Missing>, LookError> {
    let used = were_in_use(view, releases)?;
    let asked = asked.to_string_lossy();
    Ok(choose(&used, &asked, releases).map(|name| {
        let path = releases.join(name);
        path.strip_prefix(folder).map(Path::to_owned).unwrap_or(path)
    }))
}

fn choose<'u>(used: &'u [PathBuf], asked: &str, releases: &Path) -> Result<&'u PathBuf, Missing> {
    if let Some(exact) = used.iter().find(|name| name.as_os_str() == asked) {
        return Ok(exact);
    }
    let fitting: Vec<_> = used.iter().filter(|name| is_version(&name.to_string_lossy(), asked)).collect();
    let list = |names: &[&PathBuf]| {
        let names: Vec<_> = names.iter().map(|name| printable(name.as_os_str())).collect();
        names.join(", ")
    };
    let place = releases.display();
    match fitting[..] {
        [one] => Ok(one),
        [] if used.is_empty() => Err(Missing {
            message: format!("no release in {place} has been in use"),
            help: "apply a release first; a rollback needs a release that was in use".to_owned(),
        }),
        [] => Err(Missing {
            message: format!("no release {asked} in {place} has been in use"),
            help: format!("known releases: {}", list(&used.iter().collect::<Vec<_>>())),
        }),
        _ => Err(Missing {
            message: format!("{asked} matches more than one release in {place}"),
            help: format!("write the full name of one: {}", list(&fitting)),
        }),
    }
}

/// Whether `asked` is the version in `name`. A prefix and a trailing digest are ignored.
fn is_version(name: &str, asked: &str) -> bool {
    let is_digest = |part: &str| part.len() == 8 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let stem = name.rsplit_once('-').filter(|(_, last)| is_digest(last)).map_or(name, |(stem, _)| stem);
    stem.strip_suffix(asked).is_some_and(|before| before.is_empty() || before.ends_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    use converge_model::{Params, Shown};
    use std::fs;
    use std::os::unix::fs::symlink;

    use crate::Planned;
    use crate::kinds::testing::{Trial, change, params};

    fn back(asked: &str) -> Params {
        let path = |path: &str| path.into();
        params([("path", path("/srv/now")), ("to", asked.into()), ("among", path("/srv/releases"))])
    }

    /// A host on which these releases were in use, in this order.
    fn host(used: &[&str]) -> Trial {
        let trial = Trial::new();
        for name in used {
            fs::create_dir_all(trial.at("/srv/releases").join(name)).unwrap();
            let _ = fs::remove_file(trial.at("/srv/now"));
            symlink(Path::new("releases").join(name), trial.at("/srv/now")).unwrap();
            let kept = params([("path", "/srv/releases".into()), ("current", "/srv/now".into())]);
            trial.apply("retention", &kept).unwrap();
        }
        trial
    }

    #[test]
    fn a_link_goes_back_to_a_release_that_was_in_use() {
        let trial = host(&["shop-1.4.2-3f9a12cd", "shop-1.5.0-00112233"]);
        let to = change(trial.plan("link", &back("1.4.2"))).properties.remove(0);
        let expected =
            ["releases/shop-1.5.0-00112233", "releases/shop-1.4.2-3f9a12cd"].map(|to| Shown::Text(to.into()));
        assert_eq!([to.before, to.after], expected);
        trial.laws("link", &back("shop-1.4.2"));
        trial.assert_in_sync("link", &back("shop-1.4.2-3f9a12cd"));
    }

    #[test]
    fn what_is_not_there_was_never_in_use_or_is_not_one_is_refused() {
        let check = |used: &[&str], asked: &str, expected: &str, offered: &str| {
            let trial = host(used);
            fs::create_dir_all(trial.at("/srv/releases/shop-2.0")).unwrap();
            let planned = trial.plan("link", &back(asked));
            let Planned::Impossible { message, help } = planned else { panic!("{asked}: {planned:?}") };
            assert_eq!((message.as_str(), help.as_deref()), (expected, Some(offered)), "{asked}");
        };
        let never = "no release shop-2.0 in /srv/releases has been in use";
        check(&["a", "b"], "shop-2.0", never, "known releases: b, a");
        let none = "no release in /srv/releases has been in use";
        check(&[], "shop-2.0", none, "apply a release first; a rollback needs a release that was in use");
        let two = ["shop-1.0-11111111", "shop-1.0-22222222"];
        let named = "write the full name of one: shop-1.0-22222222, shop-1.0-11111111";
        check(&two, "1.0", "1.0 matches more than one release in /srv/releases", named);
    }

    #[test]
    fn a_release_that_is_gone_is_not_offered() {
        let trial = host(&["1.0", "1.1"]);
        fs::remove_dir(trial.at("/srv/releases/1.0")).unwrap();
        assert!(matches!(trial.plan("link", &back("1.0")), Planned::Impossible { .. }));
    }

    #[test]
    fn a_version_is_what_stands_between_name_and_digest() {
        let check = |name: &str, asked: &str, expected: bool| {
            assert_eq!(is_version(name, asked), expected, "{name} {asked}");
        };
        check("shop-1.4.2-3f9a12cd", "1.4.2", true);
        check("shop-1.4.2-3f9a12cd", "shop-1.4.2", true);
        check("shop-1.4.2-3f9a12cd", "4.2", false);
        check("shop-1.4.2-rc1-3f9a12cd", "1.4.2", false);
        check("shop-1.4.2-rc1-3f9a12cd", "1.4.2-rc1", true);
        check("shop-1.4.2-3f9a12cd", "3f9a12cd", false);
        check("shop-1.4.2-snapshot", "1.4.2", false);
        check("shop-1.4.2-12", "1.4.2", false);
        check("v1", "v1", true);
        check("shop-v1", "v1", true);
    }

    #[test]
    fn a_release_is_named_and_not_a_path() {
        let trial = Trial::new();
        for asked in ["../../etc", "a/b", "a/", ".", ".."] {
            let problems = trial.problems("link", &back(asked));
            assert_eq!(problems[0].param.as_deref(), Some("to"), "{asked}");
        }
    }
}

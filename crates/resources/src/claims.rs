//! Claims as the host sees them: two names of one thing are one claim. Such names are links on the way to a path,
//! aliases of a unit, and the architecture of a package.

use std::path::{Path, PathBuf};

use converge_model::Claim;

use crate::system::services::is_unit_name;
use crate::view::{LookError, Seen, UNIT_FOLDERS, View};

/// Returns the claim under the name that the thing has on the host.
pub fn on_host(view: &View<'_>, claim: Claim) -> Result<Claim, LookError> {
    Ok(match claim {
        Claim::Path { path, extent } => {
            let resolved = view.resolved(Path::new(&path))?;
            Claim::Path { path: resolved.to_string_lossy().into_owned(), extent }
        }
        Claim::Named { space, name } => {
            let name = match space.as_str() {
                "unit" => unit(view, name)?,
                "package" => package(view, name)?,
                _ => name,
            };
            Claim::Named { space, name }
        }
    })
}

/// Returns the end of the path with all links followed. A path that does not exist stays as written.
pub fn end(view: &View<'_>, path: &Path) -> Result<PathBuf, LookError> {
    let resolved = view.resolved(path)?;
    Ok(match view.followed(&resolved)? {
        Seen::Known((end, _)) => end,
        _ => resolved,
    })
}

/// Returns the unit's own name. An alias is a link to the file of another unit.
fn unit(view: &View<'_>, mut name: String) -> Result<String, LookError> {
    for _ in 0..8 {
        match alias_of(view, &name)? {
            Some(other) => name = other,
            None => break,
        }
    }
    Ok(name)
}

fn alias_of(view: &View<'_>, unit: &str) -> Result<Option<String>, LookError> {
    for folder in UNIT_FOLDERS {
        let Seen::Known(place) = view.place(&Path::new(folder).join(unit))? else { continue };
        let target = place.target.as_deref().and_then(Path::file_name).and_then(|name| name.to_str());
        // A link to a file that is not a unit keeps the name. An instance shares only its text with its template.
        let is_other = |name: &&str| is_unit_name(name) && *name != unit && !name.contains("@.");
        return Ok(target.filter(is_other).map(str::to_owned));
    }
    Ok(view.planned_alias(unit))
}

/// Returns the package name without the host's own architecture. Another architecture stays in the name.
fn package(view: &View<'_>, name: String) -> Result<String, LookError> {
    let Some((plain, architecture)) = name.split_once(':') else { return Ok(name) };
    let own = matches!(view.package(&format!("dpkg:{architecture}"))?, Seen::Known(_));
    Ok(if own { plain.to_owned() } else { name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::Trial;
    use crate::overlay::Effect;
    use crate::view::Need;
    use converge_model::Extent;
    use std::os::unix::fs::symlink;

    #[test]
    fn two_names_of_one_thing_are_one_claim() {
        let trial = Trial::new();
        trial.write("/run/x", "");
        symlink("../run", trial.at("/var/run")).unwrap();
        symlink("x", trial.at("/run/link")).unwrap();
        trial.write("/usr/lib/systemd/system/ssh.service", "");
        std::fs::create_dir_all(trial.at("/etc/systemd/system")).unwrap();
        let unit =
            |target: &str, name: &str| symlink(target, trial.at("/etc/systemd/system").join(name)).unwrap();
        unit("/usr/lib/systemd/system/ssh.service", "sshd.service");
        unit("/usr/lib/systemd/system/app@.service", "app@one.service");
        unit("/dev/null", "masked.service");
        let check = |claim: Claim, expected: &str| {
            let owned = trial.view(|view| on_host(view, claim).unwrap());
            assert_eq!(owned.key(), expected);
        };
        let path = |path: &str| Claim::path(path, Extent::Whole);
        check(path("/var/run/x"), "path:/run/x");
        check(path("/var/run/link"), "path:/run/link");
        check(path("/var/run/none/x"), "path:/run/none/x");
        check(path("/etc/x"), "path:/etc/x");
        let unit = |name: &str| Claim::named("unit", name);
        check(unit("sshd.service"), "unit:ssh.service");
        check(unit("ssh.service"), "unit:ssh.service");
        check(unit("app@one.service"), "unit:app@one.service");
        check(unit("masked.service"), "unit:masked.service");
        let written = |view: &View<'_>, name: &str| on_host(view, unit(name)).unwrap().key();
        let text = b"[Service]\nExecStart=/bin/true\n[Install]\nAlias=one.service twin.service\n";
        trial.view_after(vec![trial.planned_file("/etc/systemd/system/app.service", text)], |view| {
            assert_eq!(written(view, "twin.service"), "unit:app.service");
            assert_eq!(written(view, "other.service"), "unit:other.service");
            let need = view.need_unit("twin.service").unwrap();
            assert!(matches!(need, Need::Absent { help: Some(help), .. } if help.contains("another name of app.service")));
        });
        let path = "/etc/systemd/system/app.service";
        for later in [trial.planned_file(path, b"[Service]\n"), Effect::Path(path.into(), None)] {
            let effects = vec![trial.planned_file(path, text), later];
            trial.view_after(effects, |view| assert_eq!(written(view, "twin.service"), "unit:twin.service"));
        }
        check(Claim::named("user", "ada"), "user:ada");
        check(Claim::named("package", "curl:amd64"), "package:curl:amd64");
        trial.world().installed("dpkg:amd64", "1");
        check(Claim::named("package", "curl:amd64"), "package:curl");
        check(Claim::named("package", "curl:i386"), "package:curl:i386");
    }
}

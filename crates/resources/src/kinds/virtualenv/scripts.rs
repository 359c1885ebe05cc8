//! The path for which an environment was created, from its own scripts. An environment cannot be moved: after a copy
//! or a rename its scripts start the Python of another path, or fail.

use std::path::{Path, PathBuf};

use crate::system::files::Sort;
use crate::view::{LookError, Seen, View};

/// The largest file that is read as a script, in bytes.
const SCRIPT: u64 = 64 * 1024;

/// The other path for which the environment at `path` was created, if there is one. It comes from the `command` of
/// the creation or from a file in `bin`.
pub(super) fn made_at(
    view: &View<'_>,
    path: &Path,
    command: Option<&str>,
) -> Result<Option<PathBuf>, LookError> {
    let own = resolved(view, path);
    let is_other = |place: &Path| place.is_absolute() && place != path && resolved(view, place) != own;
    let made = command.and_then(|command| command.rsplit_once(' ')).map(|(_, place)| inside(view, place));
    if let Some(place) = made.filter(|place| is_other(place)) {
        return Ok(Some(place));
    }
    let bin = path.join("bin");
    for name in view.list(&bin)?.known().unwrap_or_default() {
        let Some(text) = script(view, &bin.join(&name))? else { continue };
        let place = match name.to_str() {
            Some("activate") => activated(&text).map(|place| inside(view, place)),
            _ => environment_of(view, &text)?,
        };
        if let Some(place) = place.filter(|place| is_other(place)) {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// The text of a file that could be a script.
fn script(view: &View<'_>, path: &Path) -> Result<Option<String>, LookError> {
    match view.glance(path)? {
        Seen::Known(place) if place.sort == Sort::File && place.size <= SCRIPT => {
            Ok(view.raw(path)?.map(|text| String::from_utf8_lossy(&text).into_owned()))
        }
        _ => Ok(None),
    }
}

/// The path in `activate`.
fn activated(text: &str) -> Option<&str> {
    let place = text.lines().find_map(|line| line.trim().strip_prefix("VIRTUAL_ENV="))?;
    Some(place.trim_matches(['"', '\'']))
}

/// The environment of a script's Python. None if that Python belongs to no environment: a user's script may name the
/// system's Python.
fn environment_of(view: &View<'_>, text: &str) -> Result<Option<PathBuf>, LookError> {
    let Some(python) = interpreter(text).map(|python| inside(view, python)) else { return Ok(None) };
    let Some(place) = python.parent().and_then(Path::parent) else { return Ok(None) };
    let is_gone = matches!(view.followed(&python), Ok(Seen::Absent | Seen::MayCome(_)));
    let is_one = is_gone || matches!(view.place(&place.join("pyvenv.cfg"))?, Seen::Known(_));
    Ok(is_one.then(|| place.to_owned()))
}

/// The Python of a script, from its first line. If the path is too long for that, it is after `exec` on the second.
fn interpreter(script: &str) -> Option<&str> {
    let mut lines = script.lines();
    let program = match lines.next()?.strip_prefix("#!")?.trim() {
        "/bin/sh" => {
            let rest = lines.next()?.strip_prefix("'''exec' ")?;
            rest.strip_prefix('"').map_or_else(|| rest.split(' ').next(), |rest| rest.split('"').next())?
        }
        first => first,
    };
    let is_python = program.rsplit('/').next()?.starts_with("python");
    (is_python && program.starts_with('/')).then_some(program)
}

/// Converts a path that processes see to the host's path.
fn inside(view: &View<'_>, path: &str) -> PathBuf {
    let root = view.root().to_string_lossy();
    PathBuf::from(path.strip_prefix(root.trim_end_matches('/')).unwrap_or(path))
}

/// Follows all links of a path, so that two names of one folder are equal.
fn resolved(view: &View<'_>, path: &Path) -> PathBuf {
    let mut resolved = PathBuf::from("/");
    for part in path.strip_prefix("/").unwrap_or(path) {
        let next = resolved.join(part);
        resolved = view.followed(&next).ok().and_then(Seen::known).map_or(next, |(path, _)| path);
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_tells_its_interpreter() {
        let check = |script: &str, program: Option<&str>| {
            assert_eq!(interpreter(script), program, "{script}");
        };
        check("#!/opt/v/bin/python3\nimport x\n", Some("/opt/v/bin/python3"));
        check(
            "#!/bin/sh\n'''exec' \"/opt/a b/bin/python\" \"$0\" \"$@\"\n' '''\n",
            Some("/opt/a b/bin/python"),
        );
        check("#!/bin/sh\n'''exec' /opt/v/bin/python3 \"$0\" \"$@\"\n' '''\n", Some("/opt/v/bin/python3"));
        check("#!/usr/bin/env python3\n", None);
        check("#!/bin/sh\necho\n", None);
        check("\u{7f}ELF", None);
    }

    #[test]
    fn the_place_of_activate_is_read_with_and_without_quotes() {
        assert_eq!(activated("a\n    VIRTUAL_ENV='/opt/v'\n"), Some("/opt/v"));
        assert_eq!(activated("VIRTUAL_ENV=\"/opt/v\"\nexport VIRTUAL_ENV\n"), Some("/opt/v"));
        assert_eq!(activated("export PATH\n"), None);
    }
}

//! systemd's own check of a new unit file before it is written.

use std::io::Write;
use std::path::Path;

use crate::actor::{Actor, ApplyError};
use crate::system::files::{Files, Sort};
use crate::system::processes::Command;
use crate::view::UNIT_FOLDERS;

const ANALYZE: &str = "/usr/bin/systemd-analyze";

/// The largest unit file that is read, in bytes.
const LIMIT: usize = 1024 * 1024;

/// Passes the new file at `path` to systemd-analyze(1) verify. The file is the unit file of `unit` or a drop-in.
/// Without the program there is no check.
pub(super) fn check(actor: &mut Actor<'_>, unit: &str, path: &Path, text: &[u8]) -> Result<(), ApplyError> {
    let program = actor.files().entry(Path::new(ANALYZE)).ok().flatten();
    let room = actor.files().entry(Path::new("/run")).ok().flatten();
    if program.is_none() || room.is_none() {
        return Ok(());
    }
    actor.scratch(|actor, folder| {
        let drop_in = path.file_name().is_some_and(|name| name != unit);
        if drop_in {
            // The check needs the unit together with its drop-in. Skip it if the unit has no file.
            let Some(original) = original(actor.files(), unit) else { return Ok(()) };
            put(actor, &folder.join(unit), &original)?;
            let below = folder.join(format!("{unit}.d"));
            actor.files().make_folder(&below).map_err(|error| ApplyError::at("make", &below, &error))?;
            put(actor, &below.join(path.file_name().unwrap_or_default()), text)?;
        } else {
            put(actor, &folder.join(unit), text)?;
        }
        verify(actor, folder, unit)
    })
}

/// The text of the drop-in's unit, if the unit has a file.
fn original(files: &Files, unit: &str) -> Option<Vec<u8>> {
    let found = UNIT_FOLDERS
        .into_iter()
        .map(|folder| Path::new(folder).join(unit))
        .find(|path| files.entry(path).ok().flatten().is_some_and(|entry| entry.sort == Sort::File));
    files.read(&found?, LIMIT).ok()
}

fn put(actor: &Actor<'_>, path: &Path, text: &[u8]) -> Result<(), ApplyError> {
    let fail = |error: std::io::Error| ApplyError::at("write", path, &error);
    let mut file = actor.files().create_beside(path, path.file_name().unwrap_or_default()).map_err(fail)?;
    file.write_all(text).map_err(fail)
}

fn verify(actor: &mut Actor<'_>, folder: &Path, unit: &str) -> Result<(), ApplyError> {
    let folder = actor.files().outside(folder);
    let file = folder.join(unit);
    let words = [ANALYZE, "verify", "--man=no", "--generators=no", &*file.to_string_lossy()];
    let said = actor.system.processes().run(&Command::new(words), &mut |_| {});
    let said = said.map_err(|error| ApplyError::new(error.to_string()))?;
    let said = String::from_utf8_lossy(&said.output).into_owned();
    let complaints = complaints(&said, &folder.to_string_lossy(), unit);
    match complaints.first() {
        None => Ok(()),
        Some(first) => Err(ApplyError::new(format!("systemd refuses the new text: {first}"))
            .output(complaints.join("\n").as_bytes())),
    }
}

/// The lines about the new text itself: they name a line of it, or refuse the unit. Complaints about missing programs
/// and other units are left out, because they may be fixed later.
fn complaints(said: &str, folder: &str, unit: &str) -> Vec<String> {
    let own = |line: &&str| {
        let named = line.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let fatal = ["Refusing", "refusing", "fatal error"].iter().any(|word| line.contains(word));
        named || (line.starts_with(&format!("{unit}: ")) && fatal)
    };
    said.lines().filter(own).map(|line| line.replace(&format!("{folder}/"), "")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_about_the_new_text_counts() {
        let check = |said: &str, expected: &[&str]| {
            assert_eq!(complaints(said, "/run/x", "app.service"), expected, "{said}");
        };
        check("/run/x/app.service:4: Unknown key 'Foo'\n", &["app.service:4: Unknown key 'Foo'"]);
        check("/run/x/app.service.d/10.conf:2: Unknown\n", &["app.service.d/10.conf:2: Unknown"]);
        check("/lib/systemd/system/other.service:3: Unknown key\n", &[]);
        check(
            "app.service: Service has no ExecStart=. Refusing.\n",
            &["app.service: Service has no ExecStart=. Refusing."],
        );
        check("app.service: Command /bin/app is not executable: No such file or directory\n", &[]);
        check("other.service: has a bad unit file setting. Refusing.\n", &[]);
    }
}

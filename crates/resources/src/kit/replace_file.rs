//! The precautions of kinds that replace the content of a file: they check the new content or keep a copy of the old
//! one.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use converge_model::{Param, ParamProblem, PropertyChange, Shown, Type};

use crate::actor::{Actor, ApplyError};
use crate::system::files::Files;
use crate::system::processes::Command;
use crate::view::{Claimed, PATH, View};
use crate::wish::Reader;

/// Why sensitive content cannot be restored later. It is kept in memory until its run ends, and can be restored until
/// then.
pub const SENSITIVE: &str = "the content is sensitive and is not kept";

/// The precautions before a new content is put in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precautions {
    /// A command that must succeed; `%s` in it is the new file.
    pub validate: Vec<String>,
    /// Whether the old file is kept beside the new one.
    pub backup: bool,
}

/// The two parameters.
pub fn params() -> [Param; 2] {
    [
        Param::new(
            "validate",
            Type::Command,
            "Command that must succeed on the new content before it is put in place; `%s` is the new file",
        ),
        Param::new(
            "backup",
            Type::Bool,
            "Keep the old file as `NAME.converge-backup`, unless the old or new content is secret",
        )
        .default(false),
    ]
}

/// Reads the two parameters.
pub fn decode(params: &mut Reader<'_>) -> Precautions {
    let validate = params.several_lines(|params| params.texts("validate"));
    if !validate.is_empty() && !validate.iter().any(|word| word.contains("%s")) {
        let help = "write `%s` in place of the path of the new file";
        params.problem(ParamProblem::new("validate", "must contain `%s`, the new file").help(help));
    }
    Precautions { validate, backup: params.flag("backup").unwrap_or(false) }
}

/// Runs the command `validate` on the new file. `%s` in it is `new`, the path that the processes of the host see.
/// Without a command, a file that decides who can log in is checked by the program that reads it.
pub fn check(validate: &[String], actor: &mut Actor<'_>, new: &Path) -> Result<(), ApplyError> {
    let usual = if validate.is_empty() { usual_check(actor.files(), new) } else { Vec::new() };
    let validate = if validate.is_empty() { &usual } else { validate };
    if validate.is_empty() {
        return Ok(());
    }
    let Some(new) = new.to_str() else {
        return Err(ApplyError::at("check", new, &"its name is not UTF-8"));
    };
    let words = validate.iter().map(|word| word.replace("%s", new));
    let checked = actor.run(&Command::new(words));
    checked.map(drop).map_err(|error| ApplyError {
        message: format!("the new content was refused: {}", error.message),
        output: error.output,
    })
}

/// Files that every login needs: the folder of the new file, the start of its name, and the command that checks it.
const USUAL: [(&str, &str, [&str; 4]); 6] = [
    ("/etc/sudoers.d", ".", ["visudo", "-c", "-f", "%s"]),
    ("/etc", ".sudoers.", ["visudo", "-c", "-f", "%s"]),
    ("/etc/ssh", ".sshd_config.", ["sshd", "-t", "-f", "%s"]),
    ("/etc/ssh/sshd_config.d", ".", ["sshd", "-t", "-f", "%s"]),
    ("/etc", ".nftables.conf.", ["nft", "-c", "-f", "%s"]),
    ("/etc/nftables.d", ".", ["nft", "-c", "-f", "%s"]),
];

/// Returns the usual check of a file. Empty if it has none, or the program is not installed.
fn usual_check(files: &Files, new: &Path) -> Vec<String> {
    let begins = |start: &str| new.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start));
    let of = |(folder, start, _): &&(&str, &str, _)| new.parent() == Some(Path::new(folder)) && begins(start);
    let there = |program: &str| {
        PATH.iter().any(|at| matches!(files.entry(&Path::new(at).join(program)), Ok(Some(_))))
    };
    let words = USUAL.iter().find(of).map(|(.., words)| words).filter(|words| there(words[0]));
    words.into_iter().flatten().map(|word| (*word).to_owned()).collect()
}

impl Precautions {
    /// Runs the check on the new file, which processes of the host see at `new`.
    pub fn check(&self, actor: &mut Actor<'_>, new: &Path) -> Result<(), ApplyError> {
        check(&self.validate, actor, new)
    }

    /// Copies the file at `path` beside itself, if that is asked and the content is not sensitive.
    pub fn back_up(&self, actor: &mut Actor<'_>, path: &Path) -> Result<(), ApplyError> {
        if !self.backup || actor.sensitive {
            return Ok(());
        }
        let backup = backup_of(path);
        actor.keep(&backup)?;
        actor.copy_file(path, &backup)
    }

    /// Returns what the plan shows of the copy. `replaces`: whether there is something to copy.
    pub fn shown(&self, path: &Path, replaces: bool) -> Option<PropertyChange> {
        let copy = || PropertyChange::new("backup", Shown::Absent, backup_of(path).display().to_string());
        (self.backup && replaces).then(copy)
    }
}

/// The suffix of the name of a copy.
const BACKUP: &str = ".converge-backup";

fn backup_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.file_name().unwrap_or_default());
    name.push(BACKUP);
    path.with_file_name(name)
}

/// Whether `path` is the place of a backup of a file that a resource of the catalog claims.
pub fn is_backup(view: &View<'_>, path: &Path) -> bool {
    let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
    let of = name.strip_suffix(BACKUP.as_bytes()).filter(|of| !of.is_empty());
    of.is_some_and(|of| view.claimed(&path.with_file_name(OsStr::from_bytes(of))) == Claimed::Itself)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{Trial, change, params};
    use converge_model::{Params, Value};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// Returns resources that keep a copy of the file that they change, one of each kind that can.
    fn keeping(trial: &Trial) -> Vec<(&'static str, Params)> {
        let with = |more: Vec<(&str, Value)>| {
            let mut params = params([("path", "/etc/x".into()), ("backup", true.into())]);
            more.into_iter().for_each(|(name, value)| params.set(name, value));
            params
        };
        let ini = vec![("section", "a".into()), ("option", "b".into()), ("value", "new".into())];
        vec![
            ("file", with(vec![("content", trial.content("new\n"))])),
            ("line", with(vec![("text", "new".into())])),
            ("block", with(vec![("content", "new".into())])),
            ("ini", with(ini)),
        ]
    }

    #[test]
    fn a_copy_of_what_is_replaced_stays_beside_the_file_where_that_is_asked() {
        for (at, (kind, _)) in keeping(&Trial::new()).into_iter().enumerate() {
            let mut trial = Trial::new();
            let wish = keeping(&trial).swap_remove(at).1;
            let shown = |trial: &Trial, wish: &Params| {
                let properties = change(trial.plan(kind, wish)).properties;
                properties.into_iter().find(|property| property.property == "backup").map(|copy| copy.after)
            };
            assert_eq!(shown(&trial, &wish), None, "{kind}: nothing is replaced");
            trial.write("/etc/x", "old = 1\n");
            fs::set_permissions(trial.at("/etc/x"), fs::Permissions::from_mode(0o600)).unwrap();
            let mut silent = wish.clone();
            silent.set("backup", false.into());
            assert_eq!(shown(&trial, &silent), None, "{kind}: it is not asked for");
            assert_eq!(shown(&trial, &wish), Some("/etc/x.converge-backup".into()), "{kind}");

            let undo = trial.apply(kind, &wish).unwrap();
            let copy = trial.at("/etc/x.converge-backup");
            assert_eq!(trial.read("/etc/x.converge-backup"), b"old = 1\n", "{kind}");
            assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o7777, 0o600, "{kind}");
            trial.restore(undo);
            assert_eq!(trial.read("/etc/x"), b"old = 1\n", "{kind}");
            assert!(!copy.exists(), "{kind}: the copy goes with what it was made for");

            trial.apply(kind, &silent).unwrap();
            assert!(!copy.exists(), "{kind}: it was not asked for");
            trial.write("/etc/x", "old = 1\n");
            trial.sensitive = true;
            trial.apply(kind, &wish).unwrap();
            assert!(!copy.exists(), "{kind}: what held a secret is copied nowhere");
        }
    }

    #[test]
    fn files_that_let_people_in_are_checked_by_who_reads_them() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/sbin")).unwrap();
        for program in ["visudo", "sshd"] {
            fs::write(root.path().join("usr/sbin").join(program), "").unwrap();
        }
        let files = Files::new(root.path()).unwrap();
        let check = |new: &str, program: Option<&str>| {
            assert_eq!(usual_check(&files, Path::new(new)).first().map(String::as_str), program, "{new}");
        };
        check("/etc/sudoers.d/.web.converge-1", Some("visudo"));
        check("/etc/.sudoers.converge-1", Some("visudo"));
        check("/etc/ssh/.sshd_config.converge-1", Some("sshd"));
        check("/etc/ssh/.ssh_config.converge-1", None);
        check("/etc/.motd.converge-1", None);
        // The program is not installed.
        check("/etc/.nftables.conf.converge-1", None);
    }
}

//! What every kind that replaces the content of a file may do before it: check the new content, keep a copy of the old.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use converge_model::{Param, ParamProblem, PropertyChange, Shown, Type};

use crate::actor::{Actor, ApplyError};
use crate::system::processes::Command;
use crate::wish::Reader;

/// Why content that was sensitive cannot be put back later. Until its run ends it is kept in memory, and can.
pub const SENSITIVE: &str = "the content is sensitive and is not kept";

/// What is to be done before a new content takes its place.
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
            "A command that must succeed on the new content before it takes its place; `%s` is the new file.",
        ),
        Param::new(
            "backup",
            Type::Bool,
            "Whether what is replaced is kept beside the file as `NAME.converge-backup`.",
        )
        .default(false),
    ]
}

/// Reads them.
pub fn decode(params: &mut Reader<'_>) -> Precautions {
    let validate = params.texts("validate");
    if !validate.is_empty() && !validate.iter().any(|word| word.contains("%s")) {
        let help = "write `%s` where the path of the new file belongs";
        params.problem(ParamProblem::new("validate", "does not name the new file").help(help));
    }
    Precautions { validate, backup: params.flag("backup").unwrap_or(false) }
}

/// Runs the command `validate`, if it is one, on the new file: `%s` in it is `new`, as the processes of the host know it.
pub fn check(validate: &[String], actor: &mut Actor<'_>, new: &Path) -> Result<(), ApplyError> {
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

impl Precautions {
    /// Runs the check on the new file, which is at `new` for the processes of the host.
    pub fn check(&self, actor: &mut Actor<'_>, new: &Path) -> Result<(), ApplyError> {
        check(&self.validate, actor, new)
    }

    /// Copies the file at `path` beside itself, where that is asked.
    pub fn back_up(&self, actor: &mut Actor<'_>, path: &Path) -> Result<(), ApplyError> {
        if !self.backup {
            return Ok(());
        }
        let backup = backup_of(path);
        actor.keep(&backup)?;
        actor.copy_file(path, &backup)
    }

    /// What the plan says of the copy; `replaces` is whether there is something to be copied.
    pub fn shown(&self, path: &Path, replaces: bool) -> Option<PropertyChange> {
        let copy = || PropertyChange::new("backup", Shown::Absent, backup_of(path).display().to_string());
        (self.backup && replaces).then(copy)
    }
}

fn backup_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path.file_name().unwrap_or_default());
    name.push(".converge-backup");
    path.with_file_name(name)
}

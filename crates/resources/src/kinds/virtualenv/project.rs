//! A project in a folder: its `pyproject.toml` as far as it needs no installer, and changes of its code.
//!
//! The format: PyPA, "pyproject.toml specification". Reads only `name` and `version`, in their usual form. In any
//! other form they are unknown.

use std::path::Path;

use super::origin::Reference;
use super::requirement::normal_name;
use crate::system::files::Sort;
use crate::view::{LookError, Seen, View};

/// The most files of a project that are read, in byte order of their paths.
const FILES: usize = 4096;

/// Folders that installers and tools fill, and others without code of the project.
const ASIDE: [&str; 5] = ["build", "dist", "venv", "node_modules", "__pycache__"];

/// The normalised name and the version of a project, if the text has them.
pub(super) fn named(text: &str) -> (Option<String>, Option<String>) {
    let mut section = "";
    let (mut name, mut version) = (None, None);
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        if !matches!(section, "[project]" | "[tool.poetry]") {
            continue;
        }
        match key.trim() {
            "name" => name = name.or_else(|| quoted(value)),
            "version" => version = version.or_else(|| quoted(value)),
            _ => {}
        }
    }
    (name.map(|name| normal_name(&name)), version)
}

fn quoted(value: &str) -> Option<String> {
    let value = value.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let (text, _) = value[1..].split_once(quote)?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// The state of a source on the host, as far as the installer uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A digest of a project's code and build settings.
    Code(String),
    /// The SHA-256 of an archive, in hexadecimal.
    Archive(String),
}

impl State {
    /// The text for a receipt.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Code(text) | Self::Archive(text) => text,
        }
    }
}

/// The state of the source `from`. None if it is not on the host, or depends on an earlier step.
pub(super) fn state(view: &View<'_>, from: &Reference, base: &Path) -> Result<Option<State>, LookError> {
    let Some(path) = from.path(base) else { return Ok(None) };
    Ok(match view.followed(&path)? {
        Seen::Known((path, place)) if place.sort == Sort::Folder => {
            // Editable code is used in place, so its changes need no installer.
            let of_interest = if from.editable { is_settings } else { is_code };
            Some(State::Code(code(view, &path, of_interest)?))
        }
        Seen::Known((path, _)) => match view.sha256(&path)? {
            Seen::Known(digest) => {
                Some(State::Archive(digest.iter().map(|byte| format!("{byte:02x}")).collect()))
            }
            _ => None,
        },
        _ => None,
    })
}

/// A digest of the files of interest in the project at `folder`. A file with content from an earlier step counts with
/// its path only.
fn code(view: &View<'_>, folder: &Path, of_interest: fn(&Path) -> bool) -> Result<String, LookError> {
    let mut digest = blake3::Hasher::new();
    let mut todo = vec![folder.to_owned()];
    let mut left = FILES;
    while let Some(path) = todo.pop() {
        let Seen::Known(place) = view.place(&path)? else { continue };
        if place.sort == Sort::Folder {
            let names = view.list(&path)?.known().unwrap_or_default();
            let within = names.iter().rev().map(|name| path.join(name)).filter(|path| is_of_interest(path));
            todo.extend(within);
        } else if of_interest(&path) && left > 0 {
            left -= 1;
            digest.update(path.as_os_str().as_encoded_bytes()).update(&[0]);
            if let Seen::Known(content) = view.digest(&path)? {
                digest.update(content.to_string().as_bytes());
            }
        }
    }
    Ok(digest.finalize().to_hex().to_string())
}

fn is_of_interest(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    !name.starts_with('.') && !ASIDE.contains(&name) && !name.ends_with(".egg-info")
}

fn is_code(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    matches!(ending, Some("py" | "pyi" | "pyx" | "toml" | "cfg" | "in"))
}

fn is_settings(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    matches!(name, Some("pyproject.toml" | "setup.py" | "setup.cfg"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_version_are_read_where_they_are_written_down() {
        let check = |text: &str, name: Option<&str>, version: Option<&str>| {
            let read = named(text);
            assert_eq!((read.0.as_deref(), read.1.as_deref()), (name, version), "{text}");
        };
        check("[project]\nname = \"My.App\" # ours\nversion = '1.2'\n", Some("my-app"), Some("1.2"));
        check("[project]\nname = \"app\"\ndynamic = [\"version\"]\n", Some("app"), None);
        check(
            "[build-system]\nname = \"no\"\n[tool.poetry]\nname=\"app\"\nversion=\"1\"\n",
            Some("app"),
            Some("1"),
        );
        check("[project]\nname = broken\n", None, None);
    }
}

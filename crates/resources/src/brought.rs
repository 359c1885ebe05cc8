//! Things that a resource is declared to bring, beside what it owns. Examples: the folder, the unit and the user that
//! come with a package.
//!
//! A plan cannot look into a package that is not installed yet. It takes what is named here as certain. After the
//! step, the agent checks it.

use std::fmt;
use std::path::PathBuf;

/// One thing that comes with a resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Brought {
    /// Something at this path: a file, a folder, a program.
    Path(PathBuf),
    /// This unit, by its full name.
    Unit(String),
    /// This user.
    User(String),
    /// This group.
    Group(String),
}

/// The suffixes of units that a package may bring.
const UNITS: [&str; 9] =
    [".service", ".socket", ".timer", ".path", ".target", ".mount", ".automount", ".slice", ".swap"];

impl Brought {
    /// Reads `/etc/nginx`, `nginx.service`, `user[postgres]` or `group[adm]`. None if it has none of these forms.
    pub fn read(text: &str) -> Option<Self> {
        let is_name = |name: &str| {
            !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || "/[],".contains(c))
        };
        let within = |kind: &str| {
            text.strip_prefix(kind)?.strip_prefix('[')?.strip_suffix(']').filter(|name| is_name(name))
        };
        if let Some(name) = within("user") {
            return Some(Self::User(name.to_owned()));
        }
        if let Some(name) = within("group") {
            return Some(Self::Group(name.to_owned()));
        }
        if text.starts_with('/') {
            return is_plain_path(text).then(|| Self::Path(PathBuf::from(text.trim_end_matches('/'))));
        }
        let is_unit = UNITS.iter().any(|ending| text.strip_suffix(ending).is_some_and(is_name));
        is_unit.then(|| Self::Unit(text.to_owned()))
    }

    /// Returns the bare name, for a message about something missing.
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Unit(name) | Self::User(name) | Self::Group(name) => name.clone(),
        }
    }
}

/// Whether `text` is an absolute path below `/`, without `.`, `..` and double slashes.
fn is_plain_path(text: &str) -> bool {
    let mut parts = text.trim_end_matches('/').split('/').skip(1).peekable();
    parts.peek().is_some() && parts.all(|part| !matches!(part, "" | "." | "..")) && !text.contains('\0')
}

impl fmt::Display for Brought {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(out, "{}", path.display()),
            Self::Unit(name) => write!(out, "the unit {name}"),
            Self::User(name) => write!(out, "the user {name}"),
            Self::Group(name) => write!(out, "the group {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_has_its_own_form() {
        let path = |path: &str| Some(Brought::Path(path.into()));
        assert_eq!(Brought::read("/etc/nginx"), path("/etc/nginx"));
        assert_eq!(Brought::read("/etc/nginx/"), path("/etc/nginx"));
        assert_eq!(Brought::read("nginx.service"), Some(Brought::Unit("nginx.service".into())));
        assert_eq!(Brought::read("user[postgres]"), Some(Brought::User("postgres".into())));
        assert_eq!(Brought::read("group[ssl-cert]"), Some(Brought::Group("ssl-cert".into())));
        for wrong in [
            "",
            "/",
            "nginx",
            "/etc/../x",
            "/a//b",
            "etc/nginx",
            ".service",
            "user[]",
            "user[a",
            "a b.service",
        ] {
            assert_eq!(Brought::read(wrong), None, "{wrong}");
        }
    }
}

//! Reading a `uv.lock`: which distributions, in which versions, a project with some of its extras and groups comes to.
//!
//! Not TOML in general, but what uv writes: a key a line, lists over several lines or on one. What does not look so is
//! an error, never guessed at. The format: <https://docs.astral.sh/uv/concepts/projects/layout/#the-lockfile>.

use super::marker::{self, Target};
use super::requirement::normal_name;

/// What a project comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The distributions.
    pub(super) pins: Vec<Locked>,
    /// What could not be decided: a marker.
    pub(super) open: Option<String>,
}

/// A distribution of a lock.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Locked {
    /// The normalised name.
    pub(super) name: String,
    /// The version.
    pub(super) version: String,
    /// The hashes of its archives: `sha256:…`.
    pub(super) hashes: Vec<String>,
}

/// The most packages that a lock may have.
const PACKAGES: usize = 20_000;

#[derive(Debug, Default)]
struct Package {
    name: String,
    version: String,
    source: String,
    hashes: Vec<String>,
    /// By section and key: `("", "dependencies")`, `("optional-dependencies", "pg")`.
    lists: Vec<((String, String), Vec<Edge>)>,
}

#[derive(Debug)]
struct Edge {
    name: String,
    version: Option<String>,
    marker: Option<String>,
    extras: Vec<String>,
}

/// What the project of the lock comes to with `extras` and `groups`; the error is a fragment.
pub(super) fn resolve(
    text: &str,
    extras: &[String],
    groups: &[String],
    target: &Target,
) -> Result<Resolved, String> {
    let packages = packages(text)?;
    let is_root = |package: &Package| {
        ["virtual", "editable", "directory"]
            .iter()
            .any(|kind| package.source == format!("{{ {kind} = \".\" }}"))
    };
    let root = packages.iter().position(is_root).ok_or("names no project of its own")?;
    let mut walk = Walk {
        packages: &packages,
        target,
        resolved: Resolved::default(),
        seen: Vec::new(),
        todo: vec![(root, None)],
    };
    for extra in extras {
        walk.todo.push((root, Some(("optional-dependencies".to_owned(), extra.clone()))));
    }
    for group in groups {
        walk.todo.push((root, Some(("dev-dependencies".to_owned(), group.clone()))));
    }
    while let Some((package, part)) = walk.todo.pop() {
        walk.visit(package, part, package == root)?;
    }
    Ok(walk.resolved)
}

/// A section of a package and a key in it.
type Part = Option<(String, String)>;

struct Walk<'a> {
    packages: &'a [Package],
    target: &'a Target,
    resolved: Resolved,
    seen: Vec<(usize, Part)>,
    todo: Vec<(usize, Part)>,
}

impl Walk<'_> {
    fn visit(&mut self, index: usize, part: Part, is_root: bool) -> Result<(), String> {
        let visit = (index, part.clone());
        if self.seen.contains(&visit) {
            return Ok(());
        }
        self.seen.push(visit);
        let package = &self.packages[index];
        if !is_root {
            if !package.source.contains("registry = ") {
                return Err(format!("takes {} from {}, and not from an index", package.name, package.source));
            }
            let (name, version) = (package.name.clone(), package.version.clone());
            if self.resolved.pins.iter().all(|pin| pin.name != name) {
                self.resolved.pins.push(Locked { name, version, hashes: package.hashes.clone() });
            }
        }
        let asked = part.clone().unwrap_or((String::new(), "dependencies".to_owned()));
        match package.lists.iter().find(|(key, _)| *key == asked).map(|(_, edges)| edges) {
            Some(edges) => edges.iter().try_for_each(|edge| self.follow(edge)),
            None if part.is_some() && is_root => Err(format!("has no {} {:?}", asked.0, asked.1)),
            None => Ok(()),
        }
    }

    fn follow(&mut self, edge: &Edge) -> Result<(), String> {
        match edge.marker.as_deref().map(|marker| marker::holds(marker, self.target)) {
            Some(Some(false)) => return Ok(()),
            Some(None) => {
                let why = format!(
                    "whether {} is needed depends on `{}`",
                    edge.name,
                    edge.marker.as_deref().unwrap_or_default()
                );
                self.resolved.open.get_or_insert(why);
                return Ok(());
            }
            _ => {}
        }
        let is_it = |package: &Package| {
            package.name == edge.name
                && edge.version.as_ref().is_none_or(|version| *version == package.version)
        };
        let index = self.packages.iter().position(is_it);
        let index = index.ok_or_else(|| format!("needs {}, which it does not have", edge.name))?;
        self.todo.push((index, None));
        for extra in &edge.extras {
            self.todo.push((index, Some(("optional-dependencies".to_owned(), extra.clone()))));
        }
        Ok(())
    }
}

fn packages(text: &str) -> Result<Vec<Package>, String> {
    if !text.lines().any(|line| line == "version = 1") {
        return Err("is not a uv.lock of version 1".to_owned());
    }
    let mut packages: Vec<Package> = Vec::new();
    let mut section = None;
    let mut list: Option<(String, String)> = None;
    for line in text.lines() {
        if line.starts_with('[') {
            list = None;
            section = match line {
                "[[package]]" => {
                    packages.push(Package::default());
                    Some(String::new())
                }
                _ => {
                    line.strip_prefix("[package.").and_then(|rest| rest.strip_suffix(']')).map(str::to_owned)
                }
            };
            if packages.len() > PACKAGES {
                return Err(format!("has more than {PACKAGES} packages"));
            }
            continue;
        }
        let (Some(package), Some(section)) = (packages.last_mut(), &section) else { continue };
        if section.is_empty() {
            package.hashes.extend(quoted(line, "hash").map(str::to_owned));
        }
        match &list {
            Some(_) if line.trim_start().starts_with(']') => list = None,
            Some(key) => package.edges(key, line),
            None => {
                let Some((key, value)) = line.split_once(" = ") else { continue };
                let key = (section.clone(), key.trim().trim_matches('"').to_owned());
                if value == "[" {
                    package.edges(&key, "");
                    list = Some(key);
                } else {
                    package.value(key, value);
                }
            }
        }
    }
    Ok(packages)
}

impl Package {
    fn value(&mut self, key: (String, String), value: &str) {
        let text = || value.trim_matches('"').to_owned();
        match (key.0.as_str(), key.1.as_str()) {
            ("", "name") => self.name = normal_name(&text()),
            ("", "version") => self.version = text(),
            ("", "source") => self.source = value.to_owned(),
            _ if value.starts_with('[') => self.edges(&key, value),
            _ => {}
        }
    }

    /// The dependencies on a line: `{ name = "x", source = { registry = "…" }, marker = "…" },`, or several in brackets.
    fn edges(&mut self, key: &(String, String), line: &str) {
        // The name comes first, and a source later on has braces of its own.
        let edges = line.split("{ name = ").skip(1).filter_map(|entry| {
            let extras = entry.split_once("extra = [").and_then(|(_, rest)| rest.split_once(']'));
            let extras = extras.map_or("", |(inside, _)| inside).split(',');
            let extras = extras.map(|extra| extra.trim().trim_matches('"').to_owned());
            Some(Edge {
                name: normal_name(entry.strip_prefix('"')?.split_once('"')?.0),
                version: quoted(entry, "version").map(str::to_owned),
                marker: quoted(entry, "marker").map(str::to_owned),
                extras: extras.filter(|extra| !extra.is_empty()).collect(),
            })
        });
        match self.lists.iter_mut().find(|(known, _)| known == key) {
            Some((_, list)) => list.extend(edges),
            None => self.lists.push((key.clone(), edges.collect())),
        }
    }
}

/// The text of `key = "…"` on a line.
fn quoted<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let mut from = 0;
    loop {
        let at = from + line.get(from..)?.find(key)?;
        let whole_word = at == 0 || line[..at].ends_with([' ', '{', ',', '\t']);
        from = at + key.len();
        if let (true, Some(rest)) = (whole_word, line[from..].strip_prefix(" = \"")) {
            return rest.split_once('"').map(|(text, _)| text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"version = 1
revision = 2
requires-python = ">=3.11"

[[package]]
name = "click"
version = "8.1.7"
source = { registry = "https://pypi.org/simple" }
sdist = { url = "https://x/click.tar.gz", hash = "sha256:aa", size = 1 }
wheels = [
    { url = "https://x/click.whl", hash = "sha256:bb", size = 2 },
]

[[package]]
name = "Flask"
version = "3.0.0"
source = { registry = "https://pypi.org/simple" }
dependencies = [
    { name = "click" },
    { name = "colorama", marker = "sys_platform == 'win32'" },
]
wheels = [{ url = "https://x/flask.whl", hash = "sha256:cc" }]

[package.optional-dependencies]
async = [{ name = "asgiref" }]

[[package]]
name = "asgiref"
version = "3.8"
source = { registry = "https://pypi.org/simple" }

[[package]]
name = "vcs"
version = "1"
source = { git = "https://x/vcs" }

[[package]]
name = "shop"
version = "0.1"
source = { virtual = "." }
dependencies = [
    { name = "flask", extra = ["async"] },
    { name = "tomli", marker = "python_full_version < '3.11'" },
]

[package.optional-dependencies]
odd = [
    { name = "vcs" },
]

[package.dev-dependencies]
later = [
    { name = "click", marker = "python_full_version < '3.11.5'" },
]

[package.metadata]
requires-dist = [{ name = "flask" }]
"#;

    fn resolved(extras: &[&str], groups: &[&str]) -> Result<Resolved, String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let target = Target { version: Some("3.11".into()) };
        resolve(LOCK, &owned(extras), &owned(groups), &target)
    }

    #[test]
    fn a_lock_is_followed_from_its_project() {
        let resolved = resolved(&[], &[]).unwrap();
        let line = |pin: &Locked| format!("{} {} {}", pin.name, pin.version, pin.hashes.join(" "));
        let mut lines: Vec<_> = resolved.pins.iter().map(line).collect();
        lines.sort();
        assert_eq!(lines, ["asgiref 3.8 ", "click 8.1.7 sha256:aa sha256:bb", "flask 3.0.0 sha256:cc"]);
        assert_eq!(resolved.open, None);
    }

    #[test]
    fn what_cannot_be_followed_is_told() {
        assert!(resolved(&["odd"], &[]).unwrap_err().contains("takes vcs from { git"));
        assert!(resolved(&["none"], &[]).unwrap_err().contains("has no optional-dependencies \"none\""));
        assert!(resolved(&[], &["later"]).unwrap().open.unwrap().contains("3.11.5"));
        let other = resolve("lock-version = \"1.0\"", &[], &[], &Target::default());
        assert_eq!(other.unwrap_err(), "is not a uv.lock of version 1");
    }
}

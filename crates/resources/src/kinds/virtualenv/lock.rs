//! Reads a `uv.lock`: the distributions and versions of a project with some of its extras and groups.
//!
//! Reads only the subset of TOML that uv writes: one key per line, lists on one or several lines. Anything else is an
//! error, never a guess. The format: <https://docs.astral.sh/uv/concepts/projects/layout/#the-lockfile>.

use super::marker::{self, Target};
use super::requirement::normal_name;

/// The resolved project.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The distributions.
    pub(super) pins: Vec<Locked>,
    /// A marker without a known result.
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

/// The most packages of a lock.
const PACKAGES: usize = 20_000;

#[derive(Debug, Default)]
struct Package {
    name: String,
    version: String,
    source: String,
    hashes: Vec<String>,
    /// The lists by section and key: `("", "dependencies")`, `("optional-dependencies", "pg")`.
    lists: Vec<((String, String), Vec<Edge>)>,
}

#[derive(Debug)]
struct Edge {
    name: String,
    version: Option<String>,
    marker: Option<String>,
    extras: Vec<String>,
}

/// Resolves the project of the lock with `extras` and `groups`. The error is a fragment of a sentence.
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
    let root = packages.iter().position(is_root).ok_or("must have a project with the source `.`")?;
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

/// A section of a package, and a key in it.
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
                return Err(format!("must take {} from an index, found {}", package.name, package.source));
            }
            let (name, version) = (package.name.clone(), package.version.clone());
            if self.resolved.pins.iter().all(|pin| pin.name != name) {
                self.resolved.pins.push(Locked { name, version, hashes: package.hashes.clone() });
            }
        }
        let asked = part.clone().unwrap_or((String::new(), "dependencies".to_owned()));
        match package.lists.iter().find(|(key, _)| *key == asked).map(|(_, edges)| edges) {
            Some(edges) => edges.iter().try_for_each(|edge| self.follow(edge)),
            None if part.is_some() && is_root => Err(format!("must have {} {:?}", asked.0, asked.1)),
            None => Ok(()),
        }
    }

    fn follow(&mut self, edge: &Edge) -> Result<(), String> {
        match edge.marker.as_deref().map(|marker| marker::holds(marker, self.target)) {
            Some(Some(false)) => return Ok(()),
            Some(None) => {
                let why = format!(
                    "{} is needed only if `{}`",
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
        let index = index.ok_or_else(|| format!("needs {}, but does not contain it", edge.name))?;
        self.todo.push((index, None));
        for extra in &edge.extras {
            self.todo.push((index, Some(("optional-dependencies".to_owned(), extra.clone()))));
        }
        Ok(())
    }
}

fn packages(text: &str) -> Result<Vec<Package>, String> {
    if !text.lines().any(|line| line == "version = 1") {
        return Err("must be a uv.lock of version 1".to_owned());
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
                return Err(format!("must have at most {PACKAGES} packages"));
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

    /// Reads the dependencies of a line: `{ name = "x", source = { registry = "…" }, marker = "…" },`, or several in
    /// brackets.
    fn edges(&mut self, key: &(String, String), line: &str) {
        // Split at the name, which comes first: a later source has its own braces.
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

/// The text of `key = "…"` in a line.
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

    fn resolved(lock: &str, extras: &[&str], groups: &[&str]) -> Result<Resolved, String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let target = Target { version: Some("3.11".into()) };
        resolve(lock, &owned(extras), &owned(groups), &target)
    }

    /// The distributions with their hashes, or the error.
    fn told(resolved: Result<Resolved, String>) -> String {
        let line = |pin: &Locked| format!("{} {} {}", pin.name, pin.version, pin.hashes.join(" "));
        let mut lines: Vec<_> = match &resolved {
            Ok(resolved) => resolved.pins.iter().map(|pin| line(pin).trim_end().to_owned()).collect(),
            Err(why) => vec![why.clone()],
        };
        lines.sort();
        lines.join(", ")
    }

    #[test]
    fn a_lock_is_followed_from_its_project() {
        assert_eq!(resolved(LOCK, &[], &[]).unwrap().open, None);
        let expected = "asgiref 3.8, click 8.1.7 sha256:aa sha256:bb, flask 3.0.0 sha256:cc";
        assert_eq!(told(resolved(LOCK, &[], &[])), expected);
    }

    #[test]
    fn what_cannot_be_followed_is_told() {
        assert!(
            resolved(LOCK, &["odd"], &[]).unwrap_err().contains("must take vcs from an index, found { git")
        );
        assert!(resolved(LOCK, &[], &["later"]).unwrap().open.unwrap().contains("3.11.5"));
        let other = resolve("lock-version = \"1.0\"", &[], &[], &Target::default());
        assert_eq!(other.unwrap_err(), "must be a uv.lock of version 1");
    }

    /// Possible dependencies: `a` in two versions, `b` and `c` in a circle, and one with a name like a key.
    const OTHERS: &str = r#"version = 1

[[package]]
name = "a"
version = "1"
source = { registry = "https://x" }

[[package]]
name = "a"
version = "2"
source = { registry = "https://x" }

[[package]]
name = "b"
version = "1"
source = { registry = "https://x" }
dependencies = [{ name = "c" }]

[package.optional-dependencies]
one = [{ name = "version", version = "3" }]
two = [{ name = "a" }]

[[package]]
name = "c"
version = "1"
source = { registry = "https://x" }
dependencies = [{ name = "b" }]

[[package]]
name = "version"
version = "3"
source = { registry = "https://x" }

[[package]]
name = "shop"
version = "0.1"
"#;

    /// [`OTHERS`] and a project with these lines.
    fn shop(lines: &str) -> String {
        format!("{OTHERS}source = {{ virtual = \".\" }}\n{lines}\n")
    }

    #[test]
    fn a_project_is_where_its_lock_is() {
        let check = |source: &str, expected: &str| {
            let lock = format!("{OTHERS}source = {source}\n");
            assert_eq!(told(resolved(&lock, &[], &[])), expected, "{source}");
        };
        check("{ virtual = \".\" }", "");
        check("{ editable = \".\" }", "");
        check("{ directory = \".\" }", "");
        check("{ editable = \"lib\" }", "must have a project with the source `.`");
        check("{ registry = \".\" }", "must have a project with the source `.`");
    }

    #[test]
    fn a_dependency_has_version_source_extras_and_marker() {
        let check = |dependencies: &str, expected: &str| {
            let lock = shop(&format!("dependencies = [{dependencies}]"));
            assert_eq!(told(resolved(&lock, &[], &[])), expected, "{dependencies}");
        };
        check(r#"{ name = "A" }"#, "a 1");
        check(r#"{ name = "a", version = "2" }"#, "a 2");
        check(r#"{ name = "a", version = "3" }"#, "needs a, but does not contain it");
        check(r#"{ name = "none" }, { name = "a" }"#, "needs none, but does not contain it");
        check(r#"{ name = "version", version = "3" }"#, "version 3");
        check(r#"{ name = "b" }"#, "b 1, c 1");
        check(r#"{ name = "b", extra = ["one"] }"#, "b 1, c 1, version 3");
        check(r#"{ name = "b", extra = ["one", "two"] }"#, "a 1, b 1, c 1, version 3");
        check(r#"{ name = "b", extra = ["unheard-of"] }"#, "b 1, c 1");
        check(r#"{ name = "b", marker = "os_name == 'nt'" }, { name = "a" }"#, "a 1");
        let one = |version: u8, os: &str| {
            let source = r#"source = { registry = "https://x" }"#;
            format!(r#"{{ name = "a", version = "{version}", {source}, marker = "os_name == '{os}'" }}"#)
        };
        check(&format!("{}, {}", one(1, "nt"), one(2, "posix")), "a 2");
        check(&format!("{}, {}", one(1, "posix"), one(2, "nt")), "a 1");
        check(r#"{ name = "b", source = { registry = "https://x" }, extra = ["two"] }"#, "a 1, b 1, c 1");
    }

    #[test]
    fn the_lists_of_a_project_are_on_one_line_or_on_several() {
        let check = |lines: &str, expected: &str| {
            let extras = shop(&format!("[package.optional-dependencies]\n{lines}"));
            assert_eq!(told(resolved(&extras, &["more"], &[])), expected, "{lines}");
            let groups = shop(&format!("[package.dev-dependencies]\n{lines}"));
            let expected = expected.replace("optional", "dev");
            assert_eq!(told(resolved(&groups, &[], &["more"])), expected, "{lines}");
        };
        check("most = []", "must have optional-dependencies \"more\"");
        check("more = \"a\"", "must have optional-dependencies \"more\"");
        check("more = []", "");
        check("more = [\n]", "");
        check("\"more\" = [{ name = \"a\" }, { name = \"version\" }]", "a 1, version 3");
        let several = "more = [\n    { name = \"a\" },\n    { name = \"version\" },\n]";
        check(several, "a 1, version 3");
        check(&format!("{several}\nmost = [{{ name = \"b\" }}]"), "a 1, version 3");
        check("most = [\n    { name = \"b\" },\n]\nmore = [{ name = \"a\" }]", "a 1");
        check("more = [\n    { name = \"b\" },\n[package.metadata]\nmost = [{ name = \"a\" }]", "b 1, c 1");
    }

    #[test]
    fn a_project_may_take_its_own_extras() {
        let check = |more: &str, expected: &str| {
            let lock = shop(&format!(
                "[package.optional-dependencies]\nall = [{{ name = \"shop\", extra = [\"more\"] }}]\n{more}"
            ));
            assert_eq!(told(resolved(&lock, &["all"], &[])), expected, "{more}");
        };
        check("more = [{ name = \"a\" }]", "a 1");
        check("", "must have optional-dependencies \"more\"");
    }

    #[test]
    fn a_package_is_what_its_own_section_says() {
        let check = |more: &str, expected: &str| {
            let package = "[[package]]\nname = \"d\"\nversion = \"1\"\nsource = { registry = \"https://x\" }";
            let lock = shop(&format!("dependencies = [{{ name = \"d\" }}]\n\n{package}\n{more}"));
            assert_eq!(told(resolved(&lock, &[], &[])), expected, "{more}");
        };
        check("sdist = { url = \"https://x/d\", hash = \"sha256:aa\" }", "d 1 sha256:aa");
        check("[package.metadata]\nname = \"e\"\nversion = \"2\"\nsource = { git = \"x\" }", "d 1");
        check("[package.metadata]\nsdist = { hash = \"sha256:aa\" }", "d 1");
        check("[manifest]\nname = \"e\"\ndependencies = [{ name = \"a\" }]", "d 1");
        check("[package.optional-dependencies]\ndependencies = [{ name = \"a\" }]", "d 1");
        check("dependencies = 'none'\n# a remark", "d 1");
    }

    #[test]
    fn the_first_marker_that_cannot_be_decided_is_told() {
        let lock = shop(
            r#"dependencies = [
    { name = "a", marker = "python_full_version < '3.11.5'" },
    { name = "c", marker = "platform_release == '6'" },
    { name = "version", marker = "python_version == '3.11'" },
]"#,
        );
        let resolved = resolved(&lock, &[], &[]).unwrap();
        let why = "a is needed only if `python_full_version < '3.11.5'`";
        assert_eq!(resolved.open.as_deref(), Some(why));
        assert_eq!(told(Ok(resolved)), "version 3");
    }

    #[test]
    fn a_lock_has_so_many_packages_and_no_more() {
        let check = |count: usize, expected: &str| {
            let others = "[[package]]\n".repeat(count - 1);
            let lock = format!("version = 1\n[[package]]\nsource = {{ virtual = \".\" }}\n{others}");
            assert_eq!(told(resolved(&lock, &[], &[])), expected);
        };
        check(PACKAGES, "");
        check(PACKAGES + 1, "must have at most 20000 packages");
    }

    #[test]
    fn a_key_is_a_whole_word_before_its_text() {
        let check = |line: &str, text: Option<&str>| assert_eq!(quoted(line, "hash"), text, "{line}");
        check("hash = \"a\"", Some("a"));
        check("{hash = \"a\"}", Some("a"));
        check("1,hash = \"a\"", Some("a"));
        check("rehash = \"b\", hashes = \"c\", hash = \"a\", hash = \"d\"", Some("a"));
        check("rehash = \"b\"", None);
        check("hash = \"a", None);
        check("hash", None);
    }
}

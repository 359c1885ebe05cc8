//! The grammar of requirements files, as far as a plan needs it: distributions, versions, markers, and included
//! files. pip interprets the rest.
//!
//! The format: <https://pip.pypa.io/en/stable/reference/requirements-file-format/>, and PEP 508 for a requirement.

use super::origin::Reference;

/// One logical line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// `-r`: another file of requirements.
    Include(String),
    /// `-c`: a file of constraints.
    Constraints(String),
    /// A distribution.
    Require(Requirement),
    /// `--require-hashes`.
    Hashes,
    /// A requirement without a name in its text: a URL, a path, an editable project; with its source.
    Opaque(String, Option<Reference>),
}

/// A required distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requirement {
    /// Its name, normalised.
    pub(super) name: String,
    /// The only accepted version, if there is one.
    pub(super) pin: Option<String>,
    /// Whether the line has the hash of its archive.
    pub(super) hashed: bool,
    /// The marker under which it is required.
    pub(super) marker: Option<String>,
    /// The source of the distribution. None: an index.
    pub(super) direct: Option<Reference>,
}

/// The logical lines of a file. Options about the indexes are left out.
pub(super) fn lines(text: &str) -> Vec<Line> {
    logical(text).iter().filter_map(|line| read(line)).collect()
}

/// Lines without comments. A line that ends with a backslash is joined with the next.
fn logical(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut open = String::new();
    for line in text.lines() {
        let (part, goes_on) = match line.strip_suffix('\\') {
            Some(part) if !line.trim_start().starts_with('#') => (part, true),
            _ => (line, false),
        };
        open.push_str(without_comment(part));
        if goes_on {
            open.push(' ');
        } else {
            lines.push(std::mem::take(&mut open));
        }
    }
    lines.push(open);
    lines
}

fn without_comment(line: &str) -> &str {
    let starts = |at: &usize| *at == 0 || line[..*at].ends_with([' ', '\t']);
    line.match_indices('#').map(|(at, _)| at).find(starts).map_or(line, |at| &line[..at])
}

fn read(line: &str) -> Option<Line> {
    let line = line.trim();
    let value = |rest: &str| rest.trim_start_matches(['=', ' ', '\t']).trim().to_owned();
    let option = |long: &str, short: &str| {
        let is_end = |rest: &&str| rest.starts_with([' ', '\t', '=']);
        let long = line.strip_prefix(long).filter(is_end);
        long.or_else(|| line.strip_prefix(short).filter(|_| !line.starts_with("--"))).map(value)
    };
    match line {
        "" => None,
        "--require-hashes" => Some(Line::Hashes),
        _ if line.starts_with("-e") || line.starts_with("--editable") => {
            let place = value(line.trim_start_matches("--editable").trim_start_matches("-e"));
            Some(direct_or_opaque(line, &place, true))
        }
        _ if line.starts_with('-') => option("--requirement", "-r")
            .map(Line::Include)
            .or_else(|| option("--constraint", "-c").map(Line::Constraints)),
        _ => Some(requirement(line).map_or_else(|| direct_or_opaque(line, line, false), Line::Require)),
    }
}

/// Parses `name[extras] @ URL`, `URL#egg=name`, or a URL or path with the name of an archive as its last part.
fn direct_or_opaque(line: &str, place: &str, editable: bool) -> Line {
    let (requirement, reference) = direct(place, editable);
    match requirement {
        Some(requirement) => Line::Require(requirement),
        None => Line::Opaque(line.to_owned(), reference),
    }
}

/// The requirement if it has a name, else at least the source.
fn direct(line: &str, editable: bool) -> (Option<Requirement>, Option<Reference>) {
    let (rest, options) = line.split_once(" --").unwrap_or((line, ""));
    // A semicolon belongs to a URL unless a blank comes before it.
    let (what, marker) = match rest.split_once(" ;") {
        Some((what, marker)) => (what, Some(marker.trim().to_owned())),
        None => (rest, None),
    };
    let (name, place) = match what.split_once('@') {
        Some((name, place)) if !name.contains([':', '/', '$']) => {
            let name = name.split('[').next().unwrap_or(name).trim();
            (Some(normal_name(name)).filter(|name| !name.is_empty()), place)
        }
        _ => (None, what),
    };
    // A path may end with extras: `/srv/app[more]`.
    let place = match place.trim().strip_suffix(']').and_then(|place| place.rsplit_once('[')) {
        Some((place, _)) if !place.contains('#') => place,
        _ => place,
    };
    let reference = Reference::of(place, editable, sha256(options));
    // Only the installer knows a variable. A variable in the login is fine: the login is removed already.
    if reference.to_string().contains('$') {
        return (None, None);
    }
    let (place, fragment) = place.trim().split_once('#').unwrap_or((place.trim(), ""));
    let egg = fragment.split('&').find_map(|part| part.strip_prefix("egg="));
    let egg = egg.map(|egg| normal_name(egg.split('[').next().unwrap_or(egg)));
    let archive = archive(place.rsplit('/').next().unwrap_or(place));
    let (found, pin) = archive.map_or((None, None), |(name, version)| (Some(name), Some(version)));
    let Some(name) = name.or(egg).or(found) else { return (None, Some(reference)) };
    let hashed = options.starts_with("hash") || fragment.contains("sha256=");
    (Some(Requirement { name, pin, hashed, marker, direct: Some(reference) }), None)
}

/// The hashes among the options after a requirement. The first option has lost its `--`.
fn sha256(options: &str) -> Vec<String> {
    let options = options.split_whitespace().map(|option| option.trim_start_matches("--"));
    options.filter_map(|option| option.strip_prefix("hash=sha256:")).map(str::to_owned).collect()
}

/// The name and version in the name of an archive: `Foo_Bar-1.0-py3-none-any.whl`, `foo-1.0.tar.gz`.
fn archive(file: &str) -> Option<(String, String)> {
    let (name, version) = match file.strip_suffix(".whl") {
        Some(stem) => {
            let mut parts = stem.split('-');
            (parts.next()?, parts.next()?)
        }
        None => file.strip_suffix(".tar.gz").or_else(|| file.strip_suffix(".zip"))?.rsplit_once('-')?,
    };
    let is_version = version.starts_with(|c: char| c.is_ascii_digit());
    is_version.then(|| (normal_name(name), version.replace("%2B", "+")))
}

/// Whether the character is valid in the name of a distribution, an extra or a group (PEP 508, PEP 685).
pub(super) fn is_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// Parses `name[extras] == version ; marker --hash=…`. None if it has another form.
fn requirement(line: &str) -> Option<Requirement> {
    let (line, options) = line.split_once(" --").unwrap_or((line, ""));
    let (what, marker) = match line.split_once(';') {
        Some((what, marker)) => (what, Some(marker.trim().to_owned())),
        None => (line, None),
    };
    if what.contains(['/', '@', '$']) {
        return None;
    }
    let end = what.find(|c| !is_in_name(c)).unwrap_or(what.len());
    let (name, rest) = what.split_at(end);
    let rest = rest.trim_start();
    let specifier = match rest.strip_prefix('[') {
        Some(extras) => extras.split_once(']')?.1,
        None => rest,
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let pin = pin(specifier);
    starts_well.then(|| Requirement {
        name: normal_name(name),
        pin,
        hashed: options.starts_with("hash"),
        marker,
        direct: None,
    })
}

/// The version of `==1.2` or `===1.2` among the specifiers.
fn pin(specifier: &str) -> Option<String> {
    let specifier = specifier.trim().trim_start_matches('(').trim_end_matches(')');
    let exact = |part: &str| {
        let version = part.trim().strip_prefix("==")?.trim_start_matches('=').trim();
        (!version.is_empty() && !version.ends_with('*')).then(|| version.to_owned())
    };
    specifier.split(',').find_map(exact)
}

/// Normalises a name as in PEP 503.
pub(super) fn normal_name(name: &str) -> String {
    let parts: Vec<_> = name.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
    parts.join("-").to_ascii_lowercase()
}

/// Whether an installed version satisfies a pin: `1.0` and `1.0.0` are equal. A local part (`+cu118`) counts only if
/// the pin has one (PEP 440).
pub(super) fn same_version(pin: &str, installed: &str) -> bool {
    let local = |version: &str| version.split_once('+').map(|(_, local)| local.replace(['-', '_'], "."));
    let public = |version: &str| normal_version(version.split('+').next().unwrap_or(version));
    public(pin) == public(installed) && (local(pin).is_none() || local(pin) == local(installed))
}

fn normal_version(version: &str) -> String {
    let version = version.trim().trim_start_matches(['v', 'V']).to_ascii_lowercase();
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    let (release, rest) = version.split_at(end);
    let mut release = release.trim_end_matches('.');
    while let Some(shorter) = release.strip_suffix(".0") {
        release = shorter;
    }
    let mut rest: String = rest.chars().filter(|c| !matches!(c, '-' | '_' | '.')).collect();
    for (long, short) in [("alpha", "a"), ("beta", "b"), ("preview", "rc"), ("pre", "rc")] {
        rest = rest.replace(long, short);
    }
    format!("{release}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn require(line: &str) -> Requirement {
        match lines(line).pop() {
            Some(Line::Require(requirement)) => requirement,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn requirements_are_read_with_pin_marker_and_hash() {
        let check = |line: &str, name: &str, pin: Option<&str>, hashed: bool, marker: Option<&str>| {
            let read = require(line);
            let found = (read.name.as_str(), read.pin.as_deref(), read.hashed, read.marker.as_deref());
            assert_eq!(found, (name, pin, hashed, marker), "{line}");
        };
        check("Flask", "flask", None, false, None);
        check("ruamel.yaml==0.18 # why", "ruamel-yaml", Some("0.18"), false, None);
        check(
            "uvicorn[standard] == 0.30.1 ; python_version > '3.8'",
            "uvicorn",
            Some("0.30.1"),
            false,
            Some("python_version > '3.8'"),
        );
        check("a==1 \\\n    --hash=sha256:ab \\\n    --hash=sha256:cd", "a", Some("1"), true, None);
        check("Zope.Interface (>=5,==5.4)", "zope-interface", Some("5.4"), false, None);
        check("a==1.*", "a", None, false, None);
        check("a>=1", "a", None, false, None);
        check("a===1.0-odd", "a", Some("1.0-odd"), false, None);
    }

    #[test]
    fn other_lines_are_told_apart() {
        let text = "# top\n-r base.txt\n--requirement=more.txt\n-c limits.txt\n--index-url https://x/#frag\n\n--require-hashes\n-e .\n./local\nhttps://x/y.whl\ngit+https://x/y@v1\nx==${V}\n";
        let opaque = |line: &str, place: &str, editable: bool| {
            let place = Some(place).filter(|place| !place.is_empty());
            let reference = place.map(|place| Reference::of(place, editable, Vec::new()));
            Line::Opaque(line.to_owned(), reference)
        };
        let expected = [
            Line::Include("base.txt".into()),
            Line::Include("more.txt".into()),
            Line::Constraints("limits.txt".into()),
            Line::Hashes,
            opaque("-e .", ".", true),
            opaque("./local", "./local", false),
            opaque("https://x/y.whl", "https://x/y.whl", false),
            opaque("git+https://x/y@v1", "git+https://x/y@v1", false),
            opaque("x==${V}", "", false),
        ];
        assert_eq!(lines(text), expected);
    }

    #[test]
    fn what_is_taken_from_its_place_may_tell_name_and_version() {
        let check = |line: &str, name: &str, pin: Option<&str>| {
            let read = require(line);
            let found = (read.name.as_str(), read.pin.as_deref(), read.direct.is_some());
            assert_eq!(found, (name, pin, true), "{line}");
        };
        check("Foo.Bar[x] @ https://u:p@x/foo_bar-1.0-py3-none-any.whl", "foo-bar", Some("1.0"));
        check("name @ git+https://x/y@v1 ; python_version > '3'", "name", None);
        check("git+ssh://git@x/y.git@v1#egg=Na_me[x]&subdirectory=z", "na-me", None);
        check("-e git+https://x/y#egg=name", "name", None);
        check("./wheels/Foo_Bar-2.0+l1-py3-none-any.whl --hash=sha256:00", "foo-bar", Some("2.0+l1"));
        check("https://x/foo-bar-1.2.tar.gz#sha256=00", "foo-bar", Some("1.2"));
        check("name @ git+https://${TOKEN}@x/y@v1", "name", None);
        assert_eq!(
            require("name @ file:///x/name-1.zip ; os_name == 'nt'").marker.as_deref(),
            Some("os_name == 'nt'")
        );
    }

    #[test]
    fn versions_are_compared_as_installers_do() {
        let check = |pin: &str, installed: &str, same: bool| {
            assert_eq!(same_version(pin, installed), same, "{pin} {installed}");
        };
        check("1.0", "1.0.0", true);
        check("1.0", "1.0.1", false);
        check("2.0-beta.1", "2.0b1", true);
        check("2.0.post1", "2.0.post1", true);
        check("2.0", "2.0+cu118", true);
        check("2.0+cu118", "2.0", false);
        check("1.10", "1.1", false);
    }
}

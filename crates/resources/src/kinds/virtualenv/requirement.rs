//! The grammar of requirements files, as far as a plan needs it: which distribution is asked for, in which version, under
//! which condition, and which other files are named. What pip makes of the rest is pip's.
//!
//! The format: <https://pip.pypa.io/en/stable/reference/requirements-file-format/>, and PEP 508 for a requirement.

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
    /// Something whose result only the installer knows: a URL, a path, an editable project.
    Opaque(String),
}

/// A distribution that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requirement {
    /// Its name, normalised.
    pub(super) name: String,
    /// The one version that will do, if only one will.
    pub(super) pin: Option<String>,
    /// Whether the line says what its archive's hash is.
    pub(super) hashed: bool,
    /// What must hold for it to be asked for at all.
    pub(super) marker: Option<String>,
}

/// The logical lines of a file; options that say where and how to look are left out.
pub(super) fn lines(text: &str) -> Vec<Line> {
    logical(text).iter().filter_map(|line| read(line)).collect()
}

/// Lines without comments, those that end with a backslash joined with the next.
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
        _ if line.starts_with("-e") || line.starts_with("--editable") => Some(Line::Opaque(line.to_owned())),
        _ if line.starts_with('-') => option("--requirement", "-r")
            .map(Line::Include)
            .or_else(|| option("--constraint", "-c").map(Line::Constraints)),
        _ => Some(requirement(line).map_or_else(|| Line::Opaque(line.to_owned()), Line::Require)),
    }
}

/// `name[extras] == version ; marker --hash=…`; none where it is another form.
fn requirement(line: &str) -> Option<Requirement> {
    let (line, options) = line.split_once(" --").unwrap_or((line, ""));
    let (what, marker) = match line.split_once(';') {
        Some((what, marker)) => (what, Some(marker.trim().to_owned())),
        None => (line, None),
    };
    if what.contains(['/', '@', '$']) {
        return None;
    }
    let end = what.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(what.len());
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
    })
}

/// The version that `==1.2`, or `===1.2`, among other specifiers names.
fn pin(specifier: &str) -> Option<String> {
    let specifier = specifier.trim().trim_start_matches('(').trim_end_matches(')');
    let exact = |part: &str| {
        let version = part.trim().strip_prefix("==")?.trim_start_matches('=').trim();
        (!version.is_empty() && !version.ends_with('*')).then(|| version.to_owned())
    };
    specifier.split(',').find_map(exact)
}

/// A name as PEP 503 compares it.
pub(super) fn normal_name(name: &str) -> String {
    let parts: Vec<_> = name.split(['-', '_', '.']).filter(|part| !part.is_empty()).collect();
    parts.join("-").to_ascii_lowercase()
}

/// Whether an installed version is the one that a pin names: `1.0` and `1.0.0` are one, and a local part (`+cu118`) counts
/// only where the pin has one (PEP 440).
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
        let text = "# top\n-r base.txt\n--requirement=more.txt\n-c limits.txt\n--index-url https://x/#frag\n\n--require-hashes\n-e .\n./local\nhttps://x/y.whl\nname @ https://x/y.whl\nx==${V}\n";
        let opaque = |line: &str| Line::Opaque(line.to_owned());
        let expected = [
            Line::Include("base.txt".into()),
            Line::Include("more.txt".into()),
            Line::Constraints("limits.txt".into()),
            Line::Hashes,
            opaque("-e ."),
            opaque("./local"),
            opaque("https://x/y.whl"),
            opaque("name @ https://x/y.whl"),
            opaque("x==${V}"),
        ];
        assert_eq!(lines(text), expected);
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

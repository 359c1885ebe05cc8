//! The files of dpkg, read without starting a process: installed packages, and the order of versions.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use crate::system::files::Files;
use crate::system::packages::{Installed, PackageTable};

/// The content of `/var/lib/dpkg`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Database {
    /// The packages that are installed or half-installed. A package of the host's own architecture is listed by its
    /// plain name and by `NAME:ARCHITECTURE`.
    pub packages: PackageTable,
    /// By a provided name: the fully installed packages that provide it.
    pub provided: BTreeMap<String, Vec<String>>,
    /// Packages that were removed, but whose configuration is still there.
    pub leftovers: BTreeSet<String>,
    /// Whether a run of dpkg died: some packages are not configured, or its journal is not empty.
    pub interrupted: bool,
    /// The host's own architecture, which is that of dpkg: `amd64`.
    pub architecture: String,
}

/// The largest status file that is read, in bytes.
const LIMIT: usize = 128 * 1024 * 1024;

const STATUS: &str = "/var/lib/dpkg/status";

impl Database {
    /// Reads the database. None if there is none.
    pub fn read(files: &Files) -> io::Result<Option<Self>> {
        let bytes = match files.read(Path::new(STATUS), LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let mut database = Self::parse(&String::from_utf8_lossy(&bytes));
        database.interrupted |= has_journal(files)?;
        Ok(Some(database))
    }

    /// Parses the text of the status file: stanzas of `Field: value`, with an empty line after each.
    pub fn parse(text: &str) -> Self {
        let own = stanzas(text).find(|stanza| stanza.package == "dpkg").map(|dpkg| dpkg.architecture);
        let mut database = Self { architecture: own.unwrap_or_default().to_owned(), ..Self::default() };
        for stanza in stanzas(text) {
            database.add(&stanza);
        }
        database
    }

    fn add(&mut self, stanza: &Stanza<'_>) {
        let mut status = stanza.status.split_ascii_whitespace();
        let (want, error, state) = (status.next(), status.next(), status.next());
        let foreign = stanza.architecture != "all" && stanza.architecture != self.architecture;
        let qualified = format!("{}:{}", stanza.package, stanza.architecture);
        let name = if foreign { qualified.clone() } else { stanza.package.to_owned() };
        let whole = match state {
            None | Some("not-installed") => return,
            Some("config-files") => {
                self.leftovers.insert(name);
                return;
            }
            // A package that waits for a trigger is itself complete: the trigger belongs to the other package.
            Some("installed" | "triggers-awaited" | "triggers-pending") => error == Some("ok"),
            Some(_) => false,
        };
        self.interrupted |= !whole;
        for provided in provides(stanza.provides).filter(|_| whole) {
            self.provided.entry(provided.to_owned()).or_default().push(name.clone());
        }
        let installed = Installed { version: stanza.version.to_owned(), held: want == Some("hold"), whole };
        if !foreign && stanza.architecture != "all" {
            self.packages.insert(qualified, installed.clone());
        }
        self.packages.insert(name, installed);
    }
}

/// The relevant fields of a stanza.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stanza<'a> {
    pub(super) package: &'a str,
    pub(super) version: &'a str,
    pub(super) architecture: &'a str,
    status: &'a str,
    provides: &'a str,
}

impl<'a> Stanza<'a> {
    /// Reads the field of a line, if it is a relevant one.
    pub(super) fn take(&mut self, line: &'a str) {
        let Some((field, value)) = line.split_once(": ") else { return };
        match field {
            "Package" => self.package = value,
            "Version" => self.version = value,
            "Architecture" => self.architecture = value,
            "Status" => self.status = value,
            "Provides" => self.provides = value,
            _ => {}
        }
    }
}

/// Returns the names in a `Provides` field: `default-mta, mail-transport-agent, smtp (= 1.2)`.
fn provides(field: &str) -> impl Iterator<Item = &str> {
    field.split(',').filter_map(|one| one.split_whitespace().next())
}

fn stanzas(text: &str) -> impl Iterator<Item = Stanza<'_>> {
    text.split("\n\n").filter_map(|text| {
        let mut stanza = Stanza::default();
        text.lines().for_each(|line| stanza.take(line));
        (!stanza.package.is_empty()).then_some(stanza)
    })
}

/// Whether a run of dpkg left its journal. The names of its files are numbers.
fn has_journal(files: &Files) -> io::Result<bool> {
    match files.list(Path::new("/var/lib/dpkg/updates")) {
        Ok(names) => Ok(names.iter().any(|name| {
            name.to_str().is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()))
        })),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Compares two versions: deb-version(7).
pub fn compare(one: &str, other: &str) -> Ordering {
    let (one, other) = (Parts::of(one), Parts::of(other));
    one.epoch
        .cmp(&other.epoch)
        .then_with(|| compare_part(one.upstream, other.upstream))
        .then_with(|| compare_part(one.revision, other.revision))
}

struct Parts<'a> {
    epoch: u64,
    upstream: &'a str,
    revision: &'a str,
}

impl<'a> Parts<'a> {
    fn of(version: &'a str) -> Self {
        let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self { epoch: epoch.parse().unwrap_or(0), upstream, revision }
    }
}

/// Compares text and numbers in turn: text by its letters, numbers by their value.
fn compare_part(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    while !one.is_empty() || !other.is_empty() {
        let letter = |byte: &u8| !byte.is_ascii_digit();
        let mut order = compare_text(split(&mut one, letter), split(&mut other, letter));
        if order.is_eq() {
            order =
                compare_number(split(&mut one, u8::is_ascii_digit), split(&mut other, u8::is_ascii_digit));
        }
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Removes the leading bytes of `rest` that are `wanted`, and returns them.
fn split<'a>(rest: &mut &'a [u8], wanted: impl Fn(&u8) -> bool) -> &'a [u8] {
    let at = rest.iter().position(|byte| !wanted(byte)).unwrap_or(rest.len());
    let (front, back) = rest.split_at(at);
    *rest = back;
    front
}

/// Compares texts: letters sort before other characters, and `~` sorts even before the end.
fn compare_text(one: &[u8], other: &[u8]) -> Ordering {
    let rank = |byte: Option<&u8>| match byte {
        None => 0,
        Some(b'~') => -1,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    let longest = one.len().max(other.len());
    (0..longest)
        .map(|at| rank(one.get(at)).cmp(&rank(other.get(at))))
        .find(|o| o.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Compares numbers of any length by value: without leading zeros, the longer one is greater.
fn compare_number(one: &[u8], other: &[u8]) -> Ordering {
    let value = |mut digits: &'_ [u8]| {
        while let [b'0', rest @ ..] = digits {
            digits = rest;
        }
        digits.to_vec()
    };
    let (one, other) = (value(one), value(other));
    one.len().cmp(&other.len()).then_with(|| one.cmp(&other))
}

/// Whether `name` follows Debian's rule for names, with an optional architecture. apt reads a name that ends in `-`
/// as a removal.
pub fn is_name(name: &str) -> bool {
    let (name, architecture) = name.split_once(':').unwrap_or((name, "any"));
    let small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(small)
        && !name.ends_with('-')
        && name.chars().all(|c| small(c) || "+.-".contains(c))
        && architecture.starts_with(small)
        && architecture.chars().all(|c| small(c) || c == '-')
}

/// Whether `version` matches the pattern: `*` stands for any text, `?` for one character.
pub fn matches(pattern: &str, version: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), version.as_bytes());
    let (mut p, mut t) = (0, 0);
    // The last star, and how much of the text it last matched. Only the last star is ever tried again.
    let mut star = None;
    while t < text.len() {
        match (pattern.get(p), star) {
            (Some(b'*'), _) => {
                star = Some((p + 1, t));
                p += 1;
            }
            (Some(byte), _) if *byte == b'?' || *byte == text[t] => (p, t) = (p + 1, t + 1),
            (_, Some((after, from))) => {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            (_, None) => return false,
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(name: &str, status: &str, version: &str, architecture: &str) -> String {
        format!(
            "Package: {name}\nStatus: {status}\nPriority: optional\nArchitecture: {architecture}\nVersion: {version}\nDescription: text\n Package: not one\n .\n\n"
        )
    }

    #[test]
    fn every_state_of_a_package_is_told_apart() {
        let text = [
            stanza("dpkg", "install ok installed", "1.21.22", "amd64"),
            stanza("tzdata", "hold ok installed", "2026b", "all"),
            stanza("nginx", "install ok half-configured", "1.22.1-9", "amd64"),
            stanza("broken", "install reinstreq half-installed", "1", "amd64"),
            stanza("libc6", "install ok installed", "2.36-9", "amd64"),
            stanza("libc6", "install ok triggers-pending", "2.36-9", "i386"),
            stanza("telnet", "deinstall ok config-files", "0.17", "amd64"),
            stanza("gone", "purge ok not-installed", "1", "amd64"),
        ];
        let database = Database::parse(&text.concat());
        let of = |name: &str| database.packages.get(name).map(|p| (p.version.as_str(), p.held, p.whole));
        assert_eq!(of("dpkg"), Some(("1.21.22", false, true)));
        assert_eq!(of("dpkg:amd64"), of("dpkg"));
        assert_eq!(of("tzdata"), Some(("2026b", true, true)));
        assert_eq!(of("nginx"), Some(("1.22.1-9", false, false)));
        assert_eq!(of("broken"), Some(("1", false, false)));
        assert_eq!(of("libc6:i386"), Some(("2.36-9", false, true)));
        assert_eq!((of("telnet"), of("gone"), of("not one")), (None, None, None));
        assert_eq!(database.leftovers.iter().collect::<Vec<_>>(), ["telnet"]);
        assert!(database.interrupted);
        assert!(!Database::parse(&text[0]).interrupted);
    }

    #[test]
    fn what_installed_packages_provide_is_read_with_them() {
        let provides = |name: &str, status: &str| {
            let text = stanza(name, status, "1", "all");
            text.replacen("Description", "Provides: mail-transport-agent, smtp (= 1.2)\nDescription", 1)
        };
        let text = [
            provides("postfix", "install ok installed"),
            provides("exim", "install ok half-configured"),
            provides("nullmailer", "deinstall ok config-files"),
        ];
        let provided = Database::parse(&text.concat()).provided;
        let expected =
            ["mail-transport-agent", "smtp"].map(|name| (name.to_owned(), vec!["postfix".to_owned()]));
        assert_eq!(provided.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_journal_of_dpkg_is_an_interruption_and_no_database_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path()).unwrap();
        assert_eq!(Database::read(&files).unwrap(), None);
        std::fs::create_dir_all(folder.path().join("var/lib/dpkg/updates")).unwrap();
        let status = stanza("dpkg", "install ok installed", "1.21.22", "amd64");
        std::fs::write(folder.path().join("var/lib/dpkg/status"), status).unwrap();
        assert!(!Database::read(&files).unwrap().unwrap().interrupted);
        std::fs::write(folder.path().join("var/lib/dpkg/updates/0001"), "").unwrap();
        assert!(Database::read(&files).unwrap().unwrap().interrupted);
    }

    #[test]
    fn a_damaged_file_is_read_as_far_as_it_goes() {
        for text in
            ["", "\n\n\n", "Package: x", "Package: x\nStatus:\n\n", "Status: install ok installed\n\n"]
        {
            assert!(Database::parse(text).packages.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn versions_follow_each_other_as_dpkg_says() {
        let ascending = [
            "0~~",
            "0~",
            "0",
            "0.1~rc1",
            "0.1",
            "0.1a",
            "0.1+b1",
            "0.9",
            "0.10",
            "0.10-1",
            "0.10-1+b1",
            "0.10-1.1",
            "0.10-2",
            "1.0-1~bpo12+1",
            "1.0-1",
            "1.0-1+deb12u1",
            "1.0-1+deb12u10",
            "1:0.1",
            "2:0",
        ];
        for (at, one) in ascending.iter().enumerate() {
            for (other_at, other) in ascending.iter().enumerate() {
                assert_eq!(compare(one, other), at.cmp(&other_at), "{one} {other}");
            }
        }
        for (one, other) in [("1.0", "1.0-0"), ("01", "1"), ("1.00", "1.0"), ("0:1", "1"), ("1-", "1")] {
            assert_eq!(compare(one, other), Ordering::Equal, "{one} {other}");
        }
        assert_eq!(compare("1.99999999999999999999999", "1.100000000000000000000000"), Ordering::Less);
    }

    #[test]
    fn a_version_may_be_asked_for_by_a_pattern() {
        let check = |pattern: &str, version: &str, same: bool| {
            assert_eq!(matches(pattern, version), same, "{pattern} {version}");
        };
        check("15.*", "15.3-0+deb12u1", true);
        check("15.*", "150.1", false);
        check("1:7.?-*", "1:7.2-3", true);
        check("*deb12*", "15.3-0+deb12u1", true);
        check("15+248", "15+248", true);
        check("15+248", "15+248.1", false);
        check("*", "", true);
        check(&"*a".repeat(40), &"a".repeat(10_000), true);
    }

    proptest::proptest! {
        #[test]
        fn comparing_is_an_order(one in "[0-9a-z.+~:-]{0,12}", other in "[0-9a-z.+~:-]{0,12}") {
            proptest::prop_assert_eq!(compare(&one, &other), compare(&other, &one).reverse());
            proptest::prop_assert_eq!(compare(&one, &one), Ordering::Equal);
        }
    }
}

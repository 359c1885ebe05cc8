//! The lists of apt, read without starting a process: available versions, and the version that apt would choose.
//!
//! This is valid only for apt's default rules. A host may have pins, a release of its choice, compressed lists, or
//! repositories on its own disk. Nothing is read here then, and apt is asked instead.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::system::files::{Files, Sort};
use crate::system::packages::apt::dpkg::{self, Stanza};

/// The available versions of every package.
#[derive(Debug, Default)]
pub struct Lists {
    offers: HashMap<Box<str>, Vec<Offer>>,
}

/// A version in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offer {
    version: Box<str>,
    priority: i16,
}

const FOLDER: &str = "/var/lib/apt/lists";

/// The usual priority of a release, and the priority of an installed version.
const USUAL: i16 = 500;
const INSTALLED: i16 = 100;

impl Lists {
    /// Reads the lists for packages of `architecture`. None if apt must be asked.
    pub fn read(files: &Files, architecture: &str) -> io::Result<Option<Self>> {
        let names = match files.list(Path::new(FOLDER)) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Self::default())),
            Err(error) => return Err(error),
        };
        let names: Vec<_> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
        let compressed = names.iter().any(|name| name.contains("_Packages."));
        if compressed || has_links(files, &names)? || has_rules(files)? {
            return Ok(None);
        }
        let releases = Releases::read(files, &names)?;
        let mut lists = Self::default();
        for name in names.iter().filter(|name| name.ends_with("_Packages")) {
            let file = files.open(&Path::new(FOLDER).join(name))?;
            lists.add(BufReader::with_capacity(128 * 1024, file), architecture, releases.priority(name))?;
        }
        Ok(Some(lists))
    }

    fn add(&mut self, mut list: impl BufRead, architecture: &str, priority: i16) -> io::Result<()> {
        let mut stanza = Vec::new();
        let mut ends = false;
        while !ends {
            let before = stanza.len();
            ends = (&mut list).take(LINE).read_until(b'\n', &mut stanza)? == 0;
            let line = &stanza[before..];
            if ends || line == b"\n" {
                self.add_stanza(&String::from_utf8_lossy(&stanza), architecture, priority);
                stanza.clear();
            } else if !FIELDS.iter().any(|field| line.starts_with(field)) {
                stanza.truncate(before);
            }
        }
        Ok(())
    }

    fn add_stanza(&mut self, text: &str, architecture: &str, priority: i16) {
        let mut stanza = Stanza::default();
        text.lines().for_each(|line| stanza.take(line));
        if stanza.package.is_empty() || stanza.version.is_empty() {
            return;
        }
        let own = stanza.architecture == "all" || stanza.architecture == architecture;
        let name: Box<str> = if own {
            stanza.package.into()
        } else {
            format!("{}:{}", stanza.package, stanza.architecture).into()
        };
        self.offers.entry(name).or_default().push(Offer { version: stanza.version.into(), priority });
    }

    /// Returns the version of the package `name` that apt would install, if `installed` is installed. It has the
    /// highest priority, and of those it is the newest. It is never older than the installed one.
    pub fn candidate<'a>(&'a self, name: &str, installed: Option<&'a str>) -> Option<&'a str> {
        let there = installed.map(|version| (version, INSTALLED));
        let offers = self.offers.get(name).into_iter().flatten();
        let offers = offers.map(|offer| (&*offer.version, offer.priority));
        let not_older = |version: &str| installed.is_none_or(|there| dpkg::compare(version, there).is_ge());
        offers
            .filter(|(version, _)| not_older(version))
            .chain(there)
            .max_by(|one, other| rank(*one, *other))
            .map(|(version, _)| version)
    }
}

impl Lists {
    /// Returns the package name most similar to `name`, which is in no list. It differs by one or two letters.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        if self.offers.contains_key(name) {
            return None;
        }
        let slips = 1 + u8::from(name.len() > 4);
        let near = self
            .offers
            .keys()
            .filter_map(|known| Some((distance(known.as_bytes(), name.as_bytes(), slips)?, &**known)));
        near.min().map(|(_, known)| known)
    }
}

/// Returns how many letters differ, are missing or are added. None if more than `most`.
fn distance(one: &[u8], other: &[u8], most: u8) -> Option<u8> {
    let same = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let (one, other) = (&one[same..], &other[same..]);
    let ([_, rest_of_one @ ..], [_, rest_of_other @ ..]) = (one, other) else {
        return u8::try_from(one.len() + other.len()).ok().filter(|rest| *rest <= most);
    };
    let most = most.checked_sub(1)?;
    let ways = [(rest_of_one, rest_of_other), (rest_of_one, other), (one, rest_of_other)];
    let best = ways.into_iter().filter_map(|(one, other)| distance(one, other, most)).min();
    best.map(|rest| rest + 1)
}

fn rank(one: (&str, i16), other: (&str, i16)) -> Ordering {
    one.1.cmp(&other.1).then_with(|| dpkg::compare(one.0, other.0))
}

/// The longest line that is read. A longer line is never a relevant field.
const LINE: u64 = 64 * 1024;

const FIELDS: [&[u8]; 3] = [b"Package: ", b"Version: ", b"Architecture: "];

/// Whether some of the lists are links. apt keeps the lists of a repository on the host's own disk that way.
fn has_links(files: &Files, names: &[String]) -> io::Result<bool> {
    for name in names {
        let entry = files.entry(&Path::new(FOLDER).join(name))?;
        if entry.is_some_and(|entry| entry.sort == Sort::Link) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the host has its own rules about which package comes from which source.
fn has_rules(files: &Files) -> io::Result<bool> {
    for path in ["/etc/apt/preferences", "/etc/apt/preferences.d"] {
        if !pieces(files, path)?.is_empty() {
            return Ok(true);
        }
    }
    for path in ["/etc/apt/apt.conf", "/etc/apt/apt.conf.d"] {
        for piece in pieces(files, path)? {
            let text = files.read(&piece, CONFIGURATION)?.to_ascii_lowercase();
            if text.windows(15).any(|window| window == b"default-release") {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The largest file of configuration that is read, in bytes.
const CONFIGURATION: usize = 1024 * 1024;

/// Returns the file at `path`, or the files in the folder there.
fn pieces(files: &Files, path: &str) -> io::Result<Vec<PathBuf>> {
    let path = Path::new(path);
    match files.list(path) {
        Ok(names) => Ok(names.iter().map(|name| path.join(name)).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(vec![path.to_owned()]),
        Err(error) => Err(error),
    }
}

/// The priorities of the releases, by the start of their lists' names.
struct Releases(Vec<(String, i16)>);

impl Releases {
    fn read(files: &Files, names: &[String]) -> io::Result<Self> {
        let mut releases = Vec::new();
        for name in names {
            let begin = name.strip_suffix("InRelease").or_else(|| name.strip_suffix("Release"));
            let Some(begin) = begin.filter(|begin| begin.ends_with('_')) else { continue };
            let mut head = Vec::new();
            files.open(&Path::new(FOLDER).join(name))?.take(HEAD).read_to_end(&mut head)?;
            releases.push((begin.to_owned(), release_priority(&String::from_utf8_lossy(&head))));
        }
        Ok(Self(releases))
    }

    fn priority(&self, list: &str) -> i16 {
        let of = self.0.iter().filter(|(begin, _)| list.starts_with(begin));
        of.max_by_key(|(begin, _)| begin.len()).map_or(USUAL, |(_, priority)| *priority)
    }
}

/// How much of a release file is read. Its fields come before the long table of digests.
const HEAD: u64 = 16 * 1024;

/// Returns the priority by apt_preferences(5): 1 if its packages are never installed automatically, 100 if upgrades
/// may come from it.
fn release_priority(text: &str) -> i16 {
    let says = |field: &str| {
        text.lines().any(|line| {
            line.split_once(':').is_some_and(|(name, value)| name == field && value.trim() == "yes")
        })
    };
    match (says("NotAutomatic"), says("ButAutomaticUpgrades")) {
        (false, _) => USUAL,
        (true, true) => INSTALLED,
        (true, false) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(name: &str, version: &str, architecture: &str) -> String {
        format!(
            "Package: {name}\nArchitecture: {architecture}\nDescription: long\n more\nVersion: {version}\n\n"
        )
    }

    /// A host with bookworm and its backports.
    fn host() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let list = |name: &str, text: &str| write(&format!("var/lib/apt/lists/{name}"), text);
        list("x_dists_bookworm_InRelease", "-----BEGIN PGP SIGNED MESSAGE-----\n\nOrigin: Debian\n");
        list("x_dists_bookworm-backports_InRelease", "NotAutomatic: yes\nButAutomaticUpgrades: yes\n");
        let main = stanza("nginx", "1.22-9", "amd64")
            + &stanza("nginx", "1.22-10", "amd64")
            + &stanza("tzdata", "2026b", "all")
            + "Package: libc6\nVersion: 2.36\nArchitecture: i386\n";
        list("x_dists_bookworm_main_binary-amd64_Packages", &main);
        list(
            "x_dists_bookworm-backports_main_binary-amd64_Packages",
            &stanza("nginx", "1.26-1~bpo12+1", "amd64"),
        );
        let files = Files::new(folder.path()).unwrap();
        (folder, files)
    }

    #[test]
    fn the_candidate_is_what_apt_would_take() {
        let (_folder, files) = host();
        let lists = Lists::read(&files, "amd64").unwrap().unwrap();
        let check = |name: &str, installed: Option<&str>, candidate: Option<&str>| {
            assert_eq!(lists.candidate(name, installed), candidate, "{name} {installed:?}");
        };
        check("nginx", None, Some("1.22-10"));
        check("nginx", Some("1.22-9"), Some("1.22-10"));
        check("nginx", Some("1.23-1"), Some("1.26-1~bpo12+1"));
        check("nginx", Some("1.27-1"), Some("1.27-1"));
        check("tzdata", None, Some("2026b"));
        check("libc6", None, None);
        check("libc6:i386", None, Some("2.36"));
        check("local-only", Some("1"), Some("1"));
        check("nothing", None, None);
    }

    #[test]
    fn a_slip_of_the_hand_is_known() {
        let mut lists = Lists::default();
        for name in ["curl", "nginx", "nginx-light", "vim"] {
            lists.add_stanza(&stanza(name, "1", "amd64"), "amd64", USUAL);
        }
        let check = |name: &str, nearest: Option<&str>| assert_eq!(lists.nearest(name), nearest, "{name}");
        check("curll", Some("curl"));
        check("ngnix", Some("nginx"));
        check("ngin", Some("nginx"));
        check("vi", Some("vim"));
        check("emacs", None);
        check("curl", None);
        check("", None);
    }

    #[test]
    fn apt_is_asked_where_the_host_has_rules_of_its_own() {
        let check = |path: &str, text: &str, readable: bool| {
            let (folder, files) = host();
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            assert_eq!(Lists::read(&files, "amd64").unwrap().is_some(), readable, "{}", path.display());
        };
        check("etc/apt/apt.conf.d/70debconf", "DPkg::Pre-Install-Pkgs {};", true);
        check("etc/apt/apt.conf.d/default", "APT::Default-Release \"stable\";", false);
        check("etc/apt/preferences.d/pin", "Package: *", false);
        check("etc/apt/preferences", "Package: *", false);
        check("var/lib/apt/lists/y_Packages.lz4", "", false);
        let (folder, files) = host();
        std::os::unix::fs::symlink("/srv/Packages", folder.path().join("var/lib/apt/lists/_srv_Packages"))
            .unwrap();
        assert!(Lists::read(&files, "amd64").unwrap().is_none(), "a repository on the host's own disk");
    }

    #[test]
    fn a_host_without_lists_offers_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path()).unwrap();
        assert_eq!(Lists::read(&files, "amd64").unwrap().unwrap().candidate("nginx", None), None);
    }

    #[test]
    fn the_release_says_how_eagerly_it_is_used() {
        assert_eq!(release_priority("Suite: stable\n"), 500);
        assert_eq!(release_priority("NotAutomatic: yes\nButAutomaticUpgrades: yes\n"), 100);
        assert_eq!(release_priority("NotAutomatic: yes\n"), 1);
    }
}

//! The source of a distribution that is not from an index: from a requirement, or from the installer's note (PEP 610,
//! `direct_url.json`). A plan compares the two, so it depends only on the files of the host.
//!
//! The format: PyPA, "Recording the Direct URL Origin of installed distributions".

use std::fmt;
use std::path::{Component, Path, PathBuf};

use converge_model::secret::percent_decoded;
use serde::Deserialize;

use crate::kinds::git::is_hash;

/// The source that a requirement names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// The address or path, without version control, user, revision and fragment.
    url: String,
    /// The revision. None if there is no version control.
    vcs: Option<Revision>,
    subdirectory: Option<String>,
    /// Whether the code is used in place.
    pub(super) editable: bool,
    /// The accepted SHA-256 hashes, in hexadecimal. Empty: any.
    pub(super) hashes: Vec<String>,
    /// Whether the address has a password, so that it must not be passed to a process.
    has_login: bool,
}

/// The asked revision of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Revision {
    tool: String,
    /// A commit, a tag or a branch. None: the default branch of the repository.
    name: Option<String>,
}

/// The installer's note about a distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    url: String,
    subdirectory: Option<String>,
    sort: Sort,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Sort {
    Vcs { tool: String, commit: String, requested: Option<String> },
    Folder { editable: bool },
    Archive { sha256: Option<String> },
}

impl Reference {
    /// Parses the source in a requirement: `git+https://host/x@v1#subdirectory=y`, `file:///x`, `/x`, `./x`. `base`
    /// is the folder for relative paths.
    pub(super) fn of(place: &str, editable: bool, hashes: Vec<String>) -> Self {
        let (place, fragment) = place.trim().split_once('#').unwrap_or((place.trim(), ""));
        let part = |key: &str| fragment.split('&').find_map(|part| part.strip_prefix(key));
        let hashes = hashes.into_iter().chain(part("sha256=").map(str::to_owned)).collect();
        let subdirectory = part("subdirectory=").map(|path| decoded(path.trim_matches('/')));
        let tools = ["git", "hg", "svn", "bzr"];
        let tool = place.split_once('+').filter(|(tool, _)| tools.contains(tool));
        let (place, has_login) = without_login(tool.map_or(place, |(_, rest)| rest));
        let (url, vcs) = match tool {
            Some((tool, _)) => {
                // The login is removed already, so an `@` can only begin the revision.
                let (url, name) = match place.rsplit_once('@') {
                    Some((url, name)) => (url.to_owned(), Some(decoded(name))),
                    None => (place, None),
                };
                (url, Some(Revision { tool: tool.to_owned(), name }))
            }
            None => (place, None),
        };
        Self { url, vcs, subdirectory, editable, hashes, has_login }
    }

    /// The folder or file on the host, if it is one. `base` is the folder for relative paths.
    pub(super) fn path(&self, base: &Path) -> Option<PathBuf> {
        if self.vcs.is_some() {
            return None;
        }
        match self.url.split_once("://") {
            Some(("file", path)) => {
                Some(PathBuf::from(decoded(path.strip_prefix("localhost").unwrap_or(path))))
            }
            Some(_) => None,
            None => Some(below(base, &self.url)),
        }
    }

    /// The revision of a git repository, if it is given.
    pub(super) fn revision(&self) -> Option<&str> {
        let vcs = self.vcs.as_ref().filter(|vcs| vcs.tool == "git")?;
        vcs.name.as_deref().filter(|name| !name.starts_with('-'))
    }

    /// The address and the name of a tag, to ask for its commit. None if that needs a password, or if the revision is
    /// a commit itself.
    pub(super) fn tag(&self) -> Option<(&str, &str)> {
        let name = self.revision().filter(|name| !is_hash(name) && !is_short_hash(name))?;
        (!self.has_login && !self.url.starts_with('-')).then_some((self.url.as_str(), name))
    }

    /// Whether an installed distribution comes from this source.
    pub(super) fn is(&self, origin: &Origin, base: &Path) -> bool {
        if self.vcs.is_some() && self.editable {
            // The note does not name the revision; only the clone itself has it.
            return origin.clone_below(base).is_some();
        }
        let path = self.path(base);
        let url = path.map_or_else(|| self.url.clone(), |path| format!("file://{}", path.display()));
        if normal(&url) != normal(&origin.url) || self.subdirectory != origin.subdirectory {
            return false;
        }
        match (&self.vcs, &origin.sort) {
            (Some(asked), Sort::Vcs { tool, commit, requested }) => {
                asked.tool == *tool && asked.is(commit, requested.as_deref())
            }
            (None, Sort::Folder { editable }) => self.editable == *editable,
            (None, Sort::Archive { sha256 }) => sha256.as_ref().is_none_or(|sha256| self.allows(sha256)),
            _ => false,
        }
    }

    /// Whether an archive with this hash is accepted.
    fn allows(&self, sha256: &str) -> bool {
        self.hashes.is_empty() || self.hashes.iter().any(|hash| hash.eq_ignore_ascii_case(sha256))
    }
}

impl Revision {
    fn is(&self, commit: &str, requested: Option<&str>) -> bool {
        match self.name.as_deref() {
            None => requested.is_none_or(|requested| requested == "HEAD"),
            Some(name) if is_hash(name) => commit == name,
            Some(name) => requested == Some(name) || (is_short_hash(name) && commit.starts_with(name)),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.vcs.as_ref().and_then(|vcs| vcs.name.as_deref());
        f.write_str(&self.url)?;
        name.map_or(Ok(()), |name| write!(f, "@{name}"))
    }
}

impl Origin {
    /// Reads `direct_url.json`. None if its format is unknown.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let noted: Noted = serde_json::from_slice(text).ok()?;
        let sort = match (noted.vcs_info, noted.dir_info) {
            (Some(vcs), _) => {
                Sort::Vcs { tool: vcs.vcs, commit: vcs.commit_id, requested: vcs.requested_revision }
            }
            (None, Some(folder)) => Sort::Folder { editable: folder.editable },
            (None, None) => Sort::Archive { sha256: noted.archive_info.and_then(ArchiveInfo::sha256) },
        };
        let (url, _) = without_login(&noted.url);
        let subdirectory = noted.subdirectory.map(|path| path.trim_matches('/').to_owned());
        Some(Self { url, subdirectory, sort })
    }

    /// The checked-out commit.
    pub(super) fn commit(&self) -> Option<&str> {
        match &self.sort {
            Sort::Vcs { commit, .. } => Some(commit),
            _ => None,
        }
    }

    /// The SHA-256 of the archive, if the installer noted it.
    pub(super) fn sha256(&self) -> Option<&str> {
        match &self.sort {
            Sort::Archive { sha256 } => sha256.as_deref(),
            _ => None,
        }
    }

    /// The installer's clone of an editable repository, below the environment.
    pub(super) fn clone_below(&self, environment: &Path) -> Option<PathBuf> {
        let path = Path::new(self.url.strip_prefix("file://")?);
        let is_clone = matches!(self.sort, Sort::Folder { editable: true }) && path.starts_with(environment);
        is_clone.then(|| path.to_owned())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)?;
        match &self.sort {
            Sort::Vcs { commit, requested, .. } => {
                let commit = commit.get(..12).unwrap_or(commit);
                write!(f, "@{}", requested.as_deref().unwrap_or("HEAD"))?;
                if requested.as_deref() == Some(commit) { Ok(()) } else { write!(f, " ({commit})") }
            }
            Sort::Folder { editable: true } => f.write_str(" (editable)"),
            Sort::Folder { .. } | Sort::Archive { .. } => Ok(()),
        }
    }
}

#[derive(Deserialize)]
struct Noted {
    url: String,
    subdirectory: Option<String>,
    vcs_info: Option<VcsInfo>,
    dir_info: Option<DirInfo>,
    archive_info: Option<ArchiveInfo>,
}

#[derive(Deserialize)]
struct VcsInfo {
    vcs: String,
    commit_id: String,
    requested_revision: Option<String>,
}

#[derive(Deserialize)]
struct DirInfo {
    #[serde(default)]
    editable: bool,
}

#[derive(Deserialize)]
struct ArchiveInfo {
    /// The value `sha256=…` of older installers.
    hash: Option<String>,
    #[serde(default)]
    hashes: std::collections::BTreeMap<String, String>,
}

impl ArchiveInfo {
    fn sha256(self) -> Option<String> {
        let old = || self.hash.as_deref()?.strip_prefix("sha256=").map(str::to_owned);
        self.hashes.get("sha256").cloned().or_else(old)
    }
}

/// Removes user and password from an address. Also returns whether there was a password, or a token instead.
fn without_login(address: &str) -> (String, bool) {
    let Some((scheme, rest)) = address.split_once("://") else { return (address.to_owned(), false) };
    let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let Some((login, host)) = place.rsplit_once('@') else { return (address.to_owned(), false) };
    // The user of ssh belongs to the address: without it, another user would log in.
    let is_secret = scheme != "ssh" || login.contains(':');
    let kept = if is_secret { String::new() } else { format!("{login}@") };
    (format!("{scheme}://{kept}{host}{path}"), is_secret)
}

/// Normalises an address for comparisons: letter case of the host, and escapes in the path.
fn normal(url: &str) -> String {
    let url = decoded(url.trim_end_matches('/'));
    let Some((scheme, rest)) = url.split_once("://") else { return url };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.to_ascii_lowercase();
    let host = if scheme == "file" && host == "localhost" { "" } else { &host };
    format!("{scheme}://{host}{path}")
}

fn decoded(text: &str) -> String {
    let bytes = percent_decoded(text.as_bytes()).and_then(|bytes| String::from_utf8(bytes).ok());
    bytes.unwrap_or_else(|| text.to_owned())
}

/// Whether a name can be a short commit hash of git.
fn is_short_hash(name: &str) -> bool {
    (7..40).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The path of `name` as a file in `folder` would mean it.
pub(super) fn below(folder: &Path, name: &str) -> PathBuf {
    let mut path = folder.to_owned();
    for part in Path::new(name).components() {
        match part {
            Component::RootDir => path = PathBuf::from("/"),
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(part) => path.push(part),
            Component::CurDir | Component::Prefix(_) => {}
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(place: &str) -> Reference {
        Reference::of(place, false, Vec::new())
    }

    fn noted(text: &str) -> Origin {
        Origin::read(text.as_bytes()).unwrap_or_else(|| panic!("{text}"))
    }

    fn vcs(url: &str, requested: &str, commit: &str) -> Origin {
        noted(&format!(
            "{{\"url\": \"{url}\", \"vcs_info\": {{\"vcs\": \"git\", \"requested_revision\": {requested}, \"commit_id\": \"{commit}\"}}}}"
        ))
    }

    #[test]
    fn a_reference_is_what_was_noted_of_the_same_place() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let check = |place: &str, url: &str, requested: &str, is: bool| {
            let origin = vcs(url, requested, commit);
            assert_eq!(reference(place).is(&origin, Path::new("/base")), is, "{place} {url} {requested}");
        };
        check("git+https://h/x.git@v1", "https://h/x.git", "\"v1\"", true);
        check("git+https://h/x.git@v2", "https://h/x.git", "\"v1\"", false);
        check("git+https://h/x.git", "https://h/x.git", "\"v1\"", false);
        check("git+https://h/x.git@v1", "https://h/x.git", "null", false);
        check("git+https://h/x.git", "https://h/x.git", "null", true);
        check("git+https://${TOKEN}@H/x.git@v1#egg=x", "https://h/x.git", "\"v1\"", true);
        check("git+https://u:p@h/x.git@v1", "https://****@h/x.git", "\"v1\"", true);
        check("git+ssh://git@h/x@v1", "ssh://git@h/x", "\"v1\"", true);
        check("git+file://localhost/srv/x@v1", "file:///srv/x", "\"v1\"", true);
        check("git+https://h/x@v1#subdirectory=a", "https://h/x", "\"v1\"", false);
        check(&format!("git+https://h/x@{commit}"), "https://h/x", "\"v1\"", true);
        check(&format!("git+https://h/x@{}", commit.replace('0', "1")), "https://h/x", "\"v1\"", false);
        check("git+https://h/x@0123456", "https://h/x", "\"v1\"", true);
        check("hg+https://h/x@v1", "https://h/x", "\"v1\"", false);
    }

    #[test]
    fn a_folder_and_an_archive_are_told_by_their_notes() {
        let base = Path::new("/opt/venv");
        let folder = noted("{\"url\": \"file:///srv/a%20b\", \"dir_info\": {}}");
        assert!(reference("/srv/a b").is(&folder, base) && reference("file:///srv/a%20b/").is(&folder, base));
        assert!(reference("../../srv/a b").is(&folder, base));
        assert!(!Reference::of("/srv/a b", true, Vec::new()).is(&folder, base));
        let editable = noted("{\"url\": \"file:///srv/x\", \"dir_info\": {\"editable\": true}}");
        assert!(Reference::of("/srv/x", true, Vec::new()).is(&editable, base));
        assert!(!reference("/srv/x").is(&editable, base));
        for hash in ["\"hash\": \"sha256=ab\"", "\"hashes\": {\"sha256\": \"ab\"}"] {
            let archive = noted(&format!("{{\"url\": \"https://h/x.whl\", \"archive_info\": {{{hash}}}}}"));
            assert!(reference("https://h/x.whl").is(&archive, base));
            assert!(reference("https://h/x.whl#sha256=AB").is(&archive, base));
            assert!(!reference("https://h/x.whl#sha256=cd").is(&archive, base));
            assert!(!reference("https://h/y.whl").is(&archive, base));
        }
        assert_eq!(Origin::read(b"{}"), None);
        assert_eq!(Origin::read(b"\xff"), None);
    }

    #[test]
    fn a_reference_is_shown_and_asked_without_its_password() {
        let secret = reference("git+https://u:hunter2@h/x@v1");
        assert_eq!(secret.to_string(), "https://h/x@v1");
        assert_eq!(secret.tag(), None);
        assert_eq!(reference("git+ssh://git@h/x@v1").tag(), Some(("ssh://git@h/x", "v1")));
        assert_eq!(reference("git+https://h/x").tag(), None);
    }
}

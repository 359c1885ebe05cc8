//! Reads a repository on the disk without git: its `HEAD`, its references and its origin. The formats are those of
//! gitrepository-layout(5).

use std::path::{Path, PathBuf};

use crate::system::files::Sort;
use crate::view::{LookError, Seen, View};

/// A repository with a work tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::kinds) struct Repository {
    /// The full name of the checked-out branch. None if `HEAD` is a commit.
    pub(in crate::kinds) branch: Option<String>,
    /// The checked-out commit. None if there is none yet.
    pub(in crate::kinds) commit: Option<String>,
    /// The URL of `origin`.
    pub(in crate::kinds) origin: Option<String>,
    /// The rules of the sparse checkout, if it is on.
    pub(in crate::kinds) sparse: Option<String>,
    folder: PathBuf,
    packed: Vec<(String, String)>,
}

impl Repository {
    /// Reads the repository with its work tree at `path`. None if `.git` is no folder.
    pub(in crate::kinds) fn read(view: &View<'_>, path: &Path) -> Result<Option<Self>, LookError> {
        let folder = path.join(".git");
        if !matches!(view.glance(&folder)?, Seen::Known(place) if place.sort == Sort::Folder) {
            return Ok(None);
        }
        let packed = text(view, &folder.join("packed-refs"))?.unwrap_or_default();
        let head = text(view, &folder.join("HEAD"))?.unwrap_or_default();
        let config = text(view, &folder.join("config"))?.unwrap_or_default();
        let sparse = match is_sparse(&config) {
            true => text(view, &folder.join("info/sparse-checkout"))?,
            false => None,
        };
        let origin = origin(&config);
        let mut repository = Self { origin, sparse, folder, packed: packed_refs(&packed), ..Self::default() };
        match head.trim().strip_prefix("ref: ") {
            Some(branch) if is_plain(branch) => {
                repository.commit = repository.reference(view, branch)?;
                repository.branch = Some(branch.to_owned());
            }
            _ => repository.commit = is_hash(head.trim()).then(|| head.trim().to_owned()),
        }
        Ok(Some(repository))
    }

    /// The commit of the reference `name` (`refs/tags/v1`). For an annotated tag this is the tagged commit, if known.
    pub(in crate::kinds) fn reference(
        &self,
        view: &View<'_>,
        name: &str,
    ) -> Result<Option<String>, LookError> {
        let loose = text(view, &self.folder.join(name))?;
        let loose = loose.map(|hash| hash.trim().to_owned()).filter(|hash| is_hash(hash));
        let packed = || self.packed.iter().rfind(|(known, _)| known == name).map(|(_, hash)| hash.clone());
        Ok(loose.or_else(packed))
    }
}

/// Whether a text is a full commit hash: SHA-1 or SHA-256.
pub(in crate::kinds) fn is_hash(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether the name of a reference stays inside the repository folder.
fn is_plain(name: &str) -> bool {
    name.starts_with("refs/") && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn text(view: &View<'_>, path: &Path) -> Result<Option<String>, LookError> {
    match view.glance(path)? {
        Seen::Known(place) if place.sort == Sort::File => {
            Ok(view.raw(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        }
        _ => Ok(None),
    }
}

/// The lines of `packed-refs`: `HASH NAME`, and `^HASH` for the commit of the tag before.
fn packed_refs(text: &str) -> Vec<(String, String)> {
    let mut refs: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if let Some(peeled) = line.strip_prefix('^') {
            if let Some((_, hash)) = refs.last_mut() {
                *hash = peeled.to_owned();
            }
        } else if let Some((hash, name)) = line.split_once(' ').filter(|(hash, _)| is_hash(hash)) {
            refs.push((name.to_owned(), hash.to_owned()));
        }
    }
    refs
}

/// The `url` of `[remote "origin"]`.
fn origin(config: &str) -> Option<String> {
    let section = config.lines().skip_while(|line| line.trim() != "[remote \"origin\"]").skip(1);
    let mut own = section.take_while(|line| !line.trim_start().starts_with('['));
    own.find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "url").then(|| value.trim().to_owned())
    })
}

/// Whether `[core]` turns the sparse checkout on.
fn is_sparse(config: &str) -> bool {
    let lines = config.lines().map(|line| line.trim().to_ascii_lowercase());
    let own = lines.skip_while(|line| line != "[core]").skip(1).take_while(|line| !line.starts_with('['));
    let pairs = own.filter_map(|line| {
        line.split_once('=').map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
    });
    pairs.filter(|(key, _)| key == "sparsecheckout").last().is_some_and(|(_, value)| value == "true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::Trial;

    #[test]
    fn packed_references_name_the_commit_of_a_tag() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let text = format!("# pack-refs with: peeled\n{a} refs/heads/main\n{a} refs/tags/v1\n^{b}\nbroken\n");
        let expected = [("refs/heads/main".to_owned(), a), ("refs/tags/v1".to_owned(), b)];
        assert_eq!(packed_refs(&text), expected);
    }

    #[test]
    fn the_origin_is_that_of_its_own_section() {
        let config = "[remote \"up\"]\n\turl = x\n[remote \"origin\"]\n\tfetch = +a\n\turl = ssh://h/p\n[core]\n\turl = y\n";
        assert_eq!(origin(config).as_deref(), Some("ssh://h/p"));
        assert_eq!(origin("[core]\n\turl = y\n"), None);
    }

    #[test]
    fn a_part_is_checked_out_where_the_core_section_says_so_last() {
        let check = |config: &str, sparse: bool| assert_eq!(is_sparse(config), sparse, "{config}");
        check("[core]\n\tbare = false\n\tsparseCheckout = true\n[remote \"origin\"]\n\turl = x\n", true);
        check("[core]\n\tsparseCheckout = true\n\tsparseCheckout = false\n", false);
        check("[core]\n\tbare = true\n", false);
        check("[other]\n\tsparseCheckout = true\n[core]\n\tbare = true\n", false);
        check("[core]\n\tbare = true\n[other]\n\tsparseCheckout = true\n", false);
        check("", false);
    }

    #[test]
    fn a_head_that_leads_out_of_the_repository_is_not_followed() {
        let trial = Trial::new();
        let commit = "a".repeat(40);
        trial.write("/etc/secret", &commit);
        let head = |text: &str| {
            trial.write("/opt/app/.git/HEAD", text);
            let read = trial.view(|view| Repository::read(view, Path::new("/opt/app"))).unwrap().unwrap();
            (read.branch, read.commit)
        };
        trial.write("/opt/app/.git/refs/heads/main", &commit);
        let main = "refs/heads/main";
        assert_eq!(head(&format!("ref: {main}\n")), (Some(main.to_owned()), Some(commit.clone())));
        assert_eq!(head(&format!("{commit}\n")), (None, Some(commit.clone())));
        assert_eq!(head("ref: refs/../../../../etc/secret\n"), (None, None));
        assert_eq!(head("broken\n"), (None, None));
    }

    #[test]
    fn a_reference_leads_nowhere_else() {
        assert!(is_plain("refs/heads/a/b"));
        assert!(!is_plain("refs/heads/../../../etc/passwd"));
        assert!(!is_plain("/etc/passwd"));
    }
}

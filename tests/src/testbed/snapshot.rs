//! The difference of a host's disk from its base: as a list, as a digest, and compared with another time.
//!
//! A host is an overlay, so its whole difference is in one folder, the upper one. A file that was copied up but
//! equals the base (opened for writing, chmod to the same mode) is no difference. `/tmp`, `/run` and the other file
//! systems mounted on a host do not belong to its disk.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A file that changes on a host at a login, without other use. Everything below `/var/log` changes too.
const SUDO_MARK: &str = ".sudo_as_admin_successful";
/// Folders with random names that systemd creates for a starting service.
const PRIVATE: &str = "var/tmp/systemd-private-";
/// The overlay's own attributes that matter for the disk. Its other attributes do not.
const REDIRECT: &str = "trusted.overlay.redirect";
const OPAQUE: &str = "trusted.overlay.opaque";
/// The kernel's limit for one attribute, and for the list of their names.
const ATTRIBUTE_LIMIT: usize = 64 * 1024;

/// The state of a host's disk at one time, as its difference from the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The differences by path, relative to the host's root.
    entries: BTreeMap<PathBuf, Difference>,
}

impl Snapshot {
    /// Reads the difference between `upper` and `base`.
    pub(crate) fn take(base: &Path, upper: &Path) -> io::Result<Self> {
        let mut walk = Walk { base, upper, entries: BTreeMap::new() };
        walk.folder(Path::new(""))?;
        Ok(Self { entries: walk.entries })
    }

    /// Returns a digest of all differences from the base: paths, kinds, content, modes, owners, times, attributes.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (path, difference) in &self.entries {
            hasher.update(format!("{path:?} {:?}\n", difference.now).as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Returns the same state without modification times, to check that a disk is byte-identical again.
    #[must_use]
    pub fn without_times(mut self) -> Self {
        for difference in self.entries.values_mut() {
            for entry in [&mut difference.base, &mut difference.now].into_iter().flatten() {
                entry.modified = None;
            }
        }
        self.entries.retain(|_, difference| difference.base != difference.now);
        self
    }

    /// Returns every path that differs between this state and `before`, in path order.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        let paths: BTreeSet<&PathBuf> = self.entries.keys().chain(before.entries.keys()).collect();
        paths.into_iter().filter_map(|path| self.change_at(before, path)).collect()
    }

    fn change_at(&self, before: &Self, path: &Path) -> Option<Change> {
        let (new, old) = (self.entries.get(path), before.entries.get(path));
        // If one of the two has no entry, its state is that of the base, which the other one has.
        let base = new.or(old).and_then(|difference| difference.base.as_ref());
        let now = new.map_or(base, |difference| difference.now.as_ref());
        let then = old.map_or(base, |difference| difference.now.as_ref());
        let what = match (then, now) {
            (None, None) => return None,
            (None, Some(_)) => What::Added,
            (Some(_), None) => What::Removed,
            (Some(then), Some(now)) if then == now => return None,
            (Some(then), Some(now)) => What::Changed(then.differences(now)),
        };
        Some(Change { path: Path::new("/").join(path), what })
    }
}

/// A path at which two states of a host's disk differ. Displays as `+ /etc/motd` or `~ /etc/motd (content, mode)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The absolute path on the host.
    pub path: PathBuf,
    /// The kind of change.
    pub what: What,
}

/// The kind of change at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It was added, or exists again.
    Added,
    /// It was removed.
    Removed,
    /// It exists in both states, and these differ: `kind`, `content`, `mode`, `owner`, `time`, `attributes`.
    Changed(Vec<&'static str>),
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.what {
            What::Added => write!(out, "+ {path}"),
            What::Removed => write!(out, "- {path}"),
            What::Changed(aspects) => write!(out, "~ {path} ({})", aspects.join(", ")),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Difference {
    base: Option<Entry>,
    now: Option<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    content: Content,
    mode: u32,
    owner: (u32, u32),
    /// Seconds and nanoseconds. None if times are left out. It has no meaning for a link.
    modified: Option<(i64, i64)>,
    attributes: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    File(blake3::Hash),
    Folder,
    Link(PathBuf),
    /// A device, socket or pipe, with its device number.
    Special(u64),
}

impl Entry {
    /// Returns the entry at `path`. None if it does not exist. Anything unreadable is an error.
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let Some(metadata) = existing(fs::symlink_metadata(path))? else { return Ok(None) };
        let Some(content) = existing(Content::read(path, &metadata))? else { return Ok(None) };
        let Some(attributes) = existing(attributes(path))? else { return Ok(None) };
        let modified = (!metadata.is_symlink()).then(|| (metadata.mtime(), metadata.mtime_nsec()));
        let owner = (metadata.uid(), metadata.gid());
        Ok(Some(Self { content, mode: metadata.mode() & 0o7777, owner, modified, attributes }))
    }

    fn differences(&self, other: &Self) -> Vec<&'static str> {
        let same_kind = std::mem::discriminant(&self.content) == std::mem::discriminant(&other.content);
        let aspects = [
            ("kind", !same_kind),
            ("content", same_kind && self.content != other.content),
            ("mode", self.mode != other.mode),
            ("owner", self.owner != other.owner),
            ("time", self.modified != other.modified),
            ("attributes", self.attributes != other.attributes),
        ];
        aspects.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }
}

impl Content {
    fn read(path: &Path, metadata: &fs::Metadata) -> io::Result<Self> {
        let kind = metadata.file_type();
        Ok(if kind.is_dir() {
            Self::Folder
        } else if kind.is_symlink() {
            Self::Link(fs::read_link(path)?)
        } else if kind.is_file() {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(fs::File::open(path)?)?;
            Self::File(hasher.finalize())
        } else {
            Self::Special(metadata.rdev())
        })
    }
}

struct Walk<'a> {
    base: &'a Path,
    upper: &'a Path,
    entries: BTreeMap<PathBuf, Difference>,
}

impl Walk<'_> {
    fn folder(&mut self, path: &Path) -> io::Result<()> {
        let Some(children) = existing(fs::read_dir(self.upper.join(path)))? else { return Ok(()) };
        for child in children {
            let child = child?;
            let path = path.join(child.file_name());
            if !moves_by_itself(&path) {
                self.entry(&path, child.file_type()?)?;
            }
        }
        if is_opaque(&self.upper.join(path))? {
            self.hidden_below(path)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, kind: fs::FileType) -> io::Result<()> {
        let upper = self.upper.join(path);
        let now = if is_whiteout(&upper, kind)? { None } else { Entry::read(&upper)? };
        self.note(path, now)?;
        if kind.is_dir() { self.folder(path) } else { Ok(()) }
    }

    /// Adds what is hidden: a folder that was removed and created again hides the base's contents.
    fn hidden_below(&mut self, path: &Path) -> io::Result<()> {
        let Some(children) = existing(fs::read_dir(self.base.join(path)))? else { return Ok(()) };
        for child in children {
            let path = path.join(child?.file_name());
            if !moves_by_itself(&path) && existing(fs::symlink_metadata(self.upper.join(&path)))?.is_none() {
                self.note(&path, None)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, path: &Path, now: Option<Entry>) -> io::Result<()> {
        let base = Entry::read(&self.base.join(path))?;
        if base != now {
            self.entries.insert(path.to_owned(), Difference { base, now });
        }
        Ok(())
    }
}

fn moves_by_itself(path: &Path) -> bool {
    path == Path::new("var/log")
        || path.file_name() == Some(OsStr::new(SUDO_MARK))
        || path.to_string_lossy().starts_with(PRIVATE)
}

/// The overlay marks a removed path with a character device 0:0.
fn is_whiteout(path: &Path, kind: fs::FileType) -> io::Result<bool> {
    Ok(kind.is_char_device() && existing(fs::symlink_metadata(path))?.is_some_and(|found| found.rdev() == 0))
}

fn is_opaque(path: &Path) -> io::Result<bool> {
    Ok(existing(raw_attributes(path))?.is_some_and(|found| found.contains_key(OPAQUE)))
}

/// Returns the extended attributes that a program on the host could see, and the mark of a renamed folder.
fn attributes(path: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut found = raw_attributes(path)?;
    found.retain(|name, _| name == REDIRECT || !name.starts_with("trusted.overlay."));
    Ok(found)
}

fn raw_attributes(path: &Path) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut buffer = vec![0; ATTRIBUTE_LIMIT];
    let length = rustix::fs::llistxattr(path, &mut buffer[..])?;
    let names = buffer[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| Ok((String::from_utf8_lossy(name).into_owned(), attribute(path, name)?))).collect()
}

fn attribute(path: &Path, name: &[u8]) -> io::Result<Vec<u8>> {
    let mut value = vec![0; ATTRIBUTE_LIMIT];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..])?;
    value.truncate(length);
    Ok(value)
}

/// Ignores missing files: the host runs while it is read, so a file may be removed meanwhile.
fn existing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

    use super::*;

    /// Edits base and upper folder with `edit`, and compares the displayed changes.
    fn check(edit: impl Fn(&Path, &Path), expected: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let (base, upper) = (folder.path().join("base"), folder.path().join("upper"));
        fs::create_dir_all(base.join("etc")).unwrap();
        fs::create_dir_all(upper.join("etc")).unwrap();
        for top in [&base, &upper] {
            fs::write(top.join("etc/motd"), "hello").unwrap();
            set_time(&top.join("etc/motd"));
            set_time(&top.join("etc"));
        }
        let before = Snapshot::take(&base, &upper).unwrap();
        assert_eq!(before.entries.len(), 0, "a copy that equals the base is no difference");
        edit(&base, &upper);
        let after = Snapshot::take(&base, &upper).unwrap();
        let changes: Vec<String> = after.changes_since(&before).iter().map(Change::to_string).collect();
        assert_eq!(changes, expected);
        assert_eq!(after.digest() == before.digest(), expected.is_empty());
    }

    fn set_time(path: &Path) {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        fs::File::open(path).unwrap().set_modified(then).unwrap();
    }

    #[test]
    fn a_new_file_is_named_with_the_folder_it_touched() {
        check(|_, upper| fs::write(upper.join("etc/new"), "").unwrap(), &["~ /etc (time)", "+ /etc/new"]);
    }

    #[test]
    fn content_and_mode_are_told_apart() {
        check(
            |_, upper| {
                fs::write(upper.join("etc/motd"), "other").unwrap();
                fs::set_permissions(upper.join("etc/motd"), fs::Permissions::from_mode(0o600)).unwrap();
                set_time(&upper.join("etc/motd"));
            },
            &["~ /etc/motd (content, mode)"],
        );
    }

    #[test]
    fn a_rewrite_of_the_same_content_shows_as_its_time() {
        check(|_, upper| fs::write(upper.join("etc/motd"), "hello").unwrap(), &["~ /etc/motd (time)"]);
    }

    #[test]
    fn a_link_in_place_of_a_file_is_another_kind() {
        check(
            |_, upper| {
                fs::remove_file(upper.join("etc/motd")).unwrap();
                std::os::unix::fs::symlink("elsewhere", upper.join("etc/motd")).unwrap();
                set_time(&upper.join("etc"));
            },
            &["~ /etc/motd (kind, mode, time)"],
        );
    }

    #[test]
    fn logs_and_the_mark_of_sudo_are_left_out() {
        check(
            |_, upper| {
                fs::create_dir_all(upper.join("var/log/nginx")).unwrap();
                fs::create_dir_all(upper.join(PRIVATE.to_owned() + "1-logind/tmp")).unwrap();
                fs::write(upper.join("etc").join(SUDO_MARK), "").unwrap();
                set_time(&upper.join("etc"));
            },
            &["+ /var", "+ /var/tmp"],
        );
    }

    #[test]
    fn without_times_only_bytes_and_rights_count() {
        let folder = tempfile::tempdir().unwrap();
        let (base, upper) = (folder.path().join("base"), folder.path().join("upper"));
        for top in [&base, &upper] {
            fs::create_dir(top).unwrap();
            fs::write(top.join("motd"), "hello").unwrap();
        }
        set_time(&upper.join("motd"));
        let timed = Snapshot::take(&base, &upper).unwrap();
        assert_eq!(timed.entries.len(), 1);
        assert_eq!(timed.without_times().entries.len(), 0);
    }
}

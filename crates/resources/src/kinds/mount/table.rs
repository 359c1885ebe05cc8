//! The mounts of a host: lines of proc_pid_mountinfo(5), and the escapes that they share with fstab(5).

use std::path::{Path, PathBuf};

use crate::view::{LookError, View};

/// The mounts of a host as a tree: each is on top of another, at a place inside it.
#[derive(Clone, Debug, Default)]
pub struct Mounts(Vec<Mounted>);

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Its number, and the number of its parent mount.
    id: u64,
    parent: u64,
    /// The device of its file system, `8:1`. All mounts of one file system share it.
    pub device: String,
    /// The mount point.
    pub at: PathBuf,
    /// The visible part of the file system: `/`, or the source of a bind mount.
    pub root: PathBuf,
    /// The source: a device, a share, or a word.
    pub source: String,
    /// The type of the file system.
    pub fstype: String,
    /// The options of this mount alone: `ro`, `nosuid`, `relatime`.
    pub options: Vec<String>,
    /// The options of its file system, which all its mounts share: `rw`, `size=64k`.
    pub system: Vec<String>,
}

impl Mounts {
    /// Reads the mounts of the system from its first process. A look has its own mount namespace, in which all mounts
    /// are read-only.
    pub fn read(view: &View<'_>) -> Result<Self, LookError> {
        let first = view.raw(Path::new("/proc/1/mountinfo")).ok().flatten();
        let text = match first {
            Some(text) => text,
            None => view.raw(Path::new("/proc/self/mountinfo"))?.unwrap_or_default(),
        };
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    /// Parses a text of proc_pid_mountinfo(5). Skips malformed lines.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(mounted).collect())
    }

    /// The mounts at `path`, the lowest first. Leaves out those that a mount at a parent folder hides.
    pub fn at(&self, path: &Path) -> Vec<&Mounted> {
        self.way(path, None).into_iter().filter(|mounted| mounted.at == path).collect()
    }

    /// The mount that contains `path`.
    pub fn holding(&self, path: &Path) -> Option<&Mounted> {
        self.way(path, None).pop()
    }

    /// Like [`Mounts::holding`], as if no file system were mounted at `covered`.
    pub fn holding_below(&self, path: &Path, covered: &Path) -> Option<&Mounted> {
        self.way(path, Some(covered)).pop()
    }

    /// The mounts on folders inside `mounted`.
    pub fn on<'a>(&'a self, mounted: &Mounted) -> impl Iterator<Item = &'a Mounted> {
        let (id, at) = (mounted.id, mounted.at.clone());
        self.0.iter().filter(move |other| other.parent == id && other.id != id && other.at != at)
    }

    /// The path of the content of `mounted` in another mount of the same file system. None if no other mount shows
    /// it.
    pub fn elsewhere(&self, mounted: &Mounted) -> Option<PathBuf> {
        let others = self.0.iter().filter(|other| other.id != mounted.id && other.device == mounted.device);
        others.filter(|other| !other.at.starts_with(&mounted.at)).find_map(|other| {
            let path = join(&other.at, mounted.root.strip_prefix(&other.root).ok()?);
            let seen = self.holding_below(&path, &mounted.at)?;
            (seen.id == other.id).then_some(path)
        })
    }

    /// The mounts on the walk to `path`. The last one contains it.
    fn way(&self, path: &Path, covered: Option<&Path>) -> Vec<&Mounted> {
        let is_top = |mounted: &Mounted| {
            mounted.parent == mounted.id || !self.0.iter().any(|other| other.id == mounted.parent)
        };
        let on_the_way =
            |mounted: &&Mounted| path.starts_with(&mounted.at) && Some(mounted.at.as_path()) != covered;
        let mut way: Vec<&Mounted> = Vec::new();
        // Limits the walk to the number of mounts: inconsistent numbers could form a cycle.
        while way.len() < self.0.len() {
            let below = way.last().map(|mounted| mounted.id);
            let next = self
                .0
                .iter()
                .filter(|mounted| match below {
                    Some(id) => mounted.parent == id && mounted.id != id,
                    None => is_top(mounted),
                })
                .filter(on_the_way)
                .rev()
                .min_by_key(|mounted| mounted.at.components().count());
            match next {
                Some(next) => way.push(next),
                None => break,
            }
        }
        way
    }
}

impl Mounted {
    /// Whether the mount has this option.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|other| other == option)
    }

    /// Whether the file system has this option, in all its mounts.
    pub fn system_has(&self, option: &str) -> bool {
        self.system.iter().any(|other| other == option)
    }

    /// The value of an option of the file system.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.system.iter().find_map(|option| option.strip_prefix(key)?.strip_prefix('='))
    }

    /// The path inside the file system for `path`, which this mount contains.
    pub fn inside(&self, path: &Path) -> Option<PathBuf> {
        Some(join(&self.root, path.strip_prefix(&self.at).ok()?))
    }

    /// Its source and its type, for users.
    pub fn shown(&self) -> String {
        if self.root == Path::new("/") {
            format!("{} ({})", self.source, self.fstype)
        } else {
            format!("{} of {} ({})", self.root.display(), self.source, self.fstype)
        }
    }
}

/// `36 35 98:0 /root /mnt rw,noatime master:1 - ext4 /dev/sda rw,errors=continue`
fn mounted(line: &str) -> Option<Mounted> {
    let (place, system) = line.split_once(" - ")?;
    let mut place = place.split(' ');
    let (id, parent) = (place.next()?.parse().ok()?, place.next()?.parse().ok()?);
    let (device, root, at, options) = (place.next()?, place.next()?, place.next()?, place.next()?);
    let mut system = system.split(' ');
    let (fstype, source, more) = (system.next()?, system.next()?, system.next().unwrap_or_default());
    let words = |text: &str| text.split(',').map(unescape).collect();
    Some(Mounted {
        id,
        parent,
        device: device.to_owned(),
        at: unescape(at).into(),
        root: unescape(root).into(),
        source: unescape(source),
        fstype: fstype.to_owned(),
        options: words(options),
        system: words(more),
    })
}

/// Joins `folder` and `below`. An empty `below` adds no slash.
fn join(folder: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { folder.to_owned() } else { folder.join(below) }
}

/// Decodes the octal escapes of `text`: `\040` is a blank.
pub fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Encodes `text` as a field of fstab(5): blanks, tabs, line ends, `#` and backslashes in octal.
pub fn escape(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => escaped.extend(format!("\\{byte:03o}").bytes()),
            byte => escaped.push(*byte),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root, a folder in memory that is bound to another place, a stack of two, and a hidden mount.
    const TABLE: &str = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
         30 22 0:5 / /proc rw - proc proc rw\n\
         31 30 0:5 /sys /proc/sys ro,nosuid - proc proc rw\n\
         40 22 0:6 / /mnt/a\\040b rw,noexec master:1 propagate_from:2 - tmpfs tmpfs rw,size=64k\n\
         41 40 254:0 /srv /mnt/a\\040b ro - ext4 /dev/vda rw\n\
         50 22 0:7 / /srv/pool rw - tmpfs pool rw\n\
         51 22 0:7 /a /srv/view ro - tmpfs pool rw\n\
         60 22 0:8 / /srv/deep/hidden rw - tmpfs hidden rw\n\
         61 22 0:9 / /srv/deep rw - tmpfs over rw\n\
         62 61 0:10 / /srv/deep/seen rw - tmpfs seen rw\n\
         broken line\n33 22 0:7 / - tmpfs\n";

    #[test]
    fn a_place_has_all_that_is_mounted_there_and_nothing_that_is_hidden() {
        let mounts = Mounts::parse(TABLE);
        let check = |path: &str, sources: &[&str]| {
            let at: Vec<_> = mounts.at(path.as_ref()).iter().map(|mounted| mounted.source.clone()).collect();
            assert_eq!(at, sources, "{path}");
        };
        check("/", &["/dev/vda"]);
        check("/mnt/a b", &["tmpfs", "/dev/vda"]);
        check("/srv/pool", &["pool"]);
        check("/srv/deep", &["over"]);
        check("/srv/deep/hidden", &[]);
        check("/srv/deep/seen", &["seen"]);
        check("/srv", &[]);
    }

    #[test]
    fn a_path_is_held_by_the_last_mount_on_the_way() {
        let mounts = Mounts::parse(TABLE);
        let check = |path: &str, at: &str, root: &str| {
            let mounted = mounts.holding(path.as_ref()).unwrap();
            assert_eq!(
                (mounted.at.as_path(), mounted.root.as_path()),
                (at.as_ref(), root.as_ref()),
                "{path}"
            );
        };
        check("/proc/sys/vm/swappiness", "/proc/sys", "/sys");
        check("/etc/x", "/", "/");
        check("/mnt/a b/x", "/mnt/a b", "/srv");
        check("/srv/deep/hidden/x", "/srv/deep", "/");
        assert!(mounts.holding("/proc/sys/x".as_ref()).unwrap().has("ro"));
        let below = mounts.holding_below("/srv/view/x".as_ref(), "/srv/view".as_ref()).unwrap();
        assert_eq!(below.at, Path::new("/"));
        let below: Vec<_> = mounts.on(mounts.at("/".as_ref())[0]).map(|on| on.at.clone()).collect();
        assert!(
            below.contains(&"/srv/deep".into()) && !below.contains(&"/srv/deep/seen".into()),
            "{below:?}"
        );
    }

    #[test]
    fn a_bind_is_known_by_what_it_shows() {
        let mounts = Mounts::parse(TABLE);
        let of = |path: &str| mounts.at(path.as_ref()).pop().unwrap();
        assert_eq!(mounts.elsewhere(of("/srv/view")), Some("/srv/pool/a".into()));
        assert_eq!(mounts.elsewhere(of("/mnt/a b")), Some("/srv".into()));
        assert_eq!(mounts.elsewhere(of("/srv/pool")), None, "the view shows a part of it");
        assert_eq!(mounts.elsewhere(of("/srv/deep/seen")), None);
        assert_eq!(of("/srv/pool").inside("/srv/pool/a/b".as_ref()), Some("/a/b".into()));
        assert_eq!(of("/srv/view").inside("/srv/view".as_ref()), Some("/a".into()));
        assert_eq!(of("/srv/view").shown(), "/a of pool (tmpfs)");
    }

    #[test]
    fn the_options_of_a_mount_are_told_from_those_of_its_file_system() {
        let mounts = Mounts::parse(TABLE);
        let view = mounts.at("/srv/view".as_ref())[0];
        assert!(view.has("ro") && !view.has("rw") && view.system_has("rw") && !view.system_has("ro"));
        let spaced = mounts.at("/mnt/a b".as_ref())[0];
        assert_eq!(
            (spaced.value("size"), spaced.value("siz"), spaced.value("mode")),
            (Some("64k"), None, None)
        );
    }

    #[test]
    fn a_table_whose_numbers_lead_in_a_circle_ends() {
        let mounts = Mounts::parse(
            "1 2 0:1 / / rw - tmpfs a rw\n2 1 0:1 / / rw - tmpfs b rw\n3 3 0:2 / / rw - tmpfs c rw\n\
             4 4 0:2 / /x rw - tmpfs d rw\n",
        );
        assert_eq!(mounts.holding("/x/y".as_ref()).unwrap().source, "c");
    }

    #[test]
    fn what_is_escaped_is_unescaped() {
        let check =
            |text: &str| assert_eq!(unescape(&String::from_utf8(escape(text.as_bytes())).unwrap()), text);
        check("/mnt/a b");
        check("//server/share\t#1\\x");
        check("plain");
        assert_eq!(unescape("a\\04"), "a\\04");
        assert_eq!(unescape("a\\777"), "a\\777", "no byte is that large");
    }
}

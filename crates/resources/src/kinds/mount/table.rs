//! What is mounted where: the lines of proc_pid_mountinfo(5), and the escapes that they share with fstab(5).

use std::path::{Path, PathBuf};

use crate::view::{LookError, View};

/// The mounts of a host, in the order in which they were made.
#[derive(Debug, Default)]
pub struct Mounts(Vec<Mounted>);

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub at: PathBuf,
    /// The part of the file system that is seen there: `/`, or what a bind mount shows.
    pub root: PathBuf,
    /// What is mounted: a device, a share, or a word.
    pub source: String,
    /// The type of the file system.
    pub fstype: String,
    /// The options of the mount, and of the file system: `rw`, `nosuid`, `size=64m`.
    pub options: Vec<String>,
}

impl Mounts {
    /// Reads the mounts of the system: those of the first process, because a look has a mount namespace of its own in
    /// which all is read-only.
    pub fn read(view: &View<'_>) -> Result<Self, LookError> {
        let first = view.raw(Path::new("/proc/1/mountinfo")).ok().flatten();
        let text = match first {
            Some(text) => text,
            None => view.raw(Path::new("/proc/self/mountinfo"))?.unwrap_or_default(),
        };
        Ok(Self::parse(&String::from_utf8_lossy(&text)))
    }

    fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(mounted).collect())
    }

    /// What is mounted at `path`: the last, if there are several.
    pub fn at(&self, path: &Path) -> Option<&Mounted> {
        self.0.iter().rfind(|mounted| mounted.at == path)
    }

    /// The mount that holds `path`.
    pub fn holding(&self, path: &Path) -> Option<&Mounted> {
        path.ancestors().find_map(|above| self.at(above))
    }
}

impl Mounted {
    /// Whether it has the option.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|other| other == option)
    }
}

/// `36 35 98:0 /root /mnt rw,noatime master:1 - ext4 /dev/sda rw,errors=continue`
fn mounted(line: &str) -> Option<Mounted> {
    let (place, system) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, at, options) = (place.next()?, place.next()?, place.next()?);
    let mut system = system.split(' ');
    let (fstype, source, more) = (system.next()?, system.next()?, system.next().unwrap_or_default());
    Some(Mounted {
        at: unescape(at).into(),
        root: unescape(root).into(),
        source: unescape(source),
        fstype: fstype.to_owned(),
        // What the mount says of reading and writing holds, not what its file system says.
        options: options
            .split(',')
            .chain(more.split(',').filter(|option| !matches!(*option, "rw" | "ro")))
            .map(str::to_owned)
            .collect(),
    })
}

/// `text` with its octal escapes turned into what they stand for: `\040` is a blank.
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

/// `text` as a field of fstab(5): blanks, tabs, line ends, `#` and backslashes in octal.
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

    #[test]
    fn the_last_mount_at_a_place_counts_and_names_are_unescaped() {
        let mounts = Mounts::parse(
            "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
             30 22 0:5 / /proc/sys ro,nosuid - proc proc rw\n\
             31 22 0:6 / /mnt/a\\040b rw,noexec master:1 propagate_from:2 - tmpfs tmpfs rw,size=64k\n\
             32 22 254:0 /srv /mnt/a\\040b ro - ext4 /dev/vda rw\n\
             broken line\n33 22 0:7 / - tmpfs\n",
        );
        assert_eq!(mounts.0.len(), 4);
        let top = mounts.at("/mnt/a b".as_ref()).unwrap();
        assert_eq!((top.root.as_path(), top.fstype.as_str()), (Path::new("/srv"), "ext4"));
        assert!(top.has("ro") && !top.has("rw"));
        assert!(mounts.holding("/proc/sys/vm/swappiness".as_ref()).unwrap().has("ro"));
        assert_eq!(mounts.holding("/etc/x".as_ref()).unwrap().source, "/dev/vda");
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

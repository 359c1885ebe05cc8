//! The source of a mount: its type, whether it exists, and whether a mount comes from it.

use std::path::{Path, PathBuf};

use crate::claims;
use crate::kit::programs;
use crate::system::files::Sort;
use crate::view::{LookError, Need, Seen, View};

use super::fstab::Line;
use super::table::{Mounted, Mounts};

/// The type of a source.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A device: its path, and its name in the line.
    Device(PathBuf, String),
    /// A folder or a file that is bound to another place.
    Bind(PathBuf),
    /// A file with a file system in it.
    Image(PathBuf),
    /// A share, or another name that the mount program understands.
    Named(String),
    /// A word without a meaning, for a file system without a source.
    Word,
}

/// Types of file systems that have no source.
const WITHOUT: [&str; 26] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nfsd",
    "nsfs",
    "overlay",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "smackfs",
    "sysfs",
    "tmpfs",
    "tracefs",
];

/// FUSE file systems that pass the source to the kernel as written.
const TELLING: [&str; 2] = ["fuse.sshfs", "fuse.glusterfs"];

/// The tags of devices in udev, each with its folder of links.
const TAGS: [(&str, &str); 5] = [
    ("UUID=", "by-uuid"),
    ("LABEL=", "by-label"),
    ("PARTUUID=", "by-partuuid"),
    ("PARTLABEL=", "by-partlabel"),
    ("ID=", "by-id"),
];

/// Types with a mount program of their own.
const HELPERS: [(&str, &str); 6] = [
    ("nfs", "mount.nfs"),
    ("nfs4", "mount.nfs"),
    ("cifs", "mount.cifs"),
    ("smb3", "mount.cifs"),
    ("davfs", "mount.davfs"),
    ("glusterfs", "mount.glusterfs"),
];

impl Source {
    /// The source of a line.
    pub(super) fn of(line: &Line) -> Self {
        let (text, fstype) = (line.source(), line.fstype());
        if line.options().is_bind() {
            return Self::Bind(text.into());
        }
        for (tag, folder) in TAGS {
            if let Some(name) = text.strip_prefix(tag) {
                let path = Path::new("/dev/disk").join(folder).join(encoded(name.trim_matches('"')));
                return Self::Device(path, text.to_owned());
            }
        }
        if WITHOUT.contains(&fstype) {
            return Self::Word;
        }
        let is_local = text.starts_with('/') && !text.starts_with("//") && !text.contains(':');
        let says_nothing = fstype.starts_with("fuse") && !TELLING.contains(&fstype);
        match text {
            // The program decides what source the kernel shows.
            _ if says_nothing => Self::Word,
            _ if fstype.starts_with("fuse") || !is_local => Self::Named(text.to_owned()),
            _ if text.starts_with("/dev/") => Self::Device(text.into(), text.to_owned()),
            _ => Self::Image(text.into()),
        }
    }

    /// The path that must exist, if the source is one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Device(path, _) | Self::Bind(path) | Self::Image(path) => Some(path),
            Self::Named(_) | Self::Word => None,
        }
    }

    /// The needs for the source and for the program that mounts it.
    pub(super) fn needs(&self, view: &View<'_>, line: &Line) -> Result<Vec<Need>, LookError> {
        let mut needs = Vec::new();
        if let Some(path) = self.path() {
            let (what, help) = match self {
                Self::Device(_, name) => (format!("the device {name}"), "list the devices with `lsblk --fs`"),
                Self::Bind(_) => (
                    format!("the source {}", path.display()),
                    "before it, declare the `directory`, the `file` or the `mount` that creates it",
                ),
                _ => (
                    format!("the file {}", path.display()),
                    "before it, declare the resource that creates the file",
                ),
            };
            needs.push(Need::of(view.followed(&view.resolved(path)?)?, what, || help.to_owned()));
        }
        let helper = HELPERS.iter().find(|(fstype, _)| *fstype == line.fstype());
        if let Some((_, program)) = helper {
            needs.push(programs::need(view, program)?);
        }
        Ok(needs)
    }

    /// Whether it is a bind of a file. Its mount point is a file as well.
    pub(super) fn is_bound_file(&self, view: &View<'_>) -> Result<bool, LookError> {
        let Self::Bind(path) = self else { return Ok(false) };
        Ok(
            matches!(view.followed(&view.resolved(path)?)?, Seen::Known((_, place)) if place.sort != Sort::Folder),
        )
    }

    /// The mount that contains the source of a bind, as if no file system were mounted at `at`.
    pub(super) fn bound_from<'a>(
        &self,
        view: &View<'_>,
        mounts: &'a Mounts,
        at: &Path,
    ) -> Result<Option<(&'a Mounted, PathBuf)>, LookError> {
        let Self::Bind(path) = self else { return Ok(None) };
        let path = claims::end(view, path)?;
        Ok(mounts.holding_below(&path, at).and_then(|from| Some((from, from.inside(&path)?))))
    }

    /// Whether `mounted` comes from this source.
    pub(super) fn is_of(
        &self,
        view: &View<'_>,
        mounts: &Mounts,
        line: &Line,
        mounted: &Mounted,
    ) -> Result<bool, LookError> {
        let options = line.options();
        let shown = options.value("X-mount.subdir").unwrap_or("/");
        let whole = mounted.fstype == "btrfs" || mounted.root == Path::new("/").join(shown);
        Ok(match self {
            Self::Word => true,
            Self::Named(name) => same_name(name, &mounted.source),
            Self::Device(path, _) => whole && is_device(view, path, mounted)?,
            Self::Image(path) => whole && is_image(view, path, mounted)?,
            Self::Bind(_) => match self.bound_from(view, mounts, &mounted.at)? {
                Some((from, root)) => from.device == mounted.device && root == mounted.root,
                None => false,
            },
        })
    }
}

/// Whether `mounted` is on the device at `path`. Compares the kernel's device numbers if possible: a device has many
/// names, and the root may have none (`/dev/root`).
fn is_device(view: &View<'_>, path: &Path, mounted: &Mounted) -> Result<bool, LookError> {
    if path == Path::new(&mounted.source) {
        return Ok(true);
    }
    let Some(wanted) = end(view, path)? else { return Ok(false) };
    let (wanted, number) = (wanted.file_name(), Path::new("/sys/dev/block").join(&mounted.device));
    if let Seen::Known(place) = view.place(&number)? {
        return Ok(place.target.as_deref().and_then(Path::file_name) == wanted);
    }
    // A file system over several devices has its own device number.
    let found = end(view, Path::new(&mounted.source))?;
    let found = found.as_deref().and_then(Path::file_name);
    Ok(found == wanted || found.is_some() && share_a_file_system(view, [found, wanted])?)
}

/// Whether one btrfs of the kernel contains all `devices`.
fn share_a_file_system(view: &View<'_>, devices: [Option<&std::ffi::OsStr>; 2]) -> Result<bool, LookError> {
    let folder = Path::new("/sys/fs/btrfs");
    let Seen::Known(systems) = view.list(folder)? else { return Ok(false) };
    for system in systems {
        let of_it = folder.join(system).join("devices");
        let mut all = true;
        for device in devices.into_iter().flatten() {
            all &= matches!(view.place(&of_it.join(device))?, Seen::Known(_));
        }
        if all {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether `mounted` is on a loop device with the file at `path` behind it.
fn is_image(view: &View<'_>, path: &Path, mounted: &Mounted) -> Result<bool, LookError> {
    let behind = Path::new("/sys/dev/block").join(&mounted.device).join("loop/backing_file");
    let Some(behind) = view.raw(&behind)? else { return Ok(path == Path::new(&mounted.source)) };
    let behind = String::from_utf8_lossy(&behind).trim_end().to_owned();
    Ok(Path::new(&behind) == path || end(view, path)?.as_deref() == Some(Path::new(&behind)))
}

fn end(view: &View<'_>, path: &Path) -> Result<Option<PathBuf>, LookError> {
    Ok(match view.followed(&view.resolved(path)?)? {
        Seen::Known((end, _)) => Some(end),
        _ => None,
    })
}

/// Whether two names of a share are the same, ignoring differences in slashes and in the case of the host.
fn same_name(wanted: &str, found: &str) -> bool {
    let plain = |name: &str| {
        let name = name.replace('\\', "/");
        let (host, share) = name.split_once(":/").unwrap_or(("", &name));
        (host.to_ascii_lowercase(), share.trim_end_matches('/').to_owned())
    };
    plain(wanted) == plain(found)
}

/// Encodes a label as udev does in the name of a link: other than plain characters become hexadecimal.
fn encoded(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for letter in name.chars() {
        if letter.is_ascii_alphanumeric() || "#+-.:=@_".contains(letter) || !letter.is_ascii() {
            encoded.push(letter);
        } else {
            encoded.push_str(&format!("\\x{:02x}", letter as u32));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wish::Text;

    #[test]
    fn a_source_is_known_by_its_line() {
        let check = |source: &str, fstype: &str, options: &[&str], expected: Source| {
            let options = options.iter().map(|option| Text::Plain((*option).to_owned())).collect();
            let line =
                Line::new(Path::new("/x"), Some(source.to_owned()), fstype.to_owned(), options, (0, 0));
            assert_eq!(Source::of(&line), expected, "{source}");
        };
        let device = |path: &str, name: &str| Source::Device(path.into(), name.to_owned());
        check("/dev/vdb", "ext4", &[], device("/dev/vdb", "/dev/vdb"));
        check("UUID=\"1-2\"", "auto", &[], device("/dev/disk/by-uuid/1-2", "UUID=\"1-2\""));
        check(
            "LABEL=my data/x",
            "xfs",
            &[],
            device(r"/dev/disk/by-label/my\x20data\x2fx", "LABEL=my data/x"),
        );
        check("/srv/a", "none", &["ro", "bind"], Source::Bind("/srv/a".into()));
        check("/srv/a", "none", &["rbind"], Source::Bind("/srv/a".into()));
        check("/srv/debian.iso", "iso9660", &["loop"], Source::Image("/srv/debian.iso".into()));
        check("tmpfs", "tmpfs", &[], Source::Word);
        check("server:/share", "nfs4", &[], Source::Named("server:/share".into()));
        check("//server/share", "cifs", &[], Source::Named("//server/share".into()));
        check("shared", "virtiofs", &[], Source::Named("shared".into()));
        check("/dev/fuse", "fuse.x", &[], Source::Word);
        check("ada@host:/x", "fuse.sshfs", &[], Source::Named("ada@host:/x".into()));
    }

    #[test]
    fn a_share_is_the_same_with_other_slashes_and_letters_of_its_host() {
        let check =
            |one: &str, other: &str, same: bool| assert_eq!(same_name(one, other), same, "{one} {other}");
        check("Server:/share/", "server:/share", true);
        check("server:/", "server:/", true);
        check(r"\\server\share", "//server/share", true);
        check("server:/Share", "server:/share", false);
        check("server:/a", "other:/a", false);
        check("shared", "other", false);
    }
}

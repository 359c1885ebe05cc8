//! The mounts at a place according to the kernel, compared with the line.

use std::path::{Path, PathBuf};

use crate::claims;
use crate::overlay::PlannedMount;
use crate::system::processes::Command;
use crate::view::{LookError, Seen, View};

use super::fstab::Line;
use super::options::{self, Circumstances, Difference};
use super::source::Source;
use super::table::{Mounted, Mounts};

/// The mounts at a place.
pub(super) struct Live {
    /// The place as the kernel knows it: without symbolic links.
    pub(super) at: PathBuf,
    /// All mounts there, the lowest first.
    pub(super) stack: Vec<Layer>,
    /// Whether systemd has an automount there.
    pub(super) waits: bool,
    /// The result of comparing the lowest mount with the line.
    pub(super) judged: Judged,
    /// The remount that applies the options of the line.
    pub(super) remount: Option<Remount>,
}

/// One of the mounts at a place.
pub(super) struct Layer {
    /// Its source and type.
    pub(super) shown: String,
    /// The command that mounts it again. None if it is unknown.
    pub(super) back: Option<Command>,
    /// The reason why its content is lost after an unmount.
    pub(super) lost: Option<&'static str>,
    /// The mounts on folders inside it.
    pub(super) below: Vec<PathBuf>,
}

/// A remount, and the remount that reverses it.
pub(super) struct Remount {
    pub(super) options: String,
    pub(super) back: String,
}

/// A mount compared with its line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Nothing,
    /// The mount is as asked.
    Right,
    /// The mount is as asked, except for its options.
    Options(Difference),
    /// Another file system is mounted.
    Other,
}

/// File systems with their content in memory only.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// File systems that can be mounted again with the kernel's own data.
const KNOWN_BY_THEMSELVES: [&str; 5] = ["nfs", "nfs4", "9p", "virtiofs", "overlay"];

/// Whether the content of this type is in memory only, so that a new mount is empty.
pub(super) fn is_in_memory(fstype: &str) -> bool {
    IN_MEMORY.contains(&fstype)
}

/// Reads the mounts at `path`. The old line comes from the present `/etc/fstab`.
pub(super) fn observe(view: &View<'_>, path: &Path, line: &Line) -> Result<Live, LookError> {
    let at = claims::end(view, path)?;
    let nothing = |judged| Live { at: at.clone(), stack: Vec::new(), waits: false, judged, remount: None };
    match view.planned_mount(&at) {
        None => {}
        Some(PlannedMount::Unmounted) => return Ok(nothing(Judged::Nothing)),
        Some(PlannedMount::Empty | PlannedMount::Mounted | PlannedMount::Kept) => {
            return Ok(nothing(Judged::Right));
        }
    }
    let mounts = Mounts::read(view)?;
    let old = match view.text(Path::new("/etc/fstab"))? {
        Seen::Known(text) => line.of_text(&text),
        _ => None,
    };
    let mut there = mounts.at(&at);
    if at == Path::new("/") {
        // The initial root file system may still be below the root.
        there.drain(..there.len().saturating_sub(1));
    }
    let waits = there.iter().any(|mounted| is_waiting(mounted));
    there.retain(|mounted| !is_waiting(mounted));
    let mut live = nothing(Judged::Nothing);
    live.waits = waits;
    if let Some(lowest) = there.first()
        && !line.is_absent()
    {
        let around = Around::of(view, &mounts, line, lowest)?;
        live.judged = judge(view, &mounts, line, lowest, &around)?;
        live.remount = Some(Remount {
            options: line.options().numbered(view.accounts()?).remount(lowest, &around.borrowed()),
            back: back_options(&line.options(), lowest, around.memory),
        });
    }
    for mounted in there {
        live.stack.push(layer(view, &mounts, mounted, old.as_ref(), &at)?);
    }
    Ok(live)
}

/// Whether it is an automount of systemd or autofs(8): it mounts on first use.
fn is_waiting(mounted: &Mounted) -> bool {
    mounted.fstype == "autofs"
}

/// The circumstances that affect the options of a mount.
struct Around<'a> {
    bound_from: Option<&'a Mounted>,
    read_only_device: bool,
    memory: Option<u64>,
}

impl<'a> Around<'a> {
    fn of(view: &View<'_>, mounts: &'a Mounts, line: &Line, mounted: &Mounted) -> Result<Self, LookError> {
        let from = Source::of(line).bound_from(view, mounts, &mounted.at)?;
        let flag = Path::new("/sys/dev/block").join(&mounted.device).join("ro");
        let read_only_device = view.raw(&flag)?.is_some_and(|flag| flag.starts_with(b"1"));
        let memory = match is_in_memory(&mounted.fstype) {
            true => view.raw(Path::new("/proc/meminfo"))?.as_deref().and_then(memory_of),
            false => None,
        };
        Ok(Self { bound_from: from.map(|(from, _)| from), read_only_device, memory })
    }

    const fn borrowed(&self) -> Circumstances<'_> {
        Circumstances {
            bound_from: self.bound_from,
            read_only_device: self.read_only_device,
            memory: self.memory,
        }
    }
}

/// The memory of the host in bytes: proc_meminfo(5).
fn memory_of(text: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(text);
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

fn judge(
    view: &View<'_>,
    mounts: &Mounts,
    line: &Line,
    mounted: &Mounted,
    around: &Around<'_>,
) -> Result<Judged, LookError> {
    if !same_type(line.fstype(), &mounted.fstype, line.options().is_bind())
        || !Source::of(line).is_of(view, mounts, line, mounted)?
    {
        return Ok(Judged::Other);
    }
    let difference = line.options().numbered(view.accounts()?).compare(mounted, &around.borrowed());
    Ok(if difference.is_none() { Judged::Right } else { Judged::Options(difference) })
}

/// Whether a line of the type `asked` can produce a file system of the type `found`.
fn same_type(asked: &str, found: &str, bind: bool) -> bool {
    let family = |name: &str| match name {
        "nfs" | "nfs4" => "nfs".to_owned(),
        "cifs" | "smb3" => "cifs".to_owned(),
        name => name.strip_prefix("fuse.").unwrap_or(name).to_owned(),
    };
    let by_fuse = ["fuse", "fuseblk"].contains(&found);
    bind || asked.split(',').any(|asked| {
        matches!(asked, "auto" | "none" | "")
            || family(asked) == family(found)
            || by_fuse
                && (asked.starts_with("fuse") || ["ntfs", "ntfs-3g", "exfat", "davfs"].contains(&asked))
    })
}

/// One of the mounts at the place, with the command that mounts it again.
fn layer(
    view: &View<'_>,
    mounts: &Mounts,
    mounted: &Mounted,
    old: Option<&Line>,
    at: &Path,
) -> Result<Layer, LookError> {
    let by_line = match old {
        // A mount without a source keeps its name as well.
        Some(old) if Source::of(old) == Source::Word && old.source() != mounted.source => false,
        Some(old) => {
            let around = Around::of(view, mounts, old, mounted)?;
            judge(view, mounts, old, mounted, &around)? == Judged::Right
        }
        None => false,
    };
    let back = if by_line { Some(on(&["mount"], at)) } else { again(mounts, mounted, at) };
    let in_memory = is_in_memory(&mounted.fstype) && mounts.elsewhere(mounted).is_none();
    let lost = match &back {
        _ if in_memory => Some("its content is in memory only, and is lost"),
        None => Some("the kernel does not tell how it was mounted"),
        Some(_) => None,
    };
    let deep = old.is_some_and(|old| old.options().is_deep());
    let below: Vec<PathBuf> =
        if deep { Vec::new() } else { mounts.on(mounted).map(|on| on.at.clone()).collect() };
    let stays = |path: &PathBuf| view.planned_mount(path) != Some(PlannedMount::Unmounted);
    Ok(Layer { shown: mounted.shown(), back, lost, below: below.into_iter().filter(stays).collect() })
}

/// The command that mounts `mounted` again, from the kernel's data.
fn again(mounts: &Mounts, mounted: &Mounted, at: &Path) -> Option<Command> {
    let place = at.to_string_lossy().into_owned();
    let whole = mounted.root == Path::new("/") || mounted.fstype == "btrfs";
    let known = is_in_memory(&mounted.fstype)
        || KNOWN_BY_THEMSELVES.contains(&mounted.fstype.as_str())
        || mounted.source.starts_with("/dev/");
    if whole && known {
        let options = options::as_it_is(mounted);
        let words =
            ["mount", "-t", &mounted.fstype, "-o", &options, "--source", &mounted.source, "--target", &place];
        return Some(Command::new(words));
    }
    let from = mounts.elsewhere(mounted)?;
    let line = format!(
        "mount --bind -- {from} {place} && mount -o remount,bind,{options} -- {place}",
        from = quoted(&from.to_string_lossy()),
        place = quoted(&place),
        options = options::flags_of(mounted),
    );
    Some(Command::shell(line))
}

/// The options of a remount that reverses the planned one.
fn back_options(options: &options::Options, mounted: &Mounted, memory: Option<u64>) -> String {
    if options.is_bind() {
        format!("remount,bind,{}", options::flags_of(mounted))
    } else {
        options::remount_as_it_is(mounted, memory)
    }
}

/// The command for the place. mount(8) reads all else from the line, so the process list shows no options.
pub(super) fn on(words: &[&str], path: &Path) -> Command {
    let path = path.to_string_lossy().into_owned();
    Command::new(words.iter().map(|word| (*word).to_owned()).chain([path]))
}

/// Quotes a word for the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_has_other_names_in_the_kernel() {
        let check = |asked: &str, found: &str, same: bool| {
            assert_eq!(same_type(asked, found, false), same, "{asked} {found}");
        };
        check("ext4", "ext4", true);
        check("ext4", "xfs", false);
        check("auto", "xfs", true);
        check("ext4,xfs", "xfs", true);
        check("nfs", "nfs4", true);
        check("smb3", "cifs", true);
        check("sshfs", "fuse.sshfs", true);
        check("fuse.sshfs", "fuse.sshfs", true);
        check("fuse.sshfs", "fuse.mergerfs", false);
        check("ntfs-3g", "fuseblk", true);
        check("ext4", "fuseblk", false);
        assert!(same_type("none", "ext4", true) && same_type("ext4", "tmpfs", true));
    }
}

//! What is mounted at a place, held against the line: what the kernel says, whoever made it so.

use std::path::{Path, PathBuf};

use crate::claims;
use crate::overlay::PlannedMount;
use crate::system::processes::Command;
use crate::view::{LookError, Seen, View};

use super::fstab::Line;
use super::options::{self, Circumstances, Difference};
use super::source::Source;
use super::table::{Mounted, Mounts};

/// What is mounted at a place.
pub(super) struct Live {
    /// The place as the kernel knows it: without links on the way.
    pub(super) at: PathBuf,
    /// All that is mounted there, the lowest first.
    pub(super) stack: Vec<Layer>,
    /// Whether systemd waits there to mount it when it is used.
    pub(super) waits: bool,
    /// The lowest, held against the line.
    pub(super) judged: Judged,
    /// The remount that brings the options of the line into force.
    pub(super) remount: Option<Remount>,
}

/// One of the mounts at a place.
pub(super) struct Layer {
    /// Its source and type.
    pub(super) shown: String,
    /// What mounts it again; none if that cannot be told.
    pub(super) back: Option<Command>,
    /// Why what is in it is lost once it is unmounted.
    pub(super) lost: Option<&'static str>,
    /// What is mounted on it, at folders of its own.
    pub(super) below: Vec<PathBuf>,
}

/// A remount, and the one that takes it back.
pub(super) struct Remount {
    pub(super) options: String,
    pub(super) back: String,
}

/// A mount, held against its line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Nothing,
    /// What is asked.
    Right,
    /// What is asked, with other options.
    Options(Difference),
    /// Something else.
    Other,
}

/// File systems whose content is nowhere else.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// File systems that can be mounted again with what the kernel says of them.
const KNOWN_BY_THEMSELVES: [&str; 5] = ["nfs", "nfs4", "9p", "virtiofs", "overlay"];

/// Whether what is in a file system of the type is nowhere else, and nothing is in a new one.
pub(super) fn is_in_memory(fstype: &str) -> bool {
    IN_MEMORY.contains(&fstype)
}

/// Looks at `path`. The old line is that of the host as it is.
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
        // What the system was started from may be left under it.
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

/// The place where systemd or autofs(8) waits for somebody to use what is mounted there.
fn is_waiting(mounted: &Mounted) -> bool {
    mounted.fstype == "autofs"
}

/// What bears on the options of a mount.
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

/// The memory of the host in bytes, by proc_meminfo(5).
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

/// Whether a file system of the type `found` is what a line of the type `asked` mounts.
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

/// One of the mounts at the place, with what mounts it again.
fn layer(
    view: &View<'_>,
    mounts: &Mounts,
    mounted: &Mounted,
    old: Option<&Line>,
    at: &Path,
) -> Result<Layer, LookError> {
    let by_line = match old {
        // The name of a file system without a source is kept, too.
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
        _ if in_memory => Some("what is in it is in memory alone, and is lost"),
        None => Some("the kernel does not tell how it was mounted"),
        Some(_) => None,
    };
    let deep = old.is_some_and(|old| old.options().is_deep());
    let below: Vec<PathBuf> =
        if deep { Vec::new() } else { mounts.on(mounted).map(|on| on.at.clone()).collect() };
    let stays = |path: &PathBuf| view.planned_mount(path) != Some(PlannedMount::Unmounted);
    Ok(Layer { shown: mounted.shown(), back, lost, below: below.into_iter().filter(stays).collect() })
}

/// What mounts `mounted` again, by what the kernel says of it.
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

/// The options of the remount that takes another one back.
fn back_options(options: &options::Options, mounted: &Mounted, memory: Option<u64>) -> String {
    if options.is_bind() {
        format!("remount,bind,{}", options::flags_of(mounted))
    } else {
        options::remount_as_it_is(mounted, memory)
    }
}

/// The command on the place. mount(8) takes all else from the line, so that no option stands in the process list.
pub(super) fn on(words: &[&str], path: &Path) -> Command {
    let path = path.to_string_lossy().into_owned();
    Command::new(words.iter().map(|word| (*word).to_owned()).chain([path]))
}

/// A word as a shell reads it.
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

//! The fence around a look: a mount namespace of its own, in which nothing can be written.
//!
//! Guards and `apt-get -s` run inside it. It does not stop programs that use D-Bus or netlink. Only the kinds' own
//! code uses those, and it only asks. Files that were opened before are not fenced either. The kinds read through
//! such files, so that they see which mounts are read-only in reality. Without the rights for it there is no fence.
//! Then only the types ensure that a look writes nothing.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change, mount_remount};
use rustix::thread::UnshareFlags;

/// Folders that programs write to even when they only read. These writes are discarded.
const SCRATCH: [&str; 3] = ["/tmp", "/var/tmp", "/var/log"];

/// Folders where programs keep caches, unless another mount is below.
const CACHES: [&str; 2] = ["/root", "/var/cache"];

/// Whether this process is a look that is entirely behind the fence.
static STANDS: AtomicBool = AtomicBool::new(false);

/// Raises the fence for this thread and its future child processes, unless it is up, and discards writes to `home`. A
/// guard then answers the same in a look and in an act.
pub fn around(home: Option<&Path>) {
    if !rustix::process::geteuid().is_root() || leave().is_err() {
        return;
    }
    // If the fence cannot be raised, there is none. The guard then runs as it would for an account without rights.
    let stands = STANDS.load(Ordering::Relaxed) || read_only().is_ok();
    let of_user = home.filter(|home| home.starts_with("/home") && home.components().count() > 2);
    if let Some(home) = of_user.filter(|_| stands) {
        let _ = cover_cache(home);
    }
}

/// Raises the fence for this thread and its future child processes. Returns whether it is up.
///
/// Each mount is made read-only by itself. `mount_setattr` would do all of them in one call, but it needs Linux 5.12,
/// and `rustix` does not offer it.
pub fn raise() -> bool {
    let stands = rustix::process::geteuid().is_root() && leave().is_ok() && read_only().is_ok();
    STANDS.store(stands, Ordering::Relaxed);
    stands
}

/// Leaves the mount namespace of the system. Later mounts do not reach the system.
#[expect(unsafe_code, reason = "rustix offers unshare as an unsafe function only")]
fn leave() -> io::Result<()> {
    // SAFETY: the function is unsafe because of `UnshareFlags::FILES`, which is not among the flags.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// Makes every mount read-only, then covers the scratch folders. A mount that disappears meanwhile, or that another
/// one covers, is ignored. `/` itself must succeed.
fn read_only() -> io::Result<()> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    for (at, flags) in table.split(|byte| *byte == b'\n').filter_map(entry) {
        let done = mount_remount(&at, flags | MountFlags::BIND | MountFlags::RDONLY, c"");
        if at == Path::new("/") {
            done?;
        }
    }
    SCRATCH.into_iter().map(Path::new).filter(|folder| folder.is_dir()).try_for_each(cover)?;
    CACHES.into_iter().try_for_each(|folder| cover_cache(Path::new(folder)))
}

/// Covers a folder of caches. A folder with a mount below is left alone, because the mount would be hidden.
fn cover_cache(folder: &Path) -> io::Result<()> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let mut mounts = table.split(|byte| *byte == b'\n').filter_map(entry);
    if !folder.is_dir() || mounts.any(|(at, _)| at != folder && at.starts_with(folder)) {
        return Ok(());
    }
    cover(folder)
}

/// Covers a folder with one in memory. If the kernel has overlays, the old content shows through; else it is empty.
fn cover(folder: &Path) -> io::Result<()> {
    let was = std::fs::metadata(folder)?;
    let below = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", folder, "tmpfs", flags, c"mode=1777,size=256m")?;
    let (upper, work) = (folder.join("upper"), folder.join("work"));
    std::fs::create_dir(&upper)?;
    std::fs::create_dir(&work)?;
    // The folder keeps its owner and mode, which come from the upper folder.
    std::os::unix::fs::chown(&upper, Some(was.uid()), Some(was.gid()))?;
    std::fs::set_permissions(&upper, was.permissions())?;
    let mut options = format!("lowerdir=/proc/self/fd/{},upperdir=", below.as_raw_fd()).into_bytes();
    options.extend(upper.as_os_str().as_bytes());
    options.extend(b",workdir=");
    options.extend(work.as_os_str().as_bytes());
    let overlaid =
        CString::new(options).map(|options| mount("overlay", folder, "overlay", flags, options.as_c_str()));
    if !matches!(overlaid, Ok(Ok(()))) {
        std::fs::remove_dir(upper)?;
        std::fs::remove_dir(work)?;
    }
    Ok(())
}

/// Returns the mount point and the flags of a line of proc_pid_mountinfo(5). A remount must repeat the flags to keep
/// them.
fn entry(line: &[u8]) -> Option<(PathBuf, MountFlags)> {
    let mut fields = line.split(|byte| *byte == b' ').skip(4);
    let at = PathBuf::from(OsStr::from_bytes(&unescape(fields.next()?)));
    let flags = fields.next()?.split(|byte| *byte == b',').map(|option| match option {
        b"nosuid" => MountFlags::NOSUID,
        b"nodev" => MountFlags::NODEV,
        b"noexec" => MountFlags::NOEXEC,
        b"noatime" => MountFlags::NOATIME,
        b"nodiratime" => MountFlags::NODIRATIME,
        b"relatime" => MountFlags::RELATIME,
        _ => MountFlags::empty(),
    });
    Some((at, flags.fold(MountFlags::empty(), MountFlags::union)))
}

/// Decodes a path as the kernel writes it, with `\040` for a space and similar escapes.
fn unescape(mut text: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        let octal =
            rest.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                path.push(byte);
                text = &rest[3..];
            }
            None => {
                path.push(first);
                text = rest;
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a shell line succeeds behind the fence. None if the test may not raise a fence.
    fn behind(line: impl Into<String>) -> Option<bool> {
        let line = line.into();
        let asked = std::thread::spawn(move || {
            around(None);
            let is_fenced = std::fs::write("/etc/converge-fence-test", "").is_err();
            let status = std::process::Command::new("/bin/sh").args(["-c", &line]).status();
            is_fenced.then(|| status.is_ok_and(|status| status.success()))
        });
        asked.join().unwrap()
    }

    #[test]
    fn fence_of_a_guard_lets_a_home_be_written_and_throws_it_away() {
        if !rustix::process::geteuid().is_root() || behind("true").is_none() {
            let _ = std::fs::remove_file("/etc/converge-fence-test");
            return;
        }
        let home = "mkdir -p /root/.cache && echo x > /root/.cache/converge-fence-test && test -s /root/.cache/converge-fence-test";
        assert_eq!(behind(home), Some(true));
        assert!(!Path::new("/root/.cache/converge-fence-test").exists());
        let root = std::fs::metadata("/root").unwrap();
        let (mode, owner) = (root.mode() & 0o7777, root.uid());
        let dressed = format!("test \"$(stat -c %a:%u /root)\" = {mode:o}:{owner}");
        assert_eq!(behind(dressed), Some(true));
        assert_eq!(behind("echo x > /usr/converge-fence-test"), Some(false));
        assert!(!Path::new("/usr/converge-fence-test").exists());
    }

    #[test]
    fn a_line_of_the_mount_table_keeps_its_flags() {
        let (at, flags) =
            entry(br"30 25 0:27 / /mnt/a\040b\134 rw,nosuid,relatime shared:1 - tmpfs tmpfs rw").unwrap();
        assert_eq!(at, Path::new(r"/mnt/a b\"));
        assert_eq!(flags, MountFlags::NOSUID | MountFlags::RELATIME);
        assert_eq!(entry(b"").map(|(at, _)| at), None);
    }
}

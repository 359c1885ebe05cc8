//! The file system of a host, below a root that may be a folder.
//!
//! Every path is absolute and belongs to the host. Folders on the way are opened one by one, so that no other program
//! can replace one by a link meanwhile. A link on the way is followed, below the root, in two cases. Either root or
//! the agent's own user made it. Or it leads to a folder of its own owner, which is checked on the opened folder. A
//! link in the last part is never followed.

mod metadata;
mod tree;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use converge_model::Digest;
use rustix::fs::{
    AtFlags, FileType, Gid, IFlags, Mode, OFlags, StatVfsMountFlags, StatxAttributes, StatxFlags, Uid,
};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

#[cfg(test)]
pub(crate) use metadata::tests as adorned;
pub use metadata::{Extended, Metadata, SET_ID};

/// The files of a host.
pub struct Files {
    root: PathBuf,
    /// The root, open. None: it does not exist yet, and nothing is below it.
    fd: Option<OwnedFd>,
}

/// The thing at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its sort.
    pub sort: Sort,
    /// The permission bits, 0 to 0o7777.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The size in bytes.
    pub size: u64,
    /// The number of its hard links.
    pub links: u64,
    /// The identity that all its hard links share: the numbers of the file system and of the inode.
    pub inode: (u64, u64),
    /// The target of a link.
    pub target: Option<PathBuf>,
}

/// The sorts of things at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sort {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, a socket, a FIFO.
    Special,
}

impl Sort {
    /// Returns the word for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "directory",
            Self::Link => "link",
            Self::Special => "special file",
        }
    }
}

impl Entry {
    /// Returns the entry of a root that will be made for the agent's own user.
    fn empty_root() -> Self {
        Self {
            sort: Sort::Folder,
            mode: 0o755,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            size: 0,
            links: 2,
            inode: (0, 0),
            target: None,
        }
    }
}

/// The open folder that holds the last part of a path, and that part.
struct Spot {
    folder: OwnedFd,
    name: OsString,
}

/// The kernel's file of the host name.
pub const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// How often a new file is tried if the owner of the folder takes its name again each time.
const TRIES: usize = 100;

const WALK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Files {
    /// Opens the files below `root`: `/`, or a folder of the agent's own machine.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        let fd = rustix::fs::open(&root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root, fd: Some(fd) })
    }

    /// Returns the files below a root that does not exist yet: an empty folder that can only be read.
    pub fn not_yet(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), fd: None }
    }

    /// Opens the root once more.
    fn top(&self) -> io::Result<OwnedFd> {
        let fd = self.fd.as_ref().ok_or(io::ErrorKind::NotFound)?;
        Ok(rustix::io::dup(fd)?)
    }

    /// Returns the root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a folder stands for the host.
    pub fn is_folder(&self) -> bool {
        self.root != Path::new("/")
    }

    /// Returns `path` as the processes of this machine see it.
    pub fn outside(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Returns what is at `path`. Links are not followed. None if nothing is there, or a folder on the way is
    /// missing.
    pub fn entry(&self, path: &Path) -> io::Result<Option<Entry>> {
        if self.fd.is_none() && path == Path::new("/") {
            return Ok(Some(Entry::empty_root()));
        }
        let found = self.spot(path).and_then(|spot| spot.entry());
        match found {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the regular file at `path` for reading. Links and special files are refused.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        self.spot(path)?.open()
    }

    /// Returns the bytes of the file at `path`. More than `limit` bytes are an error. Files of `/proc` and `/sys` can
    /// be read too.
    pub fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("the file is larger than {limit} bytes"),
            ));
        }
        Ok(bytes)
    }

    /// Returns the digest and length of the file at `path`, read in pieces.
    pub fn digest(&self, path: &Path) -> io::Result<(Digest, u64)> {
        let mut hasher = blake3::Hasher::new();
        in_pieces(&mut self.open(path)?, |piece| {
            hasher.update(piece);
            Ok(())
        })?;
        Ok((hasher.finalize().into(), hasher.count()))
    }

    /// Returns the SHA-256 of the file at `path`, read in pieces. It is for checksums from other sources.
    pub fn sha256(&self, path: &Path) -> io::Result<[u8; 32]> {
        let mut hasher = Sha256::new();
        io::copy(&mut self.open(path)?, &mut hasher)?;
        Ok(hasher.finalize().into())
    }

    /// Returns the names in the folder at `path`, unsorted. A link in the last part is followed.
    pub fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        names(&open_folder(&self.folder(path)?, OsStr::new("."))?)
    }

    /// Returns the names in the folder at `path`, unsorted. A link in the last part is an error.
    pub fn list_itself(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let spot = self.spot(path)?;
        names(&open_folder(&spot.folder, &spot.name)?)
    }

    /// Returns when the thing at `path` was last modified. None if nothing is there.
    pub fn modified(&self, path: &Path) -> io::Result<Option<SystemTime>> {
        let spot = match self.spot(path) {
            Ok(spot) => spot,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match rustix::fs::statat(&spot.folder, &spot.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
                let since = Duration::new(seconds, u32::try_from(stat.st_mtime_nsec).unwrap_or(0));
                Ok(SystemTime::UNIX_EPOCH.checked_add(since))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the path without links before its last part.
    pub fn resolved(&self, path: &Path) -> io::Result<PathBuf> {
        let mut steps = Vec::new();
        let (parent, name) = split(path)?;
        self.walk(parent, &mut steps)?;
        let mut resolved = PathBuf::from("/");
        resolved.extend(steps);
        resolved.push(name);
        Ok(resolved)
    }

    /// Makes a new file beside `path`, mode 0600, with a name from [`temporary_name`]. An old file of that name is
    /// removed.
    pub fn create_beside(&self, path: &Path, name: &OsStr) -> io::Result<File> {
        let spot = self.spot(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..TRIES {
            match rustix::fs::unlinkat(&spot.folder, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            match rustix::fs::openat(&spot.folder, name, flags, Mode::from_raw_mode(0o600)) {
                Err(Errno::EXIST) => {}
                made => return Ok(File::from(made?)),
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Renames the file `name` beside `path` to `path`, and syncs the folder. It replaces what was at `path`, unless
    /// that is a folder.
    pub fn rename_beside(&self, name: &OsStr, path: &Path) -> io::Result<()> {
        let spot = self.spot(path)?;
        rustix::fs::renameat(&spot.folder, name, &spot.folder, &spot.name)?;
        spot.sync()
    }

    /// Removes the file `name` beside `path`, if it exists.
    pub fn remove_beside(&self, name: &OsStr, path: &Path) -> io::Result<()> {
        let spot = self.spot(path)?;
        match rustix::fs::unlinkat(&spot.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a link at `path` to `target`. It replaces what was there, unless that is a folder.
    pub fn link(&self, path: &Path, target: &Path) -> io::Result<()> {
        let spot = self.spot(path)?;
        let name = temporary_name(&spot.name);
        match rustix::fs::unlinkat(&spot.folder, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        rustix::fs::symlinkat(target, &spot.folder, &name)?;
        rustix::fs::renameat(&spot.folder, &name, &spot.folder, &spot.name)?;
        spot.sync()
    }

    /// Gives an open file a hard link at `path`, on the same file system.
    pub fn link_open(&self, file: &File, path: &Path) -> io::Result<()> {
        let to = self.spot(path)?;
        let open = format!("/proc/self/fd/{}", file.as_raw_fd());
        let named = rustix::fs::linkat(rustix::fs::CWD, open, &to.folder, &to.name, AtFlags::SYMLINK_FOLLOW);
        Ok(named?)
    }

    /// Makes a folder with mode 0700.
    pub fn make_folder(&self, path: &Path) -> io::Result<()> {
        let spot = self.spot(path)?;
        rustix::fs::mkdirat(&spot.folder, &spot.name, Mode::from_raw_mode(0o700))?;
        spot.sync()
    }

    /// Removes what is at `path`. A folder is an error.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        let spot = self.spot(path)?;
        rustix::fs::unlinkat(&spot.folder, &spot.name, AtFlags::empty())?;
        spot.sync()
    }

    /// Removes the empty folder at `path`.
    pub fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let spot = self.spot(path)?;
        rustix::fs::unlinkat(&spot.folder, &spot.name, AtFlags::REMOVEDIR)?;
        spot.sync()
    }

    /// Removes what is at `path` with everything below it, if it exists. Each folder is emptied through its open
    /// descriptor. So no link is followed, even if another program puts one in its place meanwhile. A mount below it
    /// is an error.
    pub fn remove_all(&self, path: &Path) -> io::Result<()> {
        let spot = match self.spot(path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            spot => spot?,
        };
        remove_all(&spot, DEPTH)?;
        spot.sync()
    }

    /// Writes `value` into an existing file of the kernel, in `/proc` or `/sys`: in one piece, in place. The host
    /// name is set by its system call, because `/proc/sys` is read-only in a container that may set its own name.
    pub fn set_kernel(&self, path: &Path, value: &[u8]) -> io::Result<()> {
        if path == Path::new(HOST_NAME) && !self.is_folder() {
            return Ok(rustix::system::sethostname(value.trim_ascii())?);
        }
        let spot = self.spot(path)?;
        let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&spot.folder, &spot.name, flags, Mode::empty())?;
        let written = rustix::io::write(&fd, value)?;
        if written == value.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Sets the mode of what is at `path`. A link is an error. A hard link that may be another user's file is
    /// refused.
    pub fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        let spot = self.spot(path)?;
        let fd = spot.own()?;
        if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) == FileType::Symlink {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        // The name may belong to another thing by now, and fchmod(2) does not accept a path-only descriptor.
        Ok(rustix::fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), Mode::from_raw_mode(mode))?)
    }

    /// Sets owner and group of what is at `path`, also of a link itself. A hard link that may be another user's file
    /// is refused.
    pub fn set_owner(&self, path: &Path, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        let fd = self.spot(path)?.own()?;
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        Ok(rustix::fs::chownat(&fd, "", uid, gid, AtFlags::EMPTY_PATH)?)
    }

    /// Returns mode, owner and extended attributes of what is at `path`. None if nothing is there. A link has only an
    /// owner.
    pub fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = self
            .spot(path)
            .and_then(|spot| Ok(rustix::fs::openat(&spot.folder, &spot.name, flags, Mode::empty())?));
        let fd = match opened {
            Ok(fd) => fd,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let stat = rustix::fs::fstat(&fd)?;
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        let extended = if is_link { Extended::default() } else { Extended::of(&fd)? };
        Ok(Some(Metadata { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, extended }))
    }

    /// Restores mode, owner and extended attributes of what is at `path`. A hard link that may be another user's file
    /// is refused.
    pub fn set_metadata(&self, path: &Path, metadata: &Metadata) -> io::Result<()> {
        let fd = self.spot(path)?.own()?;
        let now = rustix::fs::fstat(&fd)?;
        if (now.st_uid, now.st_gid) != (metadata.uid, metadata.gid) {
            let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
            rustix::fs::chownat(&fd, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        }
        if FileType::from_raw_mode(now.st_mode) == FileType::Symlink {
            return Ok(());
        }
        metadata.extended.give(&fd)?;
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        Ok(rustix::fs::chmod(path, Mode::from_raw_mode(metadata.mode))?)
    }

    /// Returns a digest of what is at `paths` below `folder`: sorts, modes, owners, sizes, change times of the
    /// content, targets of links, and missing paths. No content is read: a change of it shows in these.
    pub fn trace(&self, folder: &Path, paths: &[PathBuf]) -> io::Result<Digest> {
        let mut hasher = blake3::Hasher::new();
        for path in paths {
            let trace = match self.spot(&folder.join(path)).and_then(|spot| spot.trace()) {
                Ok(trace) => trace,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    Vec::new()
                }
                Err(error) => return Err(error),
            };
            for bytes in [path.as_os_str().as_bytes(), &trace] {
                hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
            }
        }
        Ok(hasher.finalize().into())
    }

    /// Like [`Files::rename_beside`] without a sync. [`Files::sync`] does it once for many files.
    pub fn rename_unsynced(&self, name: &OsStr, path: &Path) -> io::Result<()> {
        let spot = self.spot(path)?;
        Ok(rustix::fs::renameat(&spot.folder, name, &spot.folder, &spot.name)?)
    }

    /// Syncs the whole file system of the folder at `path`.
    pub fn sync(&self, path: &Path) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(self.folder(path)?, ".", flags, Mode::empty())?;
        Ok(rustix::fs::syncfs(folder)?)
    }

    /// Whether a file system is mounted at `path`.
    pub fn is_mount(&self, path: &Path) -> io::Result<bool> {
        self.spot(path)?.is_mount()
    }

    /// Returns the free bytes on the file system of the folder at `path`, for the agent's user.
    pub fn free_space(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(self.folder(path)?)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn spot(&self, path: &Path) -> io::Result<Spot> {
        if path == Path::new("/") {
            return Ok(Spot { folder: self.top()?, name: OsString::from(".") });
        }
        let (parent, name) = split(path)?;
        Ok(Spot { folder: self.walk(parent, &mut Vec::new())?, name: name.to_owned() })
    }

    fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        self.walk(path, &mut Vec::new())
    }

    /// Opens the folder at `path`, part by part. `steps` receives the parts that were actually taken.
    fn walk(&self, path: &Path, steps: &mut Vec<OsString>) -> io::Result<OwnedFd> {
        let mut stack = vec![self.top()?];
        let mut todo: Vec<OsString> = parts(path);
        // The required owner of the open folder, once no more than so many parts are left.
        let mut theirs: Vec<(usize, u32)> = Vec::new();
        let mut links = 0;
        loop {
            while let Some((_, uid)) = theirs.pop_if(|(left, _)| todo.len() <= *left) {
                check_owner(&stack[stack.len() - 1], uid)?;
            }
            let Some(part) = todo.pop() else { break };
            if part == ".." {
                if stack.len() > 1 {
                    stack.pop();
                    steps.pop();
                }
                continue;
            }
            let here = &stack[stack.len() - 1];
            match rustix::fs::openat(here, &part, WALK, Mode::empty()) {
                Ok(folder) => {
                    stack.push(folder);
                    steps.push(part);
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    links += 1;
                    let (target, uid) = follow(here, &part, links)?;
                    if !trusted(uid) {
                        theirs.push((todo.len(), uid));
                    }
                    if target.is_absolute() {
                        stack.truncate(1);
                        steps.clear();
                    }
                    todo.extend(parts(&target));
                }
                Err(error) => return Err(error.into()),
            }
        }
        stack.pop().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Spot {
    /// Returns what shows a change. A folder's size and time change with its entries, and are left out.
    fn trace(&self) -> io::Result<Vec<u8>> {
        let stat = rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        let mut trace = format!("{:o} {} {}", stat.st_mode, stat.st_uid, stat.st_gid).into_bytes();
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {}
            FileType::Symlink => {
                trace.push(b' ');
                trace.extend(rustix::fs::readlinkat(&self.folder, &self.name, Vec::new())?.as_bytes());
            }
            _ => trace.extend(format!(" {} {}.{}", stat.st_size, stat.st_mtime, stat.st_mtime_nsec).bytes()),
        }
        Ok(trace)
    }

    fn entry(&self) -> io::Result<Entry> {
        let stat = rustix::fs::statat(&self.folder, &self.name, AtFlags::SYMLINK_NOFOLLOW)?;
        let sort = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Sort::File,
            FileType::Directory => Sort::Folder,
            FileType::Symlink => Sort::Link,
            _ => Sort::Special,
        };
        let target = match sort {
            Sort::Link => {
                let target = rustix::fs::readlinkat(&self.folder, &self.name, Vec::new())?;
                Some(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
            }
            _ => None,
        };
        #[allow(clippy::useless_conversion, reason = "it is shorter on other processors than x86-64")]
        let links = u64::from(stat.st_nlink);
        Ok(Entry {
            sort,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            links,
            inode: (stat.st_dev, stat.st_ino),
            target,
        })
    }

    /// Opens the thing by a path-only descriptor, so that no other program can replace it meanwhile. A file with
    /// several hard links is refused if an untrusted user could have made this one. It is accepted if that user owns
    /// the file. It may be a hard link to `/etc/shadow`.
    fn own(&self) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.folder, &self.name, flags, Mode::empty())?;
        let (file, folder) = (rustix::fs::fstat(&fd)?, rustix::fs::fstat(&self.folder)?);
        let several = FileType::from_raw_mode(file.st_mode) == FileType::RegularFile && file.st_nlink > 1;
        let closed = folder.st_mode & 0o022 == 0;
        if several && !(closed && (trusted(folder.st_uid) || folder.st_uid == file.st_uid)) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the file has several names (hard links), and another user may have made this one",
            ));
        }
        Ok(fd)
    }

    fn is_mount(&self) -> io::Result<bool> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
        let found = rustix::fs::statx(&self.folder, &self.name, flags, StatxFlags::TYPE)?;
        if found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
            return Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
        }
        let (above, here) =
            (rustix::fs::fstat(&self.folder)?, rustix::fs::statat(&self.folder, &self.name, flags)?);
        Ok(above.st_dev != here.st_dev)
    }

    fn open(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.folder, &self.name, flags, Mode::empty())?;
        match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
            FileType::RegularFile => Ok(File::from(fd)),
            FileType::Directory => Err(Errno::ISDIR.into()),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a device, a socket or a FIFO")),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(self.folder.as_fd(), ".", flags, Mode::empty()) {
            Ok(folder) => Ok(rustix::fs::fsync(folder)?),
            // A folder that may be written but not read cannot be synced.
            Err(Errno::ACCESS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Files {
    /// Returns why the thing at `path` cannot be changed although the permissions allow it: immutable, a mount, or on
    /// a read-only file system. None if there is no obstacle, or it cannot be determined.
    pub fn obstacle(&self, path: &Path) -> Option<String> {
        let spot = self.spot(path).ok()?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = |name: &OsStr| rustix::fs::openat(&spot.folder, name, flags, Mode::empty()).ok();
        let read_only = |fd: &OwnedFd| {
            rustix::fs::fstatvfs(fd).is_ok_and(|vfs| vfs.f_flag.contains(StatVfsMountFlags::RDONLY))
        };
        let itself = open(&spot.name);
        if itself.as_ref().map_or_else(|| read_only(&spot.folder), read_only) {
            return Some("it is on a read-only file system".to_owned());
        }
        let is_folder = spot.entry().is_ok_and(|entry| entry.sort == Sort::Folder);
        if !is_folder && self.is_mount(path).unwrap_or(false) {
            return Some("it is a mount point".to_owned());
        }
        let flags = |fd: &OwnedFd| rustix::fs::ioctl_getflags(fd).unwrap_or(IFlags::empty());
        let own = itself.as_ref().map_or(IFlags::empty(), flags);
        if own.contains(IFlags::IMMUTABLE) {
            return Some("it is immutable (chattr +i)".to_owned());
        }
        if own.contains(IFlags::APPEND) {
            return Some("it can only be appended to (chattr +a)".to_owned());
        }
        // A replaced file is a new name in its folder, so the flags of the folder count too.
        let folder = open(OsStr::new(".")).filter(|_| !is_folder);
        let folder = folder.as_ref().map_or(IFlags::empty(), flags);
        folder
            .intersects(IFlags::IMMUTABLE | IFlags::APPEND)
            .then(|| "its folder is immutable (chattr)".to_owned())
    }
}

/// Returns the target and the owner of the link `name` in `folder`. Both are read from one descriptor, so that no
/// other program can replace the link between the two reads.
fn follow(folder: &OwnedFd, name: &OsStr, links: usize) -> io::Result<(PathBuf, u32)> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let link = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&link)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return Err(Errno::NOTDIR.into());
    }
    if links > 40 {
        return Err(Errno::LOOP.into());
    }
    let target = rustix::fs::readlinkat(&link, "", Vec::new())?;
    Ok((PathBuf::from(OsStr::from_bytes(target.as_bytes())), stat.st_uid))
}

/// Refuses a folder that a link of `uid` led to, if it has another owner.
fn check_owner(folder: &OwnedFd, uid: u32) -> io::Result<()> {
    if rustix::fs::fstat(folder)?.st_uid == uid {
        return Ok(());
    }
    let why = format!("a link of uid {uid} in the path leads to a folder of another owner");
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

/// Returns the name of the temporary that becomes `name`. It is hidden, and the same in every run, so that one left
/// by a crash is found and replaced.
pub fn temporary_name(name: &OsStr) -> OsString {
    let digest = Digest::of(name.as_bytes()).short();
    let mut temporary = OsString::from(".");
    let bytes = name.as_bytes();
    temporary.push(OsStr::from_bytes(&bytes[..bytes.len().min(200)]));
    temporary.push(format!(".converge-{digest}"));
    temporary
}

/// The sizes of the pieces in which content is read. Most files fit into the first; large files are digested faster
/// in the second. A large piece for each small file would be most of its cost.
const PIECES: [usize; 2] = [4 * 1024, 128 * 1024];

/// Passes everything from `from` to `take`, piece by piece.
pub(crate) fn in_pieces(
    from: &mut dyn Read,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let [small, large] = PIECES;
    let mut piece = vec![0; small];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                take(&piece[..read])?;
                if read == small {
                    piece.resize(large, 0);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The largest depth of folders that are removed together. Each level holds one open.
const DEPTH: usize = 500;

fn remove_all(spot: &Spot, depth: usize) -> io::Result<()> {
    let refused = match rustix::fs::unlinkat(&spot.folder, &spot.name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // The errors for a folder, and for things that may not be removed.
        Err(error @ (Errno::ISDIR | Errno::PERM)) => error,
        Err(error) => return Err(error.into()),
    };
    let folder = match open_folder(&spot.folder, &spot.name) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(refused.into()),
        folder => folder?,
    };
    if spot.is_mount()? {
        let why = format!("something is mounted at {}", Path::new(&spot.name).display());
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, why));
    }
    let deep = || io::Error::other(format!("folders are nested more than {DEPTH} deep"));
    let left = depth.checked_sub(1).ok_or_else(deep)?;
    let below = names(&folder)?;
    let mut inner = Spot { folder, name: OsString::new() };
    for name in below {
        inner.name = name;
        remove_all(&inner, left)?;
    }
    Ok(rustix::fs::unlinkat(&spot.folder, &spot.name, AtFlags::REMOVEDIR)?)
}

/// Opens the folder `name` in `folder` for reading. A link is an error.
fn open_folder(folder: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(folder, name, flags, Mode::empty())?)
}

/// Returns the names in a folder that is open for reading.
fn names(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn trusted(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

fn split(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "the path is not absolute and normal");
    Ok((path.parent().ok_or_else(invalid)?, path.file_name().ok_or_else(invalid)?))
}

/// Returns the parts of a path, the last first.
fn parts(path: &Path) -> Vec<OsString> {
    let mut parts: Vec<_> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some(OsString::from("..")),
            _ => None,
        })
        .collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    fn world() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path()).unwrap();
        (folder, files)
    }

    /// Gives as many bytes as allowed, and notes how many.
    struct Noting(usize, Vec<usize>);

    impl Read for Noting {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1.push(buffer.len());
            let read = buffer.len().min(self.0);
            buffer[..read].fill(7);
            self.0 -= read;
            Ok(read)
        }
    }

    #[test]
    fn content_comes_in_pieces_that_are_large_only_where_it_is() {
        let [small, large] = PIECES;
        let check = |length: usize, expected: &[usize]| {
            let (mut from, mut taken) = (Noting(length, Vec::new()), Vec::new());
            in_pieces(&mut from, |piece| {
                taken.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
            assert_eq!((taken.len(), taken.iter().all(|byte| *byte == 7)), (length, true));
            assert_eq!(from.1, expected);
        };
        check(0, &[small]);
        check(small - 1, &[small, small]);
        check(small + large + 1, &[small, large, large, large]);
    }

    #[test]
    fn links_on_the_way_stay_below_the_root() {
        let (folder, files) = world();
        fs::create_dir_all(folder.path().join("usr/lib")).unwrap();
        symlink("/usr/lib", folder.path().join("lib")).unwrap();
        symlink("../../../../..", folder.path().join("usr/up")).unwrap();
        fs::write(folder.path().join("usr/lib/x"), "here").unwrap();
        assert_eq!(files.read("/lib/x".as_ref(), 10).unwrap(), b"here");
        assert_eq!(files.read("/usr/up/lib/x".as_ref(), 10).unwrap(), b"here");
        assert_eq!(files.resolved("/lib/x".as_ref()).unwrap(), Path::new("/usr/lib/x"));
    }

    #[test]
    fn the_last_part_is_not_followed_and_special_files_are_refused() {
        let (folder, files) = world();
        symlink("/etc/passwd", folder.path().join("link")).unwrap();
        assert_eq!(files.entry("/link".as_ref()).unwrap().map(|e| e.sort), Some(Sort::Link));
        assert!(files.read("/link".as_ref(), 10).is_err());
        rustix::fs::mknodat(files.top().unwrap(), "fifo", FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .unwrap();
        assert!(files.digest("/fifo".as_ref()).is_err(), "a FIFO must not hang");
    }

    #[test]
    fn a_root_that_is_not_there_yet_is_an_empty_folder() {
        let files = Files::not_yet("/nowhere/at/all");
        assert_eq!(files.entry("/".as_ref()).unwrap().map(|entry| entry.sort), Some(Sort::Folder));
        assert_eq!(files.entry("/etc/motd".as_ref()).unwrap(), None);
        assert!(files.create_beside("/motd".as_ref(), "x".as_ref()).is_err());
    }

    #[test]
    fn what_is_not_there_is_no_error() {
        let (folder, files) = world();
        fs::write(folder.path().join("file"), "").unwrap();
        assert_eq!(files.entry("/a/b/c".as_ref()).unwrap(), None);
        assert_eq!(files.entry("/file/below".as_ref()).unwrap(), None);
    }

    #[test]
    fn a_file_over_the_limit_is_an_error_and_not_a_part() {
        let (folder, files) = world();
        fs::write(folder.path().join("file"), "12345").unwrap();
        assert_eq!(files.read("/file".as_ref(), 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(files.read("/file".as_ref(), 5).unwrap(), b"12345");
    }

    #[test]
    fn a_link_loop_ends() {
        let (folder, files) = world();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();
        assert!(files.entry("/a/x".as_ref()).is_err());
    }

    #[test]
    fn the_mode_of_a_file_that_may_not_be_read_can_be_set() {
        let (folder, files) = world();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        files.set_mode("/file".as_ref(), 0o640).unwrap();
        assert_eq!(files.entry("/file".as_ref()).unwrap().map(|e| e.mode), Some(0o640));
    }

    /// Lets another thread exchange two things again and again while `work` runs.
    fn while_exchanged<T>(one: &Path, other: &Path, work: impl FnOnce() -> T) -> T {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                while !done.load(Ordering::Relaxed) {
                    let _ = rustix::fs::renameat_with(CWD, one, CWD, other, exchange);
                }
            });
            let worked = work();
            done.store(true, Ordering::Relaxed);
            worked
        })
    }

    #[test]
    fn a_link_of_another_user_leads_to_what_is_theirs_whenever_they_change_it() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: files of two users take root");
            return;
        }
        let (folder, files) = world();
        let at = |name: &str| folder.path().join(name);
        for (name, uid) in [("home", 1000), ("home/own", 1000), ("roots", 0)] {
            fs::create_dir(at(name)).unwrap();
            lchown(at(name), Some(uid), None).unwrap();
        }
        for name in ["home/own/x", "roots/secret"] {
            fs::write(at(name), "").unwrap();
        }
        for (name, target) in [("good", "/home/own"), ("bad", "../roots"), ("round", "bad/../home/own")] {
            symlink(target, at("home").join(name)).unwrap();
            lchown(at("home").join(name), Some(1000), None).unwrap();
        }
        assert!(files.entry("/home/good/x".as_ref()).unwrap().is_some());
        for path in ["/home/bad/secret", "/home/round/x"] {
            let refused = files.entry(path.as_ref()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{path}");
        }
        let seen = while_exchanged(&at("home/good"), &at("home/bad"), || {
            (0..20_000).filter(|_| matches!(files.entry("/home/good/secret".as_ref()), Ok(Some(_)))).count()
        });
        assert_eq!(seen, 0, "it led to what is root's");
    }

    #[test]
    fn what_is_removed_leads_nowhere_else_whatever_is_put_in_its_place() {
        let (folder, files) = world();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("victim")).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(at("victim").join(name), "").unwrap();
        }
        for _ in 0..100 {
            fs::create_dir_all(at("tree/below/deep")).unwrap();
            fs::write(at("tree/below/a"), "").unwrap();
            let _ = symlink("../victim", at("tree/link"));
            // Things that were exchanged meanwhile may be left over, or in the way.
            let _ =
                while_exchanged(&at("tree/below"), &at("tree/link"), || files.remove_all("/tree".as_ref()));
            files.remove_all("/tree".as_ref()).unwrap();
        }
        assert_eq!(fs::read_dir(at("victim")).unwrap().count(), 3);
        files.remove_all("/tree".as_ref()).unwrap();
        files.remove_all("/victim/a/b".as_ref()).unwrap();
    }

    #[test]
    fn folders_without_end_are_an_error_and_not_the_end_of_the_agent() {
        let (folder, files) = world();
        let mut here =
            rustix::fs::open(folder.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..DEPTH + 2 {
            rustix::fs::mkdirat(&here, "d", Mode::from_raw_mode(0o700)).unwrap();
            here = rustix::fs::openat(&here, "d", WALK, Mode::empty()).unwrap();
        }
        let refused = files.remove_all("/d".as_ref()).unwrap_err().to_string();
        assert!(refused.contains("more than 500 deep"), "{refused}");
        // Such folders would also stop the cleanup after the test.
        assert!(
            std::process::Command::new("rm")
                .arg("-rf")
                .arg(folder.path().join("d"))
                .status()
                .unwrap()
                .success()
        );
    }
}

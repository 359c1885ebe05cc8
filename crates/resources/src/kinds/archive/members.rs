//! The members of an archive, independent of its format.

use std::io::{self, Read};
use std::path::PathBuf;

/// One member of an archive.
pub(super) struct Member {
    /// Its path as written in the archive; not trusted.
    pub(super) path: PathBuf,
    /// Its type.
    pub(super) sort: MemberSort,
    /// Its permission bits, 0 to 0o7777.
    pub(super) mode: u32,
}

/// The type of a member.
pub(super) enum MemberSort {
    /// A file. Its content follows.
    File,
    /// A folder.
    Folder,
    /// A symbolic link with this target.
    Link(PathBuf),
    /// A hard link to an earlier file.
    Second(PathBuf),
    /// A type that is not unpacked: a device, a FIFO.
    Other(&'static str),
}

/// The callback for each member and its content.
pub(super) type Visit<'v> = dyn FnMut(Member, &mut dyn Read) -> io::Result<()> + 'v;

/// A stream that fails after `left` bytes.
pub(super) struct Bounded<R> {
    pub(super) from: R,
    pub(super) left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(refused("larger, when unpacked, than `max-size` or its packed size allows")),
        }
        Ok(read)
    }
}

/// An error that says what the archive is or contains.
pub(super) fn refused(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it is {what}"))
}

//! The members of an archive, whatever its format.

use std::io::{self, Read};
use std::path::PathBuf;

/// One member of an archive.
pub(super) struct Member {
    /// Its path as the archive has it: anything.
    pub(super) path: PathBuf,
    /// What it is.
    pub(super) sort: MemberSort,
    /// Its permission bits, 0 to 0o7777.
    pub(super) mode: u32,
}

/// What a member is.
pub(super) enum MemberSort {
    /// A file; its content follows.
    File,
    /// A folder.
    Folder,
    /// A link that leads there.
    Link(PathBuf),
    /// A second name of an earlier file.
    Second(PathBuf),
    /// Something that is not unpacked: a device, a FIFO.
    Other(&'static str),
}

/// What is done with a member and its content.
pub(super) type Visit<'v> = dyn FnMut(Member, &mut dyn Read) -> io::Result<()> + 'v;

/// A stream that is an error once it is longer than it may be.
pub(super) struct Bounded<R> {
    pub(super) from: R,
    pub(super) left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(refused("larger, unpacked, than `max-size` or than its own size allows")),
        }
        Ok(read)
    }
}

/// An error that says what the archive is, or holds.
pub(super) fn refused(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it is {what}"))
}

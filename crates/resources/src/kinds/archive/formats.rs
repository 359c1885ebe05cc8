//! The archive formats, each as a stream of members.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::members::{Bounded, Member, MemberSort, Visit, refused};
use super::zip;

/// The largest ratio of unpacked size to archive size. Each archive may unpack to `SMALL` bytes in any case.
const RATIO: u64 = 200;
const SMALL: u64 = 64 * 1024 * 1024;

/// Visits the members of the archive in `file`, in archive order. `max_size` and the size of the archive limit the
/// unpacked size.
pub(super) fn each(mut file: File, max_size: u64, visit: &mut Visit<'_>) -> io::Result<()> {
    let length = file.seek(SeekFrom::End(0))?;
    let limit = max_size.min(SMALL.max(length.saturating_mul(RATIO)));
    let mut start = [0; 262];
    file.rewind()?;
    let read = read_up_to(&mut file, &mut start)?;
    file.rewind()?;
    match &start[..read] {
        [] => Ok(()),
        [0x1f, 0x8b, ..] => {
            tar(Bounded { from: MultiGzDecoder::new(io::BufReader::new(file)), left: limit }, visit)
        }
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => zip::each(&mut file, length, limit, visit),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Err(refused("an archive compressed with xz; use gzip")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(refused("an archive compressed with zstd; use gzip")),
        [b'B', b'Z', b'h', ..] => Err(refused("an archive compressed with bzip2; use gzip")),
        start if start.get(257..262) == Some(b"ustar") => tar(Bounded { from: file, left: limit }, visit),
        _ => Err(refused("not a tar, tar.gz or zip archive")),
    }
}

fn tar(from: impl Read, visit: &mut Visit<'_>) -> io::Result<()> {
    for entry in tar::Archive::new(from).entries()? {
        let mut entry = entry?;
        let path = PathBuf::from(OsStr::from_bytes(&entry.path_bytes()));
        let target = entry.link_name_bytes().map(|name| PathBuf::from(OsStr::from_bytes(&name)));
        let sort = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => MemberSort::File,
            EntryType::Directory => MemberSort::Folder,
            EntryType::Symlink => MemberSort::Link(target.unwrap_or_default()),
            EntryType::Link => MemberSort::Second(target.unwrap_or_default()),
            EntryType::Block | EntryType::Char => MemberSort::Other("a device"),
            EntryType::Fifo => MemberSort::Other("a FIFO"),
            EntryType::XGlobalHeader => continue,
            EntryType::GNUSparse => MemberSort::Other("a sparse file"),
            _ => MemberSort::Other("an entry of an unknown type"),
        };
        let mode = entry.header().mode()? & 0o7777;
        visit(Member { path, sort, mode }, &mut entry)?;
    }
    Ok(())
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

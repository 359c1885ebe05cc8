//! Zip archives: the central directory, and members that are stored or deflated. The format is PKWARE's APPNOTE.
//! Zip64, encryption and other compressions are refused.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::members::{Bounded, Member, MemberSort, Visit, refused};

/// The largest central directory, in bytes.
const DIRECTORY_LIMIT: u64 = 64 * 1024 * 1024;
/// The largest target of a link, in bytes.
const TARGET_LIMIT: u64 = 4096;

/// One record of the central directory.
struct Record {
    name: Vec<u8>,
    /// 0: stored, 8: deflated.
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    /// The position of its local header, in bytes.
    offset: u64,
    /// Type and permissions if a Unix system made the archive, else 0.
    mode: u32,
}

/// Visits the members in directory order. Their unpacked sizes may sum to `limit` bytes.
pub(super) fn each(file: &mut File, length: u64, limit: u64, visit: &mut Visit<'_>) -> io::Result<()> {
    let mut left = limit;
    for record in directory(file, length)? {
        left = left.checked_sub(record.size).ok_or_else(too_large)?;
        let start = data(file, &record)?;
        file.seek(SeekFrom::Start(start))?;
        let packed = BufReader::new(&mut *file).take(record.packed);
        match record.method {
            0 => member(&record, packed, visit)?,
            8 => member(&record, DeflateDecoder::new(packed), visit)?,
            _ => return Err(refused("a zip archive with a compression other than deflate")),
        }
    }
    Ok(())
}

fn member(record: &Record, from: impl Read, visit: &mut Visit<'_>) -> io::Result<()> {
    let mut from = Checked { from: Bounded { from, left: record.size }, crc: Crc::new(), wanted: record };
    let path = PathBuf::from(OsStr::from_bytes(&record.name));
    let sort = match record.mode & 0o170000 {
        0o120000 => {
            let mut target = Vec::new();
            (&mut from).take(TARGET_LIMIT).read_to_end(&mut target)?;
            MemberSort::Link(PathBuf::from(OsStr::from_bytes(&target)))
        }
        0 | 0o100000 | 0o040000 if record.name.ends_with(b"/") => MemberSort::Folder,
        0o040000 => MemberSort::Folder,
        0 | 0o100000 => MemberSort::File,
        _ => MemberSort::Other("a device or a FIFO"),
    };
    let mode = match (record.mode & 0o7777, &sort) {
        (0, MemberSort::Folder) => 0o755,
        (0, _) => 0o644,
        (mode, _) => mode,
    };
    visit(Member { path, sort, mode }, &mut from)
}

/// The content of a member. Its length and checksum are checked at the end.
struct Checked<'r, R> {
    from: R,
    crc: Crc,
    wanted: &'r Record,
}

impl<R: Read> Read for Checked<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.crc.update(&buffer[..read]);
        let whole = self.crc.sum() == self.wanted.crc && u64::from(self.crc.amount()) == self.wanted.size;
        if read == 0 && !buffer.is_empty() && !whole {
            return Err(refused("a damaged zip archive"));
        }
        Ok(read)
    }
}

/// The records of the central directory. The end record at the end of the file locates them.
fn directory(file: &mut File, length: u64) -> io::Result<Vec<Record>> {
    let tail = length.min(22 + 0xffff);
    let mut end = vec![0; usize::try_from(tail).unwrap_or_default()];
    file.seek(SeekFrom::Start(length - tail))?;
    file.read_exact(&mut end)?;
    let at = end.windows(4).rposition(|bytes| bytes == b"PK\x05\x06").ok_or_else(damaged)?;
    let end = &end[at..];
    let (count, size, offset) = (short(end, 10)?, long(end, 12)?, long(end, 16)?);
    if count == 0xffff || offset == u64::from(u32::MAX) {
        return Err(refused("a zip archive of the 64-bit form; use tar.gz"));
    }
    if size > DIRECTORY_LIMIT || offset + size > length {
        return Err(damaged());
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut bytes)?;
    let mut rest = &bytes[..];
    (0..count).map(|_| record(&mut rest)).collect()
}

fn record(rest: &mut &[u8]) -> io::Result<Record> {
    let bytes = *rest;
    if bytes.get(..4) != Some(b"PK\x01\x02") {
        return Err(damaged());
    }
    if short(bytes, 8)? & 1 != 0 {
        return Err(refused("an encrypted zip archive"));
    }
    let name_end = 46 + usize::from(short(bytes, 28)?);
    let end = name_end + usize::from(short(bytes, 30)?) + usize::from(short(bytes, 32)?);
    let unix = short(bytes, 4)? >> 8 == 3;
    let record = Record {
        name: bytes.get(46..name_end).ok_or_else(damaged)?.to_vec(),
        method: short(bytes, 10)?,
        crc: u32::try_from(long(bytes, 16)?).unwrap_or_default(),
        packed: long(bytes, 20)?,
        size: long(bytes, 24)?,
        offset: long(bytes, 42)?,
        mode: if unix { u32::from(short(bytes, 40)?) } else { 0 },
    };
    *rest = bytes.get(end..).ok_or_else(damaged)?;
    Ok(record)
}

/// The position of a member's content, after its local header.
fn data(file: &mut File, record: &Record) -> io::Result<u64> {
    let mut header = [0; 30];
    file.seek(SeekFrom::Start(record.offset))?;
    file.read_exact(&mut header)?;
    if header[..4] != *b"PK\x03\x04" {
        return Err(damaged());
    }
    Ok(record.offset + 30 + u64::from(short(&header, 26)?) + u64::from(short(&header, 28)?))
}

fn short(bytes: &[u8], at: usize) -> io::Result<u16> {
    let bytes: [u8; 2] = bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).ok_or_else(damaged)?;
    Ok(u16::from_le_bytes(bytes))
}

fn long(bytes: &[u8], at: usize) -> io::Result<u64> {
    let bytes: [u8; 4] = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).ok_or_else(damaged)?;
    Ok(u64::from(u32::from_le_bytes(bytes)))
}

fn damaged() -> io::Error {
    refused("a damaged zip archive")
}

fn too_large() -> io::Error {
    refused("larger, when unpacked, than `max-size` or its packed size allows")
}

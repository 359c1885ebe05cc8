//! Receipts: notes of kinds that cannot read their wish back from the host. Example: an unpacked archive does not
//! show which archive it was. Its receipt does, together with what was seen right after it.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use converge_model::Digest;

/// The receipts of a host, one small file each in a private folder.
pub struct Receipts {
    folder: PathBuf,
}

/// One receipt. Its resource is in sync as long as both digests agree with the current wish and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The applied source: the digest of it and of everything that affects the result.
    pub source: Digest,
    /// The state right after the apply.
    pub seen: Digest,
    /// The paths that were made, if that set is needed. They are relative, and folders come before their content.
    pub paths: Vec<PathBuf>,
    /// The state as text, if a plan compares it with the current state; else empty.
    pub text: String,
}

/// The first line of a receipt: its format.
const FORMAT: &str = "converge-receipt 1";

/// The largest file that is read as a receipt, in bytes.
const LIMIT: u64 = 64 * 1024 * 1024;

impl Receipts {
    /// Returns the receipts in `folder`. The first receipt makes the folder, with mode 0700.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Returns the receipt for `key`, the key of a claim. A receipt that cannot be parsed counts as none, so its
    /// resource is applied again.
    pub fn get(&self, key: &str) -> io::Result<Option<Receipt>> {
        let mut text = String::new();
        match fs::File::open(self.path(key)) {
            Ok(file) => file.take(LIMIT).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // No path is empty, so the first empty line ends the paths.
        let (head, text) = text.split_once("\n\n").unwrap_or((&text, ""));
        let lines: Vec<_> = head.lines().collect();
        let [FORMAT, source, seen, of, paths @ ..] = &lines[..] else { return Ok(None) };
        let receipt = || {
            let paths = paths.iter().map(|path| unescaped(path)).collect::<Option<_>>()?;
            Some(Receipt {
                source: source.parse().ok()?,
                seen: seen.parse().ok()?,
                paths,
                text: text.to_owned(),
            })
        };
        Ok(if *of == escaped(key.as_bytes()) { receipt() } else { None })
    }

    /// Notes `receipt` for `key`, and replaces an old one. None removes it.
    pub fn set(&self, key: &str, receipt: Option<&Receipt>) -> io::Result<()> {
        let path = self.path(key);
        let Some(receipt) = receipt else {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let key = escaped(key.as_bytes());
        let mut text = format!("{FORMAT}\n{}\n{}\n{key}\n", receipt.source, receipt.seen);
        for path in &receipt.paths {
            text.push_str(&escaped(path.as_os_str().as_bytes()));
            text.push('\n');
        }
        if !receipt.text.is_empty() {
            text.push('\n');
            text.push_str(&receipt.text);
        }
        let new = path.with_extension("new");
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        fs::File::open(&self.folder)?.sync_all()
    }

    pub(crate) fn path(&self, key: &str) -> PathBuf {
        Path::new(&self.folder).join(Digest::of(key.as_bytes()).to_string())
    }
}

/// Writes bytes on one line. A byte that is not plain text is `%` and two hexadecimal digits.
fn escaped(bytes: &[u8]) -> String {
    let mut line = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'%' | 0..0x20 | 0x7f.. => line.push_str(&format!("%{byte:02x}")),
            byte => line.push(char::from(*byte)),
        }
    }
    line
}

/// Returns the path that [`escaped`] wrote. It must be relative, without `..`.
fn unescaped(line: &str) -> Option<PathBuf> {
    let mut pieces = line.split('%');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(piece.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(&piece.as_bytes()[2..]);
    }
    let path = PathBuf::from(OsStr::from_bytes(&bytes));
    let plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    (plain && path.components().next().is_some()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_what_was_noted_and_a_damaged_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let receipts = Receipts::in_folder(folder.path().join("state/receipts"));
        let odd = PathBuf::from(OsStr::from_bytes(b"a/100%\xff\n"));
        let mut receipt = Receipt {
            source: Digest::of(b"a"),
            seen: Digest::of(b"b"),
            paths: vec!["a".into(), odd],
            text: String::new(),
        };
        assert_eq!(receipts.get("path:/srv\n/x").unwrap(), None);
        receipts.set("path:/srv\n/x", Some(&receipt)).unwrap();
        assert_eq!(receipts.get("path:/srv\n/x").unwrap(), Some(receipt.clone()));
        assert_eq!(receipts.get("path:/srv").unwrap(), None);
        receipt.text = "table {\n\n}\n".to_owned();
        receipts.set("path:/srv\n/x", Some(&receipt)).unwrap();
        assert_eq!(receipts.get("path:/srv\n/x").unwrap(), Some(receipt));
        fs::write(receipts.path("path:/srv\n/x"), "converge-receipt 2\n").unwrap();
        assert_eq!(receipts.get("path:/srv\n/x").unwrap(), None);
        assert_eq!(
            [unescaped("../x"), unescaped("/x"), unescaped(""), unescaped("a%f")],
            [None, None, None, None]
        );
        receipts.set("path:/srv\n/x", None).unwrap();
        receipts.set("path:/srv\n/x", None).unwrap();
    }
}

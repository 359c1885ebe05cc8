//! Receipts: what kinds that cannot read their wish back noted when they applied it. An unpacked archive does not say
//! which archive it was; its receipt does, together with what was seen right afterwards.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use converge_model::Digest;

/// The receipts of a host, a small file each in a private folder.
pub struct Receipts {
    folder: PathBuf,
}

/// One receipt. What it is for is in sync while both agree with what is asked and seen now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What was applied: the digest of the source with all that shapes its result.
    pub source: Digest,
    /// What was there right afterwards.
    pub seen: Digest,
}

/// The first line of a receipt: its format.
const FORMAT: &str = "converge-receipt 1";

/// The largest file that is taken for a receipt, in bytes.
const LIMIT: u64 = 64 * 1024;

impl Receipts {
    /// Receipts in `folder`, which is made, 0700, with the first of them.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The receipt for `key`, the key of a claim. One that cannot be understood is none: what it is for is applied
    /// again.
    pub fn get(&self, key: &str) -> io::Result<Option<Receipt>> {
        let mut text = String::new();
        match fs::File::open(self.path(key)) {
            Ok(file) => file.take(LIMIT).read_to_string(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let lines: Vec<_> = text.lines().collect();
        let [FORMAT, source, seen, of] = lines[..] else { return Ok(None) };
        let receipt = || Some(Receipt { source: source.parse().ok()?, seen: seen.parse().ok()? });
        Ok(if of == escaped(key) { receipt() } else { None })
    }

    /// Notes `receipt` for `key`, in the place of an older one; none removes it.
    pub fn set(&self, key: &str, receipt: Option<&Receipt>) -> io::Result<()> {
        let path = self.path(key);
        let Some(receipt) = receipt else {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let text = format!("{FORMAT}\n{}\n{}\n{}\n", receipt.source, receipt.seen, escaped(key));
        let new = path.with_extension("new");
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        fs::File::open(&self.folder)?.sync_all()
    }

    fn path(&self, key: &str) -> PathBuf {
        Path::new(&self.folder).join(Digest::of(key.as_bytes()).to_string())
    }
}

/// The key on one line.
fn escaped(key: &str) -> String {
    key.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_what_was_noted_and_a_damaged_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let receipts = Receipts::in_folder(folder.path().join("state/receipts"));
        let receipt = Receipt { source: Digest::of(b"a"), seen: Digest::of(b"b") };
        assert_eq!(receipts.get("path:/srv\n/x").unwrap(), None);
        receipts.set("path:/srv\n/x", Some(&receipt)).unwrap();
        assert_eq!(receipts.get("path:/srv\n/x").unwrap(), Some(receipt.clone()));
        assert_eq!(receipts.get("path:/srv").unwrap(), None);
        fs::write(receipts.path("path:/srv\n/x"), "converge-receipt 2\n").unwrap();
        assert_eq!(receipts.get("path:/srv\n/x").unwrap(), None);
        receipts.set("path:/srv\n/x", None).unwrap();
        receipts.set("path:/srv\n/x", None).unwrap();
    }
}

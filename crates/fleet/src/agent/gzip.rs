//! Packs agents for the upload: gzip, which any host can unpack.
//!
//! The build script of `cli` includes this file too.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

/// Returns `bytes` as a gzip file without a time, so that the same bytes give the same file.
pub(crate) fn packed(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), level);
    // Writing to memory cannot fail.
    let _ = gzip.write_all(bytes);
    gzip.finish().unwrap_or_default()
}

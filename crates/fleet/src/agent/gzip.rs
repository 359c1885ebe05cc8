//! Agents on their way: gzip, which any host can unpack.
//!
//! Also read by the build script of `cli`.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

/// `bytes` as a gzip file without a time: the same for the same bytes.
pub(crate) fn packed(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), level);
    // Writing to memory cannot fail.
    let _ = gzip.write_all(bytes);
    gzip.finish().unwrap_or_default()
}

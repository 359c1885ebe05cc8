//! Content that the host lacks.

use std::io::Read;

use converge_model::Digest;

use crate::apply_error::ApplyError;

/// Where content comes from that the host lacks.
pub trait Contents {
    /// The content whose digest this is, as a stream.
    fn open(&self, digest: Digest) -> Result<Box<dyn Read + '_>, ApplyError>;
}

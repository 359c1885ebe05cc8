//! File contents that the host does not have.

use std::io::Read;

use converge_model::Digest;

use crate::apply_error::ApplyError;

/// A source of contents that the host does not have.
pub trait Contents {
    /// Opens the content with this digest as a stream.
    fn open(&self, digest: Digest) -> Result<Box<dyn Read + '_>, ApplyError>;
}

//! The executor's link to the controller: content on demand, events to report, and the request to stop.
//!
//! [`stdio::Stdio`] speaks the protocol over the standard input and output of the process. The executor sees only
//! [`Channel`], so that its tests need no process.

pub mod stdio;
pub(crate) mod unpack;

use std::io::Read;

use converge_model::{Digest, EventKind};
use converge_resources::ApplyError;
use converge_resources::contents::Contents;

/// The controller, as the executor sees it.
pub trait Channel: Sync {
    /// Asks for small contents, all in one exchange, and keeps them. [`Channel::text`] then finds them without
    /// another exchange. If the controller lacks a content, or all exceed
    /// [`LOOK_LIMIT`](converge_model::wire::LOOK_LIMIT) together, `text` reports it.
    fn need(&self, digests: &[Digest]) -> Result<(), ChannelError>;

    /// Returns content in memory: kept by [`Channel::need`], or asked for now. At most
    /// [`LOOK_LIMIT`](converge_model::wire::LOOK_LIMIT) bytes.
    fn text(&self, digest: Digest) -> Result<Vec<u8>, ChannelError>;

    /// Opens content of any length as a stream, one at a time: a second call waits until the first stream is dropped.
    /// Reading to the end also checks the digest. The last read of damaged content is an error, so the caller must
    /// not rename a file into place before it.
    fn content(&self, digest: Digest) -> Result<Box<dyn Read + '_>, ChannelError>;

    /// Reports an event. If the connection is gone, the event is lost and [`Channel::stopping`] becomes true.
    fn event(&self, event: EventKind);

    /// Asks the controller to confirm the armed group over a new connection, within so many seconds.
    fn confirm(&self, seconds: u32);

    /// Whether to stop after the current step: the controller asked for it, is gone, or was silent for too long.
    fn stopping(&self) -> bool;
}

/// Why content cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// The controller does not have it.
    #[error("the controller cannot provide content {0}")]
    Unavailable(Digest),
    /// Its bytes do not match its digest.
    #[error("content {0} arrived damaged")]
    Damaged(Digest),
    /// It is larger than the limit of memory.
    #[error("content {0} is too large to keep in memory")]
    TooLarge(Digest),
    /// The connection is gone.
    #[error("the connection to the controller was lost")]
    Closed,
}

/// The contents that the controller has, for the kinds.
pub(crate) struct FromChannel<'a>(pub(crate) &'a dyn Channel);

impl Contents for FromChannel<'_> {
    fn open(&self, digest: Digest) -> Result<Box<dyn Read + '_>, ApplyError> {
        self.0.content(digest).map_err(|error| ApplyError::new(error.to_string()))
    }
}

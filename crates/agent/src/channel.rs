//! What the executor has of the controller: content on demand, events to report, and the word to stop.
//!
//! [`stdio::Stdio`] speaks the protocol over the process's own standard input and output; the executor sees [`Channel`]
//! only, so that its tests need no process.

pub mod stdio;
pub(crate) mod unpack;

use std::io::Read;

use converge_model::{Digest, EventKind};
use converge_resources::ApplyError;
use converge_resources::contents::Contents;

/// The controller, as the executor sees it.
pub trait Channel: Sync {
    /// Asks for small content, all of it in one exchange, and keeps it: [`Channel::text`] then finds it without a
    /// further one. What the controller does not have, or what exceeds
    /// [`LOOK_LIMIT`](converge_model::wire::LOOK_LIMIT) altogether, is reported by `text`.
    fn need(&self, digests: &[Digest]) -> Result<(), ChannelError>;

    /// Content in memory: what [`Channel::need`] kept, or asked for now. At most
    /// [`LOOK_LIMIT`](converge_model::wire::LOOK_LIMIT) bytes.
    fn text(&self, digest: Digest) -> Result<Vec<u8>, ChannelError>;

    /// Content of any length as a stream, one at a time: a second call waits until the first stream is dropped. Reading
    /// to the end also checks the digest: the last read of damaged content is an error, so nothing may be renamed into
    /// place before it.
    fn content(&self, digest: Digest) -> Result<Box<dyn Read + '_>, ChannelError>;

    /// Reports an event. A connection that is gone makes it vanish, and [`Channel::stopping`] true.
    fn event(&self, event: EventKind);

    /// Asks for somebody to come over a new connection and confirm what is armed, within so many seconds.
    fn confirm(&self, seconds: u32);

    /// Whether to stop after the step in hand: the controller said so, is gone, or has been silent for too long.
    fn stopping(&self) -> bool;
}

/// Why content is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// The controller does not have it.
    #[error("the controller cannot provide content {0}")]
    Unavailable(Digest),
    /// It is not what its digest says.
    #[error("content {0} arrived damaged")]
    Damaged(Digest),
    /// It is larger than what is kept in memory.
    #[error("content {0} is too large to be kept in memory")]
    TooLarge(Digest),
    /// The connection is gone.
    #[error("the connection to the controller is gone")]
    Closed,
}

/// The content that the controller has, for the kinds.
pub(crate) struct FromChannel<'a>(pub(crate) &'a dyn Channel);

impl Contents for FromChannel<'_> {
    fn open(&self, digest: Digest) -> Result<Box<dyn Read + '_>, ApplyError> {
        self.0.content(digest).map_err(|error| ApplyError::new(error.to_string()))
    }
}

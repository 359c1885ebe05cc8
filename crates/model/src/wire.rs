//! The protocol between the controller and the agent: frames over the standard input and output of one process.
//!
//! A frame is a length (four bytes, little endian) and a [postcard](https://postcard.jamesmunns.com) message of that
//! length. The length is at most [`FRAME_LIMIT`] and is checked before memory is allocated. The agent sends first.
//! Larger data (a catalog, content) is sent in several frames. Both ends send pings.
//!
//! There is no version negotiation: each controller uploads its own agent, which is named by its digest.
//!
//! ```text
//! agent                                 controller
//! ─────                                 ──────────
//! MAGIC Hello{facts}
//!                                       Job, Part… (catalog), Part… (secrets)
//! Need{digests}            (if any)
//!                                       Content… Part…
//! Event…                   (act)
//! Confirm{seconds}         (act, armed)      … meanwhile, over another connection:
//!                                              MAGIC Hello        Job{task: Confirm}
//!                                              Verdict
//! Plan | Report            the signed-off end
//! Ran | Answer             the end of a job without a catalog (exec, ping), Event… before it
//! ```

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ad_hoc::{AdHoc, Ran};
use crate::event::EventKind;
use crate::facts::Facts;
use crate::id::{Digest, RunId};
use crate::plan::{Holder, HostPlan};
use crate::report::HostReport;

/// Precedes the first frame of the agent. The controller skips any output of the login before it.
pub const MAGIC: &[u8; 16] = b"\0converge-agent\x01";
/// The most bytes before [`MAGIC`].
pub const NOISE_LIMIT: usize = 64 * 1024;
/// The largest frame, in bytes.
pub const FRAME_LIMIT: usize = 1024 * 1024;
/// The largest catalog, in bytes.
pub const CATALOG_LIMIT: usize = 16 * 1024 * 1024;
/// The largest plan or report, in bytes.
pub const RESULT_LIMIT: usize = 16 * 1024 * 1024;
/// The largest content that is sent as text for a diff. For larger content only sizes and digests are shown.
pub const TEXT_LIMIT: u64 = 256 * 1024;
/// The most bytes of content that one look requests.
pub const LOOK_LIMIT: u64 = 8 * 1024 * 1024;
/// The size of one part of larger data, in bytes.
pub const PART: usize = 256 * 1024;
/// Marks an uncompressed part.
pub const PLAIN: u8 = 0;
/// Marks a part that is an LZ4 block.
pub const LZ4: u8 = 1;
/// Seconds between pings, if there is nothing else to send.
pub const PING_SECONDS: u64 = 15;
/// Seconds of silence after which the other end counts as dead.
pub const SILENCE_SECONDS: u64 = 45;

/// A message of the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromAgent {
    /// The first frame.
    Hello(Box<Hello>),
    /// Content that the agent does not have. The controller answers each digest with a [`ToAgent::Content`] and its
    /// parts.
    Need(Vec<Digest>),
    /// An event of the run.
    Event(Box<EventKind>),
    /// The result of a look.
    Plan(Box<HostPlan>),
    /// The result of an act.
    Report(Box<HostReport>),
    /// The job cannot be done: another run holds the host, or a file format on the host is newer than this agent.
    Refused(Refusal),
    /// An access-critical group is applied. The controller must start another agent over a new connection, which
    /// confirms the group in time.
    Confirm {
        /// The seconds that are left.
        seconds: u32,
    },
    /// The result of [`Task::Confirm`].
    Verdict(Verdict),
    /// The result of [`Task::Exec`].
    Ran(Ran),
    /// The result of [`Task::Ping`].
    Answer {
        /// The account that logged in, if sudo(8) or doas(1) reports it.
        login: Option<String>,
        /// The run that holds the lock of the host.
        busy: Option<Holder>,
    },
    /// Keeps the connection alive.
    Ping,
    /// A plan or a report that is larger than a frame. Its message of `length` bytes follows in parts.
    Large {
        /// Bytes; at most [`RESULT_LIMIT`].
        length: u64,
    },
    /// One part of it, uncompressed.
    #[serde(with = "serde_bytes_vec")]
    Part(Vec<u8>),
}

/// Why a job was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Another run holds the host.
    Locked(Holder),
    /// The host changed since its plan was shown.
    Stale(String),
    /// The agent cannot do it.
    Broken {
        /// The reason, as a fragment.
        message: String,
        /// Advice for the user.
        help: Option<String>,
    },
}

/// The first frame of the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The digest of the agent's own executable.
    pub agent: Digest,
    /// The facts of the host.
    pub facts: Facts,
    /// Seconds since the epoch by the host's clock, to detect a skew.
    pub clock: u64,
}

/// A message of the controller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToAgent {
    /// The job. The catalog and the table of secrets follow in parts.
    Job(Job),
    /// A part of the data announced last, at most [`PART`] bytes of it. It is [`PLAIN`] and the bytes; or [`LZ4`], the
    /// uncompressed length (four bytes, little endian) and an LZ4 block. Announced lengths count uncompressed bytes.
    #[serde(with = "serde_bytes_vec")]
    Part(Vec<u8>),
    /// Requested content. `length` bytes follow in parts; nothing follows if the controller does not have it.
    Content {
        /// The digest of the content.
        digest: Digest,
        /// Its length in bytes. None if the controller cannot provide it.
        length: Option<u64>,
    },
    /// Stop after the current step.
    Stop,
    /// Keeps the connection alive.
    Ping,
}

/// A job for an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The id of the run.
    pub run: RunId,
    /// The user who started the run, and the controller: `ada@laptop`.
    pub by: String,
    /// The task.
    pub task: Task,
    /// The folder that is used as `/`, absolute. None for the system itself.
    pub root: Option<String>,
    /// The length of the serialised catalog, in bytes. It follows the job.
    pub catalog: u64,
    /// The length of the table of secrets, in bytes. It follows the catalog.
    pub secrets: u64,
    /// The guard of access-critical changes.
    pub guard: Guard,
}

/// The guard of changes that may cut off the connection to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// After this many seconds the host reverts the changes, unless they are confirmed.
    pub seconds: u32,
    /// Whether changes that cannot be reverted are made anyway.
    pub accept_irreversible: bool,
}

impl Default for Guard {
    fn default() -> Self {
        Self { seconds: 60, accept_irreversible: false }
    }
}

/// The state of the access-critical group of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It was armed, and this question confirms it.
    Confirmed,
    /// It is not completely applied yet, so it is not confirmed.
    Waiting,
    /// The host is reverting it.
    Reverting,
    /// The host has reverted it.
    Reverted,
    /// It could not be reverted. The text says what failed, and where the saved data is.
    Stuck(String),
    /// The run has no such group: it was confirmed before, or never armed.
    Nothing,
}

/// The task of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Send the hello and end.
    Facts,
    /// Observe and plan; change nothing.
    Look,
    /// Carry out the plan of `token`.
    Act {
        /// The token of the plan that was shown.
        token: Digest,
    },
    /// Confirm the group that another agent of the same run has armed, and return its state. No catalog follows.
    Confirm,
    /// Run a command, without the lock. No catalog follows.
    Exec(AdHoc),
    /// Report the account and the holder of the lock. No catalog follows.
    Ping,
}

/// An error of a frame.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The stream ended between frames.
    #[error("the other end closed the connection")]
    Closed,
    /// The stream failed, or ended inside a frame.
    #[error("failed to read or write a frame")]
    Io(#[from] io::Error),
    /// A frame is larger than allowed.
    #[error("a frame of {0} bytes is larger than {FRAME_LIMIT}")]
    TooLarge(usize),
    /// The bytes are not a message.
    #[error("a frame of {0} bytes is not a message of this version")]
    Malformed(usize),
}

/// Returns a message as the bytes of its frame, with the length in front.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    let mut frame = postcard::to_extend(message, vec![0; 4]).map_err(|_| WireError::Malformed(0))?;
    let length = frame.len() - 4;
    if length > FRAME_LIMIT {
        return Err(WireError::TooLarge(length));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(frame)
}

/// Checks and returns the length of the frame whose first four bytes are `prefix`.
pub fn frame_length(prefix: [u8; 4]) -> Result<usize, WireError> {
    let length = u32::from_le_bytes(prefix) as usize;
    if length > FRAME_LIMIT { Err(WireError::TooLarge(length)) } else { Ok(length) }
}

/// Returns the message in the body of a frame. It is an error if bytes are left over.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, WireError> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        _ => Err(WireError::Malformed(body.len())),
    }
}

/// Writes one frame and flushes.
pub fn write<T: Serialize>(to: &mut impl Write, message: &T) -> Result<(), WireError> {
    to.write_all(&encode(message)?)?;
    Ok(to.flush()?)
}

/// Reads one frame. The error is [`WireError::Closed`] only if the stream ends between frames.
pub fn read<T: DeserializeOwned>(from: &mut impl Read) -> Result<T, WireError> {
    let mut prefix = [0; 4];
    if read_first(from, &mut prefix[..1])? == 0 {
        return Err(WireError::Closed);
    }
    from.read_exact(&mut prefix[1..])?;
    let mut body = vec![0; frame_length(prefix)?];
    from.read_exact(&mut body)?;
    decode(&body)
}

fn read_first(from: &mut impl Read, byte: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(byte) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Serialises byte strings in the compact form of postcard: a length and the bytes.
mod serde_bytes_vec {
    use serde::{Deserializer, Serializer, de::Visitor};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip_and_a_cut_one_is_an_error() {
        let sent = ToAgent::Part(vec![1, 2, 3]);
        let bytes = encode(&sent).unwrap();
        assert_eq!(read::<ToAgent>(&mut &bytes[..]).unwrap(), sent);
        assert!(matches!(read::<ToAgent>(&mut &bytes[..bytes.len() - 1]), Err(WireError::Io(_))));
        assert!(matches!(read::<ToAgent>(&mut &b""[..]), Err(WireError::Closed)));
    }

    #[test]
    fn a_frame_that_claims_four_gigabytes_is_refused_before_it_is_allocated() {
        let claim = u32::MAX.to_le_bytes();
        assert!(matches!(read::<ToAgent>(&mut &claim[..]), Err(WireError::TooLarge(_))));
    }

    #[test]
    fn rubbish_is_malformed_and_so_is_a_rest() {
        assert!(matches!(decode::<ToAgent>(&[0xff; 40]), Err(WireError::Malformed(40))));
        let mut body = encode(&ToAgent::Stop).unwrap()[4..].to_vec();
        body.push(0);
        assert!(matches!(decode::<ToAgent>(&body), Err(WireError::Malformed(_))));
    }

    #[test]
    fn a_vector_that_claims_more_than_is_there_is_refused() {
        // `Need` claims 2^32 digests and has none.
        assert!(matches!(
            decode::<FromAgent>(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            Err(WireError::Malformed(_))
        ));
    }
}

//! The protocol between the controller and the agent: frames over the standard input and output of one process.
//!
//! A frame is its length (four bytes, little endian), and a [postcard](https://postcard.jamesmunns.com) message of that
//! length, at most [`FRAME_LIMIT`]; the length is refused before anything is allocated. The agent speaks first. Larger
//! things (a catalog, content) travel in several frames. Both ends ping.
//!
//! Versions do not negotiate: the agent is uploaded by its own controller and named by its digest.
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

/// Precedes the first frame of the agent, so that whatever a login prints before it can be skipped.
pub const MAGIC: &[u8; 16] = b"\0converge-agent\x01";
/// The most that may come before [`MAGIC`].
pub const NOISE_LIMIT: usize = 64 * 1024;
/// The largest frame, in bytes.
pub const FRAME_LIMIT: usize = 1024 * 1024;
/// The largest catalog, in bytes.
pub const CATALOG_LIMIT: usize = 16 * 1024 * 1024;
/// The largest plan or report, in bytes.
pub const RESULT_LIMIT: usize = 16 * 1024 * 1024;
/// The largest content that is sent for its text's sake, for a diff; larger content shows sizes and digests.
pub const TEXT_LIMIT: u64 = 256 * 1024;
/// The most content that one look asks for.
pub const LOOK_LIMIT: u64 = 8 * 1024 * 1024;
/// How much of something larger goes into one frame.
pub const PART: usize = 256 * 1024;
/// A part that is as it is.
pub const PLAIN: u8 = 0;
/// A part that is an LZ4 block.
pub const LZ4: u8 = 1;
/// Seconds between pings, when there is nothing else to say.
pub const PING_SECONDS: u64 = 15;
/// Seconds of silence after which the other end is taken for dead.
pub const SILENCE_SECONDS: u64 = 45;

/// What the agent says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromAgent {
    /// The first frame.
    Hello(Box<Hello>),
    /// Content that the agent lacks; the controller answers each with a [`ToAgent::Content`] and its parts.
    Need(Vec<Digest>),
    /// Something happened.
    Event(Box<EventKind>),
    /// The end of a look.
    Plan(Box<HostPlan>),
    /// The end of an act.
    Report(Box<HostReport>),
    /// The job cannot be done: another run holds the host, a format on disk is newer than this agent.
    Refused(Refusal),
    /// An access-critical group is applied: somebody is to come over a new connection and have an agent of its own
    /// confirm it, within so many seconds.
    Confirm {
        /// What is left of the window.
        seconds: u32,
    },
    /// The end of [`Task::Confirm`].
    Verdict(Verdict),
    /// The end of [`Task::Exec`].
    Ran(Ran),
    /// The end of [`Task::Ping`].
    Answer {
        /// The account that logged in, where sudo(8) or doas(1) tells.
        login: Option<String>,
        /// The run that is at work on the host.
        busy: Option<Holder>,
    },
    /// Nothing new, still there.
    Ping,
    /// A plan or a report that is larger than a frame: its message, of `length` bytes, follows in parts.
    Large {
        /// At most [`RESULT_LIMIT`].
        length: u64,
    },
    /// A part of it, as it is.
    #[serde(with = "serde_bytes_vec")]
    Part(Vec<u8>),
}

/// Why a job is not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Another run holds the host.
    Locked(Holder),
    /// The host moved on since its plan was shown.
    Stale(String),
    /// The agent cannot do it: what, and what to do about it.
    Broken {
        /// A fragment.
        message: String,
        /// What to do about it.
        help: Option<String>,
    },
}

/// The first frame of the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The digest of the agent's own executable.
    pub agent: Digest,
    /// What the host says of itself.
    pub facts: Facts,
    /// Seconds since the epoch by the host's clock, to show a skew.
    pub clock: u64,
}

/// What the controller says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToAgent {
    /// What is to be done. The catalog and the table of secrets follow in parts.
    Job(Job),
    /// A part of what was announced last, at most [`PART`] bytes of it, packed: [`PLAIN`] and the bytes, or [`LZ4`],
    /// their number (four bytes, little endian) and an LZ4 block. Lengths that are announced are those of the bytes.
    #[serde(with = "serde_bytes_vec")]
    Part(Vec<u8>),
    /// Content that was asked for; `length` bytes follow in parts, none where it is not to be had.
    Content {
        /// What it is.
        digest: Digest,
        /// Its length; none where the controller cannot give it.
        length: Option<u64>,
    },
    /// Stop after the step in hand.
    Stop,
    /// Nothing new, still there.
    Ping,
}

/// A job for an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The run.
    pub run: RunId,
    /// Who started it, and from where: `ada@laptop`.
    pub by: String,
    /// What to do.
    pub task: Task,
    /// The folder that stands for `/`, absolute; none for the system itself.
    pub root: Option<String>,
    /// The length of the serialised catalog that follows, in bytes.
    pub catalog: u64,
    /// The length of the table of secrets that follows it.
    pub secrets: u64,
    /// How access-critical changes are guarded.
    pub guard: Guard,
}

/// How changes are guarded that may cut a host off from its controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// After how many seconds the host takes them back, unless they are confirmed.
    pub seconds: u32,
    /// Whether those are made all the same that cannot be taken back.
    pub accept_irreversible: bool,
}

impl Default for Guard {
    fn default() -> Self {
        Self { seconds: 60, accept_irreversible: false }
    }
}

/// What has become of the access-critical group of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It was armed, and is confirmed by this very question.
    Confirmed,
    /// It is not applied as a whole yet: half of it is confirmed by nobody.
    Waiting,
    /// It is being taken back.
    Reverting,
    /// It was taken back.
    Reverted,
    /// It could not be taken back: what failed, and where what was saved is.
    Stuck(String),
    /// The run has none: it was confirmed before, or never armed.
    Nothing,
}

/// What an agent does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Say hello and end.
    Facts,
    /// Observe and plan; change nothing.
    Look,
    /// Carry out the plan that `token` stands for.
    Act {
        /// The token of the plan that was shown.
        token: Digest,
    },
    /// Confirm what another agent of the same run has armed, and say what has become of it. No catalog follows.
    Confirm,
    /// Run a command, without the lock. No catalog follows.
    Exec(AdHoc),
    /// Say who is there, and who holds the lock. No catalog follows.
    Ping,
}

/// What can go wrong with a frame.
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

/// A message as the bytes of its frame, the length in front.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    let mut frame = postcard::to_extend(message, vec![0; 4]).map_err(|_| WireError::Malformed(0))?;
    let length = frame.len() - 4;
    if length > FRAME_LIMIT {
        return Err(WireError::TooLarge(length));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(frame)
}

/// The length of the frame whose first four bytes are `prefix`, checked.
pub fn frame_length(prefix: [u8; 4]) -> Result<usize, WireError> {
    let length = u32::from_le_bytes(prefix) as usize;
    if length > FRAME_LIMIT { Err(WireError::TooLarge(length)) } else { Ok(length) }
}

/// The message in the body of a frame; every byte of it must be used.
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

/// Reads one frame. [`WireError::Closed`] only between frames.
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

/// Byte strings as postcard writes them best: a length and the bytes.
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
        // `Need` with 2^32 digests and none of them.
        assert!(matches!(
            decode::<FromAgent>(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            Err(WireError::Malformed(_))
        ));
    }
}

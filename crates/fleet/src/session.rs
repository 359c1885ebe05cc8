//! A conversation with a running agent: frames in both directions, their limits, and the timeouts for silence.

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use converge_model::Digest;
use converge_model::facts;
use converge_model::wire::{self, FromAgent, Hello, PART, RESULT_LIMIT, ToAgent, WireError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::content::{ContentStore, Opened};
use crate::counters::Counters;
use crate::link::{Complaints, Link, Process, excerpt};
use crate::pack::packed;

/// How long an agent may take to end after its last message.
const FAREWELL: Duration = Duration::from_secs(10);
/// The largest hello: the facts and a few more bytes.
const HELLO_LIMIT: usize = facts::LIMIT + 1024;

/// Why a conversation failed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The connection ended before the agent's last message. `ssh` uses the same exit code for a failed agent and a
    /// broken connection, so only that message counts as success.
    #[error("the connection ended before the agent was done: {0}")]
    Cut(String),
    /// The agent sent nothing, not even a ping.
    #[error("the agent was silent for {0} s")]
    Silent(u64),
    /// The whole job took too long.
    #[error("the agent did not finish within {0} s")]
    Slow(u64),
    /// An act, or a step of it, exceeded its timeout.
    #[error("{what} did not finish within {seconds} s")]
    Overdue {
        /// The address of the step, or the act.
        what: String,
        /// How long it took so far.
        seconds: u64,
    },
    /// The agent broke a rule of the protocol.
    #[error("the agent broke the protocol: {0}")]
    Protocol(String),
}

impl SessionError {
    /// The error for a frame that answers nothing.
    pub(crate) fn unasked() -> Self {
        Self::Protocol("it sent an unexpected frame".to_owned())
    }
}

/// The timeouts of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) silence: Duration,
    pub(crate) ping: Duration,
}

/// A conversation.
pub(crate) struct Session {
    frames: Frames,
    /// The received part of a result that is larger than a frame.
    large: Option<Large>,
    outgoing: UnboundedSender<Outgoing>,
    pumping: Pumping,
    complaints: Arc<Complaints>,
    process: Process,
}

enum Outgoing {
    Frame(Vec<u8>),
    Content(Digest, Arc<dyn ContentStore>),
}

impl Session {
    /// Creates the conversation over `link`. `ahead` has the bytes that were read already.
    pub(crate) fn new(link: Link, ahead: Vec<u8>, patience: Patience, counters: Arc<Counters>) -> Self {
        let (outgoing, queue) = unbounded_channel();
        let pump = Pump { to: BufWriter::with_capacity(64 * 1024, link.stdin), counters: counters.clone() };
        Self {
            frames: Frames { from: link.stdout, read: ahead, silence: patience.silence, counters },
            large: None,
            outgoing,
            pumping: Pumping(tokio::spawn(pump.run(queue, patience.ping))),
            complaints: link.stderr,
            process: link.process,
        }
    }

    /// Reads the agent's first frame.
    pub(crate) async fn hello(&mut self) -> Result<Box<Hello>, SessionError> {
        match self.next_within(HELLO_LIMIT).await? {
            FromAgent::Hello(hello) => Ok(hello),
            _ => Err(SessionError::Protocol("its first frame must be a hello".to_owned())),
        }
    }

    /// Returns the next message that is not a ping. Cancelling this future loses no data.
    pub(crate) async fn next(&mut self) -> Result<FromAgent, SessionError> {
        loop {
            match self.next_within(wire::FRAME_LIMIT).await? {
                FromAgent::Large { length } => self.large = Some(Large::new(length)?),
                FromAgent::Part(part) => {
                    if let Some(message) =
                        self.large.as_mut().map_or_else(unannounced, |large| large.add(&part))?
                    {
                        return Ok(message);
                    }
                }
                message => return Ok(message),
            }
        }
    }

    async fn next_within(&mut self, limit: usize) -> Result<FromAgent, SessionError> {
        self.frames.next(limit).await.map_err(|error| match error {
            FrameError::Closed => SessionError::Cut(excerpt(&self.complaints.text())),
            FrameError::Io(error) => SessionError::Cut(error.to_string()),
            FrameError::Silent => SessionError::Silent(self.frames.silence.as_secs()),
            FrameError::Wire(error) => SessionError::Protocol(error.to_string()),
            FrameError::Limit(length) => {
                SessionError::Protocol(format!("its hello has {length} bytes, which is too large"))
            }
        })
    }

    /// Queues a message. If the connection is gone, the error appears when the next frame is read.
    pub(crate) fn send(&self, message: &ToAgent) -> Result<(), SessionError> {
        let frame = wire::encode(message).map_err(|error| SessionError::Protocol(error.to_string()))?;
        let _ = self.outgoing.send(Outgoing::Frame(frame));
        Ok(())
    }

    /// Sends bytes that are larger than a frame, in parts.
    pub(crate) fn send_parts(&self, bytes: &[u8]) -> Result<(), SessionError> {
        bytes.chunks(PART).try_for_each(|part| self.send(&ToAgent::Part(packed(part))))
    }

    /// Sends content after everything that was queued before.
    pub(crate) fn send_content(&self, digest: Digest, store: Arc<dyn ContentStore>) {
        let _ = self.outgoing.send(Outgoing::Content(digest, store));
    }

    /// Ends the conversation and waits until the agent has ended, so that the channel is free for the next agent.
    pub(crate) async fn end(mut self) {
        drop(self.outgoing);
        // The pump ends when its queue is closed. It then closes the agent's standard input.
        let _ = timeout(FAREWELL, &mut self.pumping.0).await;
        let _ = timeout(FAREWELL, self.process.wait()).await;
    }
}

/// The task that writes. It ends with the session, even if the host stops reading and blocks it. The agent's standard
/// input is closed with it.
struct Pumping(JoinHandle<()>);

impl Drop for Pumping {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A result that arrives in parts.
struct Large {
    length: usize,
    bytes: Vec<u8>,
}

impl Large {
    fn new(length: u64) -> Result<Self, SessionError> {
        match usize::try_from(length) {
            Ok(length) if length <= RESULT_LIMIT => Ok(Self { length, bytes: Vec::new() }),
            _ => Err(SessionError::Protocol(format!("its result has {length} bytes, which is too large"))),
        }
    }

    /// Adds a part. Returns the message if this was the last part.
    fn add(&mut self, part: &[u8]) -> Result<Option<FromAgent>, SessionError> {
        self.bytes.extend_from_slice(part);
        if self.bytes.len() < self.length && !part.is_empty() {
            return Ok(None);
        }
        match wire::decode(&self.bytes) {
            Ok(message @ (FromAgent::Plan(_) | FromAgent::Report(_))) if self.bytes.len() == self.length => {
                Ok(Some(message))
            }
            _ => Err(SessionError::Protocol("its large message must be a result".to_owned())),
        }
    }
}

fn unannounced() -> Result<Option<FromAgent>, SessionError> {
    Err(SessionError::Protocol("it sent a part without a message".to_owned()))
}

/// Reads frames.
struct Frames {
    from: Box<dyn AsyncRead + Send + Unpin>,
    read: Vec<u8>,
    silence: Duration,
    counters: Arc<Counters>,
}

enum FrameError {
    Closed,
    Io(io::Error),
    Silent,
    Wire(WireError),
    Limit(usize),
}

impl Frames {
    async fn next(&mut self, limit: usize) -> Result<FromAgent, FrameError> {
        loop {
            let length = loop {
                match self.read.first_chunk::<4>() {
                    Some(prefix) => break wire::frame_length(*prefix).map_err(FrameError::Wire)?,
                    None => self.more().await?,
                }
            };
            if length > limit {
                return Err(FrameError::Limit(length));
            }
            while self.read.len() < 4 + length {
                self.more().await?;
            }
            let message = wire::decode(&self.read[4..4 + length]).map_err(FrameError::Wire)?;
            self.read.drain(..4 + length);
            if message != FromAgent::Ping {
                self.counters.heard(4 + length);
                return Ok(message);
            }
        }
    }

    /// Reads the available bytes. The buffer grows with the received bytes, not with the length that a frame claims.
    async fn more(&mut self) -> Result<(), FrameError> {
        self.read.reserve(16 * 1024);
        match timeout(self.silence, self.from.read_buf(&mut self.read)).await {
            Err(_) => Err(FrameError::Silent),
            Ok(Err(error)) => Err(FrameError::Io(error)),
            Ok(Ok(0)) => Err(FrameError::Closed),
            Ok(Ok(_)) => Ok(()),
        }
    }
}

/// Writes queued messages, and sends pings while the queue is empty.
struct Pump {
    to: BufWriter<Box<dyn AsyncWrite + Send + Unpin>>,
    counters: Arc<Counters>,
}

impl Pump {
    async fn run(mut self, mut queue: UnboundedReceiver<Outgoing>, ping: Duration) {
        // An error is ignored here: the reader of the connection notices that it is gone.
        let _ = self.pump(&mut queue, ping).await;
        let _ = self.to.shutdown().await;
    }

    async fn pump(&mut self, queue: &mut UnboundedReceiver<Outgoing>, ping: Duration) -> io::Result<()> {
        loop {
            match timeout(ping, queue.recv()).await {
                Ok(None) => return Ok(()),
                Ok(Some(Outgoing::Frame(frame))) => self.frame(&frame).await?,
                Ok(Some(Outgoing::Content(digest, store))) => self.content(digest, store).await?,
                Err(_) => self.to.write_all(&encoded(&ToAgent::Ping)?).await?,
            }
            if queue.is_empty() {
                self.to.flush().await?;
            }
        }
    }

    async fn frame(&mut self, frame: &[u8]) -> io::Result<()> {
        self.counters.sent(frame.len());
        self.to.write_all(frame).await
    }

    /// Announces content and sends it part by part. If the file became shorter meanwhile, zeros fill the rest, and
    /// the agent finds the wrong digest.
    async fn content(&mut self, digest: Digest, store: Arc<dyn ContentStore>) -> io::Result<()> {
        let opened = blocking(move || store.open(digest)).await.ok().flatten();
        let length = opened.as_ref().map(|opened| opened.length);
        self.frame(&encoded(&ToAgent::Content { digest, length })?).await?;
        let Some(Opened { length: mut left, mut bytes }) = opened else { return Ok(()) };
        while left > 0 {
            let size = left.min(PART as u64) as usize;
            let (part, rest) = blocking(move || Ok((packed(&part(&mut *bytes, size)), bytes))).await?;
            bytes = rest;
            left -= size as u64;
            self.frame(&encoded(&ToAgent::Part(part))?).await?;
        }
        Ok(())
    }
}

fn part(bytes: &mut dyn Read, size: usize) -> Vec<u8> {
    let mut part = Vec::with_capacity(size);
    let _ = bytes.take(size as u64).read_to_end(&mut part);
    part.resize(size, 0);
    part
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn encoded(message: &ToAgent) -> io::Result<Vec<u8>> {
    wire::encode(message).map_err(io::Error::other)
}

/// The content that a host may ask for: what its own catalog names, a few times each.
pub(crate) struct Allowance {
    digests: HashSet<Digest>,
    left: usize,
}

impl Allowance {
    pub(crate) fn new(digests: HashSet<Digest>) -> Self {
        Self { left: 16 + digests.len() * 8, digests }
    }

    /// Whether one more request for `digest` may be answered. An error if there were too many requests.
    pub(crate) fn grant(&mut self, digest: Digest) -> Result<bool, SessionError> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| SessionError::Protocol("it asks for content too often".to_owned()))?;
        Ok(self.digests.contains(&digest))
    }
}

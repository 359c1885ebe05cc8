//! The protocol over standard input and output: a thread that reads, a thread that pings, and a lock on the output.

use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use converge_model::wire::{self, FromAgent, LOOK_LIMIT, PART, RESULT_LIMIT, Refusal, ToAgent, WireError};
use converge_model::{Digest, EventKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;

use super::unpack::unpacked;
use super::{Channel, ChannelError};

/// The timeouts of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long the controller may be silent, or take no output, before it counts as gone.
    pub silence: Duration,
    /// How often to ping.
    pub ping: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(wire::SILENCE_SECONDS),
            ping: Duration::from_secs(wire::PING_SECONDS),
        }
    }
}

/// The number of messages that may wait for the executor. A full queue slows the controller down to the executor's
/// pace.
const QUEUE: usize = 4;
/// The number of bytes that a writable pipe or socket takes without blocking (`PIPE_BUF`).
const WRITE: usize = 4096;

/// Content in memory, or the reason why it is missing.
type Kept = Result<Arc<[u8]>, ChannelError>;

/// The controller at the other end of standard input and output.
pub struct Stdio {
    shared: Arc<Shared>,
    content: Mutex<Receiver<ToAgent>>,
    kept: Mutex<Contents>,
}

/// The kept contents, by digest, with their total size.
#[derive(Default)]
struct Contents {
    by_digest: HashMap<Digest, Kept>,
    /// Their total size in bytes.
    bytes: u64,
}

impl Contents {
    fn insert(&mut self, digest: Digest, kept: Kept) {
        let length = |kept: &Kept| kept.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.bytes += length(&kept);
        let before = self.by_digest.insert(digest, kept);
        self.bytes -= before.as_ref().map_or(0, length);
    }

    /// Returns how many bytes may still be kept.
    fn room(&self) -> u64 {
        LOOK_LIMIT.saturating_sub(self.bytes)
    }
}

struct Shared {
    output: Mutex<Output>,
    stopping: AtomicBool,
}

impl Stdio {
    /// Takes over `input` and `output` and starts the two threads. They end with the process.
    pub fn start(input: BufReader<Input>, output: Output, patience: Patience) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        let shared = Arc::new(Shared { output: Mutex::new(output), stopping: AtomicBool::new(false) });
        let (reading, pinging) = (shared.clone(), shared.clone());
        std::thread::spawn(move || reading.read(input, &sender));
        std::thread::spawn(move || pinging.ping(patience.ping));
        Self { shared, content: Mutex::new(receiver), kept: Mutex::default() }
    }

    /// Sends the last message, in parts if it is larger than a frame.
    pub fn finish(&self, last: &FromAgent) -> Result<(), WireError> {
        match self.shared.write(last) {
            Err(WireError::TooLarge(length)) if length > RESULT_LIMIT => {
                self.shared.write(&FromAgent::Refused(too_large(length)))
            }
            Err(WireError::TooLarge(length)) => self.finish_large(last, length),
            written => written,
        }
    }

    fn finish_large(&self, last: &FromAgent, length: usize) -> Result<(), WireError> {
        let bytes = postcard::to_allocvec(last).map_err(|_| WireError::Malformed(length))?;
        self.shared.write(&FromAgent::Large { length: bytes.len() as u64 })?;
        bytes.chunks(PART).try_for_each(|part| self.shared.write(&FromAgent::Part(part.to_vec())))
    }

    fn send(&self, message: &FromAgent) -> Result<(), ChannelError> {
        self.shared.write(message).map_err(|_| ChannelError::Closed)
    }

    fn kept(&self, digest: Digest) -> Option<Kept> {
        lock(&self.kept).by_digest.get(&digest).cloned()
    }
}

impl Shared {
    fn write(&self, message: &FromAgent) -> Result<(), WireError> {
        let written = lock(&self.output).frame(message);
        if matches!(written, Err(WireError::Io(_))) {
            self.stopping.store(true, Ordering::Relaxed);
        }
        written
    }

    /// Passes content on until the connection ends. The dropped sender then wakes a reader that waits for content.
    fn read(&self, mut input: BufReader<Input>, content: &SyncSender<ToAgent>) {
        loop {
            match wire::read(&mut input) {
                Ok(ToAgent::Ping) => {}
                Ok(message @ (ToAgent::Content { .. } | ToAgent::Part(_))) => {
                    if content.send(message).is_err() {
                        return;
                    }
                }
                Ok(ToAgent::Stop) => self.stopping.store(true, Ordering::Relaxed),
                // A second job, an invalid message, the end, or silence: in each case the controller cannot be relied
                // on.
                Ok(ToAgent::Job(_)) | Err(_) => break,
            }
        }
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn ping(&self, every: Duration) {
        loop {
            std::thread::sleep(every);
            if self.write(&FromAgent::Ping).is_err() {
                return;
            }
        }
    }
}

impl Channel for Stdio {
    fn need(&self, digests: &[Digest]) -> Result<(), ChannelError> {
        let mut missing: Vec<_> = digests.iter().copied().filter(|d| self.kept(*d).is_none()).collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let queue = lock(&self.content);
        self.send(&FromAgent::Need(missing.clone()))?;
        for digest in missing {
            let room = lock(&self.kept).room();
            let read = Stream::open(&*queue, digest).and_then(|stream| stream.keep(room));
            if read == Err(ChannelError::Closed) {
                return Err(ChannelError::Closed);
            }
            lock(&self.kept).insert(digest, read);
        }
        Ok(())
    }

    fn text(&self, digest: Digest) -> Result<Vec<u8>, ChannelError> {
        self.need(&[digest])?;
        self.kept(digest).unwrap_or(Err(ChannelError::Unavailable(digest))).map(|bytes| bytes.to_vec())
    }

    fn content(&self, digest: Digest) -> Result<Box<dyn Read + '_>, ChannelError> {
        if let Some(Ok(bytes)) = self.kept(digest) {
            return Ok(Box::new(io::Cursor::new(bytes)));
        }
        let queue = lock(&self.content);
        self.send(&FromAgent::Need(vec![digest]))?;
        Ok(Box::new(Stream::open(queue, digest)?))
    }

    fn event(&self, event: EventKind) {
        // A lost connection shows in `stopping`. An event that is too large for a frame is dropped.
        let _ = self.shared.write(&FromAgent::Event(Box::new(event)));
    }

    fn confirm(&self, seconds: u32) {
        // A controller that is gone confirms nothing.
        let _ = self.shared.write(&FromAgent::Confirm { seconds });
    }

    fn stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::Relaxed)
    }
}

fn too_large(length: usize) -> Refusal {
    Refusal::Broken {
        message: format!("the result has {length} bytes, more than {RESULT_LIMIT}"),
        help: Some("select fewer resources with `--only` or `--tags`".to_owned()),
    }
}

/// Locks a mutex even if it is poisoned: a panic of its holder leaves nothing half done that matters later.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One content in transfer, checked against its digest. If it is dropped early, it takes the rest off the queue.
struct Stream<Q: Deref<Target = Receiver<ToAgent>>> {
    queue: Q,
    digest: Digest,
    /// The number of bytes that have not arrived yet.
    left: u64,
    part: Vec<u8>,
    /// The number of bytes of `part` that were read.
    read: usize,
    hasher: blake3::Hasher,
}

impl<Q: Deref<Target = Receiver<ToAgent>>> Stream<Q> {
    /// Waits for the announcement of `digest`.
    fn open(queue: Q, digest: Digest) -> Result<Self, ChannelError> {
        let announced = queue.recv().map_err(|_| ChannelError::Closed)?;
        match announced {
            ToAgent::Content { digest: of, length: Some(left) } if of == digest => {
                Ok(Self { queue, digest, left, part: Vec::new(), read: 0, hasher: blake3::Hasher::new() })
            }
            ToAgent::Content { digest: of, length: None } if of == digest => {
                Err(ChannelError::Unavailable(digest))
            }
            _ => Err(ChannelError::Closed),
        }
    }

    /// Reads all of it into memory, if it fits into `room` bytes.
    fn keep(mut self, room: u64) -> Result<Arc<[u8]>, ChannelError> {
        if self.left > room {
            return Err(ChannelError::TooLarge(self.digest));
        }
        let mut bytes = Vec::new();
        while let Some(part) = self.next()? {
            bytes.extend_from_slice(part);
        }
        Ok(bytes.into())
    }

    /// Returns the next part. None at the end, if the digest agrees.
    fn next(&mut self) -> Result<Option<&[u8]>, ChannelError> {
        if self.left == 0 {
            let agrees = Digest::from(self.hasher.finalize()) == self.digest;
            return if agrees { Ok(None) } else { Err(ChannelError::Damaged(self.digest)) };
        }
        let Ok(ToAgent::Part(part)) = self.queue.recv() else { return Err(ChannelError::Closed) };
        match unpacked(part) {
            Ok(part) if !part.is_empty() && part.len() as u64 <= self.left => {
                self.left -= part.len() as u64;
                self.hasher.update(&part);
                self.part = part;
                self.read = 0;
                Ok(Some(&self.part))
            }
            _ => Err(ChannelError::Closed),
        }
    }
}

impl<Q: Deref<Target = Receiver<ToAgent>>> Read for Stream<Q> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.part.len() && self.next().map_err(io::Error::other)?.is_none() {
            return Ok(0);
        }
        let ready = &self.part[self.read..];
        let length = ready.len().min(buffer.len());
        buffer[..length].copy_from_slice(&ready[..length]);
        self.read += length;
        Ok(length)
    }
}

impl<Q: Deref<Target = Receiver<ToAgent>>> Drop for Stream<Q> {
    fn drop(&mut self) {
        while self.left > 0 && self.next().is_ok() {}
    }
}

/// Standard input. Silence is an error.
pub struct Input {
    from: BorrowedFd<'static>,
    silence: Duration,
}

impl Input {
    /// Standard input of this process. A read fails after `silence` without a byte.
    pub fn stdin(silence: Duration) -> BufReader<Self> {
        BufReader::with_capacity(64 * 1024, Self { from: rustix::stdio::stdin(), silence })
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        wait(self.from, PollFlags::IN, self.silence)?;
        Ok(rustix::io::read(self.from, buffer)?)
    }
}

/// Standard output. A controller that takes no more output counts as gone.
pub struct Output {
    to: BorrowedFd<'static>,
    silence: Duration,
}

impl Output {
    /// Standard output of this process. A write fails if no byte is taken within `silence`.
    pub fn stdout(silence: Duration) -> Self {
        Self { to: rustix::stdio::stdout(), silence }
    }

    /// Writes one frame.
    pub fn frame(&mut self, message: &FromAgent) -> Result<(), WireError> {
        Ok(self.bytes(&wire::encode(message)?)?)
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            wait(self.to, PollFlags::OUT, self.silence)?;
            let written = rustix::io::write(self.to, &bytes[..bytes.len().min(WRITE)])?;
            bytes = &bytes[written..];
        }
        Ok(())
    }
}

fn wait(fd: BorrowedFd<'_>, event: PollFlags, patience: Duration) -> io::Result<()> {
    let timeout = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: i64::from(patience.subsec_nanos()) };
    loop {
        match poll(&mut [PollFd::from_borrowed_fd(fd, event)], Some(&timeout)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

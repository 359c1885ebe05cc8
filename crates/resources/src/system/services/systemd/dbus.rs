//! A small D-Bus client for systemd's interface. It has one connection, with calls answered in order and signals kept
//! until they are read. It handles the connection and its timeouts. The content of messages belongs to
//! [`systemd`](super::systemd).

mod message;

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

pub(crate) use message::{Call, Kind, Malformed, Message, Values};
use message::{START, whole_length};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BusError {
    /// The connection failed or timed out.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The other side broke the protocol.
    #[error("{0}")]
    Malformed(#[from] Malformed),
    /// The call was refused, with the words of the other side.
    #[error("{0}")]
    Refused(String),
}

/// A connection.
pub(crate) struct Bus {
    stream: UnixStream,
    /// The received bytes. Those from `taken` on belong to no message yet.
    arrived: Vec<u8>,
    taken: usize,
    serial: u32,
    signals: VecDeque<Message>,
    deadline: Instant,
    routed: bool,
}

/// The maximum number of calls at the same time. A bus refuses more than 128 pending replies.
const UNDER_WAY: usize = 64;

/// The maximum number of kept signals. More of them mean that another program floods the connection.
const SIGNALS: usize = 4096;

/// The default timeout of a conversation.
const PATIENCE: Duration = Duration::from_secs(25);

impl Bus {
    /// Joins the bus at `socket`.
    pub(crate) fn join(socket: &Path) -> Result<Self, BusError> {
        let mut bus = Self::connect(socket, true)?;
        const BUS: &str = "org.freedesktop.DBus";
        bus.call(&Call::new(Some(BUS), "/org/freedesktop/DBus", BUS, "Hello"))?;
        Ok(bus)
    }

    /// Connects directly to a single peer at `socket`, without a bus.
    pub(crate) fn peer(socket: &Path) -> Result<Self, BusError> {
        Self::connect(socket, false)
    }

    /// Whether the connection is to a bus. Each call must then name its destination.
    pub(crate) fn is_routed(&self) -> bool {
        self.routed
    }

    /// Sets a new timeout for the conversation from now on.
    pub(crate) fn allow(&mut self, time: Duration) {
        self.deadline = Instant::now() + time;
    }

    /// Makes a call and waits for the answer.
    pub(crate) fn call(&mut self, call: &Call<'_>) -> Result<Message, BusError> {
        self.calls(std::slice::from_ref(call))?.pop().unwrap_or(Err(Malformed("no answer").into()))
    }

    /// Sends all `calls` before it waits, and returns their answers in the same order. The outer error is one of the
    /// connection.
    pub(crate) fn calls(&mut self, calls: &[Call<'_>]) -> Result<Vec<Result<Message, BusError>>, BusError> {
        let mut answers = Vec::with_capacity(calls.len());
        for some in calls.chunks(UNDER_WAY) {
            let mut numbers = HashMap::new();
            let mut bytes = Vec::new();
            for (place, call) in some.iter().enumerate() {
                self.serial = self.serial.wrapping_add(1).max(1);
                numbers.insert(self.serial, place);
                bytes.extend_from_slice(&call.encode(self.serial));
            }
            self.stream.set_write_timeout(Some(self.left()?))?;
            self.stream.write_all(&bytes)?;
            answers.extend(self.answers(numbers)?);
        }
        Ok(answers)
    }

    /// Returns the answers to the calls of these numbers, by their places.
    fn answers(
        &mut self,
        mut numbers: HashMap<u32, usize>,
    ) -> Result<Vec<Result<Message, BusError>>, BusError> {
        let mut answers: Vec<_> = numbers.iter().map(|_| Err(Malformed("no answer").into())).collect();
        while !numbers.is_empty() {
            let message = self.message()?;
            let place = numbers.remove(&message.reply_to);
            match (message.kind, place.and_then(|place| answers.get_mut(place))) {
                (Kind::Reply, Some(answer)) => *answer = Ok(message),
                (Kind::Error, Some(answer)) => *answer = Err(BusError::Refused(message.complaint())),
                (Kind::Signal, _) => self.keep(message)?,
                _ => {}
            }
        }
        Ok(answers)
    }

    /// Waits for the next signal.
    pub(crate) fn signal(&mut self) -> Result<Message, BusError> {
        loop {
            if let Some(signal) = self.signals.pop_front() {
                return Ok(signal);
            }
            let message = self.message()?;
            if message.kind == Kind::Signal {
                self.keep(message)?;
            }
        }
    }

    fn keep(&mut self, signal: Message) -> Result<(), Malformed> {
        if self.signals.len() >= SIGNALS {
            return Err(Malformed("too many signals"));
        }
        self.signals.push_back(signal);
        Ok(())
    }

    fn connect(socket: &Path, routed: bool) -> Result<Self, BusError> {
        let stream = UnixStream::connect(socket)?;
        let deadline = Instant::now() + PATIENCE;
        let (arrived, signals) = (Vec::new(), VecDeque::new());
        let mut bus = Self { stream, arrived, taken: 0, serial: 0, signals, deadline, routed };
        bus.authenticate()?;
        Ok(bus)
    }

    /// Authenticates with the SASL mechanism EXTERNAL. The other side knows the user at the socket, and gets the same
    /// number in hexadecimal.
    ///
    /// `BEGIN` is sent together with the rest, as sd-bus does it. If a call arrives in one piece with `BEGIN`,
    /// systemd's own socket does not handle it until more bytes follow.
    fn authenticate(&mut self) -> Result<(), BusError> {
        let user = rustix::process::geteuid().as_raw().to_string();
        let user: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write_all(format!("\0AUTH EXTERNAL {user}\r\nBEGIN\r\n").as_bytes())?;
        let line = self.line()?;
        if line.starts_with("OK ") {
            return Ok(());
        }
        Err(BusError::Refused(format!("the login was answered with {line:?}")))
    }

    /// Reads a line of the authentication. It is short, and the other side sends nothing more without a request.
    fn line(&mut self) -> Result<String, BusError> {
        loop {
            if let Some(end) = self.arrived.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.arrived[..end]).into_owned();
                self.arrived.drain(..end + 2);
                return Ok(line);
            }
            if self.arrived.len() > 1024 {
                return Err(Malformed("the answer to the login is too long").into());
            }
            self.fill()?;
        }
    }

    /// Reads the next message of any kind.
    fn message(&mut self) -> Result<Message, BusError> {
        let whole = loop {
            let waiting = &self.arrived[self.taken..];
            let length = waiting.first_chunk::<START>().map(whole_length).transpose()?;
            match length {
                Some(length) if waiting.len() >= length => break length,
                _ => self.fill()?,
            }
        };
        let bytes = self.arrived[self.taken..self.taken + whole].to_vec();
        self.taken += whole;
        Ok(Message::decode(bytes)?)
    }

    /// Waits for more bytes.
    fn fill(&mut self) -> Result<(), BusError> {
        self.arrived.drain(..std::mem::take(&mut self.taken));
        self.stream.set_read_timeout(Some(self.left()?))?;
        let mut piece = [0; 32 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(read) => {
                self.arrived.extend_from_slice(&piece[..read]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(late().into()),
            Err(error) => Err(error.into()),
        }
    }

    fn left(&self) -> Result<Duration, io::Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(late()) } else { Ok(left) }
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in the time allowed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// A peer that answers the login with `login` and then writes `bytes`, whatever it receives.
    fn peer(login: &'static [u8], bytes: Vec<u8>) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut piece = [0; 4096];
            let _ = stream.read(&mut piece);
            let _ = stream.write_all(login);
            let _ = stream.write_all(&bytes);
            while stream.read(&mut piece).is_ok_and(|read| read > 0) {}
        });
        (folder, socket)
    }

    /// Returns an answer to call number 1: an error with a text.
    fn refusal() -> Vec<u8> {
        let mut bytes = b"l\x03\x00\x01\x07\0\0\0\x09\0\0\0\x2f\0\0\0".to_vec();
        bytes.extend_from_slice(b"\x04\x01s\0\x0c\0\0\0com.Error.No\0\0\0\0");
        bytes.extend_from_slice(b"\x05\x01u\0\x01\0\0\0");
        bytes.extend_from_slice(b"\x08\x01g\0\x01s\0\0");
        bytes.extend_from_slice(b"\x02\0\0\0no\0");
        bytes
    }

    #[test]
    fn what_is_no_answer_is_an_error_in_time() {
        let check = |login: &'static [u8], bytes: Vec<u8>, expected: &str| {
            let (_folder, socket) = peer(login, bytes);
            let outcome = Bus::peer(&socket).and_then(|mut bus| {
                bus.allow(Duration::from_millis(300));
                bus.call(&Call::new(None, "/", "i.f", "M"))
            });
            let error = outcome.unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(b"OK 1234\r\n", refusal(), "no");
        check(b"REJECTED EXTERNAL\r\n", Vec::new(), "REJECTED");
        check(b"OK 1234\r\n", Vec::new(), "no answer in the time allowed");
        check(b"OK 1234\r\n", vec![b'x'; 64], "byte order");
        check(b"OK 1234\r\n", b"l\x02\0\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\0".to_vec(), "8 MiB");
        check(&[b'x'; 4000], Vec::new(), "too long");
    }

    #[test]
    fn a_socket_that_is_not_there_is_said_so() {
        let error = Bus::join(Path::new("/nowhere/socket")).err().unwrap();
        assert!(matches!(error, BusError::Io(error) if error.kind() == io::ErrorKind::NotFound));
    }
}

//! The link to a running process: its input, its outputs, its end, and how it is ended.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use converge_model::Stream;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::system::processes::Command;
use crate::wish::Text;

/// How long processes may take to end after SIGTERM.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// How long output is read after the command itself has ended. Processes that it left running may hold the pipe
/// forever.
const AFTERMATH: Duration = Duration::from_millis(100);

/// The longest interval until the next check whether the command should stop.
const GLANCE: Duration = Duration::from_millis(100);

/// The most output that is kept, in bytes.
pub(super) const KEPT: usize = 64 * 1024;

/// The longest line that is passed on, in bytes. A longer line is not passed on at all. Its cut end could hold half a
/// secret, which the masker would not recognise.
const LINE: usize = 64 * 1024;

/// The text in place of a longer line.
pub(super) const TOO_LONG: &[u8] = b"(a line that is too long to show)\n";

/// The receiver of output lines.
pub(super) type Sink<'a> = &'a mut dyn FnMut(Stream, &[u8]);

/// Whether a command should stop early.
pub(super) type Stop<'a> = Option<&'a dyn Fn() -> bool>;

/// Ends a group of processes: first by SIGTERM, then by SIGKILL. Its leader was not reaped yet, so that its number
/// still belongs to it.
pub(super) fn end(group: Pid, talk: &mut Talk, output: Sink<'_>) {
    // Ignored: the group may have ended already.
    let _ = rustix::process::kill_process_group(group, Signal::TERM);
    talk.deadline = Instant::now() + GRACE;
    let _ = talk.listen(output, None);
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
}

/// How listening ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Exited,
    TimedOut,
    Stopped,
}

/// The link to a running command.
pub(super) struct Talk {
    /// The pipe, the text, and how many bytes of it are written.
    input: Option<(File, Text, usize)>,
    outputs: Vec<Output>,
    /// A pipe that ends when the command does.
    alive: PipeReader,
    deadline: Instant,
    kept: Tail,
}

/// A pipe that a command prints to.
struct Output {
    stream: Stream,
    /// The pipe. None once it has ended.
    from: Option<PipeReader>,
    line: Vec<u8>,
    /// Whether the line exceeds the limit.
    too_long: bool,
}

impl Talk {
    pub(super) fn new(
        child: &mut Child,
        command: &Command,
        outputs: Vec<(Stream, PipeReader)>,
    ) -> io::Result<Self> {
        let alive = watch(Pid::from_child(child))?;
        let input = match (child.stdin.take(), &command.input) {
            (Some(stdin), Some(text)) => {
                nonblocking(&stdin)?;
                Some((File::from(OwnedFd::from(stdin)), text.clone(), 0))
            }
            _ => None,
        };
        outputs.iter().try_for_each(|(_, output)| nonblocking(output))?;
        let output = |(stream, from)| Output { stream, from: Some(from), line: Vec::new(), too_long: false };
        Ok(Self {
            input,
            outputs: outputs.into_iter().map(output).collect(),
            alive,
            deadline: Instant::now() + command.timeout,
            kept: Tail::default(),
        })
    }

    /// Passes output on until the command ends, reaches its timeout, or `stop` returns true.
    pub(super) fn listen(&mut self, sink: Sink<'_>, stop: Stop<'_>) -> io::Result<Ended> {
        loop {
            if stop.is_some_and(|stop| stop()) {
                return Ok(Ended::Stopped);
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Ended::TimedOut);
            }
            let ready = self.wait(if stop.is_some() { left.min(GLANCE) } else { left })?;
            if ready.input {
                self.feed();
            }
            if ready.output {
                self.read(sink)?;
            }
            if ready.ended {
                return Ok(Ended::Exited);
            }
        }
    }

    /// Waits at most `time` until a pipe is ready.
    fn wait(&self, time: Duration) -> io::Result<Ready> {
        let mut fds = vec![PollFd::new(&self.alive, PollFlags::IN)];
        fds.extend(self.open().map(|output| PollFd::new(output, PollFlags::IN)));
        let outputs = 1..fds.len();
        fds.extend(self.input.as_ref().map(|(input, ..)| PollFd::new(input, PollFlags::OUT)));
        let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        match rustix::event::poll(&mut fds, Some(&time)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |fds: &[PollFd<'_>]| fds.iter().any(|fd| !fd.revents().is_empty());
        let input = outputs.end;
        Ok(Ready { ended: ready(&fds[..1]), output: ready(&fds[outputs]), input: ready(&fds[input..]) })
    }

    /// Returns the pipes that have not ended.
    fn open(&self) -> impl Iterator<Item = &PipeReader> {
        self.outputs.iter().filter_map(|output| output.from.as_ref())
    }

    /// Writes as much as the pipe takes. A command need not read its input, so a closed pipe is not an error.
    fn feed(&mut self) {
        let Some((to, text, at)) = &mut self.input else { return };
        let done = match to.write(&text.expose()[*at..]) {
            Ok(written) => {
                *at += written;
                *at >= text.expose().len()
            }
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        };
        if done {
            self.input = None;
        }
    }

    /// Reads what is available, at most one piece of each output. Returns whether there was any.
    fn read(&mut self, sink: Sink<'_>) -> io::Result<bool> {
        let mut any = false;
        for output in &mut self.outputs {
            let Some(from) = &mut output.from else { continue };
            let mut piece = [0; 16 * 1024];
            match from.read(&mut piece) {
                Ok(0) => output.from = None,
                Ok(read) => {
                    self.kept.add(&piece[..read]);
                    output.take(&piece[..read], sink);
                    any = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => any = true,
                Err(error) => return Err(error),
            }
        }
        Ok(any)
    }

    /// Reads the rest of the output, and returns the last part of all output.
    pub(super) fn finish(mut self, sink: Sink<'_>) -> Vec<u8> {
        let deadline = Instant::now() + AFTERMATH;
        while self.open().next().is_some() {
            match self.read(sink) {
                Ok(true) => {}
                Ok(false) if Instant::now() < deadline => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let time = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
                    let mut fds: Vec<_> =
                        self.open().map(|output| PollFd::new(output, PollFlags::IN)).collect();
                    // The result is ignored, because the next read shows it.
                    let _ = rustix::event::poll(&mut fds, Some(&time));
                }
                Ok(false) | Err(_) => break,
            }
            if Instant::now() > deadline + GRACE {
                break;
            }
        }
        self.outputs.iter_mut().for_each(|output| output.pass(sink));
        self.kept.end()
    }
}

impl Output {
    fn take(&mut self, piece: &[u8], sink: Sink<'_>) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.too_long |= self.line.len() + part.len() > LINE;
            if !self.too_long {
                self.line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                self.pass(sink);
            }
        }
    }

    /// Passes the line on.
    fn pass(&mut self, sink: Sink<'_>) {
        if self.too_long {
            sink(self.stream, TOO_LONG);
        } else if !self.line.is_empty() {
            sink(self.stream, &self.line);
        }
        self.line.clear();
        self.too_long = false;
    }
}

struct Ready {
    ended: bool,
    output: bool,
    input: bool,
}

/// Makes a pipe that ends when the process does. The process stays a zombie, so that its number is valid until it is
/// reaped.
fn watch(process: Pid) -> io::Result<PipeReader> {
    let (reader, writer) = io::pipe()?;
    std::thread::Builder::new().name(format!("wait {}", process.as_raw_nonzero())).spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(rustix::process::waitid(WaitId::Pid(process), options), Err(Errno::INTR)) {}
        drop(writer);
    })?;
    Ok(reader)
}

fn nonblocking(fd: &impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

/// The last part of an output.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    fn add(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        if self.bytes.len() > 2 * KEPT {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        let surplus = self.bytes.len().saturating_sub(KEPT);
        self.cut |= surplus > 0;
        self.bytes.drain(..surplus);
    }

    /// Returns only whole lines: half a line could hold half a secret, which the masker would not recognise.
    fn end(mut self) -> Vec<u8> {
        self.shorten();
        if self.cut {
            let whole =
                self.bytes.iter().position(|byte| *byte == b'\n').map_or(self.bytes.len(), |at| at + 1);
            self.bytes.drain(..whole);
        }
        self.bytes
    }
}

//! A process on a host with its three pipes. The host is this machine or a remote one.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::Notify;

/// How many bytes of a host's standard error are kept: the last ones.
const KEPT: usize = 16 * 1024;

/// How long after the end of the process the last message on standard error may come.
const SETTLE: Duration = Duration::from_secs(1);

/// A process that was started on a host.
pub(crate) struct Link {
    pub(crate) stdin: Box<dyn AsyncWrite + Send + Unpin>,
    pub(crate) stdout: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) stderr: Arc<Complaints>,
    pub(crate) process: Process,
}

/// The process itself.
pub(crate) enum Process {
    Local(tokio::process::Child),
    Remote(openssh::Child<Arc<openssh::Session>>),
}

impl Process {
    /// Waits for the end and returns the exit code. None if a signal or the connection ended the process.
    pub(crate) async fn wait(self) -> Option<i32> {
        match self {
            Self::Local(mut child) => child.wait().await.ok()?.code(),
            Self::Remote(child) => match child.wait().await {
                Ok(status) => status.code(),
                Err(openssh::Error::Remote(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                    Some(127)
                }
                Err(_) => None,
            },
        }
    }
}

/// Starts `line` with `sh` on this machine. The child has its own process group, so the interrupt key reaches only
/// this process, which then tells the agent to stop.
pub(crate) fn local(line: &str) -> std::io::Result<Link> {
    let mut child = tokio::process::Command::new("/bin/sh")
        .arg("-c")
        .arg(line)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let missing = || std::io::Error::other("a pipe of the child is missing");
    Ok(Link {
        stdin: Box::new(child.stdin.take().ok_or_else(missing)?),
        stdout: Box::new(child.stdout.take().ok_or_else(missing)?),
        stderr: Complaints::collect(child.stderr.take().ok_or_else(missing)?),
        process: Process::Local(child),
    })
}

/// Starts `line` over an SSH connection. The login shell reads it.
pub(crate) async fn remote(session: &Arc<openssh::Session>, line: &str) -> Result<Link, openssh::Error> {
    let mut command = session.clone().arc_raw_command(line);
    command.stdin(openssh::Stdio::piped()).stdout(openssh::Stdio::piped()).stderr(openssh::Stdio::piped());
    let mut child = command.spawn().await?;
    let missing = || openssh::Error::ChildIo(std::io::Error::other("a pipe of the child is missing"));
    Ok(Link {
        stdin: Box::new(child.stdin().take().ok_or_else(missing)?),
        stdout: Box::new(child.stdout().take().ok_or_else(missing)?),
        stderr: Complaints::collect(child.stderr().take().ok_or_else(missing)?),
        process: Process::Remote(child),
    })
}

/// The last bytes that a process wrote to its standard error.
#[derive(Default)]
pub(crate) struct Complaints {
    text: Mutex<Vec<u8>>,
    more: Notify,
    ended: AtomicBool,
}

impl Complaints {
    fn collect(mut from: impl AsyncRead + Send + Unpin + 'static) -> Arc<Self> {
        let complaints = Arc::new(Self::default());
        let collected = complaints.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok(length @ 1..) = from.read(&mut buffer).await {
                collected.add(&buffer[..length]);
            }
            collected.ended.store(true, Ordering::Release);
            collected.more.notify_one();
        });
        complaints
    }

    fn add(&self, bytes: &[u8]) {
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.extend_from_slice(bytes);
        let surplus = text.len().saturating_sub(KEPT);
        text.drain(..surplus);
        drop(text);
        self.more.notify_one();
    }

    /// Waits until the process has written more.
    pub(crate) async fn more(&self) {
        self.more.notified().await;
    }

    /// Waits for the end of standard error, which may come after the end of the process. The wait is limited, because
    /// a child of the process may hold the pipe open.
    pub(crate) async fn settled(&self) {
        let ended = async {
            while !self.ended.load(Ordering::Acquire) {
                self.more().await;
            }
        };
        let _ = tokio::time::timeout(SETTLE, ended).await;
    }

    /// Returns how often `mark` occurs.
    pub(crate) fn count(&self, mark: &str) -> usize {
        self.text().matches(mark).count()
    }

    /// Returns what the process wrote, as text.
    pub(crate) fn text(&self) -> String {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Returns host output for an error message: the last three lines, without control characters, at most 400
/// characters.
pub(crate) fn excerpt(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    let shown: String = last.chars().filter(|c| !c.is_control()).take(400).collect();
    if shown.is_empty() { "it printed nothing".to_owned() } else { shown }
}

//! A process on a host with its three pipes, wherever it runs.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::Notify;

/// How much of what a host writes to its standard error is kept: the last bytes.
const KEPT: usize = 16 * 1024;

/// How long the last complaint may come after the end of the process.
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
    /// Waits for the end and says its exit code; none where a signal or the connection ended it.
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

/// Starts `line` with `sh` on this machine. The child is in a process group of its own: the interrupt key is for this
/// process, which tells the agent what it means.
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

/// Starts `line` over an SSH connection; the login shell reads it.
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

/// The end of what a process wrote to its standard error.
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

    /// Waits until there is more.
    pub(crate) async fn more(&self) {
        self.more.notified().await;
    }

    /// Waits for the end, which may lag behind that of the process; not for long, for a child of it may hold the pipe.
    pub(crate) async fn settled(&self) {
        let ended = async {
            while !self.ended.load(Ordering::Acquire) {
                self.more().await;
            }
        };
        let _ = tokio::time::timeout(SETTLE, ended).await;
    }

    /// How often `mark` occurs.
    pub(crate) fn count(&self, mark: &str) -> usize {
        self.text().matches(mark).count()
    }

    /// What was written, as text.
    pub(crate) fn text(&self) -> String {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// Host output fit for an error message: the last lines, without control characters.
pub(crate) fn excerpt(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    let shown: String = last.chars().filter(|c| !c.is_control()).take(400).collect();
    if shown.is_empty() { "it said nothing".to_owned() } else { shown }
}

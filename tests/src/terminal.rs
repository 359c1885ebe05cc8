//! A terminal of a given size with a shell in it. tmux draws it, so that a test reads what a user sees.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::converge_binary;
use crate::project::Project;

/// How long a test waits for words to appear.
const PATIENCE: Duration = Duration::from_secs(90);

/// A terminal.
#[derive(Debug)]
pub struct Terminal {
    socket: PathBuf,
    columns: usize,
    /// How many commands were started. The end of each one is marked with its number.
    started: Cell<u32>,
    /// The lines of earlier commands that the terminal broke.
    broken: RefCell<Vec<String>>,
    /// One message for each piece of output. It is closed when the shell is gone.
    output: Receiver<()>,
}

impl Terminal {
    /// Opens a terminal with a shell in the folder of `project`, where `converge` is the program under test.
    /// `environment` is added to that of the project.
    ///
    /// # Errors
    /// If tmux cannot be started.
    pub fn open(
        project: &Project,
        (columns, lines): (usize, usize),
        environment: &[(&str, &str)],
    ) -> io::Result<Self> {
        let socket = project.path(format!("terminal-{columns}x{lines}-{}", environment.len()));
        let pipe = socket.with_extension("pipe");
        run(Command::new("mkfifo").arg(&pipe))?;
        let folder = converge_binary().parent().map(PathBuf::from).unwrap_or_default();
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", folder.display());
        let mut tmux = project.program("tmux");
        tmux.env("PATH", path).env("PS1", "$ ").env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
        tmux.env("USER", "ada").env("CONVERGE_PAGER", "cat").envs(environment.iter().copied());
        tmux.arg("-S").arg(&socket).args(["-f", "/dev/null", "new-session", "-d"]);
        tmux.args(["-x", &columns.to_string(), "-y", &lines.to_string(), "/bin/sh"]);
        tmux.args([";", "set-option", "-g", "history-limit", "10000"]);
        tmux.args([";", "pipe-pane", "-O"]).arg(format!("exec cat > {}", pipe.display()));
        run(&mut tmux)?;
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut pipe = File::open(pipe)?;
            let mut piece = [0; 4096];
            while pipe.read(&mut piece)? > 0 && sender.send(()).is_ok() {}
            io::Result::Ok(())
        });
        Ok(Self { socket, columns, started: Cell::new(0), broken: RefCell::default(), output })
    }

    /// Types a line and Enter.
    ///
    /// # Errors
    /// If tmux does not accept it.
    pub fn enter(&self, line: &str) -> io::Result<()> {
        run(self.tmux().args(["send-keys", "-l", line])).and_then(|_| self.press("Enter"))
    }

    /// Presses a key with tmux's name for it: `C-c`, `Enter`.
    ///
    /// # Errors
    /// If tmux does not accept it.
    pub fn press(&self, key: &str) -> io::Result<()> {
        run(self.tmux().args(["send-keys", key])).map(drop)
    }

    /// Waits until the screen shows `words`. Returns the screen.
    ///
    /// # Errors
    /// If the words do not appear in time. The error has the screen.
    pub fn until(&self, words: &str) -> io::Result<String> {
        self.wait(words, |screen| screen.contains(words).then(|| screen.to_owned()))
    }

    /// Clears the screen and types a command that prints its exit code at the end. So no output of the last command
    /// is taken for its own.
    ///
    /// # Errors
    /// If tmux does not accept it.
    pub fn start(&self, line: &str) -> io::Result<()> {
        self.broken.borrow_mut().extend(self.broken_now()?);
        run(self.tmux().args(["send-keys", "-R", ";", "clear-history"]))?;
        self.started.set(self.started.get() + 1);
        self.enter(&format!("clear; {line}; echo \"[exit $? of {}]\"", self.started.get()))
    }

    /// Waits until the started command has ended. Returns its last screen and its exit code.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn ended(&self) -> io::Result<(String, String)> {
        self.wait("[exit ", |screen| {
            let (shown, code) = screen.rsplit_once("[exit ")?;
            let code = code.split_once(&format!(" of {}]", self.started.get()))?.0;
            code.parse::<u8>().is_ok().then(|| (shown.to_owned(), code.to_owned()))
        })
    }

    /// Runs a command to its end: [`Terminal::start`] and [`Terminal::ended`].
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn run(&self, line: &str) -> io::Result<(String, String)> {
        self.start(line).and_then(|()| self.ended())
    }

    fn wait<T>(&self, words: &str, seen: impl Fn(&str) -> Option<T>) -> io::Result<T> {
        let end = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen()?;
            if let Some(seen) = seen(&screen) {
                return Ok(seen);
            }
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(()) => while self.output.try_recv().is_ok() {},
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other(format!("no {words:?} on the screen:\n{screen}")));
                }
            }
        }
    }

    /// Returns the screen as text, with at most its number of lines.
    ///
    /// # Errors
    /// If tmux fails.
    pub fn screen(&self) -> io::Result<String> {
        run(self.tmux().args(["capture-pane", "-p"]))
    }

    /// Returns all output of the last command, with the escapes that draw it.
    ///
    /// # Errors
    /// If tmux fails.
    pub fn drawn(&self) -> io::Result<String> {
        run(self.tmux().args(["capture-pane", "-p", "-e", "-S", "-"]))
    }

    /// Returns the lines since the terminal was opened that were too long, so that the terminal broke them at its
    /// edge.
    ///
    /// # Errors
    /// If tmux fails.
    pub fn broken(&self) -> io::Result<Vec<String>> {
        self.broken.borrow_mut().extend(self.broken_now()?);
        Ok(self.broken.borrow().clone())
    }

    fn broken_now(&self) -> io::Result<Vec<String>> {
        let joined = run(self.tmux().args(["capture-pane", "-p", "-J", "-S", "-"]))?;
        let lines = joined.lines().map(str::trim_end);
        Ok(lines.filter(|line| line.chars().count() > self.columns).map(str::to_owned).collect())
    }

    fn tmux(&self) -> Command {
        let mut tmux = Command::new("tmux");
        tmux.arg("-S").arg(&self.socket);
        tmux
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = run(self.tmux().arg("kill-server"));
    }
}

fn run(command: &mut Command) -> io::Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

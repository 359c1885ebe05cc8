//! The folder of `exec --output`: the output of the command on each host, and how it ended. The name of a host is
//! used as a file name. It has letters, digits, `.`, `_` and `-`, and begins with a letter or digit.
//!
//! A folder with files in it is refused. So no file is replaced, and no file of an earlier run remains.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use converge_model::{Event, EventKind, Exit, HostName, HostReport, Ran, Stream};

use crate::failure::Failure;

/// How much of one output is kept in memory before it is written, in bytes. The files are not kept open, because
/// there would be too many with many hosts.
const WAITING: usize = 32 * 1024;

/// The folder for the output.
pub(crate) struct OutputFolder {
    folder: PathBuf,
    /// The text that is not written yet, for each output.
    waiting: HashMap<HostName, [String; 2]>,
    /// The number of lines that each host passed on.
    lines: HashMap<HostName, u64>,
    /// The first error.
    trouble: Option<String>,
}

impl OutputFolder {
    /// Creates the folder. An existing one must be empty.
    pub(crate) fn create(folder: PathBuf) -> Result<Self, Failure> {
        let failed = |error| Failure::new(format!("failed to use {}: {error}", folder.display()));
        fs::create_dir_all(&folder).map_err(failed)?;
        if fs::read_dir(&folder).map_err(failed)?.next().is_some() {
            return Err(Failure::new(format!("{} is not empty", folder.display()))
                .help("name a new folder, or empty this one: no file of an earlier run is replaced"));
        }
        Ok(Self { folder, waiting: HashMap::new(), lines: HashMap::new(), trouble: None })
    }

    /// Handles an event.
    pub(crate) fn event(&mut self, event: &Event) {
        let Some(host) = &event.host else { return };
        let written = match &event.kind {
            EventKind::CommandOutput { stream, line } => self.add(host, *stream, line),
            EventKind::CommandFinished { ran } => self.finish(host, ran),
            EventKind::HostFinished { report } => self.give_up(host, report),
            _ => Ok(()),
        };
        if let Err(error) = written {
            let message = || format!("failed to write to {}: {error}", self.folder.display());
            self.trouble.get_or_insert_with(message);
        }
    }

    /// Returns the first error, if there is one.
    pub(crate) fn trouble(self) -> Option<String> {
        self.trouble
    }

    /// The end of a command. Lines that the host did not pass on are counted in a file of their own.
    fn finish(&mut self, host: &HostName, ran: &Ran) -> io::Result<()> {
        self.end(host, &exit(&ran.exit))?;
        match ran.lines.saturating_sub(self.lines.remove(host).unwrap_or_default()) {
            0 => Ok(()),
            lost => {
                self.append(host, "truncated", &format!("{lost} lines of output are not in these files\n"))
            }
        }
    }

    fn add(&mut self, host: &HostName, stream: Stream, line: &str) -> io::Result<()> {
        let waiting = self.waiting.entry(host.clone()).or_default();
        *self.lines.entry(host.clone()).or_default() += 1;
        let text = &mut waiting[stream as usize];
        text.push_str(line);
        text.push('\n');
        if text.len() < WAITING {
            return Ok(());
        }
        let text = std::mem::take(text);
        self.append(host, suffix(stream), &text)
    }

    /// Writes the rest of a host's output, and how the command ended. Both output files are written, even if they are
    /// empty.
    fn end(&mut self, host: &HostName, how: &str) -> io::Result<()> {
        let [output, messages] = self.waiting.remove(host).unwrap_or_default();
        self.append(host, suffix(Stream::Stdout), &output)?;
        self.append(host, suffix(Stream::Stderr), &messages)?;
        self.append(host, "exit", &format!("{how}\n"))
    }

    /// Writes the end of a host whose command did not end or did not begin.
    fn give_up(&mut self, host: &HostName, report: &HostReport) -> io::Result<()> {
        if self.path(host, "exit").exists() {
            return Ok(());
        }
        let why = report.problems.iter().map(|problem| format!(": {}", problem.message.replace('\n', "; ")));
        let (word, why) = (report.state.word(), why.collect::<String>());
        let told = why.trim_start_matches([':', ' ']);
        self.end(host, &if told.starts_with(word) { told.to_owned() } else { format!("{word}{why}") })
    }

    fn append(&self, host: &HostName, suffix: &str, text: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).open(self.path(host, suffix))?.write_all(text.as_bytes())
    }

    fn path(&self, host: &HostName, suffix: &str) -> PathBuf {
        self.folder.join(format!("{host}.{suffix}"))
    }
}

const fn suffix(stream: Stream) -> &'static str {
    match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    }
}

/// Returns the text of the file about the command's end. It is the exit code alone if there is one.
fn exit(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => code.to_string(),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::TimedOut => "timed out".to_owned(),
        Exit::Stopped => "stopped".to_owned(),
        Exit::NotStarted(why) => why.replace('\n', "; "),
    }
}

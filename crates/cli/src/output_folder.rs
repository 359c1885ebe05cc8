//! The folder of `exec --output`: for each host what its command printed, and how it ended. A name of a host is the name of
//! a file as it is (letters, digits, `.`, `_`, `-`, none of which comes first but letters and digits).
//!
//! A folder with anything in it is refused, so that no file is replaced and none is left of an earlier run.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use converge_model::{Event, EventKind, Exit, HostName, HostReport, Ran, Stream};

use crate::failure::Failure;

/// What of one output waits in memory until it is written, in bytes: a file that stays open for each of many hosts would be
/// one too many.
const WAITING: usize = 32 * 1024;

/// The folder.
pub(crate) struct OutputFolder {
    folder: PathBuf,
    /// What waits to be written, of each output.
    waiting: HashMap<HostName, [String; 2]>,
    /// How many lines each host passed on.
    lines: HashMap<HostName, u64>,
    /// What went wrong first.
    trouble: Option<String>,
}

impl OutputFolder {
    /// Makes the folder; one that is there must be empty.
    pub(crate) fn create(folder: PathBuf) -> Result<Self, Failure> {
        let failed = |error| Failure::new(format!("failed to use {}: {error}", folder.display()));
        fs::create_dir_all(&folder).map_err(failed)?;
        if fs::read_dir(&folder).map_err(failed)?.next().is_some() {
            return Err(Failure::new(format!("{} is not empty", folder.display()))
                .help("name a new folder, or empty this one: no file of an earlier run is replaced"));
        }
        Ok(Self { folder, waiting: HashMap::new(), lines: HashMap::new(), trouble: None })
    }

    /// Takes in an event.
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

    /// What went wrong first, if anything did.
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

    /// Writes what is left of a host, both outputs even where nothing was printed, and how it ended.
    fn end(&mut self, host: &HostName, how: &str) -> io::Result<()> {
        let [output, messages] = self.waiting.remove(host).unwrap_or_default();
        self.append(host, suffix(Stream::Stdout), &output)?;
        self.append(host, suffix(Stream::Stderr), &messages)?;
        self.append(host, "exit", &format!("{how}\n"))
    }

    /// The end of a host whose command did not end, or was never begun.
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

/// The text of the file that says how a command ended: its code alone where it has one.
fn exit(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => code.to_string(),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::TimedOut => "timed out".to_owned(),
        Exit::Stopped => "stopped".to_owned(),
        Exit::NotStarted(why) => why.replace('\n', "; "),
    }
}

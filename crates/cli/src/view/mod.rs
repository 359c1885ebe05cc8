//! The views of a run. Each one consumes the same stream of events: results for people, results as JSON, and the
//! lines of progress. This file writes them to the standard streams and decides which ones are active.

pub(crate) mod human;
pub(crate) mod json;
mod margin;
pub(crate) mod markdown;
pub(crate) mod paint;
pub(crate) mod progress;
pub(crate) mod text;
pub(crate) mod voice;
pub(crate) mod wrap;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{AutoStream, ColorChoice};
use converge_fleet::Traffic;
use converge_lang::Diagnostics;
use converge_lang::diagnostic::{Files, Severity, Style};
use converge_model::{Event, EventKind, HostName, exit};

use self::human::{Detail, Human};
use self::json::{Diagnostic, Document};
use self::paint::{CHANGED, FAILED, FAINT, paint};
use self::progress::Progress;
use self::text::harmless;
use self::voice::Voice;
pub(crate) use self::wrap::columns;
use crate::pager;

/// How results are shown, from the options of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// Lines of JSON instead of text.
    pub(crate) json: bool,
    /// Colours, if the stream is a terminal that supports them.
    pub(crate) color: ColorChoice,
    /// Lines of progress, if there is a terminal.
    pub(crate) progress: bool,
    /// How much is shown.
    pub(crate) detail: Detail,
}

/// The standard streams: results on standard output, everything else on standard error.
pub(crate) struct Screen {
    look: Look,
    out: AutoStream<io::Stdout>,
    err: AutoStream<io::Stderr>,
    results: Results,
    progress: Option<Progress>,
    voice: Voice,
    /// Results that wait for the pager. None if they are written at once.
    held: Option<String>,
    /// Whether an earlier run is shown: then the output of its steps is a result, too.
    is_past: bool,
}

/// Whether results were lost because standard output did not accept them.
static LOST: AtomicBool = AtomicBool::new(false);

enum Results {
    Human(Box<Human>),
    Json,
}

/// The rows of a terminal that does not report its size.
const ROWS: usize = 24;
/// The most columns for readable text.
const WIDEST: usize = 120;

impl Screen {
    /// Creates the screen for the streams of this process.
    pub(crate) fn new(look: Look) -> Self {
        let results =
            if look.json { Results::Json } else { Results::Human(Box::new(Human::new(look.detail))) };
        let progress = look.progress && !look.json && io::stderr().is_terminal();
        Self {
            look,
            out: AutoStream::new(io::stdout(), look.color),
            err: AutoStream::new(io::stderr(), look.color),
            results,
            progress: progress.then(Progress::on_terminal),
            voice: Voice::default(),
            held: None,
            is_past: false,
        }
    }

    /// Shows an event of a run.
    pub(crate) fn event(&mut self, event: &Event) {
        let text = match &mut self.results {
            Results::Human(human) => {
                let text = human.event(event);
                if human.may_break() { wrap::for_stream(io::stdout(), text) } else { text }
            }
            Results::Json => json::event(event),
        };
        let output = self.live_output(event);
        if !text.is_empty() || !output.is_empty() {
            self.above_progress(|screen| {
                screen.print(&text);
                match screen.is_past {
                    true => screen.print(&output),
                    false => screen.say_as_it_is(&output),
                }
            });
        }
        if let Some(progress) = &mut self.progress {
            progress.event(event);
        }
        self.voice.event(event);
    }

    /// Returns the output of running steps, with `-v`.
    fn live_output(&self, event: &Event) -> String {
        match (&event.kind, &event.host) {
            (EventKind::Output { line, .. } | EventKind::CommandOutput { line, .. }, Some(host))
                if self.look.detail == Detail::Full && !self.look.json =>
            {
                format!("{}  | {}\n", harmless(host.as_str()), harmless(line))
            }
            _ => String::new(),
        }
    }

    /// Shows the cost of the conversation with a host, with `-v`.
    pub(crate) fn cost(&mut self, host: &HostName, traffic: &Traffic) {
        if self.look.detail == Detail::Full && !self.look.json {
            let Traffic { exchanges, up, down, connections, uploads } = traffic;
            self.say(&format!(
                "{}  {exchanges} exchanges, {up} bytes sent, {down} bytes received, {connections} new connections, \
                 {uploads} uploads of the agent\n",
                harmless(host.as_str())
            ));
        }
    }

    fn above_progress(&mut self, print: impl FnOnce(&mut Self)) {
        let Some(progress) = self.progress.take() else { return print(self) };
        progress.suspend(|| print(self));
        self.progress = Some(progress);
    }

    /// Keeps results for the pager until the end, if they go to a terminal. Only for commands that ask nothing.
    pub(crate) fn paged(mut self) -> Self {
        if !self.look.json && io::stdout().is_terminal() {
            self.held = Some(String::new());
        }
        self
    }

    /// Writes the results that wait for the pager. Uses the pager if they do not fit on one screen.
    fn release(&mut self) {
        let Some(text) = self.held.take().filter(|text| !text.is_empty()) else { return };
        let text = if self.has_colors() { text } else { anstream::adapter::strip_str(&text).to_string() };
        if text.lines().count() < rows() || !pager::show(&text) {
            self.print(&text);
        }
    }

    fn has_colors(&self) -> bool {
        self.look.color != ColorChoice::Never && AutoStream::choice(self.out.as_inner()) != ColorChoice::Never
    }

    /// Writes results. A closed pipe is no error. Any other loss of results is reported once.
    pub(crate) fn print(&mut self, text: &str) {
        if let Some(held) = &mut self.held {
            return held.push_str(text);
        }
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        let error = written.err().filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
        if let Some(error) = error.filter(|_| !LOST.swap(true, Ordering::Relaxed)) {
            // Not among the results, because they cannot be written.
            self.draw_warning(&format!("failed to write the results: {error}"), None);
        }
    }

    /// Whether results were lost so far.
    pub(crate) fn has_lost_results() -> bool {
        LOST.load(Ordering::Relaxed)
    }

    /// Writes one line of JSON results.
    pub(crate) fn print_json(&mut self, document: &Document<'_>) {
        self.print(&json::document(document));
    }

    /// Writes a message.
    pub(crate) fn say(&mut self, text: &str) {
        let text = wrap::for_stream(io::stderr(), text.to_owned());
        self.say_as_it_is(&text);
    }

    fn say_as_it_is(&mut self, text: &str) {
        let _ = self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush());
    }

    /// Shows a warning: a message, and what the user can do about it.
    pub(crate) fn warn(&mut self, message: &str, help: Option<&str>) {
        match self.look.json {
            true => self.print_json(&Document::Diagnostic(Diagnostic::warning(message, help))),
            false => self.draw_warning(message, help),
        }
    }

    fn draw_warning(&mut self, message: &str, help: Option<&str>) {
        let mut text = format!("{}: {}\n", paint(CHANGED, "warning"), harmless(message));
        if let Some(help) = help {
            text.push_str(&format!("  {}\n", paint(FAINT, format_args!("help: {}", harmless(help)))));
        }
        self.say(&text);
    }

    /// Sets how much of the plans is shown.
    pub(crate) fn with(mut self, detail: Detail) -> Self {
        self.look.detail = detail;
        if !self.look.json {
            self.results = Results::Human(Box::new(Human::new(detail)));
        }
        self
    }

    /// Shows a finished run: no progress lines.
    pub(crate) fn of_the_past(mut self) -> Self {
        self.progress = None;
        self.is_past = true;
        if let Results::Human(human) = &mut self.results {
            human.of_the_past();
        }
        self
    }

    /// Shows the rest of a run that was cut off.
    pub(crate) fn cut_off(&mut self) {
        if let Results::Human(human) = &mut self.results {
            let text = wrap::for_stream(io::stdout(), human.cut_off());
            self.print(&text);
        }
    }

    /// Shows the diagnostics of a project. If there are errors, the command ends with exit code 1.
    pub(crate) fn diagnostics(&mut self, diagnostics: &Diagnostics, files: &Files) {
        match self.look.json {
            true => self.print_diagnostics(diagnostics, files, Some(exit::ERROR)),
            false => self.draw(diagnostics, files),
        }
    }

    /// Shows the diagnostics of a project. The command goes on.
    pub(crate) fn remarks(&mut self, diagnostics: &Diagnostics, files: &Files) {
        match self.look.json {
            true => self.print_diagnostics(diagnostics, files, None),
            false => self.draw(diagnostics, files),
        }
    }

    fn print_diagnostics(&mut self, diagnostics: &Diagnostics, files: &Files, exit: Option<u8>) {
        for found in diagnostics.sorted().iter() {
            self.print_json(&Document::Diagnostic(Diagnostic::of_language(found, files, exit)));
        }
    }

    fn draw(&mut self, diagnostics: &Diagnostics, files: &Files) {
        let color = AutoStream::choice(self.err.as_inner()) != ColorChoice::Never;
        let colors = (color && self.look.color != ColorChoice::Never).then_some(paint::REPORT);
        // Codes are for scripts, which read them in JSON.
        let style = Style { colors, unicode: io::stderr().is_terminal(), codes: false, width: width() };
        let mut text = diagnostics.sorted().render(files, style);
        let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
        if errors > 1 {
            text.push_str(&format!("{}\n", paint(FAILED, format_args!("{errors} mistakes"))));
        }
        self.say_as_it_is(&text);
    }

    /// Writes a question and hides the lines of progress. Calls `ready` before the first word.
    pub(crate) fn ask(&mut self, question: &str, ready: impl FnOnce()) {
        if let Some(progress) = &mut self.progress {
            progress.clear();
        }
        ready();
        self.voice.asks.store(true, Ordering::Relaxed);
        self.say(question);
    }

    /// The question is answered.
    pub(crate) fn answered(&self) {
        self.voice.asks.store(false, Ordering::Relaxed);
    }

    /// The line that sums up the plan, for a question that is asked again below other text.
    pub(crate) fn sum_up(&mut self) {
        let Results::Human(human) = &self.results else { return };
        let line = human.plan_summary(None);
        self.print(&line);
    }

    /// Everything of the plans that were shown, as text with colours if standard output has them.
    pub(crate) fn details(&self) -> String {
        let Results::Human(human) = &self.results else { return String::new() };
        let text = wrap::for_stream(io::stdout(), human.details());
        if self.has_colors() { text } else { anstream::adapter::strip_str(&text).to_string() }
    }

    /// Returns the voice, which reports outside the events that the run should stop.
    pub(crate) fn voice(&self) -> Voice {
        Voice { progress: self.progress.as_ref().map(Progress::lines), ..self.voice.clone() }
    }

    /// Returns how results are shown.
    pub(crate) fn look(&self) -> Look {
        self.look
    }

    /// Returns how much is shown.
    pub(crate) fn detail(&self) -> Detail {
        self.look.detail
    }

    /// Whether results are lines of JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.look.json
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.release();
    }
}

/// Returns the columns for wrapping diagnostics.
fn width() -> usize {
    columns(io::stderr()).min(WIDEST)
}

/// Returns the rows of the terminal for results, or the default if it does not report them.
fn rows() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
    size.filter(|size| size.ws_row > 0).map_or(ROWS, |size| usize::from(size.ws_row))
}

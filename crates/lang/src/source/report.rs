//! Diagnostics as text for users, drawn by miette.

use std::fmt::{self, Write as _};

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource};
use textwrap::WordSplitter;

use super::code::Code;
use super::diagnostic::{Diagnostic, Diagnostics, FileId, Files, Severity, Span, Style, harmless, printable};
use super::window;

/// The columns of the line numbers and of the signs for a cut line.
const MARGIN: usize = 10;

impl Diagnostics {
    /// Returns all diagnostics as text for users, each with its source. The text ends with a newline, or is empty.
    pub fn render(&self, files: &Files, style: Style) -> String {
        let mut out = String::new();
        for diagnostic in self {
            out.push_str(&diagnostic.render(files, style));
        }
        if self.dropped() > 0 {
            let _ = writeln!(out, "… and {} more", self.dropped());
        }
        out
    }
}

impl Diagnostic {
    /// Returns the diagnostic as text for users, with its source.
    pub fn render(&self, files: &Files, style: Style) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail. `Report` has limited spans that are outside their file.
        let report = Report::new(self, files, style.room());
        let report = if style.codes { report } else { report.without_code() };
        let _ = style.handler().render_report(&mut out, &report);
        out
    }
}

impl Style {
    /// Returns the columns for a line of source on a terminal, without the margin. None elsewhere: nothing wraps there.
    fn room(self) -> Option<usize> {
        self.unicode.then(|| self.width.max(40) - MARGIN)
    }

    fn handler(self) -> GraphicalReportHandler {
        let plain = if self.unicode { GraphicalTheme::unicode_nocolor() } else { GraphicalTheme::none() };
        let theme = match self.colors {
            Some(colors) => GraphicalTheme { styles: colors.styles(), ..plain },
            None => plain,
        };
        GraphicalReportHandler::new_themed(theme)
            .with_width(self.width.max(20))
            .with_links(false)
            // Never split words such as `only-if`: users copy them.
            .with_word_splitter(WordSplitter::NoHyphenation)
    }
}

/// A diagnostic for miette. miette shows only one file, so spans in other files become related reports.
#[derive(Debug)]
struct Report {
    code: Option<Code>,
    severity: miette::Severity,
    message: String,
    help: Option<String>,
    source: Option<NamedSource<String>>,
    labels: Vec<LabeledSpan>,
    related: Vec<Report>,
}

impl Report {
    /// `room`: the number of columns of a source line. None if lines may be as long as they are.
    fn new(diagnostic: &Diagnostic, files: &Files, room: Option<usize>) -> Self {
        let first = diagnostic.labels.first().map(|(span, _)| span.file);
        let mut others: Vec<FileId> = Vec::new();
        for (span, _) in diagnostic.spans() {
            if Some(span.file) != first && !others.contains(&span.file) {
                others.push(span.file);
            }
        }
        let mut report = Self::part(diagnostic, files, first, room);
        report.related =
            others.into_iter().map(|file| Self::elsewhere(diagnostic, files, file, room)).collect();
        report
    }

    /// The report for users: codes are for programs.
    fn without_code(self) -> Self {
        Self { code: None, ..self }
    }

    fn elsewhere(diagnostic: &Diagnostic, files: &Files, file: FileId, room: Option<usize>) -> Self {
        let message = format!("in {}", files.get(file).map(|f| printable(&f.name)).unwrap_or_default());
        let severity = miette::Severity::Advice;
        Self { message, severity, code: None, help: None, ..Self::part(diagnostic, files, Some(file), room) }
    }

    fn part(diagnostic: &Diagnostic, files: &Files, file: Option<FileId>, room: Option<usize>) -> Self {
        let source = file.and_then(|id| files.get(id));
        let length = source.map_or(0, |file| file.text.len());
        let here = |(span, words): &(Span, String)| {
            (Some(span.file) == file && source.is_some()).then(|| {
                let start = span.start.min(length);
                let words = (!words.is_empty()).then(|| printable(words));
                LabeledSpan::new(words, start, span.len.min(length - start))
            })
        };
        let mut labels: Vec<_> = diagnostic.spans().filter_map(here).collect();
        let source = source.map(|file| {
            let text = harmless(&file.text);
            let text = match room {
                Some(room) => window::cut(&text, &mut labels, room),
                None => text,
            };
            NamedSource::new(printable(&file.name), text)
        });
        Self {
            code: Some(diagnostic.code),
            severity: diagnostic.severity.into(),
            message: printable(&diagnostic.message),
            help: diagnostic.help.as_ref().map(|help| lines(help)),
            labels,
            source,
            related: Vec::new(),
        }
    }
}

/// Returns `text` with each line made printable.
fn lines(text: &str) -> String {
    text.lines().map(printable).collect::<Vec<_>>().join("\n")
}

impl From<Severity> for miette::Severity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Note => Self::Advice,
            Severity::Warning => Self::Warning,
            Severity::Error => Self::Error,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Report {}

impl miette::Diagnostic for Report {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.map(|code| Box::new(code) as _)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source.as_ref().map(|source| source as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        (!self.labels.is_empty()).then(|| Box::new(self.labels.iter().cloned()) as _)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn miette::Diagnostic> + 'a>> {
        (!self.related.is_empty())
            .then(|| Box::new(self.related.iter().map(|r| r as &dyn miette::Diagnostic)) as _)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

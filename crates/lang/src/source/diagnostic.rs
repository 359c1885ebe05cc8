//! Diagnostics: mistakes with their spans, how they are collected, and how they are shown.
//!
//! Other modules find the mistakes; the caller decides about the exit code. Shown text may come from another person. So
//! control, ANSI and bidirectional characters never reach the terminal.

use std::collections::HashSet;
use std::sync::Arc;

pub use super::code::Code;
pub use super::colors::Colors;

/// The diagnostics of one project, in the order found, without duplicates.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    seen: HashSet<(String, Vec<Span>)>,
    dropped: usize,
}

/// One error, warning or note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The code of the mistake.
    pub code: Code,
    /// The severity.
    pub severity: Severity,
    /// The mistake, as a lowercase fragment.
    pub message: String,
    /// The spans, each with a few words; the words may be empty. The first span is the wrong one.
    pub labels: Vec<(Span, String)>,
    /// The spans that show the cause. They are ignored when duplicates are detected.
    pub context: Vec<(Span, String)>,
    /// Advice for the user.
    pub help: Option<String>,
}

/// The severity of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Information; nothing is wrong.
    Note,
    /// A probable mistake.
    Warning,
    /// A mistake that prevents a run.
    Error,
}

/// A range of bytes in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// The first byte.
    pub start: usize,
    /// The length in bytes; may be 0.
    pub len: usize,
}

/// The index of a file in its [`Files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

/// The files that spans refer to.
#[derive(Clone, Debug, Default)]
pub struct Files(Vec<SourceFile>);

/// A file as it was read.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Its path, as shown.
    pub name: String,
    /// Its text.
    pub text: Arc<str>,
}

/// The style in which diagnostics are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// The colours; None for no colours.
    pub colors: Option<Colors>,
    /// Whether to use box-drawing characters; otherwise ASCII.
    pub unicode: bool,
    /// Whether to print each code, on its own line before the message.
    pub codes: bool,
    /// The width in columns.
    pub width: usize,
}

impl Style {
    /// ASCII without colours, for logs and tests.
    pub const PLAIN: Self = Self { colors: None, unicode: false, codes: true, width: 100 };
}

/// The most diagnostics that are kept. More would not help the user.
pub const LIMIT: usize = 200;

impl Diagnostics {
    /// Adds a diagnostic, unless it is a duplicate.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        let spans = diagnostic.labels.iter().map(|(span, _)| *span).collect();
        if !self.seen.insert((diagnostic.message.clone(), spans)) {
            return;
        }
        match self.list.len() < LIMIT {
            true => self.list.push(diagnostic),
            false => self.dropped += 1,
        }
    }

    /// Adds all of `other`. A diagnostic dropped by both is counted once.
    pub fn extend(&mut self, other: Self) {
        other.list.into_iter().for_each(|diagnostic| self.push(diagnostic));
        if other.dropped > 0 {
            self.dropped +=
                other.seen.into_iter().map(|seen| usize::from(self.seen.insert(seen))).sum::<usize>();
        }
    }

    /// Adds all of `other`, which is shared with other hosts.
    pub(crate) fn extend_shared(&mut self, other: &Self) {
        if !other.is_empty() {
            self.extend(other.clone());
        }
    }

    /// Whether there is an error.
    pub fn has_errors(&self) -> bool {
        self.dropped > 0 || self.list.iter().any(|d| d.severity == Severity::Error)
    }

    /// Whether there is no diagnostic.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the kept diagnostics.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// Whether this diagnostic is already there, with any cause.
    pub(crate) fn tells(&self, diagnostic: &Diagnostic) -> bool {
        let is_label = |span: &Span| diagnostic.labels.iter().any(|(own, _)| own == span);
        let same = |known: &Diagnostic| {
            known.message == diagnostic.message && known.spans().any(|(span, _)| is_label(span))
        };
        self.list.iter().any(same)
    }

    /// Adds all of `other`, which was found in a module. Each new diagnostic gets `call`, the call of the module.
    pub(crate) fn extend_called(&mut self, other: Self, call: Option<Span>) {
        let known = self.list.len();
        self.extend(other);
        let new = self.list.split_off(known);
        let called = |diagnostic: Diagnostic| call.into_iter().fold(diagnostic, Diagnostic::called);
        self.list.extend(new.into_iter().map(called));
    }

    /// Returns the value. For a mistake, adds it and returns None.
    pub(crate) fn told<T>(&mut self, result: Result<T, Diagnostic>) -> Option<T> {
        result.map_err(|report| self.push(report)).ok()
    }

    /// Returns the number of diagnostics that were dropped because of [`LIMIT`].
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Returns the diagnostics sorted by file and position. Those without a span come first.
    pub fn sorted(&self) -> Self {
        let mut sorted = self.clone();
        sorted
            .list
            .sort_by_key(|diagnostic| diagnostic.labels.first().map(|(span, _)| (span.file, span.start)));
        sorted
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}

impl Diagnostic {
    /// Returns an error.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            labels: Vec::new(),
            context: Vec::new(),
            help: None,
        }
    }

    /// Returns the error for a thing that may be given once and is given twice.
    pub(crate) fn given_twice(name: &str, again: Span, first: Span) -> Self {
        Self::error(Code::Doubled, format!("`{name}` is given twice"))
            .label(again, "and again here")
            .label(first, "given here")
    }

    /// Returns a warning.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// Returns a note.
    pub fn note(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::error(code, message) }
    }

    /// Adds a span. The first one is the wrong place.
    pub fn label(mut self, span: Span, words: impl Into<String>) -> Self {
        self.labels.push((span, words.into()));
        self
    }

    /// Adds a span that shows the cause.
    pub fn context(mut self, span: Span, words: impl Into<String>) -> Self {
        self.context.push((span, words.into()));
        self
    }

    /// Moves the error to the places where callers gave the value, if there are any. The place of use becomes context.
    pub(crate) fn given(mut self, given: &[Span]) -> Self {
        let Some((_, words)) = self.labels.first().cloned().filter(|_| !given.is_empty()) else {
            return self;
        };
        let labels = given.iter().map(|span| (*span, words.clone())).collect();
        let used = std::mem::replace(&mut self.labels, labels);
        self.context.extend(used.into_iter().map(|(span, _)| (span, "used here".to_owned())));
        self
    }

    /// Adds the call of the module as context, unless a label is already in the file of the call.
    pub(crate) fn called(mut self, call: Span) -> Self {
        let words = "called here".to_owned();
        if !self.labels.iter().any(|(span, _)| span.file == call.file)
            && !self.context.contains(&(call, words.clone()))
        {
            self.context.push((call, words));
        }
        self
    }

    /// Returns all spans with their words, labels first.
    pub(super) fn spans(&self) -> impl Iterator<Item = &(Span, String)> {
        self.labels.iter().chain(&self.context)
    }

    /// Sets what the user can do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Sets what the user can do about it, if `help` has a value.
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }
}

impl Files {
    /// Adds a file.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> FileId {
        self.0.push(SourceFile { name: name.into(), text: text.into() });
        FileId((self.0.len() - 1) as u32)
    }

    /// Returns the file with this index.
    pub fn get(&self, id: FileId) -> Option<&SourceFile> {
        self.0.get(id.0 as usize)
    }

    /// Returns the name, line and column of the start of `span`. Both count from 1; the column counts characters.
    pub fn location(&self, span: Span) -> Option<(&str, usize, usize)> {
        let file = self.get(span.file)?;
        let before = &file.text[..file.text.floor_char_boundary(span.start)];
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Some((&file.name, line, column))
    }

    /// Returns `file:line` of the start of `span`.
    pub fn line(&self, span: Span) -> String {
        self.location(span).map_or_else(String::new, |(file, line, _)| format!("{file}:{line}"))
    }
}

impl Span {
    /// Returns the span of `len` bytes in `file`, starting at `start`.
    pub fn new(file: FileId, start: usize, len: usize) -> Self {
        Self { file, start, len }
    }
}

/// Returns `text` on one line. Characters that move the cursor or reorder the line are escaped.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if is_dangerous(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Whether a terminal may interpret `c` instead of showing it.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Returns the source with dangerous characters replaced. The replacements have the same length, so that spans stay
/// correct.
pub(super) fn harmless(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => out.push(' '),
            c if is_dangerous(c) => out.push_str(["?", "¿", "\u{fffd}", "🯄"][c.len_utf8() - 1]),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Files {
        let mut files = Files::default();
        files.add("site.kdl", "vars {\n    wrokers 2\n}\n");
        files.add("web.kdl", "on \"web\" {\n    package \"é\u{1b}[31m\u{202e}x\"\n}\n");
        files
    }

    fn span(file: u32, start: usize, len: usize) -> Span {
        Span::new(FileId(file), start, len)
    }

    #[test]
    fn a_mistake_is_told_that_is_there_with_its_words_and_a_span_of_its_own() {
        let told = Diagnostic::error(Code::Undefined, "`x` is undefined").label(span(0, 4, 1), "here");
        let mut diagnostics = Diagnostics::default();
        diagnostics.push(told.clone().called(span(1, 0, 2)));
        assert!(diagnostics.tells(&told), "where it was called from is no other mistake");
        assert!(!diagnostics.tells(&Diagnostic { message: "`y` is undefined".into(), ..told.clone() }));
        let elsewhere = Diagnostic { labels: vec![(span(0, 9, 1), "here".into())], ..told };
        assert!(!diagnostics.tells(&elsewhere));
        assert!(!Diagnostics::default().tells(&elsewhere));
    }

    #[test]
    fn a_report_shows_every_span_with_its_file() {
        let diagnostic = Diagnostic::error(Code::Unknown, "unknown variable `wrokers`")
            .label(span(0, 11, 7), "not used anywhere")
            .label(span(1, 3, 5), "here")
            .help("did you mean `workers`?");
        let shown = diagnostic.render(&files(), Style::PLAIN);
        for expected in [
            "lang::unknown",
            "unknown variable `wrokers`",
            "site.kdl:2:5",
            "not used anywhere",
            "in web.kdl",
            "web.kdl:1:4",
            "help: did you mean `workers`?",
        ] {
            assert!(shown.contains(expected), "{expected}\n{shown}");
        }
    }

    #[test]
    fn nothing_shown_can_move_the_cursor_or_reorder_a_line() {
        let evil = "a\u{1b}[2Jb\u{202e}c\rd\u{200b}\u{85}\ne";
        let diagnostic = Diagnostic::warning(Code::Template, evil).label(span(1, 12, 4), evil).help(evil);
        let mut files = files();
        files.add(evil, evil);
        let all = diagnostic.clone().label(span(2, 0, 3), "");
        for style in [Style::PLAIN, Style { unicode: true, ..Style::PLAIN }] {
            let shown = all.render(&files, style);
            assert!(!shown.chars().any(|c| c != '\n' && is_dangerous(c)), "{shown:?}");
        }
        assert_eq!(printable("a\u{1b}b\u{202e}\n"), "a\\u{1b}b\\u{202e}\\n");
        assert_eq!(harmless(evil).len(), evil.len());
    }

    #[test]
    fn wrong_spans_are_shown_as_well_as_they_can() {
        for (file, start, len) in
            [(0, 1000, 10), (0, 5, usize::MAX), (1, 24, 1), (9, 0, 0), (0, usize::MAX, usize::MAX)]
        {
            let diagnostic =
                Diagnostic::note(Code::Template, "message").label(span(file, start, len), "words");
            assert!(diagnostic.render(&files(), Style::PLAIN).contains("message"), "{file} {start} {len}");
        }
        assert!(
            Diagnostic::note(Code::Template, "message").render(&files(), Style::PLAIN).contains("message")
        );
    }

    #[test]
    fn each_mistake_is_kept_once_and_not_too_many() {
        let mut diagnostics = Diagnostics::default();
        let note = Diagnostic::note(Code::Template, "message").label(span(0, 1, 1), "");
        diagnostics.push(note.clone());
        diagnostics.push(note);
        assert_eq!((diagnostics.iter().count(), diagnostics.has_errors()), (1, false));
        for number in 0..LIMIT + 2 {
            diagnostics.push(Diagnostic::error(Code::Template, format!("message {number}")));
        }
        assert_eq!((diagnostics.iter().count(), diagnostics.dropped()), (LIMIT, 3));
        assert!(diagnostics.has_errors());
    }

    #[test]
    fn a_location_is_counted_in_characters_from_one() {
        assert_eq!(files().location(span(0, 11, 7)), Some(("site.kdl", 2, 5)));
        assert_eq!(files().location(span(1, 26, 0)), Some(("web.kdl", 2, 15)));
        assert_eq!(files().location(span(0, 1000, 0)), Some(("site.kdl", 4, 1)));
        assert_eq!(files().location(span(7, 0, 0)), None);
    }
}

//! Mistakes, warnings and notes about an inventory, the arguments, or the controller.

use converge_lang::diagnostic::{Files, Severity};
use serde::Serialize;

/// A diagnostic.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Diagnostic<'a> {
    severity: &'static str,
    code: &'a str,
    message: &'a str,
    help: Option<&'a str>,
    host: Option<&'a str>,
    #[serde(flatten)]
    place: Place<'a>,
    exit_code: Option<u8>,
}

/// A place in a file.
#[derive(Clone, Copy, Default, Serialize)]
struct Place<'a> {
    /// The path in its shown form.
    file: Option<&'a str>,
    /// From 1.
    line: Option<usize>,
    /// In characters, from 1.
    column: Option<usize>,
}

impl<'a> Diagnostic<'a> {
    /// Creates a failure that ends the command.
    pub(crate) fn failure(code: &'a str, message: &'a str, help: Option<&'a str>, exit: u8) -> Self {
        let severity = word(Severity::Error);
        Self { severity, code, message, help, host: None, place: Place::default(), exit_code: Some(exit) }
    }

    /// Creates a warning. The command goes on.
    pub(crate) fn warning(message: &'a str, help: Option<&'a str>) -> Self {
        let severity = word(Severity::Warning);
        let (host, place) = (None, Place::default());
        Self { severity, code: "cli::warning", message, help, host, place, exit_code: None }
    }

    /// Sets the host that it is about.
    pub(crate) fn of_host(self, host: &'a str) -> Self {
        Self { host: Some(host), ..self }
    }

    /// Converts a diagnostic of the language. An error ends the command with the exit code `exit`, if it is given.
    pub(crate) fn of_language(
        found: &'a converge_lang::Diagnostic,
        files: &'a Files,
        exit: Option<u8>,
    ) -> Self {
        let location = found.labels.first().and_then(|(span, _)| files.location(*span));
        Self {
            severity: word(found.severity),
            code: found.code.as_str(),
            message: &found.message,
            help: found.help.as_deref(),
            host: None,
            place: Place {
                file: location.map(|(file, ..)| file),
                line: location.map(|(_, line, _)| line),
                column: location.map(|(.., column)| column),
            },
            exit_code: exit.filter(|_| found.severity == Severity::Error),
        }
    }
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

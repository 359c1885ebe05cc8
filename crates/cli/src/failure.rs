//! An error that ends a command before any host was changed: one message, a help text and an exit code, usually 1.
//! Errors on hosts are not failures of this kind: events report them.

use std::error::Error;
use std::io::{self, Write};

use converge_model::exit;

use crate::view::json::{self, Diagnostic, Document};
use crate::view::paint::{FAILED, FAINT, paint};
use crate::view::text::harmless;
use crate::view::wrap;

/// Why a command cannot be carried out.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The mistakes were shown already.
    Drawn,
    /// One message.
    Message {
        /// The mistake, as a part of a sentence.
        message: String,
        /// The advice for the user.
        help: Option<String>,
        /// The sort of error for programs: docs/json.md lists them.
        code: &'static str,
        /// The exit code of the command.
        exit: u8,
    },
}

/// A mistake in the arguments.
pub(crate) const ARGUMENTS: &str = "cli::arguments";
/// The command needs a project and found none.
pub(crate) const PROJECT: &str = "cli::project";
/// Another process holds an exclusive lock.
pub(crate) const LOCKED: &str = "cli::locked";
/// Anything else.
const FAILED_CODE: &str = "cli::failed";

impl Failure {
    /// Creates a failure with a message.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Message { message: message.into(), help: None, code: FAILED_CODE, exit: exit::ERROR }
    }

    /// Sets what the user can do about it.
    pub(crate) fn help(self, text: impl Into<String>) -> Self {
        match self {
            Self::Message { message, code, exit, .. } => {
                Self::Message { message, help: Some(text.into()), code, exit }
            }
            Self::Drawn => Self::Drawn,
        }
    }

    /// Sets the sort of error for programs.
    pub(crate) fn code(self, code: &'static str) -> Self {
        match self {
            Self::Message { message, help, exit, .. } => Self::Message { message, help, code, exit },
            Self::Drawn => Self::Drawn,
        }
    }

    /// Sets the exit code of the command.
    pub(crate) fn exit(self, exit: u8) -> Self {
        match self {
            Self::Message { message, help, code, .. } => Self::Message { message, help, code, exit },
            Self::Drawn => Self::Drawn,
        }
    }

    /// Shows the failure: on standard error, or as JSON among the results. Returns the exit code.
    pub(crate) fn show(self) -> u8 {
        let Self::Message { message, help, code, exit } = self else { return exit::ERROR };
        match json::is_chosen() {
            true => {
                let diagnostic = Diagnostic::failure(code, &message, help.as_deref(), exit);
                let line = json::document(&Document::Diagnostic(diagnostic));
                let _ = io::stdout().write_all(line.as_bytes());
            }
            false => draw(&message, help.as_deref()),
        }
        exit
    }
}

fn draw(message: &str, help: Option<&str>) {
    let lines: Vec<_> = message.lines().map(harmless).collect();
    let mut text = format!("{}: {}\n", paint(FAILED, "error"), lines.join("\n  "));
    if let Some(help) = help {
        text.push_str(&format!("  {}\n", paint(FAINT, format_args!("help: {}", harmless(help)))));
    }
    let _ = anstream::stderr().write_all(wrap::for_stream(io::stderr(), text).as_bytes());
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut told = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let words = error.to_string();
            // Some errors contain the text of their cause already.
            if !told.contains(&words) {
                told = format!("{told}: {words}");
            }
            cause = error.source();
        }
        Self::new(told)
    }
}

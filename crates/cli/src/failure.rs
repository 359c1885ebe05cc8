//! What ends a command before any host was touched: one message, a hint, an exit code, which is 1 as a rule. What goes wrong on hosts is no
//! failure of this kind: it is told by events.

use std::error::Error;
use std::io::{self, Write};

use converge_model::exit;

use crate::view::json::{self, Diagnostic, Document};
use crate::view::paint::{FAILED, FAINT, paint};
use crate::view::text::harmless;
use crate::view::wrap;

/// A command that cannot be carried out.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The mistakes have been drawn already.
    Drawn,
    /// One message.
    Message {
        /// What is wrong, as a fragment.
        message: String,
        /// What to do about it.
        help: Option<String>,
        /// What sort it is, for programs: docs/json.md lists them.
        code: &'static str,
        /// The exit code of the command.
        exit: u8,
    },
}

/// A mistake in the arguments.
pub(crate) const ARGUMENTS: &str = "cli::arguments";
/// No project where one was looked for.
pub(crate) const PROJECT: &str = "cli::project";
/// Another process holds what only one may have.
pub(crate) const LOCKED: &str = "cli::locked";
/// Anything else.
const FAILED_CODE: &str = "cli::failed";

impl Failure {
    /// A message.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Message { message: message.into(), help: None, code: FAILED_CODE, exit: exit::ERROR }
    }

    /// Says what to do about it.
    pub(crate) fn help(self, text: impl Into<String>) -> Self {
        match self {
            Self::Message { message, code, exit, .. } => {
                Self::Message { message, help: Some(text.into()), code, exit }
            }
            Self::Drawn => Self::Drawn,
        }
    }

    /// Says what sort it is, for programs.
    pub(crate) fn code(self, code: &'static str) -> Self {
        match self {
            Self::Message { message, help, exit, .. } => Self::Message { message, help, code, exit },
            Self::Drawn => Self::Drawn,
        }
    }

    /// Says that the command ends with this exit code.
    pub(crate) fn exit(self, exit: u8) -> Self {
        match self {
            Self::Message { message, help, code, .. } => Self::Message { message, help, code, exit },
            Self::Drawn => Self::Drawn,
        }
    }

    /// Shows it: on standard error, or as JSON among the results. The exit code.
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
            // Some errors tell their cause themselves.
            if !told.contains(&words) {
                told = format!("{told}: {words}");
            }
            cause = error.source();
        }
        Self::new(told)
    }
}

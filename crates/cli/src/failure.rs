//! What ends a command before any host was touched: one message, a hint, exit code 1. What goes wrong on hosts is no
//! failure of this kind: it is told by events.

use std::error::Error;
use std::io::Write;

use converge_model::exit;

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
    },
}

impl Failure {
    /// A message.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Message { message: message.into(), help: None }
    }

    /// Says what to do about it.
    pub(crate) fn help(self, text: impl Into<String>) -> Self {
        match self {
            Self::Message { message, .. } => Self::Message { message, help: Some(text.into()) },
            Self::Drawn => Self::Drawn,
        }
    }

    /// Shows it on standard error; the exit code.
    pub(crate) fn show(self) -> u8 {
        let mut err = anstream::stderr();
        if let Self::Message { message, help } = self {
            let lines: Vec<_> = message.lines().map(harmless).collect();
            let error = format!("{}: {}", paint(FAILED, "error"), lines.join("\n  "));
            let help =
                help.map(|help| format!("  {}", paint(FAINT, format_args!("help: {}", harmless(&help)))));
            for line in error.lines().chain(help.iter().flat_map(|help| help.lines())) {
                let _ = writeln!(err, "{}", wrap::message(line));
            }
        }
        exit::ERROR
    }
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

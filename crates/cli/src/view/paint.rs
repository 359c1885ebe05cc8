//! The few colours of the terminal. Text is painted always; whoever prints it takes the paint off where none is wanted.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};
use converge_model::Verb;

/// Names of hosts, and what counts.
pub(crate) const STRONG: Style = Style::new().bold();
/// What is there for completeness.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// What comes.
pub(crate) const ADDED: Style = AnsiColor::Green.on_default();
/// What goes, and what went wrong.
pub(crate) const REMOVED: Style = AnsiColor::Red.on_default();
/// What differs.
pub(crate) const CHANGED: Style = AnsiColor::Yellow.on_default();
/// What runs.
pub(crate) const ACTION: Style = AnsiColor::Cyan.on_default();
/// What failed.
pub(crate) const FAILED: Style = AnsiColor::Red.on_default().bold();

/// `text` in `style`.
pub(crate) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The sign of a verb in its colour.
pub(crate) fn sign(verb: Verb) -> String {
    let style = match verb {
        Verb::Create => ADDED,
        Verb::Update | Verb::Replace => CHANGED,
        Verb::Remove => REMOVED,
        Verb::Act => ACTION,
    };
    paint(style, verb.symbol())
}

//! The colours of reports. The caller chooses them, because it knows the terminal.

use miette::ThemeStyles;
use owo_colors::{Style as Paint, XtermColors};

/// The colours of a report, as indices into the 256 colours of terminals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colors {
    /// The colour of errors.
    pub error: u8,
    /// The colour of warnings.
    pub warning: u8,
    /// The colour of notes and help.
    pub advice: u8,
}

impl Colors {
    /// Returns the styles for a report.
    pub(super) fn styles(self) -> ThemeStyles {
        let [error, warning, advice] = [self.error, self.warning, self.advice]
            .map(|number| Paint::new().color(XtermColors::from(number)));
        ThemeStyles {
            error,
            warning,
            advice,
            help: advice,
            link: advice.underline(),
            linum: Paint::new().dimmed(),
            highlights: vec![advice.bold(), warning.bold()],
        }
    }
}

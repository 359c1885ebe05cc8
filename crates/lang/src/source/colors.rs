//! The colours of reports. Which they are is the caller's to say: it knows the terminal.

use miette::ThemeStyles;
use owo_colors::{Style as Paint, XtermColors};

/// The colours of a report, as numbers of the 256 colours that terminals have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colors {
    /// Of mistakes.
    pub error: u8,
    /// Of warnings.
    pub warning: u8,
    /// Of notes and help.
    pub advice: u8,
}

impl Colors {
    /// What a report is painted with.
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

//! The colours of the terminal. Text is always painted; the code that prints it removes the colours if they are not
//! wanted.
//!
//! The colours are numbers of the 256-colour palette, because the 16 named colours differ between palettes: yellow on
//! white is unreadable in most of them. Each of these can be read on black and on white. No meaning depends on a
//! colour alone: a sign or a word says the same.

use std::fmt::Display;

use anstyle::{Ansi256Color, Color, Style};
use clap::builder::Styles;
use converge_lang::diagnostic::Colors;
use converge_model::Verb;

const GREEN: u8 = 28;
const RED: u8 = 196;
const YELLOW: u8 = 136;
const BLUE: u8 = 31;

/// Names of hosts, and important words.
pub(crate) const STRONG: Style = Style::new().bold();
/// Less important details.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// Things that are created.
pub(crate) const ADDED: Style = colored(GREEN);
/// Things that are removed, and errors.
pub(crate) const REMOVED: Style = colored(RED);
/// Things that change.
pub(crate) const CHANGED: Style = colored(YELLOW);
/// Actions.
pub(crate) const ACTION: Style = colored(BLUE);
/// Failures.
pub(crate) const FAILED: Style = colored(RED).bold();
/// The diagnostics of a project.
pub(crate) const REPORT: Colors = Colors { error: RED, warning: YELLOW, advice: BLUE };
/// The messages of clap.
pub(crate) const CLAP: Styles =
    Styles::styled().error(FAILED).valid(ADDED).invalid(CHANGED).context(Style::new());

const fn colored(number: u8) -> Style {
    Style::new().fg_color(Some(Color::Ansi256(Ansi256Color(number))))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// The backgrounds of common palettes.
    const BACKGROUNDS: [(&str, u32); 10] = [
        ("xterm and VGA", 0x00_00_00),
        ("xterm in reverse, GNOME light, macOS light", 0xFF_FF_FF),
        ("Solarized dark", 0x00_2B_36),
        ("Solarized light", 0xFD_F6_E3),
        ("GNOME dark", 0x17_14_21),
        ("GNOME console dark, macOS dark", 0x1E_1E_1E),
        ("GNOME console light", 0xFA_FA_FA),
        ("Ubuntu", 0x30_0A_24),
        ("Windows", 0x0C_0C_0C),
        ("Konsole", 0x23_26_27),
    ];

    /// The lowest contrast of WCAG 2 for large text and for graphics.
    const LEAST: f64 = 3.0;

    /// Returns the colour of a number in the cube with 6 steps for each of red, green and blue.
    fn of_cube(number: u8) -> [u8; 3] {
        assert!((16..232).contains(&number), "{number} has another colour in each palette");
        let step = |at: u8| [0, 95, 135, 175, 215, 255][usize::from(at)];
        let place = number - 16;
        [step(place / 36), step(place / 6 % 6), step(place % 6)]
    }

    fn luminance(color: [u8; 3]) -> f64 {
        let linear = color.map(|part| match f64::from(part) / 255.0 {
            part if part <= 0.04045 => part / 12.92,
            part => ((part + 0.055) / 1.055).powf(2.4),
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        (one / other).max(other / one)
    }

    /// Returns every colour of a style. Named colours have no computable contrast, so they are refused.
    fn number(style: Style) -> Option<u8> {
        assert_eq!(style.get_bg_color(), None, "a background has no contrast of its own");
        style.get_fg_color().map(|color| match color {
            Color::Ansi256(Ansi256Color(number)) => number,
            other => panic!("{other:?} has another colour in each palette"),
        })
    }

    #[test]
    fn contrast_is_as_wcag_computes_it() {
        assert_eq!(contrast([0; 3], [255; 3]).round(), 21.0);
        // Xterm's named yellow on white shows why no named colour is used.
        assert!(contrast([205, 205, 0], [255; 3]) < 1.8);
    }

    #[test]
    fn every_colour_can_be_read_on_dark_and_light() {
        let clap =
            [CLAP.get_error(), CLAP.get_valid(), CLAP.get_invalid(), CLAP.get_header(), CLAP.get_usage()];
        let clap = clap.into_iter().chain([CLAP.get_literal(), CLAP.get_placeholder(), CLAP.get_context()]);
        let own = [STRONG, FAINT, ADDED, REMOVED, CHANGED, ACTION, FAILED];
        let painted = own.into_iter().chain(clap.copied()).filter_map(number);
        for number in painted.chain([REPORT.error, REPORT.warning, REPORT.advice]) {
            for (name, background) in BACKGROUNDS {
                let [_, red, green, blue] = background.to_be_bytes();
                let contrast = contrast(of_cube(number), [red, green, blue]);
                assert!(contrast >= LEAST, "{number} on {name}: {contrast:.2}");
            }
        }
    }
}

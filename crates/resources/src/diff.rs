//! The difference of two texts, as the plan shows it.

use std::time::Duration;

use converge_model::TextDiff;
use converge_model::change::DIFF_LIMIT;
use similar::{Algorithm, TextDiff as Similar};

/// Line by line, in unified form with three lines of context; none where a side is not text.
pub fn unified(before: &[u8], after: &[u8]) -> Option<TextDiff> {
    let (before, after) = (text(before)?, text(after)?);
    let diff = Similar::configure()
        .algorithm(Algorithm::Myers)
        .timeout(Duration::from_millis(500))
        .diff_lines(before, after);
    let mut unified = diff.unified_diff().context_radius(3).to_string();
    let cut = unified.len() > DIFF_LIMIT;
    if cut {
        let end = unified[..floor(&unified, DIFF_LIMIT)].rfind('\n').map_or(0, |at| at + 1);
        unified.truncate(end);
    }
    Some(TextDiff { unified, cut })
}

/// Text is UTF-8 without NUL.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

fn floor(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        let diff = unified(b"a\nb\n", b"a\nc\n").unwrap();
        assert_eq!(diff.unified, "@@ -1,2 +1,2 @@\n a\n-b\n+c\n");
        assert!(!diff.cut);
    }

    #[test]
    fn binary_has_no_diff_and_a_long_one_is_cut_at_a_line() {
        assert!(unified(b"\0", b"a").is_none());
        let long = "ä".repeat(40).add_newline().repeat(2000);
        let diff = unified(b"", long.as_bytes()).unwrap();
        assert!(diff.cut && diff.unified.len() <= DIFF_LIMIT && diff.unified.ends_with('\n'));
    }

    trait AddNewline {
        fn add_newline(self) -> String;
    }

    impl AddNewline for String {
        fn add_newline(mut self) -> String {
            self.push('\n');
            self
        }
    }
}

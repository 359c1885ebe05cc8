//! The diff of two texts, as the plan shows it.

use std::fmt::Write;
use std::ops::Range;
use std::time::{Duration, Instant};

use converge_model::TextDiff;
use converge_model::change::DIFF_LIMIT;
use similar::algorithms::{Capture, Replace, myers};
use similar::{ChangeTag, DiffOp, group_diff_ops};

/// The time limit of a diff. After it, an approximation is used.
const PATIENCE: Duration = Duration::from_millis(500);

/// The number of equal lines around a change.
const CONTEXT: usize = 3;

/// Returns the diff by lines, in unified format with three lines of context. None if a side is not text.
///
/// It calls one algorithm of `similar` directly: all of `similar` would be a tenth of the agent's size.
pub fn unified(before: &[u8], after: &[u8]) -> Option<TextDiff> {
    let before: Vec<&str> = text(before)?.split_inclusive('\n').collect();
    let after: Vec<&str> = text(after)?.split_inclusive('\n').collect();
    let mut unified = String::new();
    for hunk in group_diff_ops(operations(&before, &after), CONTEXT) {
        push_hunk(&mut unified, &hunk, &before, &after);
        if unified.len() > DIFF_LIMIT {
            break;
        }
    }
    let cut = unified.len() > DIFF_LIMIT;
    if cut {
        let end = unified[..floor(&unified, DIFF_LIMIT)].rfind('\n').map_or(0, |at| at + 1);
        unified.truncate(end);
    }
    Some(TextDiff { unified, cut })
}

fn operations(before: &[&str], after: &[&str]) -> Vec<DiffOp> {
    let mut capture = Replace::new(Capture::new());
    let deadline = Instant::now() + PATIENCE;
    // The only errors are those of the capture, which never fails.
    let _ =
        myers::diff_deadline(&mut capture, before, 0..before.len(), after, 0..after.len(), Some(deadline));
    capture.into_inner().into_ops()
}

/// Writes a hunk: its header, and each line with its sign.
fn push_hunk(unified: &mut String, hunk: &[DiffOp], before: &[&str], after: &[&str]) {
    let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { return };
    let old = range(first.old_range().start..last.old_range().end);
    let new = range(first.new_range().start..last.new_range().end);
    let _ = writeln!(unified, "@@ -{old} +{new} @@");
    for (tag, lines) in hunk.iter().flat_map(|operation| operation.iter_slices(before, after)) {
        let sign = match tag {
            ChangeTag::Equal => ' ',
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
        };
        for line in lines {
            unified.push(sign);
            unified.push_str(line);
            if !line.ends_with('\n') {
                unified.push_str("\n\\ No newline at end of file\n");
            }
        }
    }
}

/// Formats a line range for a header: counted from 1. An empty range names the line before it.
fn range(lines: Range<usize>) -> String {
    match lines.len() {
        1 => format!("{}", lines.start + 1),
        0 => format!("{},0", lines.start),
        count => format!("{},{count}", lines.start + 1),
    }
}

/// Returns the bytes as text: UTF-8 without NUL.
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
    fn a_missing_newline_and_distant_changes_are_told() {
        let before = (1..=20).map(|line| format!("{line}\n")).collect::<String>();
        let after = before.replacen("1\n", "one\n", 1).replace("20\n", "20");
        let diff = unified(before.as_bytes(), after.as_bytes()).unwrap();
        assert_eq!(
            diff.unified,
            "@@ -1,4 +1,4 @@\n-1\n+one\n 2\n 3\n 4\n@@ -17,4 +17,4 @@\n 17\n 18\n 19\n-20\n+20\n\\ No newline at end of file\n"
        );
        assert_eq!(unified(b"", b"x\n").unwrap().unified, "@@ -0,0 +1 @@\n+x\n");
        assert_eq!(unified(b"x\n", b"x\n").unwrap().unified, "");
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

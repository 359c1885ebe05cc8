//! The layout of a file, for `converge fmt`. It depends on the text alone: a file is laid out before its names are
//! resolved, and without reading another file.

use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Files};
use crate::syntax::{layout, parse, prescan};

/// The largest file that is laid out, in bytes.
pub const LIMIT: usize = prescan::SIZE;

/// The result for one file.
#[derive(Debug)]
pub struct Formatted {
    /// The text in the one layout. None if the file is not KDL.
    pub text: Option<String>,
    /// Its mistakes.
    pub diagnostics: Diagnostics,
    /// The file, for reports.
    pub files: Files,
}

/// Lays out the text of the file `path`: four blanks for each level, one blank between words, at most one empty line.
/// Comments, the order of nodes and the spelling of values stay.
#[must_use]
pub fn format(path: &str, text: &str) -> Formatted {
    let (mut files, mut diagnostics) = (Files::default(), Diagnostics::default());
    let file = files.add(path, text);
    let document = parse::document(file, text, &mut diagnostics);
    let text = document.and_then(|document| {
        let laid_out = layout::lay_out(text);
        // A fault in the layout must never reach a user's file.
        let is_same = prescan::parse(&laid_out).is_ok_and(|again| layout::same_meaning(&document, &again));
        if !is_same {
            let report =
                Diagnostic::error(Code::Syntax, format!("the layout of `{path}` would change its meaning"));
            diagnostics.push(report.help("please report this file; it was not changed"));
        }
        is_same.then_some(laid_out)
    });
    Formatted { text, diagnostics, files }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let formatted = format("x.kdl", text);
        assert_eq!(formatted.text.as_deref(), Some(expected), "{:?}", formatted.diagnostics);
        assert_eq!(format("x.kdl", expected).text.as_deref(), Some(expected), "twice");
    }

    #[test]
    fn a_level_is_four_blanks_and_words_have_one_between() {
        check("a  1\tx = 2{b;c }", "a 1 x=2 { b; c }\n");
        check("a {\n b {\n\tc 1\n}\n  }\n", "a {\n    b {\n        c 1\n    }\n}\n");
        check("a ( t ) \"x\"  {}\r\nb", "a (t)\"x\" {}\nb\n");
        check("", "");
    }

    #[test]
    fn a_block_of_several_lines_opens_and_closes_on_its_own() {
        check("a { b 1\nc 2 }", "a {\n    b 1\n    c 2\n}\n");
        check("a { b \"\"\"\n  x\n    y\n  \"\"\" }", "a {\n    b \"\"\"\n  x\n    y\n  \"\"\"\n}\n");
    }

    #[test]
    fn empty_lines_separate_nodes_and_are_single() {
        check("\n\na\n\n\n\nb {\n\n  c\n\n}\n\n", "a\n\nb {\n    c\n}\n");
        check("a { // b\n\n c\n\n d\n}", "a { // b\n    c\n\n    d\n}\n");
    }

    #[test]
    fn comments_and_removed_nodes_stay() {
        check("// one\n  // two\na   // beside\n", "// one\n// two\na   // beside\n");
        check("a { // open\n b // last\n // end\n}", "a { // open\n    b // last\n    // end\n}\n");
        check("a /* x */ 1 {\n/- b {\n c\n}\n}", "a /* x */ 1 {\n    /-b {\n        c\n    }\n}\n");
        check(
            "on \"a\" { vars { x 1 }  // kept by its node\n}",
            "on \"a\" {\n    vars { x 1 }  // kept by its node\n}\n",
        );
    }

    #[test]
    fn a_line_that_goes_on_is_deeper() {
        check("a {\nb 1 \\\n2 \\\n  3\nc\n}", "a {\n    b 1 \\\n        2 \\\n        3\n    c\n}\n");
    }

    #[test]
    fn a_file_that_is_not_kdl_is_reported() {
        let formatted = format("x.kdl", "a {\n");
        assert!(formatted.text.is_none() && formatted.diagnostics.has_errors());
    }
}

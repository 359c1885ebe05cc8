//! Properties that hold for any text: the bodies of the fuzz targets in `fuzz/`. The ordinary tests run them on the
//! same corpus and on some random texts. Not for other use.

mod loader;

use std::sync::Arc;

use kdl::KdlDocument;
use minijinja::Value;

use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Files, Span, Style};
use crate::source::ids::{HostId, Id};
use crate::syntax::command_words;
use crate::syntax::host_pattern;
use crate::syntax::layout;
use crate::syntax::name_range;
use crate::syntax::prescan;
use crate::template::{Engine, Found, List, Map, Marks, Scope, ScopeError, unknown_facts};

pub use loader::loader;

/// The parser can handle any text that the guard accepts, and both results can be shown.
pub fn guard(text: &str) {
    let mut files = Files::default();
    let file = files.add("fuzz.kdl", text);
    let mut diagnostics = Diagnostics::default();
    match prescan::check(text) {
        Err(error) => {
            diagnostics.push(
                Diagnostic::error(Code::Guard, &error.message)
                    .label(Span::new(file, error.start, error.len), ""),
            );
        }
        Ok(()) => {
            let parsed = prescan::parse(text);
            if let Ok(document) = &parsed {
                assert_laid_out(text, document);
            }
            for error in parsed.err().iter().flat_map(|error| &error.diagnostics) {
                let (start, len) = (error.span.offset(), error.span.len());
                let message = error.message.clone().unwrap_or_default();
                let hint = prescan::v1_hint(text, start);
                diagnostics.push(
                    Diagnostic::error(Code::Template, message)
                        .label(Span::new(file, start, len), "")
                        .maybe_help(hint),
                );
            }
        }
    }
    // Rendering is slow, and one diagnostic is as good a test as a hundred.
    let shown = diagnostics.iter().next().map(|first| first.render(&files, Style::PLAIN)).unwrap_or_default();
    assert!(!shown.contains('\u{1b}'), "an escape reaches the terminal");
}

/// A layout changes blanks alone, keeps the meaning, and is its own layout.
fn assert_laid_out(text: &str, document: &KdlDocument) {
    let inked = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    let laid_out = layout::lay_out(text);
    assert_eq!(inked(text), inked(&laid_out), "{text:?}");
    let is_same = prescan::parse(&laid_out).is_ok_and(|again| layout::same_meaning(document, &again));
    assert!(is_same, "{text:?} became {laid_out:?}");
    assert_eq!(layout::lay_out(&laid_out), laid_out, "of {text:?}");
}

/// Every text that contains a secret is marked as secret, and no text exceeds the limits of the engine.
pub fn template(text: &str) {
    let engine = Engine::new(Arc::new(|_: &str| Ok(None)));
    let scope: Arc<dyn Scope> = Arc::new(Names);
    let holds = |shown: &str| shown.contains(SECRET);
    for rendered in [engine.text(text, &scope), engine.file("fuzz.j2", text, &scope)] {
        match rendered {
            Ok(rendered) => {
                assert!(rendered.marks.tainted || !holds(&rendered.text), "a secret without its mark");
                let lines: Vec<&str> = rendered.text.split('\n').collect();
                let stand_ins = rendered.marks.stand_ins.iter();
                let clean = stand_ins.flat_map(|stand_ins| stand_ins.clean_lines(&rendered.text));
                let holding = clean.filter(|line| holds(lines[*line as usize])).count();
                assert!(holding == 0 || holds(text), "a secret in a line that is said to hold none");
            }
            Err(error) => assert!(!holds(&format!("{error:?}")), "an error quotes a secret"),
        }
    }
    match engine.expression(text, &scope) {
        Ok(evaluated) => {
            let bare = evaluated.value.as_str().is_some_and(holds);
            assert!(evaluated.marks.tainted || !bare, "a secret without its mark");
        }
        Err(error) => assert!(!holds(&format!("{error:?}")), "an error quotes a secret"),
    }
}

/// Ranges, patterns and commands of any text are parsed or refused. The span of an error is inside the text.
pub fn names(text: &str) {
    match name_range::expand(text) {
        Ok(names) => assert!(names.len() <= name_range::LIMIT),
        Err(error) => assert!(text.get(error.span.clone()).is_some(), "{error:?}"),
    }
    if let Ok(pattern) = host_pattern::Pattern::parse_line(text) {
        let _ = pattern.select(&Site(vec!["web1".to_owned(), "db1".to_owned()]));
    }
    if let Err(error) = command_words::split(text) {
        assert!(text.get(error.span.clone()).is_some(), "{error:?}");
    }
}

/// A value that no other text here contains.
const SECRET: &str = "s3cr3t-Zq9";

struct Names;

impl Scope for Names {
    fn get(&self, name: &str) -> Option<Result<Found, ScopeError>> {
        let (value, marks) = match name {
            "secret" => (Value::from(SECRET), Marks::TAINTED),
            "facts" => (unknown_facts(), Marks::default()),
            "n" => (Value::from(3), Marks::default()),
            "name" => (Value::from("web"), Marks::default()),
            "list" => (List::new(vec![(Value::from(SECRET), Marks::TAINTED), entry(1)]), Marks::default()),
            "map" => (map(), Marks::default()),
            "wrong" => return Some(Err(ScopeError(Box::new(Diagnostic::error(Code::Undefined, "wrong"))))),
            _ => return None,
        };
        Some(Ok(Found { value, marks }))
    }

    fn names(&self) -> Vec<String> {
        ["secret", "facts", "n", "name", "list", "map", "wrong"].map(str::to_owned).to_vec()
    }
}

fn entry(value: i64) -> (Value, Marks) {
    (Value::from(value), Marks::default())
}

fn map() -> Value {
    Map::exact(vec![
        ("host".to_owned(), Value::from("db1"), Marks::default()),
        ("pass-word".to_owned(), Value::from(SECRET), Marks::TAINTED),
    ])
}

struct Site(Vec<String>);

impl host_pattern::Universe for Site {
    fn hosts(&self) -> &[String] {
        &self.0
    }

    fn groups(&self) -> Vec<&str> {
        vec!["web", "empty"]
    }

    fn members(&self, group: &str) -> Option<Vec<HostId>> {
        match group {
            "web" => Some(vec![HostId::new(0)]),
            "empty" => Some(Vec::new()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    /// Texts made of relevant pieces. Random characters rarely form them.
    fn soup(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(pieces), 0..60).prop_map(|pieces| pieces.concat())
    }

    const KDL: &[&str] = &[
        "a", " ", "\n", ";", "{", "}", "/-", "//", "/*", "*/", "\"", "\"\"\"", "#\"", "\"#", "#", "\\", "=",
        "(", ")", "#true", "true", "1", "0x", "1.1", "é", "\u{feff}", "\u{2028}", "\r", "-", "r\"", "'",
        "/- a {", "a {", "\t",
    ];

    const TEMPLATE: &[&str] = &[
        "{{",
        "}}",
        "{%",
        "%}",
        " ",
        "secret",
        "map",
        "list",
        "n",
        "name",
        "facts",
        ".os",
        ".family",
        "['pass-word']",
        ".host",
        "[0]",
        "|",
        "tojson",
        "join",
        "upper",
        "items",
        "default('x')",
        "first",
        "length",
        "if ",
        "else ",
        "endif",
        "for x in ",
        "endfor",
        "set x = ",
        "x",
        "~",
        "+",
        "-",
        "==",
        "(",
        ")",
        "[",
        "]",
        ",",
        "'",
        "\"",
        "{#",
        "#}",
        "not ",
        "in ",
        "is ",
        "defined",
        "wrong",
        "macro m()",
        "endmacro",
        "m()",
        "include ",
        "\n",
        "quote",
        "map(",
        "attribute=",
        "string",
        "urlencode",
        "1",
        "{",
        "}",
        ":",
        "range(9)",
        "namespace()",
        "dict(map)",
        "int",
        "sort",
    ];

    const NAMES: &[&str] = &[
        "web", "db1", "*", "!", "&", ",", "[", "]", "..", "1", "09", "a", " ", "'", "\"", "\\", "{{", "}}",
        "é", "\u{1}",
    ];

    proptest! {
        #[test]
        fn any_text_passes_the_guard_or_is_refused(text in prop_oneof![soup(KDL), ".{0,200}"]) {
            let started = Instant::now();
            guard(&text);
            prop_assert!(started.elapsed() < Duration::from_secs(5), "{:?} {text:?}", started.elapsed());
        }

        #[test]
        fn no_template_leaks(text in prop_oneof![soup(TEMPLATE), ".{0,200}"]) {
            template(&text);
            template(&format!("{{{{ {text} }}}}"));
        }

        #[test]
        fn names_are_read_or_refused(text in prop_oneof![soup(NAMES), ".{0,200}"]) {
            names(&text);
        }
    }

    #[test]
    fn the_corpus_holds() {
        let check = |target: &str, body: fn(&str)| {
            let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
            let files: Vec<_> =
                std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(!files.is_empty(), "{target} has no corpus");
            for file in files {
                let bytes = std::fs::read(file).unwrap();
                body(&String::from_utf8_lossy(&bytes));
            }
        };
        check("guard", guard);
        check("template", template);
        check("names", names);
    }
}

//! Values that could break out of their place in a file. The test adds the end of a line, a directive or a quotation
//! to every text in every case of every built-in module. Either the value is refused, or the files keep their number
//! of lines and directives. It also adds a line break to every text in the examples of every kind. Either the value
//! is refused, or the kind says that it may have several lines.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use converge_engine::modules::BUILTIN;
use converge_lang::{Case, CaseOutcome, Loader, MemorySources};
use converge_model::KindInfo;

use crate::world::repository;

/// The texts that are added to a value.
const HOSTILE: [&str; 8] = [
    "\nevil on",
    "\r\n[evil]\r\nenabled = true",
    "; evil on",
    "{ evil } evil",
    "\"; evil on; \"",
    "'; evil on; '",
    " # evil",
    "\\",
];

/// Parameters that are inserted unchanged into a file, a shell or a page, as their documentation says. Also contents
/// of files.
const AS_THEY_STAND: [&str; 12] = [
    "raw",
    "main",
    "http",
    "maintenance-page",
    "build",
    "migrate",
    "exec",
    "reload",
    "certificate-content",
    "key-content",
    "repository key",
    "content",
];

/// Texts of kinds that may have line breaks: contents, scripts, and words of a command.
const SEVERAL_LINES: [&str; 9] = [
    "block content",
    "command",
    "command stdin",
    "command unless",
    "file content",
    "file validate",
    "firewall-policy rules",
    "tree file content",
    "tree validate",
];

fn loader() -> Loader {
    let kinds = converge_resources::registry().map(|kind| kind as &dyn KindInfo).collect();
    Loader::new(Arc::new(MemorySources::default()), kinds, BUILTIN.to_vec())
}

#[test]
fn a_text_of_a_kind_is_one_line_unless_the_kind_says_otherwise() {
    let loader = loader();
    let (mut tried, mut accepted) = (0, BTreeSet::new());
    for kind in converge_resources::registry() {
        let schema = kind.schema();
        for example in &schema.examples {
            let path = format!("modules/{}/cases/example.kdl", schema.name);
            let is_accepted = |text: &str| {
                let outcome = Case::read(&path, text).map(|case| case.run(&loader));
                matches!(outcome, Ok(CaseOutcome::Resources(_)))
            };
            if !is_accepted(&example.kdl) {
                // The example needs a file of the project.
                continue;
            }
            for literal in literals(&example.kdl, &schema.name) {
                let (before, after) = example.kdl.split_at(literal.end);
                tried += 1;
                // An `id` is only a part of an address.
                let is_value = literal.place.last().is_some_and(|param| param != "id");
                if is_value && is_accepted(&format!("{before}\\nevil{after}")) {
                    accepted.insert(literal.place.join(" "));
                }
            }
        }
    }
    assert!(tried > 100, "only {tried} texts were tried");
    assert_eq!(accepted.iter().map(String::as_str).collect::<Vec<_>>(), SEVERAL_LINES);
}

#[test]
fn a_value_of_a_module_is_one_value_in_the_file_that_it_is_written_to() {
    let loader = loader();
    let mut known = BTreeSet::new();
    let tried: Vec<(Written, Vec<Literal>)> = cases()
        .into_iter()
        .map(|case| {
            let is_new = |literal: &Literal| known.insert((case.module.clone(), literal.place.clone()));
            let literals = literals(&case.text, &case.module).into_iter();
            let literals = literals.filter(|literal| !literal.stands_as_it_is()).filter(is_new).collect();
            (case, literals)
        })
        .collect();
    assert!(known.len() > 60, "only {} values were tried", known.len());
    let next = AtomicUsize::new(0);
    let work = || -> Vec<String> {
        let cases = std::iter::from_fn(|| tried.get(next.fetch_add(1, Ordering::Relaxed)));
        cases.flat_map(|(case, literals)| case.torn(&loader, literals)).collect()
    };
    let torn: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    assert!(torn.is_empty(), "{} are torn:\n{}", torn.len(), torn.join("\n"));
}

/// A case of a built-in module that compiles.
struct Written {
    module: String,
    path: String,
    text: String,
}

/// Returns the cases of all built-in modules that compile without a mistake.
fn cases() -> Vec<Written> {
    let mut cases = Vec::new();
    for module in BUILTIN {
        let folder = format!("modules/{}/cases", module.name);
        for entry in std::fs::read_dir(repository().join(&folder)).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_some_and(|ending| ending == "kdl")
                && file.with_extension("expected").exists()
            {
                let path = format!("{folder}/{}", file.file_name().unwrap().to_str().unwrap());
                let text = std::fs::read_to_string(&file).unwrap();
                cases.push(Written { module: module.name.to_owned(), path, text });
            }
        }
    }
    cases.sort_by(|a, b| a.path.cmp(&b.path));
    cases
}

impl Written {
    /// Returns the places where adding a hostile text to one of `literals` changes the shape of the files. A refused
    /// value does not count.
    fn torn(&self, loader: &Loader, literals: &[Literal]) -> Vec<String> {
        if literals.is_empty() {
            return Vec::new();
        }
        let Some(plain) = self.shape(loader, &self.text) else {
            return vec![format!("{} is refused as it is", self.path)];
        };
        let lengthened = literals.iter().flat_map(|literal| HOSTILE.map(|hostile| (literal, hostile)));
        let torn = lengthened.filter_map(|(literal, hostile)| {
            let (before, after) = self.text.split_at(literal.end);
            // Rust escapes these texts in the same way as KDL.
            let escaped = format!("{hostile:?}");
            let found = self.shape(loader, &format!("{before}{}{after}", &escaped[1..escaped.len() - 1]))?;
            let place = literal.place.join(" ");
            (found != plain).then(|| format!("{}: {place} with {hostile:?}: {plain:?} {found:?}", self.path))
        });
        torn.collect()
    }

    /// Returns the shape of the files that the case with this text writes. None if it is refused.
    fn shape(&self, loader: &Loader, text: &str) -> Option<Shape> {
        let CaseOutcome::Resources(resources) = Case::read(&self.path, text).ok()?.run(loader) else {
            return None;
        };
        let contents = resources.lines().filter_map(|line| line.trim_start().strip_prefix('|'));
        Some(if self.module == "fail2ban" { Shape::of_ini(contents) } else { Shape::of_blocks(contents) })
    }
}

/// The structure of the files, as a program reads it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shape {
    lines: usize,
    /// How often each sign occurs that ends a directive, opens or closes a block, or begins a comment.
    signs: [usize; 4],
    is_open: bool,
}

impl Shape {
    /// Returns the shape of files in which a semicolon ends a directive, and quotations may contain any sign.
    fn of_blocks<'a>(contents: impl Iterator<Item = &'a str>) -> Self {
        let mut shape = Self::default();
        let mut quote = None;
        for line in contents {
            shape.lines += 1;
            let mut signs = line.chars().chain(['\n']);
            while let Some(sign) = signs.next() {
                match (quote, sign) {
                    (_, '\\') => drop(signs.next()),
                    (Some(open), _) if open == sign => quote = None,
                    (None, '"' | '\'') => quote = Some(sign),
                    (None, _) => {
                        let place = [';', '{', '}', '#'].iter().position(|other| *other == sign);
                        place.into_iter().for_each(|place| shape.signs[place] += 1);
                    }
                    _ => {}
                }
            }
        }
        Self { is_open: quote.is_some(), ..shape }
    }

    /// Returns the shape of files in which each line is an option. A semicolon begins a comment after a blank. The
    /// other signs do so only at the beginning of a line.
    fn of_ini<'a>(contents: impl Iterator<Item = &'a str>) -> Self {
        let mut shape = Self::default();
        for line in contents.map(str::trim) {
            shape.lines += 1;
            shape.signs[0] += usize::from(line.contains(" ;") || line.contains("\t;"));
            shape.signs[1] += usize::from(line.starts_with(['#', ';', '[']));
        }
        shape
    }
}

/// A quoted text in a case or an example.
struct Literal {
    /// The position of its closing quote.
    end: usize,
    /// The names of its nodes, from the outermost to the parameter.
    place: Vec<String>,
}

impl Literal {
    fn stands_as_it_is(&self) -> bool {
        let place = self.place.join(" ");
        AS_THEY_STAND.iter().any(|name| place.ends_with(&format!(" {name}")))
    }
}

/// Returns the quoted texts that are plain values in the nodes of `owner`, a kind or a module.
fn literals(text: &str, owner: &str) -> Vec<Literal> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(quote) = text[at..].find('"').map(|quote| at + quote) {
        let Some(end) = closing(text, quote + 1) else { break };
        at = end + 1;
        let place = place(&text[..quote]);
        let is_plain = !text[..quote].ends_with([')', '#']) && !text[at..].starts_with('#');
        if is_plain && place.first().is_some_and(|node| node == owner) {
            found.push(Literal { end, place });
        }
    }
    found
}

/// Returns the end of the quotation whose text begins at `from`.
fn closing(text: &str, from: usize) -> Option<usize> {
    let mut is_escaped = false;
    for (at, sign) in text[from..].char_indices() {
        match sign {
            '"' if !is_escaped => return Some(from + at),
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    None
}

/// Returns the names of the nodes that are open at the end of `before`, and of its last property. An example is
/// `nginx site listen`.
fn place(before: &str) -> Vec<String> {
    let mut open: Vec<String> = Vec::new();
    let mut node = String::new();
    let mut is_quoted = false;
    let mut signs = before.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '"' => is_quoted = !is_quoted,
            '\\' if is_quoted => drop(signs.next()),
            _ if is_quoted => {}
            '{' => open.push(std::mem::take(&mut node)),
            '}' => {
                open.pop();
                node.clear();
            }
            '\n' | ';' => node.clear(),
            _ => node.push(sign),
        }
    }
    let property = node.strip_suffix('=').and_then(|node| node.rsplit(' ').next()).map(str::to_owned);
    let names = open.iter().chain([&node]).filter_map(|node| node.split_whitespace().next());
    names.map(str::to_owned).chain(property).collect()
}

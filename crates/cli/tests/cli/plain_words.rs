//! Holds comments, texts and documents to plain sentences: the subject first, and an actor that has a name.

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Group, TokenStream, TokenTree};

use crate::world::repository;

/// Words that leave the actor open, each with the words to use.
const BANNED: [(&str, &str); 4] = [
    ("nobody", "the user, no other run, no host"),
    ("somebody", "the user, another run, a program"),
    ("whoever", "the user who, the caller that"),
    ("none where", "none if"),
];

/// Beginnings of sentences whose subject comes late.
const BEGINNINGS: [&str; 5] = ["What ", "Whoever ", "Whom ", "That ", "Nor "];

/// The account `nobody`, as configuration and code write it. It is not the word.
const ACCOUNT: [&str; 4] = ["\"nobody\"", "(nobody)", "nobody:x:65534:65534:nobody:", "nobody:*:"];

/// Words that users of other tools search for.
const SEARCHED: [&str; 8] =
    ["drift", "dry run", "handler", "idempotent", "lock-out", "override", "precedence", "rollback"];

fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_built = path.file_name().is_some_and(|name| name == "target" || name == "corpus");
        if path.is_dir() && !is_built {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
}

/// Returns why `line` is not plain; `begins`: whether a sentence begins with it.
fn fault(line: &str, begins: bool) -> Option<String> {
    let lower = ACCOUNT.iter().fold(line.to_lowercase(), |line, account| line.replace(account, ""));
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let spaced = format!(" {} ", words.join(" "));
    let banned = BANNED.iter().find(|(word, _)| spaced.contains(&format!(" {word} ")));
    if let Some((word, instead)) = banned {
        return Some(format!("`{word}`: write {instead}"));
    }
    let beginning = BEGINNINGS.iter().find(|word| begins && line.starts_with(**word))?;
    Some(format!("`{}` begins it: put the subject first", beginning.trim_end()))
}

fn assert_plain(mut found: Vec<String>) {
    found.sort();
    found.dedup();
    assert!(found.is_empty(), "{} lines:\n{}", found.len(), found.join("\n"));
}

/// Adds the faults of the comments in a file. A comment is a line that starts with `mark`.
fn check_comments(path: &Path, mark: &str, found: &mut Vec<String>) {
    let text = fs::read_to_string(path).unwrap();
    let mut before_ends = true;
    for (number, line) in text.lines().enumerate() {
        let comment =
            line.trim_start().strip_prefix(mark).map(|rest| rest.trim_start_matches(['/', '!']).trim());
        let Some(comment) = comment else {
            before_ends = true;
            continue;
        };
        // A word at the beginning of a line may be in the middle of a sentence.
        if let Some(fault) = fault(comment, before_ends) {
            found.push(format!("{}:{}: {fault}", path.display(), number + 1));
        }
        before_ends = comment.is_empty() || comment.ends_with(['.', ':', '?', '!']);
    }
}

/// Adds the faults of a document. Each of its lines is a sentence or begins with one.
fn check_document(path: &Path, found: &mut Vec<String>) {
    let text = fs::read_to_string(path).unwrap();
    let mut is_code = false;
    for (number, line) in text.lines().enumerate() {
        is_code ^= line.starts_with("```");
        let prose = line.trim_start_matches([' ', '-', '*', '|']);
        if let Some(fault) = fault(prose, true).filter(|_| !is_code) {
            found.push(format!("{}:{}: {fault}", path.display(), number + 1));
        }
    }
}

/// Returns the string literals of Rust code, each with the number of its first line. The tests at the end of a file
/// have no texts for users.
fn literals(code: &str) -> Vec<(usize, String)> {
    let code = code.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut found = Vec::new();
    collect(code.parse().unwrap(), &mut found);
    found
}

fn collect(code: TokenStream, found: &mut Vec<(usize, String)>) {
    for token in code {
        match token {
            // Documentation is a comment, and checked as one.
            TokenTree::Group(group) if !is_documentation(&group) => collect(group.stream(), found),
            TokenTree::Literal(literal) if literal.to_string().ends_with(['"', '#']) => {
                // A text goes on behind the indentation of the next line.
                let text = literal.to_string().split("\\\n").map(str::trim_start).collect::<String>();
                let text = text.trim_matches(['r', '#', '"']).replace("\\n", "\n").replace("\\\"", "\"");
                found.push((literal.span().start().line, text));
            }
            _ => {}
        }
    }
}

/// Whether a group is that of `#[doc = "…"]`.
fn is_documentation(group: &Group) -> bool {
    matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(name)) if name == "doc")
}

/// Whether the code of a file, from the root of the repository, is that of a crate and not of its tests.
fn is_source(path: &Path) -> bool {
    let has = |name: &str| path.iter().any(|part| part == name);
    has("src") && !has("tests") && !path.ends_with("tests.rs")
}

#[test]
fn comments_are_plain() {
    let (root, mut all, mut found) = (repository(), Vec::new(), Vec::new());
    files(&root.join("crates"), "rs", &mut all);
    files(&root.join("tests"), "rs", &mut all);
    assert!(all.len() > 500);
    for path in all.iter().filter(|path| !path.ends_with("plain_words.rs")) {
        check_comments(path, "//", &mut found);
    }
    assert_plain(found);
}

#[test]
fn texts_in_code_are_plain() {
    let (root, mut all, mut found) = (repository(), Vec::new(), Vec::new());
    files(&root.join("crates"), "rs", &mut all);
    all.retain(|path| path.strip_prefix(&root).is_ok_and(is_source));
    let mut count = 0;
    for path in &all {
        for (line, text) in literals(&fs::read_to_string(path).unwrap()) {
            // A text without a blank is a name.
            for sentence in text.lines().flat_map(|line| line.split(". ")).filter(|text| text.contains(' ')) {
                count += 1;
                if let Some(fault) = fault(sentence.trim(), true) {
                    found.push(format!("{}:{line}: {fault}: {sentence}", path.display()));
                }
            }
        }
    }
    assert!(count > 2000, "only {count} sentences");
    assert_plain(found);
}

#[test]
fn projects_are_plain() {
    let (root, mut found) = (repository(), Vec::new());
    for (ending, mark) in [("kdl", "//"), ("j2", "#"), ("py", "#"), ("sh", "#"), ("nft", "#"), ("sql", "--")]
    {
        let mut all = Vec::new();
        ["modules", "inventories", "examples"]
            .iter()
            .for_each(|name| files(&root.join(name), ending, &mut all));
        assert!(!all.is_empty(), "{ending}");
        for path in &all {
            check_comments(path, mark, &mut found);
            // The messages and documentation of a module are texts between its other words.
            for (number, line) in fs::read_to_string(path).unwrap().lines().enumerate() {
                if let Some(fault) = fault(line, false) {
                    found.push(format!("{}:{}: {fault}", path.display(), number + 1));
                }
            }
        }
    }
    assert_plain(found);
}

#[test]
fn documents_are_plain() {
    let (root, mut all, mut found) = (repository(), Vec::new(), Vec::new());
    files(&root.join("docs"), "md", &mut all);
    all.extend(["README.md", "inventories/README.md", "examples/shop/README.md"].map(|path| root.join(path)));
    // Old changes stay as they were told.
    for path in all.iter().filter(|path| !path.ends_with("CHANGELOG.md")) {
        check_document(path, &mut found);
    }
    assert_plain(found);
}

#[test]
fn documents_have_the_words_that_people_search_for() {
    let (root, mut all) = (repository(), Vec::new());
    files(&root.join("docs"), "md", &mut all);
    all.push(root.join("README.md"));
    // The glossary explains words that other documents use.
    let is_used = |path: &&PathBuf| !path.ends_with("CHANGELOG.md") && !path.ends_with("glossary.md");
    let text: String =
        all.iter().filter(is_used).map(|path| fs::read_to_string(path).unwrap().to_lowercase()).collect();
    let missing: Vec<_> = SEARCHED.iter().filter(|word| !text.contains(**word)).collect();
    assert!(missing.is_empty(), "no document has {missing:?}");
}

#[test]
fn faults_are_found() {
    assert!(fault("asked of nobody", false).is_some() && fault("None where it is gone.", true).is_some());
    assert!(fault("What is there stays.", true).is_some() && fault("What is there stays.", false).is_none());
    assert!(fault("user=\"nobody\" (nobody)", false).is_none());
}

#[test]
fn literals_are_found() {
    let check = |code: &str, wanted: &[(usize, &str)]| {
        let found = literals(code);
        let found: Vec<_> = found.iter().map(|(line, text)| (*line, text.as_str())).collect();
        assert_eq!(found, wanted, "{code}");
    };
    check("// \"a\"\n/** \"b\" */ f(\"c\", 'd', '\"', '\\'', \"e\");", &[(2, "c"), (2, "e")]);
    check("fn f<'a>(x: &'a str) { \"one \\\n    two\\nthree\" }", &[(1, "one two\nthree")]);
    check("r\"\\\"; r#\"a \"b\" c\"#;", &[(1, "\\"), (1, "a \"b\" c")]);
    check("f(\n\"a\");\n\n#[cfg(test)]\nmod tests { \"b\" }", &[(2, "a")]);
}

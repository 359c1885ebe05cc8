//! Holds comments and documents to plain sentences: the subject first, and an actor that has a name.

use std::fs;
use std::path::{Path, PathBuf};

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
    let lower = line.to_lowercase();
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

fn assert_plain(found: Vec<String>) {
    assert!(found.is_empty(), "{} lines:\n{}", found.len(), found.join("\n"));
}

#[test]
fn comments_are_plain() {
    let (root, mut all, mut found) = (repository(), Vec::new(), Vec::new());
    files(&root.join("crates"), "rs", &mut all);
    files(&root.join("tests"), "rs", &mut all);
    assert!(all.len() > 500);
    for path in all.iter().filter(|path| !path.ends_with("plain_words.rs")) {
        let text = fs::read_to_string(path).unwrap();
        let mut before_ends = true;
        for (number, line) in text.lines().enumerate() {
            let comment =
                line.trim_start().strip_prefix("//").map(|rest| rest.trim_start_matches(['/', '!']).trim());
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
    assert_plain(found);
}

#[test]
fn documents_are_plain() {
    let (root, mut all, mut found) = (repository(), Vec::new(), Vec::new());
    files(&root.join("docs"), "md", &mut all);
    all.extend(["README.md", "inventories/README.md", "examples/shop/README.md"].map(|path| root.join(path)));
    // The pages of kinds are made from the code; old changes stay as they were told.
    let is_written =
        |path: &&PathBuf| !path.ends_with("CHANGELOG.md") && !path.starts_with(root.join("docs/reference"));
    for path in all.iter().filter(is_written) {
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
    assert_plain(found);
}

#[test]
fn faults_are_found() {
    assert!(fault("asked of nobody", false).is_some() && fault("None where it is gone.", true).is_some());
    assert!(fault("What is there stays.", true).is_some() && fault("What is there stays.", false).is_none());
}

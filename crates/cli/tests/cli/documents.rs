//! Checks that the files, folders, pages and tests that documents name exist.

use std::fs;
use std::path::{Path, PathBuf};

use crate::world::repository;

/// The documents, each with its folder.
fn documents() -> Vec<(PathBuf, String)> {
    let root = repository();
    let mut folders = vec![root.join("docs"), root.join("docs/design"), root.join("docs/reference")];
    folders.push(root.clone());
    let mut found = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push((path.clone(), fs::read_to_string(path).unwrap()));
            }
        }
    }
    found
}

/// Returns the texts between backticks, without code blocks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("\n```").step_by(2);
    prose.flat_map(|part| part.lines()).flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// `crates/agent/src/{look,act}` is two paths.
fn expanded(path: &str) -> Vec<String> {
    let parts = path.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
    match parts {
        Some((before, (names, after))) => {
            names.split(',').map(|name| format!("{before}{name}{after}")).collect()
        }
        None => vec![path.to_owned()],
    }
}

#[test]
fn paths_that_documents_name_exist() {
    let root = repository();
    let mut missing = Vec::new();
    for (document, text) in documents().iter().filter(|(path, _)| !path.ends_with("CHANGELOG.md")) {
        for path in quoted(text).flat_map(expanded) {
            let is_ours = ["crates/", "modules/", "docs/", "tests/", "inventories/", "examples/"]
                .iter()
                .any(|folder| path.starts_with(folder));
            // `NAME` stands for any name. What a run makes is not here.
            let is_exact = !path.contains(|c: char| c.is_ascii_uppercase() || " *…[".contains(c));
            let is_exact = is_exact && !path.ends_with("/sandbox");
            let is_example = path.starts_with("modules/")
                && !root.join("modules").join(path.split('/').nth(1).unwrap()).exists();
            if is_ours && is_exact && !is_example && !root.join(&path).exists() {
                missing.push(format!("{}: {path}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn pages_that_documents_link_to_exist() {
    let mut missing = Vec::new();
    for (document, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if link.contains("://") || link.contains(' ') || link.starts_with('<') {
                continue;
            }
            let target =
                if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            if !target.exists() || !has_anchor(&target, anchor) {
                missing.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// Whether a page has the heading that GitHub makes `anchor` of.
fn has_anchor(page: &Path, anchor: &str) -> bool {
    if anchor.is_empty() {
        return true;
    }
    let text = fs::read_to_string(page).unwrap();
    let headings =
        text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings.map(anchor_of).any(|heading| heading == anchor)
}

fn anchor_of(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn tests_that_the_guide_names_exist() {
    let root = repository();
    let text = fs::read_to_string(root.join("docs/extending.md")).unwrap();
    let is_test =
        |name: &&str| name.contains('_') && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let names: Vec<_> = quoted(&text).filter(is_test).filter(|name| name.matches('_').count() > 2).collect();
    assert!(names.len() >= 3, "{names:?}");
    let files = quoted(&text).filter(|path| path.ends_with(".rs")).map(|path| root.join(path));
    let code: String = files.filter_map(|path| fs::read_to_string(path).ok()).collect();
    for name in names {
        assert!(code.contains(&format!("fn {name}()")), "{name}");
    }
}

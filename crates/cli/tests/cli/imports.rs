//! Checks which file uses which. No crate has cycles. In `lang` the folders have an order: earlier stages of reading
//! do not use later ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::world::repository;

/// The folders of `lang` and the files beside them, from the top. Each uses only those below it.
const ORDER: [&str; 12] = [
    "lib, case, fuzz, analysis, format",
    "inventory",
    "catalog",
    "expand",
    "evaluate",
    "resolve",
    "project",
    "settings",
    "schema",
    "syntax",
    "template",
    "source",
];

/// The modules that each file uses, with their module paths: `syntax::parse`.
type Uses = BTreeMap<String, BTreeSet<String>>;

#[test]
fn folders_use_what_is_below_them() {
    let level = |module: &str| {
        let folder = module.split("::").next().unwrap_or_default();
        ORDER.iter().position(|line| line.split(", ").any(|name| name == folder))
    };
    let uses = uses("lang").unwrap();
    let mut upward = Vec::new();
    for (user, used) in uses.iter().flat_map(|(user, used)| used.iter().map(move |used| (user, used))) {
        let (from, to) = (level(user), level(used));
        assert!(from.is_some() && to.is_some(), "{user} and {used} have a place in the order");
        if to < from {
            upward.push(format!("{user} uses {used}"));
        }
    }
    assert_eq!(upward, Vec::<String>::new());
}

#[test]
fn no_file_of_the_language_uses_one_that_uses_it() {
    assert_eq!(circles(&uses("lang").unwrap()), Vec::<&String>::new());
}

/// In other crates a file may use the file of its folder, which has what all files in the folder share.
#[test]
fn no_file_uses_one_that_uses_it() {
    let crates = std::fs::read_dir(repository().join("crates")).unwrap();
    let mut found = Vec::new();
    let mut count = 0;
    for folder in crates.map(|folder| folder.unwrap().file_name().into_string().unwrap()) {
        let mut uses = uses(&folder).unwrap();
        count += uses.len();
        for (user, used) in &mut uses {
            let holds = |holder: &String| holder == "lib" || user.starts_with(&format!("{holder}::"));
            used.retain(|used| !holds(used));
        }
        found.extend(circles(&uses).into_iter().map(|file| format!("{folder}: {file}")));
    }
    assert!(count > 300, "the sources are there: {count}");
    assert_eq!(found, Vec::<String>::new());
}

/// Returns the files that use themselves through others.
fn circles(uses: &Uses) -> Vec<&String> {
    let leads_back = |user: &&String| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&String> = uses[*user].iter().collect();
        while let Some(used) = next.pop() {
            if seen.insert(used) {
                next.extend(uses.get(used).into_iter().flatten());
            }
        }
        seen.contains(*user)
    };
    uses.keys().filter(leads_back).collect()
}

#[test]
fn a_path_is_found_in_every_form() {
    let paths = |text: &str| -> Vec<String> {
        let paths = paths(text, &["a".to_owned(), "b".to_owned()]);
        paths.into_iter().map(|path| path.join("::")).collect()
    };
    assert_eq!(paths("use crate::x::{self, y::{Z, w::V}};"), ["x::self", "x::y::Z", "x::y::w::V"]);
    assert_eq!(paths("let x = crate::x::y(super::c::Z);"), ["x::y", "a::c::Z"]);
    assert_eq!(paths("/// As [`crate::x::Y`].\nuse super::super::q;"), ["q"]);
    assert_eq!(paths("mod c;\nuse c::d;\nx(c::e);"), ["a::b::c::d", "a::b::c::e"]);
    assert_eq!(paths("#[cfg(test)]\nmod tests { use crate::x; }"), Vec::<String>::new());
}

/// Returns what each file of a crate uses in the crate, without tests.
fn uses(package: &str) -> std::io::Result<Uses> {
    let root = repository().join("crates").join(package).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    let name = |file: &PathBuf| module_of(file.strip_prefix(&root).unwrap_or(file)).join("::");
    let modules: BTreeMap<String, PathBuf> = files.into_iter().map(|file| (name(&file), file)).collect();
    let used = |(module, file): (&String, &PathBuf)| {
        let own: Vec<String> = module.split("::").map(str::to_owned).collect();
        let of_path = |path: Vec<String>| {
            let mut prefixes = (1..=path.len()).rev().map(|length| path[..length].join("::"));
            // A name at the root of the crate is re-exported from elsewhere.
            prefixes.find(|prefix| modules.contains_key(prefix)).unwrap_or_else(|| "lib".to_owned())
        };
        let found = paths(&std::fs::read_to_string(file)?, &own).into_iter().map(of_path);
        Ok((module.clone(), found.filter(|used| used != module).collect()))
    };
    modules.iter().map(used).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|of| of == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Converts `syntax/parse.rs` to `syntax::parse`, and `schema/mod.rs` to `schema`.
fn module_of(file: &Path) -> Vec<String> {
    let path = file.with_extension("");
    let mut parts: Vec<String> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts.pop_if(|last| last == "mod");
    parts
}

/// Returns the paths from the crate's root in `text`. `own` is the module of `text`.
fn paths(text: &str, own: &[String]) -> Vec<Vec<String>> {
    // A file ends with its own tests. Tests in separate files are skipped as files.
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: String =
        code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    let children = code.match_indices("mod ").filter_map(|(at, _)| code[at + 4..].split_once(';'));
    let children = children.map(|(name, _)| name).filter(|name| name.chars().all(is_word));
    let children = children.map(|name| (format!("{name}::"), [own, &[name.to_owned()]].concat()));
    let roots = [("crate::".to_owned(), Vec::new()), ("super::".to_owned(), own[..own.len() - 1].to_vec())];
    for (root, base) in roots.into_iter().chain(children) {
        for (at, _) in code.match_indices(&root) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|before| is_word(before) || matches!(before, ':' | '$')) {
                continue;
            }
            let mut base = base.clone();
            let mut rest = &code[at + root.len()..];
            while let Some(further) = rest.strip_prefix("super::") {
                base.pop();
                rest = further;
            }
            tree(rest, &base, &mut found);
        }
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Reads one tree of a `use`, or one path. Returns the rest of the text.
fn tree<'a>(text: &'a str, base: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = base.to_vec();
    let mut rest = text.trim_start();
    loop {
        if let Some(mut inside) = rest.strip_prefix('{') {
            loop {
                inside = inside.trim_start().trim_start_matches(',').trim_start();
                if let Some(after) = inside.strip_prefix('}') {
                    return after;
                }
                let before = inside.len();
                inside = tree(inside, &path, found);
                assert!(inside.len() < before, "a tree that is read: {inside:.40}");
            }
        }
        let end = rest.find(|c: char| !is_word(c) && c != '*').unwrap_or(rest.len());
        path.push(rest[..end].to_owned());
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(further) => rest = further,
            None => break,
        }
    }
    found.push(path);
    match rest.trim_start().strip_prefix("as ") {
        Some(alias) => alias.trim_start_matches(is_word),
        None => rest,
    }
}

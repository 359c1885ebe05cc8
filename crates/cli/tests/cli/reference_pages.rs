//! The reference pages have the output of the tool itself. `CONVERGE_WRITE_DOCS=1` writes them again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::world::{World, repository};

fn check(path: &Path, text: &str) {
    if std::env::var_os("CONVERGE_WRITE_DOCS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        return fs::write(path, text).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(written == text, "{} is out of date: run this test with CONVERGE_WRITE_DOCS=1", path.display());
}

#[test]
fn the_command_line() {
    let world = World::new();
    let help = |arguments: &[&str]| {
        let said = world.run(arguments);
        assert_eq!(said.exit, 0, "{}", said.err);
        said.out.lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>()
    };
    let top = help(&["--help"]);
    let mut page = format!(
        "# The command line\n\nThis page is the output of `converge --help` and of the help of each command.\n\n```text\n{top}```\n"
    );
    let mut queue: Vec<Vec<String>> = commands(&top).into_iter().rev().map(|name| vec![name]).collect();
    while let Some(words) = queue.pop() {
        let mut line: Vec<&str> = words.iter().map(String::as_str).collect();
        line.push("--help");
        let text = help(&line);
        page.push_str(&format!("\n## converge {}\n\n```text\n{text}```\n", words.join(" ")));
        let inner = commands(&text).into_iter().rev();
        queue.extend(inner.map(|name| [words.clone(), vec![name]].concat()));
    }
    check(&repository().join("docs/cli.md"), &page);
}

/// Returns the commands in a help text.
fn commands(help: &str) -> Vec<String> {
    let list = help.split("\nCommands:\n").nth(1).map_or("", |rest| rest.split("\n\n").next().unwrap());
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn kinds_and_modules() {
    let world = World::new();
    assert_eq!(world.run(&["docs", "--write", "pages"]).exit, 0);
    let pages = |folder: &Path| -> BTreeMap<String, String> {
        let entries =
            fs::read_dir(folder).map(|entries| entries.map(|entry| entry.unwrap().path()).collect());
        let paths: Vec<_> = entries.unwrap_or_default();
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        paths.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
    };
    let folder = repository().join("docs/reference");
    let written = pages(&world.project().join("pages"));
    written.iter().for_each(|(name, text)| check(&folder.join(name), text));
    let stale: Vec<_> = pages(&folder).into_keys().filter(|name| !written.contains_key(name)).collect();
    assert!(stale.is_empty(), "pages of nothing: {stale:?}");
}

//! The reference pages are what the tool says of itself. `CONVERGE_WRITE_DOCS=1` writes them anew.

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
    let commands = top.split("\nCommands:\n").nth(1).unwrap().split("\n\n").next().unwrap().lines();
    let names = commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let mut page = format!("# The command line\n\nAs `converge --help` says it.\n\n```text\n{top}```\n");
    for name in names {
        page.push_str(&format!("\n## converge {name}\n\n```text\n{}```\n", help(&[name, "--help"])));
    }
    check(&repository().join("docs/cli.md"), &page);
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

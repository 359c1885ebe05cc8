//! Follows `docs/tutorial.md` exactly: writes its files, runs its commands, and checks their output against the page.
//!
//! A fence with `file=PATH` is that file of the project. In a `console` fence, a line that begins with `$ ` is run by
//! a shell. The lines below it are its output; `…` matches any text.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::path::Path;

use converge_tests::converge_binary;
use converge_tests::project::{Ended, Project};
use converge_tests::testbed::{Testbed, or_skip};

/// An action of the reader.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    /// Writes a file.
    Write { path: String, text: String },
    /// Runs a command and expects these lines.
    Run { line: String, printed: Vec<String> },
}

#[test]
fn the_tutorial_does_what_it_says() {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tutorial.md")).unwrap();
    let Some(testbed) = or_skip(Testbed::up(&["web1"])) else { return };
    let reader = Project::new("", Some(&testbed)).unwrap();
    std::fs::remove_dir_all(reader.path("project")).unwrap();
    std::fs::create_dir(reader.path("project")).unwrap();
    for act in acts(&text) {
        match act {
            Act::Write { path, text } => reader.write(&format!("project/{path}"), text).unwrap(),
            Act::Run { line, printed } => check(&line, &printed, &run(&reader, &line)),
        }
    }
}

fn run(reader: &Project, line: &str) -> Ended {
    let tool = converge_binary();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", tool.parent().unwrap().display());
    let mut shell = reader.program("/bin/sh");
    shell.env("PATH", path).env("USER", "ada").args(["-c", line]);
    shell.output().unwrap().into()
}

fn check(line: &str, printed: &[String], ended: &Ended) {
    let all = format!("{}{}", ended.stdout, ended.stderr);
    let mut rest = all.lines();
    for wanted in printed {
        assert!(rest.any(|line| matches(wanted, line)), "`{line}` did not print {wanted:?}: {ended}");
    }
}

/// Whether a line matches a pattern, without blanks at its ends.
fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.trim().split('…');
    let Some(mut rest) = line.trim().strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

fn acts(text: &str) -> Vec<Act> {
    let mut acts = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else { continue };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if let Some((_, path)) = info.split_once("file=") {
            acts.push(Act::Write { path: path.trim().to_owned(), text: body.join("\n") + "\n" });
        } else if info.trim() == "console" {
            acts.extend(commands(&body));
        }
    }
    acts
}

fn commands(body: &[&str]) -> Vec<Act> {
    let mut acts = Vec::new();
    for line in body {
        match (line.strip_prefix("$ "), acts.last_mut()) {
            (Some(command), _) => acts.push(Act::Run { line: command.to_owned(), printed: Vec::new() }),
            (None, Some(Act::Run { printed, .. })) if !line.trim().is_empty() => {
                printed.push((*line).to_owned())
            }
            _ => {}
        }
    }
    acts
}

#[test]
fn a_tutorial_is_read_as_its_reader_would() {
    let text = "# T\n```kdl file=a/b.kdl\nx\n```\n```console\n$ one\n  + y … z\n\n$ two\n```\n```text\n$ three\n```\n";
    let run = |line: &str, printed: &[&str]| Act::Run {
        line: line.to_owned(),
        printed: printed.iter().map(|line| (*line).to_owned()).collect(),
    };
    let write = Act::Write { path: "a/b.kdl".to_owned(), text: "x\n".to_owned() };
    assert_eq!(acts(text), [write, run("one", &["  + y … z"]), run("two", &[])]);
    let check = |pattern: &str, line: &str, expected: bool| {
        assert_eq!(matches(pattern, line), expected, "{pattern} {line}")
    };
    check("  + y … z", "+ y 1 2 z", true);
    check("a…b…c", "axxbxxc", true);
    check("a…b…c", "axxc", false);
    check("plain", "plain ", true);
    check("plain", "plain more", false);
    check("took … s", "took 0.4 s", true);
}

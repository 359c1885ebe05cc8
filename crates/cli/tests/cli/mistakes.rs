//! Mistakes of a user: each ends quickly with exit code 1 and one clear message, and changes nothing.

use std::time::{Duration, Instant};

use crate::world::{Said, World};

/// A hundred times the usual duration of a mistake. Unlimited growth takes longer than this on any machine.
const SOON: Duration = Duration::from_secs(60);

fn check(world: &World, arguments: &[&str]) -> String {
    let before = world.traces();
    let began = Instant::now();
    let Said { exit, out, err } = world.run(arguments);
    assert!(began.elapsed() < SOON, "{arguments:?} took {:?}", began.elapsed());
    assert_eq!((exit, out.as_str()), (1, ""), "{arguments:?}: {err}");
    assert_eq!(world.traces(), before, "{arguments:?} left something behind");
    err
}

fn inventory(text: &str) -> World {
    let world = World::new();
    world.write("inventory.kdl", text);
    world
}

const LOCAL: &str = "connection \"local\" root=\"sandbox\"\nhost \"here\"\n";

#[test]
fn arguments() {
    let world = World::example("quickstart");
    insta::assert_snapshot!(check(&world, &["aply"]), @r"
    error: unrecognized subcommand 'aply'

      tip: a similar subcommand exists: 'apply'

    Usage: converge [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(check(&world, &["plan", ".", "--set", "x"]), @r"
    error: invalid value 'x' for '--set <NAME=VALUE>': write it as NAME=VALUE

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(check(&world, &["plan", ".", "--keep-connections", "60"]), @r"
    error: invalid value '60' for '--keep-connections <TIME>': write a time as `90s`, `5m`, `1h` or `7d`, or 0

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(check(&world, &["plan", ".", "--parallel", "0"]), @r"
    error: invalid value '0' for '--parallel <N>': 0 is not in 1..=10000

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(check(&world, &["plan", ".", "--ssh-config", "gone"]), @"error: failed to read gone: No such file or directory (os error 2)");
    insta::assert_snapshot!(check(&world, &["docs", "fil"]), @r"
    error: there is no kind or module called fil
      help: did you mean `file`?
    ");
}

#[test]
fn projects() {
    let world = World::new();
    insta::assert_snapshot!(check(&world, &["plan"]), @r"
    error: found no converge.kdl in [world]/project or above it, and no inventory was named
      help: name one, as in `converge plan inventory.kdl`, or go to the project's folder
    ");
    insta::assert_snapshot!(check(&world, &["plan", "gone.kdl"]), @"error: failed to read [world]/project/gone.kdl: No such file or directory (os error 2)");
    insta::assert_snapshot!(check(&inventory("connection \"local\"\n"), &["plan", "inventory.kdl"]), @r#"
      x the inventory defines no host
      help: write `host "web1"`, or `host "here"` with `connection "local"`
    "#);
}

#[test]
fn apply_without_a_terminal_needs_to_be_told() {
    let world = World::example("quickstart");
    insta::assert_snapshot!(check(&world, &["apply", "."]), @r"
    error: apply must ask for confirmation, and there is no terminal
      help: look at `converge plan` first, then apply with --yes
    ");
}

#[test]
fn a_time_zone_that_is_nowhere_is_noted_before_the_daemon_meets_it() {
    let world = inventory("drift zone=\"Europe/Atlantis\"\nhost \"a\" \"b\"\n");
    let said = world.run(&["check", "inventory.kdl"]);
    let error = "there is no time zone `Europe/Atlantis`";
    assert_eq!((said.exit, said.err.matches(error).count()), (0, 1), "{said:?}");
    let said = world.run(&["watch", "inventory.kdl"]);
    assert_eq!(said.exit, 1);
    assert!(said.err.contains(&format!("the drift policy of a: {error}")), "{said:?}");
}

#[test]
fn questions_about_hosts_and_variables_are_answered_despite_mistakes_elsewhere() {
    let world = World::example("quickstart");
    let broken = format!("{}\non \"here\" {{ flie \"/x\" }}\n", world.read("inventory.kdl"));
    world.write("inventory.kdl", &broken);
    assert_eq!(world.run(&["check", "."]).exit, 1);
    for (arguments, answer) in [
        (&["explain", "here", "greeting", "."][..], "greeting = "),
        (&["inventory", "."], "host here"),
        (&["inventory", ".", "--json"], "\"name\":\"here\""),
    ] {
        let said = world.run(arguments);
        assert!(said.exit == 0 && said.out.contains(answer), "{arguments:?}: {said:?}");
        // With --json a warning is one of the results.
        let told = if arguments.contains(&"--json") { &said.out } else { &said.err };
        assert!(told.contains("the project has 1 mistake"), "{arguments:?}: {told}");
    }
}

#[test]
fn selections() {
    let world = World::example("quickstart");
    insta::assert_snapshot!(check(&world, &["plan", ".", "--limit", "hear"]), @r"
      x no host and no group is called `hear`
      help: the only host is `here`
    ");
    insta::assert_snapshot!(check(&world, &["explain", "here", "greetin", "."]), @r"
      x `here` has no variable `greetin`
      help: did you mean `greeting`?
    ");
    insta::assert_snapshot!(check(&world, &["plan", ".", "--set", "greetin=x"]), @"
     x there is no variable `greetin`
      ,-[--set:1:7]
    1 | --set greetin=x
      :       ^^^^|^^^^
      :           `-- unknown variable
      `----
     help: did you mean `greeting`?
    ");
}

#[test]
fn inventories() {
    let with =
        |text: &str| check(&inventory(&format!("{LOCAL}{text}")), &["apply", "inventory.kdl", "--yes"]);
    insta::assert_snapshot!(with("on \"here\" { fil \"/x\" }\n"), @r#"
      x there is no kind or module `fil`
       ,-[inventory.kdl:3:13]
     2 | host "here"
     3 | on "here" { fil "/x" }
       :             ^|^
       :              `-- unknown
       `----
      help: did you mean `file`?
    "#);
    insta::assert_snapshot!(with("on \"here\" { file \"/x\" { content \"{{ nobody }}\" } }\n"), @r#"
      x `nobody` is undefined
       ,-[inventory.kdl:3:37]
     2 | host "here"
     3 | on "here" { file "/x" { content "{{ nobody }}" } }
       :                                     ^^^|^^
       :                                        `-- here
       `----
      help: use `default(…)` for a missing value
    "#);
    insta::assert_snapshot!(with("on \"here\" {\n"), @r#"
      x a `{` is never closed
       ,-[inventory.kdl:3:11]
     2 | host "here"
     3 | on "here" {
       :           |
       :           `-- never closed
       `----
      help: write `}` at the end of the file
    "#);
    insta::assert_snapshot!(with("include \"../../../etc/passwd\"\n"), @r#"
      x the path leads out of the project
       ,-[inventory.kdl:3:9]
     2 | host "here"
     3 | include "../../../etc/passwd"
       :         ^^^^^^^^^^|^^^^^^^^^^
       :                   `-- outside
       `----
      help: keep the files of an inventory in the project's folder
    "#);
}

#[test]
fn every_mistake_is_told_at_once() {
    let world = inventory(&format!(
        "{LOCAL}on \"here\" {{\n    file \"/x\" mod=\"0644\"\n    directory \"/y\" mode=\"rwx\"\n    file \"{{{{ a.b }}}}\"\n}}\n"
    ));
    let told = check(&world, &["check", "inventory.kdl"]);
    for mistake in ["mod", "rwx", "`a.b`"] {
        assert!(told.contains(mistake), "{mistake} is missing in\n{told}");
    }
}

#[test]
fn bombs_are_refused() {
    let nested = format!("a {}", "/-{ ".repeat(40));
    let deep = "a {".repeat(10_000);
    for text in [nested, deep] {
        check(&inventory(&text), &["check", "inventory.kdl"]);
    }
}

#[test]
fn mistakes_are_lines_for_scripts_in_the_order_of_the_file() {
    let world =
        inventory(&format!("{LOCAL}on \"here\" {{\n    file \"/x\" mode=\"rwx\"\n    fil \"/y\"\n}}\n"));
    let broken = inventory("host \"a\"\nvars { debug true }\n");
    let lines = |world: &World| {
        let said = world.run(&["check", "--json", "inventory.kdl"]);
        assert_eq!((said.exit, said.err.as_str()), (1, ""));
        let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        said.out
            .lines()
            .filter(|text| line(text)["type"] == "diagnostic")
            .map(|text| format!("{} {}", line(text)["line"], line(text)["code"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(lines(&world), ["4 \"lang::type\"", "5 \"lang::unknown\""]);
    assert_eq!(lines(&broken), ["2 \"lang::syntax\""]);
}

#[test]
fn results_that_cannot_be_written_are_a_failure() {
    let world = World::example("quickstart");
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let said = world.said(world.command(&["plan", ".", "--json"]).stdout(full).output().unwrap());
    assert_eq!((said.exit, said.err.matches("failed to write the results").count()), (1, 1), "{said:?}");
}

//! `init`: a project from options and from answers at a terminal, and the cases that it refuses.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::world::{Said, World, timeless};

/// Runs `init` at a terminal with these typed lines. Returns the exit code and the screen.
fn at_terminal(world: &World, arguments: &str, typed: &str) -> (Option<i32>, String) {
    let plain = world.command(&[]);
    let program = plain.get_program().to_str().unwrap();
    let line = format!("{program} init --no-color --no-progress {arguments}");
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env_clear();
    script.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.current_dir(world.project()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    keys.write_all(typed.as_bytes()).unwrap();
    let mut shown = String::new();
    child.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    (child.wait().unwrap().code(), shown)
}

/// Runs `init` without a terminal. It must fail and change nothing.
fn refused(world: &World, arguments: &[&str]) -> String {
    let before = world.traces();
    let Said { exit, out, err } = world.run(&[&["init"], arguments].concat());
    assert_eq!((exit, out.as_str()), (1, ""), "{arguments:?}: {err}");
    assert_eq!(world.traces(), before, "{arguments:?} left something behind");
    err
}

#[test]
fn a_sandbox_is_written_checked_and_planned_and_can_be_applied() {
    let world = World::new();
    let said = world.run(&["init", "first", "--local"]);
    assert_eq!(said.exit, 0, "{}", said.err);
    let os = said.out.lines().find(|line| line.contains("here runs ")).unwrap();
    insta::assert_snapshot!(timeless(&said.out.replace(os, "      +[os]")), @r"
    first/converge.kdl
    first/inventory.kdl
    first/.gitignore
    first: 1 host, no mistakes
    here
      + directory[/etc/hello]
          parent: /etc
          mode: 0755
      + file[/etc/hello/motd]
          +[os]
          mode: 0644

    Plan: 1 host will change (2 creates).   [time]
    ");
    insta::assert_snapshot!(said.err, @"now: converge apply first");
    insta::assert_snapshot!(world.read("first/converge.kdl"), @r#"
    project "first"
    inventory "inventory.kdl"
    "#);
    insta::assert_snapshot!(world.read("first/inventory.kdl"), @r#"
    // The hosts, and what they should be. `converge check` finds mistakes, `converge plan` shows what would change.
    // The folder sandbox stands for /: no root, no ssh. A host over ssh needs `connection user="admin" become="sudo"`.
    connection "local" root="sandbox"
    host "here"

    on "*" {
        directory "/etc/hello" mode="0755"
        file "/etc/hello/motd" mode="0644" {
            content "{{ host.name }} runs {{ facts.os.pretty_name }}.\n"
        }
        // Go on here: `converge docs` lists what a host can have, and `converge docs file` shows the parameters of one.
    }
    "#);
    insta::assert_snapshot!(world.read("first/.gitignore"), @r"
    # Archives of releases. A build makes them.
    /dist/
    # Private keys. Files of secrets (.age) are encrypted: commit them.
    *.key
    id_*
    !id_*.pub
    # The folder that stands for a host.
    /sandbox/
    ");
    assert!(!world.project().join("first/sandbox").exists(), "a plan writes nothing");
    assert_eq!(world.run(&["apply", "first", "--yes"]).exit, 0);
    assert!(world.read("first/sandbox/etc/hello/motd").starts_with("here runs "));
    assert_eq!(world.run(&["plan", "first", "--detailed-exitcode"]).exit, 0);
}

#[test]
fn a_host_over_ssh_is_written_as_the_options_say() {
    let world = World::new();
    let options =
        ["--host", "web1", "--address", "192.0.2.7", "--user", "admin", "--become", "doas", "--no-plan"];
    let said = world.run(&[&["init"], &options[..]].concat());
    assert_eq!((said.exit, said.err.as_str()), (0, "now: converge plan\n"));
    insta::assert_snapshot!(said.out, @r"
    converge.kdl
    inventory.kdl
    .gitignore
    project: 1 host, no mistakes
    ");
    insta::assert_snapshot!(world.read("inventory.kdl"), @r#"
    // The hosts, and what they should be. `converge check` finds mistakes, `converge plan` shows what would change.
    connection user="admin" become="doas"
    host "web1" address="192.0.2.7"

    on "*" {
        directory "/etc/hello" mode="0755"
        file "/etc/hello/motd" mode="0644" {
            content "{{ host.name }} runs {{ facts.os.pretty_name }}.\n"
        }
        // Go on here: `converge docs` lists what a host can have, and `converge docs file` shows the parameters of one.
    }
    "#);
    insta::assert_snapshot!(world.run(&["inventory"]).out, @r"
    project  1 host, 0 groups
      host web1  ssh admin@192.0.2.7, doas
    ");
    assert!(!world.read(".gitignore").contains("sandbox"));
}

#[test]
fn root_needs_no_way_to_become_root() {
    let world = World::new();
    assert_eq!(world.run(&["init", "--host", "a", "--user", "root", "--no-plan"]).exit, 0);
    assert!(world.read("inventory.kdl").contains("connection user=\"root\" become=\"none\"\nhost \"a\"\n"));
}

#[test]
fn an_unreachable_host_leaves_the_project_and_the_exit_code_of_plan() {
    let world = World::new();
    world.write("ssh_config", "Host *\n    ProxyCommand false\n");
    let said = world.run(&["init", "--host", "a", "--ssh-config", "ssh_config"]);
    assert_eq!(said.exit, 4, "{}{}", said.out, said.err);
    assert!(said.err.ends_with("now: converge plan\n"), "{}", said.err);
    assert_eq!(world.run(&["check"]).exit, 0);
}

#[test]
fn odd_names_are_quoted_or_refused_by_the_language() {
    let passes = |options: &[&str]| {
        let world = World::new();
        let said = world.run(&[&["init", "a b's \"{{ x }}\" \\n", "--no-plan"], options].concat());
        assert_eq!(said.exit, 0, "{options:?}: {}", said.err);
        assert_eq!(said.err, "now: converge plan 'a b'\\''s \"{{ x }}\" \\n'\n");
        assert!(said.out.contains("a b's \"{{ x }}\" \\n: "), "the name of the project: {}", said.out);
    };
    passes(&["--host", "web[1..3]"]);
    passes(&["--host", "web[1..3]", "--address", "10.0.0.[11..13]"]);
    passes(&["--host", "WEB_1.example-2.com", "--address", "2001:db8::1"]);
    passes(&["--host", "a", "--user", "quo\"te\\back'slash"]);
    passes(&["--host", "a", "--user", "#true"]);
    passes(&["--host", "a", "--user", "ünï;}//{"]);
    let check = |options: &[&str], words: &str| {
        let error = refused(&World::new(), &[&["--no-plan"], options].concat());
        assert!(error.contains(words) && error.ends_with("nothing was written\n"), "{options:?}: {error}");
    };
    check(&["--host", "web 1"], "host name");
    check(&["--host", ""], "host name");
    check(&["--host", "*"], "host name");
    check(&["--host", "web[3..1]"], "counts down");
    check(&["--host", "a\"} host \"b"], "host name");
    check(&["--host", "a", "--user", "ada lovelace"], "cannot be an argument of ssh");
    check(&["--host", "a", "--user=-oProxyCommand=x"], "cannot be an argument of ssh");
    check(&["--host", "a", "--address", ""], "cannot be an argument of ssh");
    check(&["--host", "a", "--address", "x\ny"], "cannot be an argument of ssh");
    check(&["--host", "a", "--user", "{{ nothing }}"], "nothing");
}

#[test]
fn a_file_that_exists_is_named_and_nothing_is_written() {
    let world = World::new();
    std::os::unix::fs::symlink("/nowhere", world.project().join("inventory.kdl")).unwrap();
    insta::assert_snapshot!(refused(&world, &[".", "--local"]), @r"
    error: inventory.kdl already exists; nothing was written
      help: name a new folder: `converge init FOLDER`
    ");
    world.write("taken", "");
    insta::assert_snapshot!(refused(&world, &["taken", "--local"]), @"error: failed to write taken: File exists (os error 17)");
}

#[test]
fn a_gitignore_that_exists_gets_the_lines_that_it_lacks() {
    let world = World::new();
    world.write(".gitignore", "/target\n/dist/");
    let said = world.run(&["init", "--local", "--no-plan"]);
    assert_eq!(said.exit, 0, "{}", said.err);
    assert!(said.out.contains("inventory.kdl\n.gitignore (6 lines added at its end)\n"), "{}", said.out);
    insta::assert_snapshot!(world.read(".gitignore"), @r"
    /target
    /dist/
    # Private keys. Files of secrets (.age) are encrypted: commit them.
    *.key
    id_*
    !id_*.pub
    # The folder that stands for a host.
    /sandbox/
    ");
    let complete = World::new();
    complete.write(".gitignore", &world.read(".gitignore"));
    let said = complete.run(&["init", "--local", "--no-plan"]);
    assert!(said.exit == 0 && !said.out.contains(".gitignore"), "{}", said.out);
    assert_eq!(complete.read(".gitignore"), world.read(".gitignore"));
}

#[test]
fn a_gitignore_that_cannot_be_read_is_an_error_before_anything_is_written() {
    let world = World::new();
    std::os::unix::fs::symlink("/nowhere", world.project().join(".gitignore")).unwrap();
    insta::assert_snapshot!(refused(&world, &["--local"]), @r"
    error: .gitignore is a link, which git does not follow; nothing was written
      help: put a file in its place, or remove it
    ");
}

#[test]
fn without_a_terminal_the_line_to_type_is_printed() {
    insta::assert_snapshot!(refused(&World::new(), &[]), @r"
    error: without a terminal, `--host` must be given
      help: write `converge init --host web1 --user admin --become sudo`, or `converge init --local`
    ");
    insta::assert_snapshot!(refused(&World::new(), &["my project", "--user", "ada"]), @r"
    error: without a terminal, `--host` must be given
      help: write `converge init 'my project' --host web1 --user admin --become sudo`, or `converge init 'my project' --local`
    ");
    insta::assert_snapshot!(refused(&World::new(), &["--local", "--user", "ada"]), @r"
    error: the argument '--local' cannot be used with '--user <USER>'

    Usage: converge init --local [FOLDER]

    For more information, try '--help'.
    ");
}

#[test]
fn a_terminal_is_asked_again_where_an_answer_is_wrong() {
    let world = World::new();
    let (exit, shown) = at_terminal(&world, "--no-plan", "web 1\nweb1\n\n ada \nsuod\n\n");
    assert_eq!(exit, Some(0), "{shown}");
    assert_eq!(shown.matches("Host, as ssh knows it [none: a sandbox folder on this machine]: ").count(), 2);
    assert!(
        shown.contains("Address for ssh [web1]: ")
            && shown.contains("User to log in as [what ssh_config says]: ")
    );
    assert_eq!(shown.matches("Become root with (none, sudo, doas, su) [sudo]: ").count(), 2, "{shown}");
    assert!(shown.contains("did you mean `sudo`?") && !shown.contains("group without hosts"), "{shown}");
    assert!(shown.ends_with("project: 1 host, no mistakes\r\nnow: converge plan\r\n"), "{shown}");
    let inventory = world.read("inventory.kdl");
    assert!(inventory.contains("\nconnection user=\"ada\" become=\"sudo\"\nhost \"web1\"\n"), "{inventory}");
}

#[test]
fn a_terminal_is_asked_only_for_what_is_missing() {
    let world = World::new();
    let (exit, shown) = at_terminal(&world, "--host a --user root --no-plan", "192.0.2.1\n\n");
    assert_eq!(exit, Some(0), "{shown}");
    assert!(!shown.contains("Host,") && !shown.contains("User") && shown.contains("[none]: "), "{shown}");
    assert!(world.read("inventory.kdl").contains("host \"a\" address=\"192.0.2.1\""));
}

#[test]
fn an_option_that_is_wrong_is_told_before_a_question() {
    let world = World::new();
    let (exit, shown) = at_terminal(&world, "--user \"a b\"", "web1\n");
    assert_eq!(exit, Some(1), "{shown}");
    assert!(!shown.contains("Host,") && shown.ends_with("nothing was written\r\n"), "{shown}");
}

#[test]
fn no_answer_means_a_sandbox_and_no_input_ends_it() {
    let world = World::new();
    let (exit, shown) = at_terminal(&world, "first", "\n");
    assert_eq!(exit, Some(0), "{shown}");
    assert!(
        shown.contains("Plan: 1 host will change") && shown.ends_with("now: converge apply first\r\n"),
        "{shown}"
    );
    let (exit, shown) = at_terminal(&world, "second", "\x04");
    assert_eq!(exit, Some(1), "{shown}");
    assert!(shown.contains("nothing was written") && !world.project().join("second").exists(), "{shown}");
}

#[test]
fn json_is_a_line_for_each_file_and_the_events_of_the_plan() {
    let world = World::new();
    let said = world.run(&["init", "--local", "--json"]);
    let lines: Vec<serde_json::Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let wrote: Vec<_> = lines
        .iter()
        .filter(|line| line["type"] == "written")
        .map(|line| line["file"].as_str().unwrap())
        .collect();
    assert_eq!((said.exit, wrote), (0, vec!["converge.kdl", "inventory.kdl", ".gitignore"]));
    assert!(lines.len() > 3);
}

//! The output at a terminal and in a pipe: widths, colours, pages of the reference.

use std::process::Command;

use crate::world::World;

/// Returns the output of a command at a terminal of `columns`.
fn at_terminal(world: &World, columns: usize, arguments: &str, environment: &[(&str, &str)]) -> String {
    let plain = world.command(&[]);
    let program = plain.get_program().to_str().unwrap();
    let line = format!("stty cols {columns} rows 20; {program} {arguments}");
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env_clear();
    script.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.env("PAGER", "cat").env("TERM", "xterm").envs(environment.iter().copied());
    let output = script.current_dir(world.project()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
}

/// Returns the lines of `text` with more than `columns` characters, without colours.
fn too_long(text: &str, columns: usize) -> Vec<String> {
    let text = anstream::adapter::strip_str(text).to_string();
    text.lines().filter(|line| line.chars().count() > columns).map(str::to_owned).collect()
}

#[test]
fn help_is_as_wide_as_the_terminal() {
    let world = World::new();
    for columns in [60, 80, 200] {
        for command in ["--help", "plan -h", "plan --help", "help watch", "plan --frobnicate"] {
            let shown = at_terminal(&world, columns, command, &[]);
            assert_eq!(too_long(&shown, columns), Vec::<String>::new(), "{command} at {columns}");
        }
    }
    let (narrow, wide) = (at_terminal(&world, 60, "plan -h", &[]), at_terminal(&world, 200, "plan -h", &[]));
    assert!(narrow.lines().count() > wide.lines().count());
    assert_eq!(too_long(&wide, 120), Vec::<String>::new(), "longer lines are hard to read");
    assert_eq!(too_long(&world.run(&["plan", "--help"]).out, 100), Vec::<String>::new(), "a pipe");
}

#[test]
fn a_reference_page_is_laid_out_at_a_terminal_and_markdown_on_a_pipe() {
    let world = World::new();
    let page = world.run(&["docs", "nginx"]).out;
    assert!(page.starts_with("# nginx\n") && page.contains("\n| `workers` | string |"), "{page}");
    let shown = at_terminal(&world, 80, "docs nginx", &[]);
    assert!(shown.contains("\u{1b}[1mworkers\u{1b}[0m"), "{shown}");
    assert!(!shown.contains("|---|") && !shown.contains("```"), "{shown}");
    let list = at_terminal(&world, 60, "docs", &[]);
    assert_eq!(too_long(&list, 60), Vec::<String>::new());
}

#[test]
fn colours_are_for_a_terminal_that_has_them() {
    let world = World::new();
    world.write("inventory.kdl", "connection \"local\" root=\"sandbox\"\nhost \"a\"\nhost \"a\"\n");
    for arguments in ["plan -h", "docs file", "inventory inventory.kdl", "check inventory.kdl"] {
        let check = |environment: &[(&str, &str)], option: &str, has_colours: bool| {
            let shown = at_terminal(&world, 80, &format!("{arguments}{option}"), environment);
            assert_eq!(shown.contains('\u{1b}'), has_colours, "{arguments}{option} {environment:?}: {shown}");
        };
        check(&[], "", true);
        check(&[("NO_COLOR", "1")], "", false);
        check(&[("NO_COLOR", "")], "", true);
        check(&[("TERM", "dumb")], "", false);
        check(&[("CLICOLOR", "0")], "", false);
        check(&[], " --no-color", false);
        let piped = |name: &str| {
            let words: Vec<_> = arguments.split(' ').collect();
            let said =
                world.said(world.command(&words).env("TERM", "xterm").env(name, "1").output().unwrap());
            (said.out + &said.err).contains('\u{1b}')
        };
        assert!(!piped("CLICOLOR"), "{arguments} on a pipe");
        assert!(piped("CLICOLOR_FORCE") || arguments == "docs file", "{arguments} on a pipe, forced");
    }
}

//! The question of `apply` at a terminal: answers that agree, answers that do not, and the details.

use std::io::{Read, Write};
use std::process::{ChildStdout, Command, Stdio};

use crate::world::World;

/// Reads the screen until it contains `words`.
fn until(screen: &mut ChildStdout, shown: &mut String, words: &str) {
    let mut piece = [0; 4096];
    while !shown.contains(words) {
        let read = screen.read(&mut piece).unwrap();
        assert_ne!(read, 0, "no {words:?} in {shown}");
        shown.push_str(&String::from_utf8_lossy(&piece[..read]));
    }
}

/// Returns a command at a terminal, with a pager that marks its lines.
fn at_terminal(world: &World, arguments: &str) -> Command {
    let plain = world.command(&[]);
    let line = format!("{} {arguments}", plain.get_program().to_str().unwrap());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env_clear();
    script.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.env("PAGER", "sed s/^/paged:/");
    script.current_dir(world.project()).stdin(Stdio::piped()).stdout(Stdio::piped());
    script
}

#[test]
fn results_that_do_not_fit_the_screen_go_through_the_pager() {
    let world = World::new();
    world.write("inventory.kdl", "connection \"local\" root=\"sandbox\"\nhost \"a\"\n");
    let shown = |arguments: &str| {
        let output = at_terminal(&world, arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(shown("docs file").contains("paged:file\r\n"), "a page of the reference");
    let plan = shown("plan --no-progress inventory.kdl");
    assert!(plan.contains("Plan: nothing to change") && !plan.contains("paged:"), "{plan}");
}

#[test]
fn a_question_is_not_answered_by_what_was_typed_before_it() {
    let world = World::new();
    let guard = "until test -e go; do sleep 0.02; done; test -e made";
    let command = format!("command \"touch made\" shell=#true unless=\"{guard}\"");
    let inventory = format!("connection \"local\" root=\"sandbox\"\nhost \"a\"\non \"a\" {{ {command} }}\n");
    world.write("inventory.kdl", &inventory);
    world.write("sandbox/etc/hostname", "a\n");
    let mut child = at_terminal(&world, "apply --no-color --no-progress inventory.kdl").spawn().unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = String::new();
    keys.write_all(b"yes\n").unwrap();
    // The terminal echoes the answer.
    until(&mut screen, &mut shown, "yes");
    world.write("sandbox/go", "");
    until(&mut screen, &mut shown, "Apply this?");
    keys.write_all(b"y\n").unwrap();
    until(&mut screen, &mut shown, "Only the word `yes` applies it.");
    shown.clear();
    keys.write_all(b"d\n").unwrap();
    until(&mut screen, &mut shown, "paged:a\r\n");
    until(&mut screen, &mut shown, "Only the word `yes` applies it.");
    keys.write_all(b"no\n").unwrap();
    screen.read_to_string(&mut shown).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{shown}");
    assert!(shown.contains("Apply: not applied."), "{shown}");
    assert!(!world.project().join("sandbox/made").exists(), "{shown}");
}

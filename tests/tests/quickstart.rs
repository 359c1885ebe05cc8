//! The first five minutes: the quickstart of the README, in a copy, without root.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::path::{Path, PathBuf};

use converge_tests::project::{Ended, Project};

/// A project that holds a copy of `examples/quickstart`.
fn quickstart() -> Project {
    let example = repository().join("examples/quickstart/inventory.kdl");
    let project = Project::new("", None).unwrap();
    project.write("project/inventory.kdl", std::fs::read(example).unwrap()).unwrap();
    project
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn converge(project: &Project, arguments: &[&str]) -> Ended {
    project.converge(arguments).unwrap()
}

#[test]
fn it_converges_and_then_there_is_nothing_to_do() {
    let project = quickstart();
    let first = converge(&project, &["apply", "--yes"]);
    assert_eq!(first.code, 0, "{first}");
    let read = |path: &str| std::fs::read_to_string(project.path("project/sandbox").join(path)).unwrap();
    assert!(read("etc/hello/motd").starts_with("Good day from "), "the host's greeting is nearer");
    assert_eq!(read("etc/hello/green.conf"), "colour = green\nindex = 2\n");
    assert_eq!(read("etc/hello/limits.conf"), "nofile 4096\nnproc 512\n");
    assert_eq!(read("etc/hello/twice"), "1024\n");
    assert_eq!(read("etc/hello/hosts"), "127.0.0.1 hello.local\n");
    let again = converge(&project, &["apply", "--yes"]);
    assert_eq!(again.code, 0, "{again}");
    assert!(again.stdout.contains("nothing to do") || again.stdout.contains("0 hosts change"), "{again}");
    assert_eq!(converge(&project, &["plan", "--detailed-exitcode"]).code, 0);
}

#[test]
fn an_edit_by_hand_is_found_to_the_line() {
    let project = quickstart();
    assert_eq!(converge(&project, &["apply", "--yes"]).code, 0);
    std::fs::write(project.path("project/sandbox/etc/hello/red.conf"), "colour = blue\nindex = 1\n").unwrap();
    let plan = converge(&project, &["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, 2, "{plan}");
    assert!(plan.stdout.contains("~ file[/etc/hello/red.conf]"), "{plan}");
    let signs: Vec<_> =
        plan.stdout.lines().map(str::trim).filter(|line| line.starts_with(['-', '+'])).collect();
    assert_eq!(signs, ["-colour = blue", "+colour = red"], "exactly that edit: {plan}");
}

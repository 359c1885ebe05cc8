//! Every example of every kind on a real host: a plan that writes nothing, an apply that works, and nothing left to do.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::fmt::Write;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use converge_model::schema::Example;
use converge_tests::project::Project;
use converge_tests::testbed::{Host, Testbed, or_skip};

/// How many hosts share the work.
const HOSTS: [&str; 4] = ["h1", "h2", "h3", "h4"];

/// A file that an example takes from its project: `hello-1/bin/hello`, packed.
const HELLO: &[u8] = include_bytes!("../fixtures/hello.tar.gz");

/// A kind that is still to be tried, with its examples.
struct Task {
    kind: String,
    examples: Vec<Example>,
}

#[test]
fn every_example_converges_and_then_stays() {
    let Some(testbed) = or_skip(Testbed::up(&HOSTS)) else { return };
    let tasks: Vec<Task> = converge_resources::registry()
        .map(|kind| Task { kind: kind.schema().name.clone(), examples: kind.schema().examples.clone() })
        .collect();
    let (tasks, failures) = (Mutex::new(tasks), Mutex::new(String::new()));
    thread::scope(|scope| {
        for host in testbed.hosts() {
            let (testbed, tasks, failures) = (&testbed, &tasks, &failures);
            scope.spawn(move || {
                while let Some(task) = next(tasks) {
                    if let Err(why) = try_kind(testbed, host, &task) {
                        let _ = writeln!(failures.lock().unwrap(), "{}: {why}\n", task.kind);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{failures}");
}

fn next(tasks: &Mutex<Vec<Task>>) -> Option<Task> {
    tasks.lock().unwrap().pop()
}

fn try_kind(testbed: &Testbed, host: &Host, task: &Task) -> Result<(), String> {
    host.reset().map_err(|error| error.to_string())?;
    task.examples.iter().try_for_each(|example| {
        try_example(testbed, host, example).map_err(|why| format!("{}: {why}", example.title))
    })
}

fn try_example(testbed: &Testbed, host: &Host, example: &Example) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let body = example.kdl.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let name = host.name();
    let inventory =
        format!("connection user=\"admin\" become=\"sudo\"\nhost \"{name}\"\non \"{name}\" {{\n{body}}}\n");
    let project = Project::new(&inventory, Some(testbed)).map_err(|error| text(&error))?;
    project
        .write("project/files/hello.tar.gz", archive().map_err(|error| text(&error))?)
        .map_err(|error| text(&error))?;
    project.write("project/files/hello.tar.gz", HELLO).map_err(|error| text(&error))?;
    let before = host.snapshot().map_err(|error| text(&error))?;
    let plan = project.converge(&["plan"]).map_err(|error| text(&error))?;
    if plan.code != 0 {
        return Err(format!("plan {plan}"));
    }
    let written: Vec<_> = host.changes_since(&before).map_err(|error| text(&error))?;
    let written: Vec<_> = written.iter().map(ToString::to_string).filter(|line| !is_our_own(line)).collect();
    if !written.is_empty() {
        return Err(format!("the plan wrote {written:#?}"));
    }
    let apply = project.converge(&["apply", "--yes"]).map_err(|error| text(&error))?;
    if apply.code != 0 {
        return Err(format!("apply {apply}"));
    }
    let again = project.converge(&["plan", "--detailed-exitcode"]).map_err(|error| text(&error))?;
    if again.code == 0 { Ok(()) } else { Err(format!("the second plan {again}")) }
}

/// The archive that an example unpacks: `hello/bin/hello`.
fn archive() -> std::io::Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir_all(folder.path().join("hello/bin"))?;
    std::fs::write(folder.path().join("hello/bin/hello"), "#!/bin/sh\necho hello\n")?;
    let packed = Command::new("tar").args(["-czf", "-", "hello"]).current_dir(folder.path()).output()?;
    Ok(packed.stdout)
}

/// The agent's cache and the state of a host are Converge's own.
fn is_our_own(change: &str) -> bool {
    change.contains("/var/cache/converge")
        || change.contains("/var/lib/converge")
        || change.contains("/var/cache ")
        || change.contains("/var/lib ")
}

//! Runs every example of every kind and module on a real host and checks the laws. A plan writes nothing (1). An
//! apply changes what was announced and nothing else (2), and leaves nothing to do (3). Without privileges nothing is
//! changed (7).
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use converge_lang::case;
use converge_model::schema::Example;
use converge_tests::json::{Step, plans};
use converge_tests::project::{Ended, Project};
use converge_tests::testbed::{Change, Host, Snapshot, Testbed, What, or_skip};

/// The hosts that share the work.
const HOSTS: [&str; 4] = ["h1", "h2", "h3", "h4"];

/// A file that an example uses from its project: `hello-1/bin/hello`, packed.
const HELLO: &[u8] = include_bytes!("../fixtures/hello.tar.gz");

/// The folder where fail2ban records its position in a journal, some seconds after it has read it.
const NOTED: &str = "/var/lib/fail2ban";

/// A kind or module to test, with its examples.
struct Task {
    name: String,
    examples: Vec<Example>,
}

/// Returns the built-in modules with the examples in their READMEs: the fences of plain `kdl`.
fn modules() -> Vec<Task> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../modules");
    let modules = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let task = |module: PathBuf| {
        let readme = std::fs::read_to_string(module.join("README.md")).unwrap();
        let example = |(place, kdl)| Example { title: format!("example {}", place + 1), kdl };
        let examples: Vec<Example> = case::examples(&readme).into_iter().enumerate().map(example).collect();
        let name = module.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!examples.is_empty(), "{name} shows no example");
        Task { name, examples }
    };
    modules.map(task).collect()
}

#[test]
fn every_example_of_a_kind_obeys_the_laws() {
    let kinds = converge_resources::registry()
        .map(|kind| Task { name: kind.schema().name.clone(), examples: kind.schema().examples.clone() });
    check(kinds.collect());
}

#[test]
fn every_example_of_a_module_obeys_the_laws() {
    check(modules());
}

fn check(tasks: Vec<Task>) {
    let Some(testbed) = or_skip(Testbed::up(&HOSTS)) else { return };
    let (tasks, failures) = (Mutex::new(tasks), Mutex::new(String::new()));
    thread::scope(|scope| {
        for host in testbed.hosts() {
            let (testbed, tasks, failures) = (&testbed, &tasks, &failures);
            scope.spawn(move || {
                while let Some(task) = next(tasks) {
                    if let Err(why) = try_kind(testbed, host, &task) {
                        let _ = writeln!(failures.lock().unwrap(), "{}: {why}\n", task.name);
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
        let tried = Trial::new(testbed, host, example).and_then(|trial| trial.laws());
        tried.map_err(|why| format!("{}: {why}", example.title))
    })
}

/// An example on its host.
struct Trial<'a> {
    host: &'a Host,
    project: Project,
}

impl<'a> Trial<'a> {
    fn new(testbed: &Testbed, host: &'a Host, example: &Example) -> Result<Self, String> {
        let body: String = example.kdl.lines().map(|line| format!("    {line}\n")).collect();
        let name = host.name();
        let with = |how: &str| {
            format!(
                "connection user=\"admin\" become=\"{how}\"\nhost \"{name}\"\non \"{name}\" {{\n{body}}}\n"
            )
        };
        let project = Project::new(&with("sudo"), Some(testbed)).map_err(|error| error.to_string())?;
        let written = project
            .write("project/files/hello.tar.gz", HELLO)
            .and_then(|()| project.write("project/unprivileged.kdl", with("none")));
        written.map_err(|error| error.to_string())?;
        Ok(Self { host, project })
    }

    fn laws(&self) -> Result<(), String> {
        let before = self.host.snapshot().map_err(|error| error.to_string())?;
        let plan = self.converge(&["plan", "--json"], &[0])?;
        self.unchanged_since(&before, "law 1: the plan")?;
        // Law 7: without the privileges, there was nothing to do or nothing was done.
        self.converge(&["apply", "--yes", "unprivileged.kdl"], &[0, 3])?;
        self.unchanged_since(&before, "law 7: without privileges, the apply")?;
        self.converge(&["apply", "--yes"], &[0])?;
        self.nothing_else_changed(
            &before,
            &plans(&plan.stdout).flat_map(|plan| plan.steps).collect::<Vec<_>>(),
        )?;
        self.converge(&["plan", "--detailed-exitcode"], &[0]).map(drop)
    }

    fn converge(&self, arguments: &[&str], codes: &[i32]) -> Result<Ended, String> {
        let ended = self.project.converge(arguments).map_err(|error| error.to_string())?;
        if codes.contains(&ended.code) { Ok(ended) } else { Err(format!("{}: {ended}", arguments.join(" "))) }
    }

    fn changes_since(&self, before: &Snapshot) -> Result<Vec<Change>, String> {
        let changes = self.host.changes_since(before).map_err(|error| error.to_string())?;
        let counts = |change: &Change| !is_our_own(&change.path) && !change.path.starts_with(NOTED);
        Ok(changes.into_iter().filter(counts).collect())
    }

    fn unchanged_since(&self, before: &Snapshot, who: &str) -> Result<(), String> {
        let changes = self.changes_since(before)?;
        if changes.is_empty() { Ok(()) } else { Err(format!("{who} changed {}", listed(&changes))) }
    }

    /// Law 2, if the plan names every path: only those paths changed, and the times of their folders.
    fn nothing_else_changed(&self, before: &Snapshot, steps: &[Step]) -> Result<(), String> {
        if steps.iter().any(|step| !FILES.contains(&step.kind.as_str())) {
            return Ok(());
        }
        let paths: Vec<String> = steps.iter().flat_map(paths).collect();
        let foreseen = |change: &Change| {
            let holds = paths.iter().any(|path| Path::new(path).parent() == Some(&change.path));
            let only_time = matches!(&change.what, What::Changed(aspects) if *aspects == ["time"]);
            paths.iter().any(|path| change.path.starts_with(path)) || (holds && only_time)
        };
        let others: Vec<_> =
            self.changes_since(before)?.into_iter().filter(|change| !foreseen(change)).collect();
        if others.is_empty() { Ok(()) } else { Err(format!("law 2: nobody announced {}", listed(&others))) }
    }
}

/// The kinds whose plan names every path that they change.
const FILES: [&str; 6] = ["file", "directory", "link", "line", "block", "ini"];

/// Returns the paths that a step announces: its own, and the folders that it creates above it.
fn paths(step: &Step) -> Vec<String> {
    let address = step.address.as_str();
    let name = address.split_once('[').map_or("", |(_, name)| name.trim_end_matches(']'));
    let own = name.split(": ").next().unwrap_or(name).to_owned();
    let parents = step.properties.iter().filter(|property| property.property == "parent");
    let parents = parents.filter_map(|property| property.after.clone());
    parents.chain([format!("{own}.converge-backup"), own.clone()]).collect()
}

fn listed(changes: &[Change]) -> String {
    changes.iter().map(|change| format!("\n    {change}")).collect()
}

/// Whether the path belongs to Converge: the agent's caches and the state of a host, for root and for the login
/// account.
fn is_our_own(path: &Path) -> bool {
    let own = ["/var/cache/converge", "/var/lib/converge", "/home/admin/.cache", "/home/admin/.local"];
    let holds = ["/var/cache", "/var/lib", "/home/admin"];
    own.iter().any(|own| path.starts_with(own)) || holds.iter().any(|holds| path == Path::new(holds))
}

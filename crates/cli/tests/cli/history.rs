//! The history: the list of runs, a run as it was shown, and the hosts that failed in it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::world::{Said, World};

/// A project with one host whose root is a folder, and one host that cannot be reached.
fn two_hosts() -> World {
    let world = World::new();
    world.write(
        "inventory.kdl",
        "host \"here\" { connection \"local\" root=\"sandbox\" }\n\
         host \"there\" address=\"127.0.0.1\" { connection \"ssh\" port=1 }\n\
         on \"there\" { file \"/etc/there\" }\n",
    );
    world
}

/// Returns the folder of the histories.
fn histories(world: &World) -> PathBuf {
    world.project().join("../home/.local/state/converge/history")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn fine(said: &Said) -> &str {
    assert_eq!((said.exit, said.err.as_str()), (0, ""), "{}", said.out);
    &said.out
}

#[test]
fn a_run_is_shown_as_it_looked() {
    let world = World::example("quickstart");
    let applied = world.run(&["apply", ".", "--yes"]);
    let again = world.run(&["history", "last", "."]);
    let (head, told) = fine(&again).split_once('\n').unwrap();
    assert!(head.contains("apply of ada@"), "{head}");
    assert_eq!(told, applied.out);
    let id = head.split_whitespace().next().unwrap();
    assert_eq!(world.run(&["history", &id[..id.len() - 2], "."]), again);

    let live = world.run(&["apply", ".", "--yes", "--json"]);
    let kept = |text: &str| -> Vec<String> {
        let passing = |line: &&str| {
            (line.contains("\"host-phase\"") && !line.contains("\"waiting\""))
                || line.contains("\"step-started\"")
        };
        text.lines().filter(|line| !passing(line)).map(str::to_owned).collect()
    };
    assert_eq!(kept(fine(&world.run(&["history", "last", ".", "--json"]))), kept(&live.out));
}

#[test]
fn a_host_that_failed_after_changes_counts_as_changed() {
    let world = World::new();
    let files = "file \"/x\" { content \"x\" }\n    command \"false\" always=#true\n";
    let host = "host \"here\" { connection \"local\" root=\"sandbox\" }\n";
    world.write("inventory.kdl", &format!("{host}on \"here\" {{\n    {files}}}\n"));
    assert_ne!(world.run(&["apply", ".", "--yes"]).exit, 0);
    let listed = world.run(&["history", "."]);
    assert!(fine(&listed).contains("  1 failed (1 changed)  "), "{}", listed.out);
    assert!(fine(&world.run(&["history", ".", "--json"])).contains("\"changed-hosts\":1"));
    // A terminal lists the part of the id behind the time, so that part chooses the run, too.
    let id = listed.out.split_whitespace().find(|word| word.contains('T') && word.contains('-')).unwrap();
    let short = id.rsplit('-').next().unwrap();
    assert!(fine(&world.run(&["history", short, "."])).contains(id), "{short}");
}

#[test]
fn runs_are_listed_and_chosen_and_plans_are_not_among_them() {
    let world = World::example("quickstart");
    assert_eq!(world.run(&["plan", "."]).exit, 0);
    assert_eq!(files(&histories(&world)), Vec::<PathBuf>::new(), "a plan is not recorded");
    let none = world.run(&["history", "."]);
    assert_eq!((none.exit, none.out.as_str(), none.err.as_str()), (0, "", "no such run is recorded\n"));
    assert_eq!(world.run(&["history", "last", "."]).exit, 1);

    assert_eq!(world.run(&["apply", ".", "--yes"]).exit, 0);
    let edited = world.read("inventory.kdl").replace("open-files 4096", "open-files 8192");
    world.write("inventory.kdl", &edited);
    assert_eq!(world.run(&["apply", ".", "--yes"]).exit, 0);
    assert_eq!(world.run(&["drift", "."]).exit, 0);

    let rows = |arguments: &[&str]| -> Vec<String> {
        let said = world.run(&[&["history", "."], arguments].concat());
        assert_eq!(said.exit, 0, "{}", said.err);
        let rows = said.out.lines().skip(1).map(|row| {
            let columns: Vec<_> =
                row.split("  ").filter(|column| !column.is_empty()).map(str::trim).collect();
            format!("{} | {} | {}", columns[2], columns[4], columns[5])
        });
        rows.collect()
    };
    let all = ["drift | 1 host in sync | 0", "apply | 1 changed | 1", "apply | 1 changed | 10"];
    assert_eq!(rows(&[]), all);
    assert_eq!(rows(&["--since", "1h"]), all);
    assert_eq!(rows(&["--until", "2026-01-01", "--since", "2025-01-01"]), [""; 0]);
    assert_eq!(rows(&["--limit-runs", "1"]), all[..1]);
    assert_eq!(rows(&["--state", "changed"]), all[1..]);
    assert_eq!(rows(&["--resource", "file[/etc/hello/limits.conf]"]), all[1..]);
    assert_eq!(rows(&["--resource", "directory"]), all[2..]);
    assert_eq!(rows(&["--host", "here", "--verb", "drift"]), all[..1]);
    assert_eq!(rows(&["--host", "nobody"]), [""; 0]);
    let json = world.run(&["history", ".", "--json", "--limit-runs", "1"]);
    let line: serde_json::Value = serde_json::from_str(fine(&json)).unwrap();
    assert_eq!((&line["verb"], &line["states"]), (&"drift".into(), &serde_json::json!({"in-sync": 1})));
    assert_eq!(world.run(&["history", ".", "--state", "fine"]).exit, 1);
}

#[test]
fn mistakes_in_the_inventory_are_not_in_the_way() {
    let world = World::example("quickstart");
    assert_eq!(world.run(&["apply", ".", "--yes"]).exit, 0);
    let before = world.run(&["history", "last", "inventory.kdl"]);
    world.write("inventory.kdl", "host \"here\" {\n  mistake\n");
    assert_eq!(world.run(&["history", "last", "inventory.kdl"]), before);
}

#[test]
fn the_hosts_that_a_run_lost_are_chosen_again() {
    let world = two_hosts();
    assert_eq!(world.run(&["apply", "inventory.kdl", "--yes"]).exit, 4);
    let again = world.run(&["plan", "inventory.kdl", "--failed-from", "last", "--json"]);
    assert!(
        again.out.contains("\"host\":\"there\"") && !again.out.contains("\"host\":\"here\""),
        "{}",
        again.out
    );
    let none = world.run(&["plan", "inventory.kdl", "--failed-from", "last", "--limit", "here"]);
    assert_eq!(none.exit, 1);
    assert!(
        none.err.contains("none of the selected hosts failed") && none.err.contains("there"),
        "{}",
        none.err
    );
    assert_eq!(world.run(&["apply", "inventory.kdl", "--yes", "--limit", "here"]).exit, 0);
    let none = world.run(&["plan", "inventory.kdl", "--failed-from", "last"]);
    assert!(none.exit == 1 && none.err.contains("no host failed"), "{}", none.err);
    assert_eq!(world.run(&["plan", "inventory.kdl", "--failed-from", "2999"]).exit, 1);
}

#[test]
fn a_history_that_cannot_be_written_is_one_warning_and_no_more() {
    let world = World::example("quickstart");
    assert_eq!(world.run(&["apply", ".", "--yes"]).exit, 0);
    let database = files(&histories(&world)).into_iter().find(|path| path.ends_with("history.db")).unwrap();
    fs::write(&database, "not a database\n".repeat(500)).unwrap();
    world.write("sandbox/etc/hello/old.conf", "back again\n");
    let said = world.run(&["apply", ".", "--yes"]);
    assert_eq!(said.exit, 0, "{}", said.err);
    assert_eq!(said.err.matches("warning: ").count(), 1, "{}", said.err);
    assert!(said.err.contains("not a database") && said.err.contains("help: move"), "{}", said.err);
    assert!(world.run(&["history", "."]).exit == 1);
    fs::remove_file(&database).unwrap();
    assert_eq!(world.run(&["apply", ".", "--yes"]).err, "");
    let runs = world.run(&["history", "."]);
    assert_eq!(fine(&runs).lines().count(), 3, "the run of before is there, too: {}", runs.out);
}

#[test]
fn no_secret_is_in_the_history_nor_beside_it() {
    const CANARY: &str = "canary-1d8f44c09a";
    let world = World::new();
    let inventory = |word: &str| {
        format!(
            "host \"here\" {{ connection \"local\" root=\"sandbox\" }}\n\
             on \"*\" {{\n\
               file \"/secret\" sensitive=#true content=\"{word} {CANARY}\\n\"\n\
             }}\n"
        )
    };
    let traces = || {
        let all = files(&histories(&world)).into_iter();
        all.map(|path| (path.clone(), fs::read(path).unwrap())).collect::<Vec<_>>()
    };
    for (word, broken) in [("first", false), ("second", false), ("third", true)] {
        world.write("inventory.kdl", &inventory(word));
        if broken {
            let database = files(&histories(&world)).into_iter().find(|path| path.ends_with("history.db"));
            fs::write(database.unwrap(), "broken\n".repeat(500)).unwrap();
        }
        let said = world.run(&["apply", "inventory.kdl", "--yes"]);
        assert_eq!(world.read("sandbox/secret"), format!("{word} {CANARY}\n"), "{}", said.err);
        assert!(!traces().is_empty());
        for (path, bytes) in traces() {
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(CANARY), "{}", path.display());
            assert!(broken || !text.contains("first canary"), "{}", path.display());
        }
    }
    assert!(files(&histories(&world)).iter().any(|path| path.to_string_lossy().contains("spill-")));
}

#[test]
fn without_an_inventory_the_project_last_used_from_the_folder_is_meant() {
    let world = two_hosts();
    let without = world.run(&["history"]);
    assert!(without.exit == 1 && without.err.contains("found no converge.kdl"), "{}", without.err);
    assert_eq!(world.run(&["apply", "inventory.kdl", "--yes", "--limit", "here"]).exit, 0);
    let with = world.run(&["history", "inventory.kdl"]);
    let said = world.run(&["history"]);
    let note = "the history of [world]/project/inventory.kdl, the project last used from this folder:\n";
    assert_eq!((said.exit, said.out.as_str(), said.err.as_str()), (0, fine(&with), note));
    assert!(world.run(&["history", "last"]).out.contains("apply of ada@"));
    // No project was used in the other folder. A project in the working folder has priority.
    let elsewhere = world.project().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    assert_eq!(world.run_in(&elsewhere, &["history"]).exit, 1);
    world.write("converge.kdl", "project \"other\"\ninventory \"inventory.kdl\"\n");
    assert_eq!(world.run(&["history"]).err, "no such run is recorded\n");
}

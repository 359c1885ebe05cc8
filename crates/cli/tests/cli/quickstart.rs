//! The first run of a new user: the quickstart example, on a real folder, through the real binary.

use serde_json::Value;

use crate::world::{World, timeless};

#[test]
fn it_converges_and_stays_so() {
    let world = World::example("quickstart");
    let planned = world.run(&["plan", "."]);
    assert_eq!((planned.exit, planned.err.as_str()), (0, ""));
    assert!(!world.project().join("sandbox").exists(), "a plan writes nothing");

    let applied = world.run(&["apply", ".", "--yes"]);
    assert_eq!((applied.exit, applied.err.as_str()), (0, ""), "{}", applied.out);
    let listed = planned.out.split("\nPlan:").next().unwrap();
    assert!(applied.out.starts_with(listed), "what is applied is what was planned:\n{}", applied.out);
    assert_eq!(world.read("sandbox/etc/hello/red.conf"), "colour = red\nindex = 1\n");
    assert_eq!(world.read("sandbox/etc/hello/limits.conf"), "nofile 4096\nnproc 512\n");

    let born = world.read("sandbox/etc/hello/born");
    let again = world.run(&["apply", ".", "--yes"]);
    assert_eq!(timeless(&again.out), "Apply: nothing to change; 11 resources in sync.   [time]\n");
    assert_eq!((again.exit, world.read("sandbox/etc/hello/born")), (0, born));
    assert_eq!(world.run(&["plan", ".", "--detailed-exitcode"]).exit, 0);
}

#[test]
fn an_edit_is_planned_as_exactly_its_difference_and_then_made() {
    let world = World::example("quickstart");
    assert_eq!(world.run(&["apply", ".", "--yes"]).exit, 0);
    let inventory = world.read("inventory.kdl").replace("open-files 4096", "open-files 8192");
    world.write("inventory.kdl", &inventory);
    let planned = world.run(&["plan", ".", "--detailed-exitcode"]);
    insta::assert_snapshot!(timeless(&planned.out), @r"
    here
      ~ file[/etc/hello/limits.conf]
          -nofile 4096
          +nofile 8192
           nproc 512

    Plan: 1 host will change (1 update); 10 resources in sync.   [time]
    ");
    assert_eq!(planned.exit, 2);
    assert_eq!(world.read("sandbox/etc/hello/limits.conf"), "nofile 4096\nnproc 512\n");
    let applied = world.run(&["apply", ".", "--yes"]);
    insta::assert_snapshot!(timeless(&applied.out), @r"
    here
      ~ file[/etc/hello/limits.conf]
          -nofile 4096
          +nofile 8192
           nproc 512

    Plan: 1 host will change (1 update); 10 resources in sync.
    here  ~ file[/etc/hello/limits.conf]
    Apply: 1 host changed (1 updated); 10 resources in sync.   [time]
    ");
    assert_eq!(world.read("sandbox/etc/hello/limits.conf"), "nofile 8192\nnproc 512\n");
    assert_eq!(world.run(&["plan", ".", "--detailed-exitcode"]).exit, 0);
}

#[test]
fn what_a_person_changed_is_corrected() {
    let world = World::example("quickstart");
    assert_eq!(world.run(&["apply", ".", "--yes"]).exit, 0);
    world.write("sandbox/etc/hello/old.conf", "back again\n");
    world.write("sandbox/etc/hello/blue.conf", "colour = red\nindex = 3\n");
    let applied = world.run(&["apply", ".", "--yes"]);
    insta::assert_snapshot!(timeless(&applied.out), @r"
    here
      ~ file[/etc/hello/blue.conf]
          -colour = red
          +colour = blue
           index = 3
      - file[/etc/hello/old.conf]  file -> (absent)

    Plan: 1 host will change (1 update, 1 removal); 9 resources in sync.
    here  ~ file[/etc/hello/blue.conf]
    here  - file[/etc/hello/old.conf]
    Apply: 1 host changed (1 updated, 1 removed); 9 resources in sync.   [time]
    ");
    assert_eq!(world.read("sandbox/etc/hello/blue.conf"), "colour = blue\nindex = 3\n");
    assert!(!world.project().join("sandbox/etc/hello/old.conf").exists());
}

#[test]
fn a_selection_leaves_the_rest_alone() {
    let world = World::example("quickstart");
    assert_eq!(world.run(&["apply", ".", "--yes", "--only", "directory[/etc/hello]"]).exit, 0);
    assert!(world.project().join("sandbox/etc/hello").is_dir());
    assert!(!world.project().join("sandbox/etc/hello/motd").exists());
}

#[test]
fn json_is_the_stream_of_events() {
    let world = World::example("quickstart");
    let said = world.run(&["apply", ".", "--yes", "--json"]);
    let events: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().all(|event| event["version"] == 2 && event["run"] == events[0]["run"]));
    let of_host = events.iter().filter(|event| event["host"] == "here");
    let sequences: Vec<_> = of_host.map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, (0..sequences.len() as u64).collect::<Vec<_>>(), "numbered without a gap");
    assert_eq!(events.iter().filter(|event| event["type"] == "step-finished").count(), 10);
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["exit-code"]), (&"run-finished".into(), &0.into()));
}

#[test]
fn facts_inventory_and_explain_speak_of_the_same_host() {
    let world = World::example("quickstart");
    insta::assert_snapshot!(world.run(&["inventory", "."]).out, @r"
    project  1 host, 0 groups
      host here  local in sandbox
    ");
    insta::assert_snapshot!(world.run(&["explain", "here", "greeting", "."]).out, @r#"
    greeting = "Good day"   on here
      * greeting  host here  inventory.kdl:11  "Good day"
        greeting  inventory  inventory.kdl:5   "Hello"
    "#);
    let facts = world.run(&["facts", ".", "--json"]);
    let line: Value = serde_json::from_str(&facts.out).unwrap();
    assert_eq!((facts.exit, line["host"].as_str()), (0, Some("here")));
    assert!(line["facts"]["os"]["id"].is_string());
}

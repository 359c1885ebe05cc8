//! `explain` for a whole host: its groups, its connection, all its variables.

use std::fs::File;

use crate::world::World;

fn world() -> World {
    let world = World::new();
    world.write("converge.kdl", "project \"fleet\"\ninventory \"inventory.kdl\"\n");
    world.write("inventory.kdl", INVENTORY);
    world.write("secrets.age", "nobody has the key of this\n");
    world
}

const INVENTORY: &str = r#"connection user="admin" become="sudo"
secrets "secrets.age"
vars {
    workers 2
    domain "{{ host.name }}.example.com"
    os (expr)"facts.os.id"
    token (secret)"app/token"
    app { port 80; paths "/a" "/b"; key (secret)"app/key" }
    empty {}
}
group "production" {
    vars { app { port 8080 } }
    group "web" {
        connection key="~/.ssh/web"
        vars { workers 4 }
        host "web[1..2]" address="10.0.0.[1..2]" { vars { app { log "info" } } }
    }
}
host "bare"
"#;

#[test]
fn a_host_is_shown_with_the_definitions_in_force() {
    let world = world();
    let said = world.run(&[
        "explain",
        "web1",
        "--set",
        "domain=long long long long long long long long long long long long long",
    ]);
    insta::assert_snapshot!(said.err, @"");
    insta::assert_snapshot!(said.out, @r#"
    web1  inventory.kdl:16
      groups      web, production
      connection  ssh admin@10.0.0.1, sudo, key ~/.ssh/web
      variables
        app.log    host web1         inventory.kdl:16  "info"
        app.port   group production  inventory.kdl:12  8080
        app.paths  inventory         inventory.kdl:8   ["/a", "/b"]
        app.key    inventory         inventory.kdl:8   ********
        domain     --set                               "long long long long long long long long long long long lon…
        empty                                          {}
        os         inventory         inventory.kdl:6   (depends on facts)
        token      inventory         inventory.kdl:7   ********
        workers    group web         inventory.kdl:15  4
    "#);
    assert_eq!(said.exit, 0);
    let said = world.run(&["explain", "bare", "inventory.kdl"]);
    assert!(said.out.contains("  groups      (none)\n  connection  ssh admin@bare, sudo\n"), "{}", said.out);
}

#[test]
fn a_host_without_variables_says_so() {
    let world = World::new();
    world.write("other.kdl", "connection \"local\" root=\"sandbox\"\nhost \"here\"\n");
    insta::assert_snapshot!(world.run(&["explain", "here", "other.kdl"]).out, @r"
    here  other.kdl:2
      groups      (none)
      connection  local in sandbox
      variables   (none)
    ");
    assert_eq!(world.run(&["explain", "here", "."]).exit, 0);
}

#[test]
fn json_holds_every_definition_and_no_secret() {
    let said = world().run(&["explain", "web1", "--json"]);
    let host: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((host["name"].as_str(), host["groups"][0].as_str()), (Some("web1"), Some("web")));
    assert_eq!(host["connection"]["key"], "~/.ssh/web");
    let variables = host["variables"].as_array().unwrap();
    let workers = variables.iter().find(|variable| variable["variable"] == "workers").unwrap();
    assert_eq!((workers["value"].as_i64(), workers["definitions"].as_array().unwrap().len()), (Some(4), 2));
    let token = variables.iter().find(|variable| variable["variable"] == "token").unwrap();
    assert_eq!(token["value"], "********");
}

#[test]
fn names_that_no_expression_can_read_are_shown_as_they_are_written() {
    let world = World::new();
    world.write("a.kdl", "vars { \"a.b\" 1; \"x y\" { z \"{{ 2 }}\" }; m { \"net.ipv4\" 2 } }\nhost \"a\"\n");
    let said = world.run(&["explain", "a", "a.kdl"]);
    assert_eq!((said.exit, said.err.as_str()), (0, ""));
    insta::assert_snapshot!(said.out, @r#"
    a  a.kdl:2
      groups      (none)
      connection  ssh a
      variables
        a.b         inventory  a.kdl:1  1
        m.net.ipv4  inventory  a.kdl:1  2
        x y.z       inventory  a.kdl:1  "{{ 2 }}"
    "#);
}

#[test]
fn a_secret_is_not_shown_to_those_who_can_open_it() {
    let world = World::new();
    world.write("converge.kdl", "inventory \"inventory.kdl\"\n");
    world.write("inventory.kdl", INVENTORY);
    assert_eq!(world.run(&["secrets", "keygen"]).exit, 0);
    for name in ["app/token", "app/key"] {
        world.write("typed", "hunter2");
        let typed = File::open(world.project().join("typed")).unwrap();
        let said = world.command(&["secrets", "set", name, "secrets.age"]).stdin(typed).output().unwrap();
        assert_eq!(world.said(said).exit, 0);
    }
    assert_eq!(world.run(&["secrets", "get", "app/token", "secrets.age"]).out.trim(), "hunter2");
    for arguments in [&["explain", "web1"][..], &["explain", "web1", "--json"], &["explain", "web1", "token"]]
    {
        let said = world.run(arguments);
        assert_eq!((said.exit, said.err.as_str()), (0, ""), "{arguments:?}");
        assert!(said.out.contains("********") && !said.out.contains("hunter2"), "{}", said.out);
    }
}

#[test]
fn an_unknown_host_has_the_nearest_name() {
    let said = world().run(&["explain", "wbe1"]);
    insta::assert_snapshot!(said.err, @r"
      x no host and no group is called `wbe1`
      help: did you mean `web1`?
    ");
    assert_eq!(said.exit, 1);
    insta::assert_snapshot!(world().run(&["explain", "web"]).err, @"error: web must be one host, found 2 hosts");
}

#[test]
fn a_variable_without_a_value_does_not_hide_the_others() {
    let world = World::new();
    world.write("converge.kdl", "inventory \"inventory.kdl\"\n");
    world.write("inventory.kdl", "vars { good 1; bad \"{{ nothing }}\" }\nhost \"a\"\n");
    let said = world.run(&["explain", "a"]);
    assert_eq!(said.exit, 1);
    insta::assert_snapshot!(said.out, @r"
    a  inventory.kdl:2
      groups      (none)
      connection  ssh a
      variables
        good  inventory  inventory.kdl:1  1
    ");
    insta::assert_snapshot!(said.err, @r#"
      x `nothing` is undefined
       ,-[inventory.kdl:1:24]
     1 | vars { good 1; bad "{{ nothing }}" }
       :                        ^^^|^^^
       :                           `-- here
     2 | host "a"
       `----
      help: use `default(…)` for a missing value
    "#);
}

//! Nested keys in maps: kept in a nested map, refused by name in a flat map, never lost.

mod common;

use common::{loader, mistakes, one, run};
use insta::assert_snapshot;

/// Returns the messages about an inventory whose `env` is a map.
fn found(vars: &str, env: &str) -> Vec<String> {
    let text =
        format!("vars {{ {vars} }}\nhost \"a\"\non \"a\" {{ command \"x\" always=#true {{ {env} }} }}");
    let diagnostics = mistakes(&text);
    diagnostics.iter().map(|diagnostic| diagnostic.message.clone()).collect()
}

fn is_refused(vars: &str, env: &str, key: &str) {
    let found = found(vars, env);
    assert!(found.len() == 1 && found[0].contains(&format!("`{key}`")), "{env}: {found:?}");
}

fn is_fine(vars: &str, env: &str) {
    assert_eq!(found(vars, env), Vec::<String>::new(), "{env}");
}

#[test]
fn nested_keys_of_a_map_in_braces_are_refused_by_name() {
    is_refused("x 1", "env { A 1; log { level \"info\" } }", "log");
    is_refused("x 1", "env { tls certificate=\"/x\" }", "tls");
    is_refused("x 1", "env { limits \"soft\" { files 1024 } }", "limits");
    is_refused("x 1", "env { limits \"soft\" files=1024 }", "limits");
    is_refused("x 1", "env { log { } }", "log");
    is_refused("x 1", "env { log { - \"a\"; level \"b\" } }", "log");
    is_refused("x 1", "env { log { - \"a\" { b 1 } } }", "env");
    is_refused("x 1", "when \"true\" { env { for \"k\" in=\"[1]\" { log { level \"{{ k }}\" } } } }", "log");
}

#[test]
fn nested_keys_of_a_map_from_an_expression_are_refused_by_name() {
    is_refused("s { port 80; log { level \"info\" } }", "env (expr)\"s\"", "log");
    is_refused("s { port 80; log { - { level \"info\" } } }", "env (expr)\"s\"", "log");
    is_refused("s { env { port 80; log { level \"info\" } } }", "with (expr)\"s\"", "log");
    is_refused("x 1", "env (expr)\"{'port': 80, 'log': {'level': 'info'}}\"", "log");
}

#[test]
fn values_and_lists_of_a_map_are_kept() {
    is_fine("x 1", "env A=1 { B \"x\" \"y\"; C { - \"x\"; - \"y\" }; D (expr)\"[x, 2]\" }");
    is_fine("s { port 80; names \"a\" \"b\" }", "env (expr)\"s\"");
}

#[test]
fn keys_of_an_item_of_a_list_are_refused() {
    let item = mistakes("host \"a\"\non \"a\" { user \"x\" { groups { - \"wheel\" why=\"x\" } } }");
    let messages: Vec<&str> = item.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
    assert_eq!(messages, ["an item of `groups` has keys of its own"]);
}

/// Returns the catalogs of an inventory with the module `m`. The module has a nested map and writes it in two ways.
fn nested(inventory: &str) -> String {
    let module = r#"
        module "m"
        params { param "config" type="map"; param "flat" type="map" of="any" }
        resources {
            file "/m.json" content="{{ params.config | tojson }}"
            settings "/m" { content (expr)"params.config" }
        }
    "#;
    let sources = one(inventory).file("modules/m/module.kdl", module);
    run(&loader(sources, &[]), "inventory.kdl", &[])
}

#[test]
fn nested_maps_are_kept_whole_by_modules_and_kinds() {
    assert_snapshot!(nested(r#"
        vars { x 1 }
        host "a"
        on "a" {
            m {
                config {
                    port 80
                    log { level "info"; file "/var/log/{{ host.name }}" }
                    tls certificate="/etc/x.crt"
                    limits { - 1024 2048; - { soft #true } }
                    when "x == 1" { kept { for "n" in="['b']" { last (expr)"n" } } }
                    when "x == 2" { lost 1 }
                    none { }
                    nothing #null
                }
            }
        }
    "#), @r#"
a
  m.file[/m.json] path="/m.json" content="{\"port\": 80, \"log\": {\"level\": \"info\", \"file\": \"/var/log/a\"}, \"tls\": {\"certificate\": \"/etc/x.crt\"}, \"limits\": [[1024, 2048], {\"soft\": true}], \"kept\": {\"last\": \"b\"}, \"none\": {}}\n" newline=true state="present"  (m)
  m.settings[/m] path="/m" content={port=80 log={level="info" file="/var/log/a"} tls={certificate="/etc/x.crt"} limits=[[1024 2048] {soft=true}] kept={last="b"} none={}}  (m)
"#);
}

#[test]
fn nested_maps_are_kept_whole_by_with_and_by_expressions() {
    assert_snapshot!(nested(r#"
        vars { m { config { log { level "info"; targets { - { kind "file" }; - { kind "net"; ports 1 2 } } } } } }
        host "a"
        on "a" { m with=(expr)"m"; settings "/s" { content (expr)"m.config.log" } }
    "#), @r#"
a
  m.file[/m.json] path="/m.json" content="{\"log\": {\"level\": \"info\", \"targets\": [{\"kind\": \"file\"}, {\"kind\": \"net\", \"ports\": [1, 2]}]}}\n" newline=true state="present"  (m)
  m.settings[/m] path="/m" content={log={level="info" targets=[{kind="file"} {kind="net" ports=[1 2]}]}}  (m)
  settings[/s] path="/s" content={level="info" targets=[{kind="file"} {kind="net" ports=[1 2]}]}  (on "a")
"#);
}

#[test]
fn nested_maps_of_several_places_add_up() {
    assert_snapshot!(nested(r#"
        host "a"
        on "a" { m { config { log { level "info" }; port 80 } } }
        on "a" { m { config { log { file "/x" }; port 80 } } }
    "#), @r#"
a
  m.file[/m.json] path="/m.json" content="{\"log\": {\"level\": \"info\", \"file\": \"/x\"}, \"port\": 80}\n" newline=true state="present"  (m)
  m.settings[/m] path="/m" content={log={level="info" file="/x"} port=80}  (m)
"#);
    assert_snapshot!(nested(r#"
        host "a"
        on "a" { m { config { log { level "info" } } } }
        on "a" { m { config { log { level "debug" } } } }
    "#), @r#"
lang::merge

  x two places of one module give `level` different values
   ,-[inventory.kdl:3:37]
 2 |         host "a"
 3 |         on "a" { m { config { log { level "info" } } } }
   :                                     ^^|^^
   :                                       `-- the other
 4 |         on "a" { m { config { log { level "debug" } } } }
   :                                     ^^|^^
   :                                       `-- one
 5 |     
   `----
  help: no body overrides another: use a variable that groups or hosts set
"#);
}

#[test]
fn map_that_is_written_twice_adds_up_and_keeps_everything() {
    let config = |calls: &str| {
        let found = nested(&format!("vars {{ nul #null }}\nhost \"a\"\non \"a\" {{ {calls} }}"));
        let line = found.lines().find(|line| line.contains("settings[")).unwrap_or(&found).to_owned();
        line.split_once("content=").map_or(line.clone(), |(_, content)| content.replace("  (m)", ""))
    };
    assert_eq!(config("m { config { a { b 1 } }; config { a { c 1 } } }"), "{a={b=1 c=1}}");
    assert_eq!(config("m { config { a (expr)\"nul\"; a 1 } }"), "{a=1}");
    assert_eq!(config("m { config { a 1; a (expr)\"nul\" } }"), "{a=1}");
    // The values may turn out to be equal once the facts are known.
    assert_eq!(
        config("m { config { a { b \"{{ facts.hostname }}\" } } }; m { config { a { b \"here\" } } }"),
        "{a={b=\"here\"}}"
    );
    let message = |calls: &str| {
        let found = nested(&format!("host \"a\"\non \"a\" {{ {calls} }}"));
        let lines = found.lines().filter_map(|line| line.trim_start().strip_prefix("x "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(message("m { config { a { b 1 } }; config { a { b 2 } } }"), ["`b` is given twice"]);
    assert_eq!(message("m { flat { a 1 }; flat { a 2 } }"), ["`a` is given twice"]);
    assert_eq!(message("m { config 3; config { a 1 } }"), ["this must be a map"]);
}

#[test]
fn map_that_nests_is_refused_where_it_must_not() {
    assert_snapshot!(nested(r#"
        host "a"
        on "a" {
            m { config { a 1 }; flat { log { level "info" } } }
        }
    "#), @r#"
lang::type

  x `log` has keys of its own, but `flat` takes only values and lists
   ,-[inventory.kdl:4:40]
 3 |         on "a" {
 4 |             m { config { a 1 }; flat { log { level "info" } } }
   :                                        ^|^
   :                                         `-- nested
 5 |         }
   `----
  help: write the keys of `log` beside it, or the string that they become
"#);
    let message = |config: &str| {
        let found = nested(&format!("host \"a\"\non \"a\" {{ m {{ config {{ {config} }} }} }}"));
        found.lines().find(|line| line.trim_start().starts_with("x ")).unwrap_or_default().trim().to_owned()
    };
    assert_eq!(message("limits \"soft\" { files 1024 }"), "x `limits` is a list and a map at once");
    assert_eq!(message("limits"), "x `limits` has no value");
    assert_eq!(message("a 1; a 2"), "x `a` is given twice");
    assert_eq!(message("a { b { c 1; c 2 } }"), "x `c` is given twice");
    let deep = |levels: usize| format!("{}x 1{}", "a { ".repeat(levels), " }".repeat(levels));
    assert_eq!(message(&deep(32)), "");
    assert_eq!(message(&deep(33)), "x lists and maps are nested more than 32 levels deep");
}

#[test]
fn secret_in_a_nested_map_stays_one() {
    let sources = one("secrets \"s.age\"\nhost \"a\"\non \"a\" { settings \"/s\" { content { db { password (secret)\"db\" } } } }")
        .secret_file("s.age", "db \"hunter2-hunter2\"");
    assert_snapshot!(run(&loader(sources, &[]), "inventory.kdl", &[]), @r#"
a
  settings[/s] path="/s" content={db={password=SECRET}}  (on "a")
"#);
}

#[test]
fn map_of_something_else_is_no_type() {
    let message = |of: &str| {
        let module = format!("module \"m\"\nparams {{ param \"x\" {of} }}\nresources {{ }}");
        let sources = one("host \"a\"").file("modules/m/module.kdl", module);
        let found = run(&loader(sources, &[]), "inventory.kdl", &[]);
        found.lines().find(|line| line.trim_start().starts_with("x ")).unwrap_or_default().trim().to_owned()
    };
    assert_eq!(message("type=\"map\" of=\"int\""), "x there is no map of `int`");
    assert_eq!(message("type=\"list\" of=\"intt\""), "x there is no type `intt`");
    assert_eq!(message("type=\"map\" of=\"any\""), "");
}

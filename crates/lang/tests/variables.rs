//! Variables: shapes, precedence, evaluation, and the output of `explain`.

mod common;

use common::{check, loader, one};
use converge_lang::diagnostic::Style;
use converge_lang::{Definition, Loaded, MemorySources};
use insta::assert_snapshot;

/// Returns the result for one host that writes `content` into a file, after `vars`.
fn content(vars: &str, content: &str) -> String {
    check(&format!("{vars}\nhost \"a\"\non \"a\" {{ file \"/f\" newline=#false {{ content {content} }} }}"))
}

#[test]
fn undefined_is_an_error_everywhere_and_null_is_not_written() {
    assert_snapshot!(content("vars { workers 2 }", "\"{{ wrokers }}\""), @r#"
lang::template

  x `wrokers` is undefined
   ,-[inventory.kdl:3:49]
 2 | host "a"
 3 | on "a" { file "/f" newline=#false { content "{{ wrokers }}" } }
   :                                                 ^^^|^^^
   :                                                    `-- here
   `----
  help: did you mean `workers`?
"#);
    assert_snapshot!(content("vars { app { workers 2 } }", "(expr)\"app.wrokers\""), @r#"
lang::template

  x `app.wrokers` is undefined
   ,-[inventory.kdl:3:52]
 2 | host "a"
 3 | on "a" { file "/f" newline=#false { content (expr)"app.wrokers" } }
   :                                                    ^^^^^|^^^^^
   :                                                         `-- here
   `----
  help: did you mean `workers`?
"#);
    assert_snapshot!(content("vars { x 1 }", "(expr)\"y | default('none given')\""), @r#"
a
  file[/f] path="/f" content="none given" newline=false state="present"  (on "a")
"#);
    assert_snapshot!(content("vars { u { name \"ada\" } }", "(expr)\"u.shell | default(none)\""), @r#"
a
  file[/f] path="/f" newline=false state="present"  (on "a")
"#);
}

#[test]
fn booleans_are_text_and_null_lists_and_maps_are_not() {
    assert_snapshot!(content("vars { x #true }", "\"{{ x }}\""), @r#"
a
  file[/f] path="/f" content="true" newline=false state="present"  (on "a")
"#);
    assert_snapshot!(content("vars { x #null }", "\"{{ x }}\""), @r#"
lang::template

  x null cannot become a string
   ,-[inventory.kdl:3:49]
 2 | host "a"
 3 | on "a" { file "/f" newline=#false { content "{{ x }}" } }
   :                                                 |
   :                                                 `-- here
   `----
  help: use `default("", true)` for null; `tojson` writes `null`
"#);
    assert_snapshot!(content("vars { x \"a\" \"b\" }", "\"{{ x }}\""), @r#"
lang::template

  x a list cannot become a string
   ,-[inventory.kdl:3:49]
 2 | host "a"
 3 | on "a" { file "/f" newline=#false { content "{{ x }}" } }
   :                                                 |
   :                                                 `-- here
   `----
  help: use `join(", ")`, or `tojson`
"#);
    assert_snapshot!(content("vars { x \"a\" \"b\" }", "\"{{ x | join(' ') }} {{ x | tojson }}\""), @r#"
a
  file[/f] path="/f" content="a b [\"a\", \"b\"]" newline=false state="present"  (on "a")
"#);
}

#[test]
fn definitions_that_say_the_same_are_one_however_deep() {
    let both = |one: &str, other: &str| {
        check(&format!(
            "group \"x\" {{ vars {{ v {one} }}; host \"a\" }}\ngroup \"y\" {{ vars {{ v {other} }}; members \"a\" }}\non \"a\" {{ file \"/f\" {{ content \"{{{{ v | tojson }}}}\" }} }}"
        ))
    };
    let differ = "two definitions of `v` differ";
    for value in ["1 2", "{ - { a 1; b 2 }; - { a 3 } }", "{ - 1; - 2 }"] {
        assert!(both(value, value).starts_with("a\n"), "{value}: {}", both(value, value));
    }
    for (one, other) in [("1 2", "1 2 3"), ("1 2", "1 3"), ("{ - { a 1 } }", "{ - { a 2 } }")] {
        assert!(both(one, other).contains(differ), "{one} {other}: {}", both(one, other));
    }
    assert!(check("vars { x a=1 { a 2 } }\nhost \"a\"").contains("`a` is given twice"));
}

#[test]
fn an_expression_may_be_of_any_shape() {
    let text = "vars { x \"a\" \"b\" }\nhost \"a\" { vars { x (expr)\"['c']\" } }\non \"a\" { file \"/f\" { content \"{{ x | join }}\" } }";
    assert_snapshot!(check(text), @r#"
a
  file[/f] path="/f" content="c\n" newline=true state="present"  (on "a")
"#);
}

#[test]
fn a_variable_keeps_its_shape_in_every_definition() {
    assert_snapshot!(check("vars { admins { - \"ada\" } }\nhost \"a\" { vars { admins \"ada\" } }"), @r#"
lang::shape

  x `admins` is a scalar here and a list elsewhere
   ,-[inventory.kdl:1:8]
 1 | vars { admins { - "ada" } }
   :        ^^^|^^
   :           `-- a list
 2 | host "a" { vars { admins "ada" } }
   :                   ^^^|^^
   :                      `-- a scalar
   `----
  help: use one shape for all definitions; a list of one item is `x { - "a" }`
"#);
    assert_snapshot!(check("vars { x }\nhost \"a\""), @r#"
lang::empty

  x `x` has no value
   ,-[inventory.kdl:1:8]
 1 | vars { x }
   :        |
   :        `-- needs a value
 2 | host "a"
   `----
  help: write a value; `#true`, an empty map `{ }`, an empty list `(expr)"[]"`
"#);
    assert_snapshot!(check("vars { x \"a\" k=1 }\nhost \"a\""), @r#"
lang::shape

  x `x` is a list and a map at once
   ,-[inventory.kdl:1:8]
 1 | vars { x "a" k=1 }
   :        |
   :        `-- has arguments and keys
 2 | host "a"
   `----
  help: a list has arguments or children named `-`, a map properties or named children
"#);
    assert_snapshot!(content("vars { one { - \"ada\" }; empty (expr)\"[]\" }", "\"{{ one | length }}{{ empty | length }}\""), @r#"
a
  file[/f] path="/f" content="10" newline=false state="present"  (on "a")
"#);
}

#[test]
fn variables_are_evaluated_where_they_are_used() {
    let vars = "vars { url \"https://{{ domain }}/\"; domain \"example.com\" }";
    assert_snapshot!(check(&format!(
        "{vars}\nhost \"a\"\nhost \"b\" {{ vars {{ domain \"b.example\" }} }}\non \"*\" {{ file \"/f\" {{ content \"{{{{ url }}}}\" }} }}"
    )), @r#"
a
  file[/f] path="/f" content="https://example.com/\n" newline=true state="present"  (on "*")
b
  file[/f] path="/f" content="https://b.example/\n" newline=true state="present"  (on "*")
"#);
    assert_snapshot!(content("vars { a \"{{ b }}\"; b \"{{ c }}\"; c \"{{ a }}\" }", "\"{{ a }}\""), @r#"
lang::cycle

  x the variable `a` needs itself: a -> b -> c -> a
   ,-[inventory.kdl:1:8]
 1 | vars { a "{{ b }}"; b "{{ c }}"; c "{{ a }}" }
   :        |            |            |
   :        |            |            `-- `c` uses `a`
   :        |            `-- `b` uses `c`
   :        `-- `a` uses `b`
 2 | host "a"
   `----
"#);
}

#[test]
fn maps_merge_by_key_and_the_rest_is_replaced() {
    assert_snapshot!(check(
        r#"
        vars { app { root "/srv"; workers 2; tags "a" "b" } }
        host "big" { vars { app { workers 8; tags { - "c" } } } }
        on "*" { file "/f" { content "{{ app.root }} {{ app.workers }} {{ app.tags | join(',') }}" } }
        "#
    ), @r#"
big
  file[/f] path="/f" content="/srv 8 c\n" newline=true state="present"  (on "*")
"#);
}

#[test]
fn only_a_group_inside_another_is_nearer() {
    let on = "on \"*\" { file \"/f\" { content \"{{ workers }}\" } }";
    assert_snapshot!(check(&format!(
        "group \"eu\" {{ vars {{ workers 12 }}; group \"web-eu\" {{ vars {{ workers 16 }}; host \"a\" }} }}\n{on}"
    )), @r#"
a
  file[/f] path="/f" content="16\n" newline=true state="present"  (on "*")
"#);
    assert_snapshot!(check(&format!(
        "host \"a\"\ngroup \"eu\" {{ vars {{ workers 12 }}; members \"a\" }}\ngroup \"web\" {{ vars {{ workers 16 }}; members \"a\" }}\n{on}"
    )), @r#"
lang::precedence

  x two definitions of `workers` differ, and neither overrides the other
   ,-[inventory.kdl:2:21]
 1 | host "a"
 2 | group "eu" { vars { workers 12 }; members "a" }
   :                     ^^^|^^^
   :                        `-- one
 3 | group "web" { vars { workers 16 }; members "a" }
   :                      ^^^|^^^
   :                         `-- the other
 4 | on "*" { file "/f" { content "{{ workers }}" } }
   `----
  help: define the variable in a group inside both, or at the host
"#);
    assert_snapshot!(check(&format!(
        "host \"a\"\ngroup \"eu\" {{ vars {{ workers 12 }}; members \"web\" }}\ngroup \"web\" {{ vars {{ workers 16 }}; members \"a\" }}\n{on}"
    )), @r#"
a
  file[/f] path="/f" content="16\n" newline=true state="present"  (on "*")
"#);
}

#[test]
fn a_file_is_nearer_than_what_it_includes() {
    let sources = |own: &str| {
        MemorySources::new()
            .file("env/production.kdl", format!("include \"../common/app.kdl\"\n{own}"))
            .file(
                "common/app.kdl",
                "vars { workers 2 }\nhost \"a\"\non \"a\" { file \"/f\" { content \"{{ workers }}\" } }",
            )
            .file("common/other.kdl", "vars { workers 4 }")
    };
    let run = |own: &str| common::run(&loader(sources(own), &[]), "env/production.kdl", &[]);
    assert_snapshot!(run("vars { workers 8 }"), @r#"
a
  file[/f] path="/f" content="8\n" newline=true state="present"  (on "a")
"#);
    assert_snapshot!(run("include \"../common/other.kdl\""), @r#"
lang::precedence

  x two definitions of `workers` differ, and neither overrides the other
   ,-[common/app.kdl:1:8]
 1 | vars { workers 2 }
   :        ^^^|^^^
   :           `-- one
 2 | host "a"
   `----
  help: define the variable in a group inside both, or at the host

Advice: 
  > in common/other.kdl
   ,-[common/other.kdl:1:8]
 1 | vars { workers 4 }
   :        ^^^|^^^
   :           `-- the other
   `----
"#);
}

#[test]
fn set_takes_the_type_of_what_it_overrides() {
    let inventory = "vars { workers 2; app { debug #false } }\nhost \"a\"\non \"a\" { file \"/f\" { content \"{{ workers * 2 }} {{ app.debug }}\" } }";
    let run = |sets: &[(&str, &str)]| {
        let sets: Vec<(String, String)> =
            sets.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        common::run(&loader(one(inventory), &[]), "inventory.kdl", &sets)
    };
    assert_snapshot!(run(&[("workers", "4"), ("app.debug", "true")]), @r#"
a
  file[/f] path="/f" content="8 true\n" newline=true state="present"  (on "a")
"#);
    let refused = |name: &str, words: &str| {
        let inventory = "vars { both 1 2; app { debug #false } }\nhost \"a\"";
        let sets = [(name.to_owned(), "x".to_owned())];
        let shown = common::run(&loader(one(inventory), &[]), "inventory.kdl", &sets);
        assert!(shown.contains(words), "{name}: {shown}");
    };
    refused("both", "`both` is a list, which `--set` cannot give");
    refused("app", "`app` is a map; set one of its keys");
    assert_snapshot!(run(&[("workers", "many")]), @r#"
lang::set

  x `workers` must be a whole number
   ,-[--set:1:7]
 1 | --set workers=many
   :       ^^^^^^|^^^^^
   :             `-- another type
   `----

Advice: 
  > in inventory.kdl
   ,-[inventory.kdl:1:8]
 1 | vars { workers 2; app { debug #false } }
   :        ^^^|^^^
   :           `-- defined here
 2 | host "a"
   `----
"#);
    assert_snapshot!(run(&[("wrokers", "4")]), @"
    lang::set

      x there is no variable `wrokers`
       ,-[--set:1:7]
     1 | --set wrokers=4
       :       ^^^^|^^^^
       :           `-- unknown variable
       `----
      help: did you mean `workers`?
    ");
}

#[test]
fn dashes_fold_when_looked_up_and_nowhere_else() {
    let vars = "vars { limits { open-files 4096 } }";
    assert_snapshot!(content(vars, "\"{{ limits.open_files }} {{ limits['open-files'] }} {{ limits | tojson }}\""), @r#"
a
  file[/f] path="/f" content="4096 4096 {\"open-files\": 4096}" newline=false state="present"  (on "a")
"#);
    assert_snapshot!(content("vars { open-files 1; open_files 2 }", "\"x\""), @r#"
lang::clash

  x `open-files` and `open_files` are the same name
   ,-[inventory.kdl:1:8]
 1 | vars { open-files 1; open_files 2 }
   :        ^^^^^|^^^^    ^^^^^|^^^^
   :             |             `-- the same in an expression
   :             `-- as this
 2 | host "a"
   `----
  help: expressions read a dash as an underscore; keep one of them
"#);
    assert_snapshot!(content("vars { app-release 1 }", "(expr)\"app-release\""), @r#"
lang::template

  x tried to use - operator on unsupported types undefined and undefined
   ,-[inventory.kdl:3:52]
 2 | host "a"
 3 | on "a" { file "/f" newline=#false { content (expr)"app-release" } }
   :                                                    ^^^^^|^^^^^
   :                                                         `-- here
   `----
  help: `app-release` is a subtraction: write `app_release`
"#);
}

#[test]
fn what_the_expression_language_needs_is_no_name() {
    assert_snapshot!(check("vars { groups { - \"dba\" } }\nhost \"a\""), @r#"
lang::reserved

  x `groups` cannot be the name of a variable
   ,-[inventory.kdl:1:8]
 1 | vars { groups { - "dba" } }
   :        ^^^|^^
   :           `-- reserved in expressions
 2 | host "a"
   `----
  help: choose another name; a key of a map may have this name
"#);
    assert_snapshot!(check("vars { x { groups \"dba\" } }\nhost \"a\"\non \"a\" { for \"loop\" in=\"x.groups\" { package \"a\" } }"), @r#"
lang::reserved

  x `loop` cannot be the name of a loop variable
   ,-[inventory.kdl:3:14]
 2 | host "a"
 3 | on "a" { for "loop" in="x.groups" { package "a" } }
   :              ^^^|^^
   :                 `-- reserved in expressions
   `----
"#);
}

#[test]
fn text_with_braces_stays_as_it_is_where_that_is_meant() {
    assert_snapshot!(content("", "\"${#x} {a} $b\""), @r#"
a
  file[/f] path="/f" content="${#x} {a} $b" newline=false state="present"  (on "a")
"#);
    assert_snapshot!(content("", "(raw)\"docker ps --format '{{.ID}}'\""), @r#"
a
  file[/f] path="/f" content="docker ps --format '{{.ID}}'" newline=false state="present"  (on "a")
"#);
    assert_snapshot!(content("vars { x (raw)\"{{ y }}\" }", "\"{{ x }}\""), @r#"
a
  file[/f] path="/f" content="{{ y }}" newline=false state="present"  (on "a")
"#);
}

#[test]
fn other_hosts_are_seen_by_list_and_by_name() {
    assert_snapshot!(check(
        r#"
        group "db" { host "db[1..2]" address="10.0.0.[1..2]" { vars { port 5432 } } }
        host "web"
        group "all-web" { host "web-1" "web-2" }
        on "web" {
            for "h" in="groups.db" { file "/etc/{{ h.name }}" { content "{{ h.address }}:{{ h.vars.port }} of {{ loop.length }}" } }
            file "/dashed" { content "{{ hosts.web_1.name }} {{ hosts['web-2'].name }} {{ groups.all_web[1].name }}" }
            file "/one" { content "{{ hosts.db1.address }} {{ hosts[0].name }} {{ groups.db | length }} {{ host.groups | length }}" }
        }
        "#
    ), @r#"
db1
db2
web
  file[/etc/db1] path="/etc/db1" content="10.0.0.1:5432 of 2\n" newline=true state="present"  (on "web")
  file[/etc/db2] path="/etc/db2" content="10.0.0.2:5432 of 2\n" newline=true state="present"  (on "web")
  file[/dashed] path="/dashed" content="web-1 web-2 web-2\n" newline=true state="present"  (on "web")
  file[/one] path="/one" content="10.0.0.1 db1 2 0\n" newline=true state="present"  (on "web")
web-1
web-2
"#);
}

#[test]
fn explain_says_who_defines_what() {
    let inventory = r#"
vars { app { root "/srv"; workers 2 }; password (secret)"a/b" }
vars { family "{{ facts.os.family }}" }
group "web" { vars { app { workers 4 } }; host "a" { vars { app { workers 8 } } } }
secrets "s.age"
"#;
    let sources = one(inventory).secret_file("s.age", "a { b \"hunter2\" }");
    let inventory = loader(sources, &[]).load("inventory.kdl", &[]).inventory.unwrap();
    let host = inventory.hosts().next().unwrap();
    let explain = |variable: &str| {
        let explanation = match inventory.explain(host, variable) {
            Ok(explanation) => explanation,
            Err(diagnostics) => return diagnostics.render(inventory.files(), Style::PLAIN),
        };
        let line = |d: &Definition| {
            let place = format!("{}:{}", d.file.as_deref().unwrap_or("-"), d.line);
            format!("\n{} {} ({}) at {place}: {}", if d.wins { "*" } else { " " }, d.key, d.level, d.written)
        };
        let value = explanation.value.unwrap_or_else(|| "?".to_owned());
        value + &explanation.definitions.iter().map(line).collect::<String>()
    };
    assert_snapshot!(explain("app"), @r#"
{"root": "/srv", "workers": 8}
* app.workers (host a) at inventory.kdl:4: 8
  app.workers (group web) at inventory.kdl:4: 4
* app.root (inventory) at inventory.kdl:2: "/srv"
  app.workers (inventory) at inventory.kdl:2: 2
"#);
    assert_snapshot!(explain("app.workers"), @r#"
8
* app.workers (host a) at inventory.kdl:4: 8
  app.workers (group web) at inventory.kdl:4: 4
  app.workers (inventory) at inventory.kdl:2: 2
"#);
    assert_snapshot!(explain("password"), @r#"
********
* password (inventory) at inventory.kdl:2: (secret)"a/b"
"#);
    assert_snapshot!(explain("family"), @r#"
?
* family (inventory) at inventory.kdl:3: "{{ facts.os.family }}"
"#);
    assert_snapshot!(explain("passwort"), @r#"
lang::undefined

  x `a` has no variable `passwort`
  help: did you mean `password`?
"#);
}

#[test]
fn the_environment_is_text_and_must_be_set() {
    let inventory = "vars { release (env)\"RELEASE\" }\nhost \"a\"\non \"a\" { file \"/f\" { content \"{{ release }}\" } }";
    let run = |sources: MemorySources| common::run(&loader(sources, &[]), "inventory.kdl", &[]);
    assert_snapshot!(run(one(inventory).variable("RELEASE", "{{ 1.4 }}")), @r#"
a
  file[/f] path="/f" content="{{ 1.4 }}\n" newline=true state="present"  (on "a")
"#);
    assert_snapshot!(run(one(inventory)), @r#"
lang::env

  x the environment variable `RELEASE` is not set
   ,-[inventory.kdl:1:16]
 1 | vars { release (env)"RELEASE" }
   :                ^^^^^^^|^^^^^^
   :                       `-- not set
 2 | host "a"
   `----
  help: set it for the command: `RELEASE=… converge …`
"#);
}

#[test]
fn a_project_without_mistakes_has_no_diagnostics() {
    let Loaded { diagnostics, inventory, .. } = loader(one("host \"a\""), &[]).load("inventory.kdl", &[]);
    assert!(diagnostics.is_empty() && inventory.is_some_and(|i| i.check().is_empty()));
}

#[test]
fn the_keys_of_a_map_are_evaluated_one_by_one() {
    let app = r#"vars { app { name "blog"; run { socket "/run/{{ app.name }}.sock" }; url "http://{{ app.run.socket }}" } }"#;
    assert_snapshot!(content(app, "\"{{ app.url }}\""), @r#"
a
  file[/f] path="/f" content="http:///run/blog.sock" newline=false state="present"  (on "a")
"#);
    // The whole map includes this key, so it is a cycle.
    let whole = r#"vars { app { name "blog"; all "{{ app | length }}{{ app | tojson }}" } }"#;
    assert_snapshot!(content(whole, "\"{{ app.name }}\""), @r#"
lang::cycle

  x the variable `app.all` needs itself: app.all -> app.all
   ,-[inventory.kdl:1:27]
 1 | vars { app { name "blog"; all "{{ app | length }}{{ app | tojson }}" } }
   :                           ^|^
   :                            `-- `app.all` uses `app.all`
 2 | host "a"
   `----
"#);
    // A cycle through keys.
    let cycle = r#"vars { app { a "{{ app.b.c }}"; b { c "{{ other }}" } }; other "{{ app.a }}" }"#;
    assert_snapshot!(content(cycle, "\"{{ app.a }}\""), @r#"
lang::cycle

  x the variable `app.a` needs itself: app.a -> app.b.c -> other -> app.a
   ,-[inventory.kdl:1:14]
 1 | vars { app { a "{{ app.b.c }}"; b { c "{{ other }}" } }; other "{{ app.a }}" }
   :              |                      |                    ^^|^^
   :              |                      |                      `-- `other` uses `app.a`
   :              |                      `-- `app.b.c` uses `other`
   :              `-- `app.a` uses `app.b.c`
 2 | host "a"
   `----
"#);
    // A key that is never read is also an error, reported once.
    let unread = r#"vars { app { name "blog"; bad "{{ nope }}"; worse { deep "{{ nope.at_all }}" } } }"#;
    assert_snapshot!(content(unread, "\"{{ app.name }}\""), @r#"
lang::template

  x `nope` is undefined
   ,-[inventory.kdl:1:35]
 1 | vars { app { name "blog"; bad "{{ nope }}"; worse { deep "{{ nope.at_all }}" } } }
   :                                   ^^|^
   :                                     `-- here
 2 | host "a"
   `----
  help: use `default(…)` for a missing value
lang::template

  x `nope.at_all` is undefined
   ,-[inventory.kdl:1:62]
 1 | vars { app { name "blog"; bad "{{ nope }}"; worse { deep "{{ nope.at_all }}" } } }
   :                                                              ^^^^^|^^^^^
   :                                                                   `-- here
 2 | host "a"
   `----
  help: use `default(…)` for a missing value
"#);
}

#[test]
fn a_secret_in_a_key_that_nothing_reads_is_not_used() {
    let vars = r#"vars { app { name "blog"; password (secret)"password" } }"#;
    let body = "secrets \"secrets.age\"\nhost \"a\"\non \"a\" { file \"/f\" content=\"{{ app.name }}\" }";
    let sources = one(&format!("{vars}\n{body}")).secret_file("secrets.age", "password \"hunter22\"");
    let inventory = loader(sources, &[]).load("inventory.kdl", &[]).inventory.unwrap();
    let facts: std::sync::Arc<dyn converge_lang::FactsOf> = std::sync::Arc::new(converge_lang::NoFacts);
    let host = converge_model::HostName::new("a").unwrap();
    let compiled = inventory.compile(&host, &facts, &converge_lang::Selection::default()).0.unwrap();
    assert!(compiled.catalog.secrets.is_empty());
}

#[test]
fn the_variables_of_two_hosts_are_not_the_same_though_they_are_equal() {
    let same = "\"{{ host.vars == hosts.a.vars }} {{ host.vars == hosts.b.vars }} {{ host == hosts.a }}\"";
    let inventory =
        format!("vars {{ x 1 }}\nhost \"a\"\nhost \"b\"\non \"a\" {{ file \"/f\" content={same} }}");
    assert_snapshot!(check(&inventory), @r#"
a
  file[/f] path="/f" content="true false true\n" newline=true state="present"  (on "a")
b
"#);
}

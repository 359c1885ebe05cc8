//! Mistakes in KDL, and text that KDL reads in another way than intended: the report shows the correct spelling.

mod common;

use std::time::{Duration, Instant};

use common::{check, mistakes};
use insta::assert_snapshot;

/// Returns the result for the body of an `on` block with one host.
fn body(body: &str) -> String {
    check(&format!("vars {{ x 1 }}\nhost \"a\"\non \"a\" {{\n{body}\n}}"))
}

#[test]
fn a_bomb_of_nested_slashdash() {
    let started = Instant::now();
    assert_snapshot!(check(&"a /-{ ".repeat(20)), @r#"
lang::guard

  x `/-` may be nested at most 2 levels deep
   ,-[inventory.kdl:1:15]
 1 | a /-{ a /-{ a /-{ a /-{ a /-{ a /-{ a /-{ a /-{ a /-{ a /-{ a /-{ a /-{ a /-{ a /-{ a /-{ a /-{ a /-{ a /-{ a /-{ a /-{ 
   :               ^|
   :                `-- here
   `----
"#);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn ten_thousand_levels_of_nesting() {
    let started = Instant::now();
    let text = "a {".repeat(10_000);
    let found = mistakes(&text);
    assert!(found.has_errors());
    assert_eq!(found.iter().count(), 1);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn a_v1_document() {
    assert_snapshot!(body("service \"x\" running=true"), @r#"
lang::syntax

  x `true` is not KDL
   ,-[inventory.kdl:4:21]
 3 | on "a" {
 4 | service "x" running=true
   :                     ^^|^
   :                       `-- not KDL 2.0
 5 | }
   `----
  help: write `#true`
"#);
    assert_snapshot!(body("file \"/f\" { content r\"x\" }"), @r##"
lang::syntax

  x `r"x"` is not KDL
   ,-[inventory.kdl:4:21]
 3 | on "a" {
 4 | file "/f" { content r"x" }
   :                     ^^|^
   :                       `-- not KDL 2.0
 5 | }
   `----
  help: write a raw string as `#"…"#`, without the `r`
"##);
}

#[test]
fn what_kdl_refuses_in_vague_words() {
    assert_snapshot!(body("nginx timeout=5m"), @r#"
lang::syntax

  x `5m` is not KDL
   ,-[inventory.kdl:4:15]
 3 | on "a" {
 4 | nginx timeout=5m
   :               ^|
   :                `-- not KDL 2.0
 5 | }
   `----
  help: quote it: `"5m"`
"#);
    assert_snapshot!(body("allow 10.0.0.1"), @r#"
lang::syntax

  x `10.0.0.1` is not KDL
   ,-[inventory.kdl:4:7]
 3 | on "a" {
 4 | allow 10.0.0.1
   :       ^^^^|^^^
   :           `-- not KDL 2.0
 5 | }
   `----
  help: quote it: `"10.0.0.1"`
"#);
    assert_snapshot!(body("file /etc/motd"), @r#"
lang::syntax

  x `/etc/motd` is not KDL
   ,-[inventory.kdl:4:6]
 3 | on "a" {
 4 | file /etc/motd
   :      ^^^^|^^^^
   :          `-- not KDL 2.0
 5 | }
   `----
  help: quote it: `"/etc/motd"`
"#);
    assert_snapshot!(check("host \"a\" {"), @r#"
lang::syntax

  x a `{` is never closed
   ,-[inventory.kdl:1:10]
 1 | host "a" {
   :          |
   :          `-- never closed
   `----
  help: write `}` at the end of the file
"#);
    assert_snapshot!(check("host \"a\"\n}"), @r#"
lang::guard

  x a `}` closes nothing
   ,-[inventory.kdl:2:1]
 1 | host "a"
 2 | }
   : |
   : `-- here
   `----
"#);
}

#[test]
fn what_parses_and_means_something_else() {
    assert_snapshot!(body("file '/f'"), @r#"
lang::syntax

  x `'/f'` is not KDL
   ,-[inventory.kdl:4:6]
 3 | on "a" {
 4 | file '/f'
   :      ^^|^
   :        `-- not KDL 2.0
 5 | }
   `----
  help: use double quotes: `"/f"`
"#);
    assert_snapshot!(body("package curl, rsync"), @r#"
lang::word

  x values are separated by blanks, not by commas
   ,-[inventory.kdl:4:9]
 3 | on "a" {
 4 | package curl, rsync
   :         ^^|^^
   :           `-- in this word
 5 | }
   `----
  help: write `curl`
"#);
    assert_snapshot!(check("vars { a: 1 }\nhost \"a\""), @r#"
lang::word

  x a name and its value are separated by a blank, not by a colon
   ,-[inventory.kdl:1:8]
 1 | vars { a: 1 }
   :        ^|
   :         `-- in this word
 2 | host "a"
   `----
  help: write `a`
"#);
    assert_snapshot!(body("file \"/f\" notify=\"a\" \"b\""), @r#"
lang::form

  x `file` has one argument too many
   ,-[inventory.kdl:4:22]
 3 | on "a" {
 4 | file "/f" notify="a" "b"
   :                      ^|^
   :                       `-- this one
 5 | }
   `----
  help: `notify` takes several values only as a child: `notify "a" "b"`
lang::address

  x there is no `a` on this host
   ,-[inventory.kdl:4:18]
 3 | on "a" {
 4 | file "/f" notify="a" "b"
   :                  ^|^
   :                   `-- named here
 5 | }
   `----
  help: an address is `kind[name]`, or a module's name
"#);
    assert_snapshot!(body("file \"/f\" mode=\"0644\" mode=\"0600\""), @r#"
lang::doubled

  x `mode` is given twice
   ,-[inventory.kdl:4:16]
 3 | on "a" {
 4 | file "/f" mode="0644" mode="0600"
   :                ^^^|^^      ^^^|^^
   :                   |           `-- and again here
   :                   `-- given here
 5 | }
   `----
  help: keep one; write several values as a child: `tags "a" "b"`
"#);
    for option in ["id", "after", "notify", "tags"] {
        let said = body(&format!("package \"x\" {option}=\"a\\nb\""));
        assert!(said.contains("must be one line") && said.contains("holds a line break"), "{option}: {said}");
    }
    assert_snapshot!(body("package \"x\" tags=\"a,b\""), @r#"
lang::tag

  x `a,b` is one tag that contains a comma
   ,-[inventory.kdl:4:18]
 3 | on "a" {
 4 | package "x" tags="a,b"
   :                  ^^|^^
   :                    `-- a comma does not separate tags
 5 | }
   `----
  help: write several as a child: `tags "a" "b"`
"#);
}

#[test]
fn numbers_out_of_range() {
    assert_snapshot!(body("sysctl \"a\" value=99999999999999999999"), @r#"
lang::number

  x the number is too large
   ,-[inventory.kdl:4:18]
 3 | on "a" {
 4 | sysctl "a" value=99999999999999999999
   :                  ^^^^^^^^^^|^^^^^^^^^
   :                            `-- outside -2^63 … 2^63-1
 5 | }
   `----
  help: quote it if it is a string
"#);
    assert_snapshot!(body("sysctl \"a\" value=1.5e400"), @r#"
lang::number

  x the number is too large, or not a number
   ,-[inventory.kdl:4:18]
 3 | on "a" {
 4 | sysctl "a" value=1.5e400
   :                  ^^^|^^^
   :                     `-- not finite
 5 | }
   `----
  help: quote it if it is a string
"#);
}

#[test]
fn numbers_that_print_as_they_are_written_are_numbers() {
    for (written, value) in [
        ("1.5", "1.5"),
        ("-0.25", "-0.25"),
        ("1e3", "1000"),
        ("0x1f", "31"),
        ("-0x10", "-16"),
        ("0o17", "15"),
        ("0b101", "5"),
        ("1_000", "1000"),
        ("1_0.5", "10.5"),
        ("7", "7"),
        ("-7", "-7"),
    ] {
        let shown = body(&format!("sysctl \"a\" value={written}"));
        assert!(shown.contains(&format!(" value={value} ")), "{written}: {shown}");
    }
    for (written, number) in [("007", "7"), ("1.50", "1.5"), ("-0.50", "-0.5"), ("+3", "3")] {
        let shown = body(&format!("sysctl \"a\" value={written}"));
        assert!(
            shown.contains(&format!("`{written}` would be read as the number {number}")),
            "{written}: {shown}"
        );
    }
}

#[test]
fn keys_of_ones_own_hold_values_only() {
    for held in ["Environment { A \"1\" }", "Environment A=\"1\""] {
        let said = body(&format!("unit \"x\" {{ section \"Service\" {{ {held} }} }}"));
        assert!(said.contains("`Environment`") && said.contains("  x "), "{held}: {said}");
    }
}

#[test]
fn annotations() {
    assert_snapshot!(body("file \"/f\" { content (tempalte)\"x\" }"), @r#"
lang::annotation

  x there is no annotation `(tempalte)`
   ,-[inventory.kdl:4:21]
 3 | on "a" {
 4 | file "/f" { content (tempalte)"x" }
   :                     ^^^^^^|^^^^^^
   :                           `-- unknown
 5 | }
   `----
  help: did you mean `template`?
"#);
    assert_snapshot!(body("(expr)file \"/f\""), @r#"
lang::annotation

  x an annotation must stand before a value, not before a node
   ,-[inventory.kdl:4:2]
 3 | on "a" {
 4 | (expr)file "/f"
   :  ^^|^
   :    `-- not here
 5 | }
   `----
  help: write `file (expr)"…"`
"#);
    assert_snapshot!(body("file \"/f\" { content (expr)4 }"), @r#"
lang::annotation

  x `(expr)` must stand before a string
   ,-[inventory.kdl:4:21]
 3 | on "a" {
 4 | file "/f" { content (expr)4 }
   :                     ^^^|^^^
   :                        `-- not a string
 5 | }
   `----
  help: write `(expr)"…"`
"#);
    assert_snapshot!(body("file \"/f\" { content (template)\"x.j2\" }"), @r#"
    lang::template

      x there is no template `x.j2`
       ,-[inventory.kdl:4:21]
     3 | on "a" {
     4 | file "/f" { content (template)"x.j2" }
       :                     ^^^^^^^^|^^^^^^^
       :                             `-- named here
     5 | }
       `----
      help: put the template into the folder `templates` of the project or of the module
    "#);
    assert_snapshot!(body("file \"/f\" { content (file)\"../../etc/shadow\" }"), @r#"
    lang::path

      x the path leads out of `files`
       ,-[inventory.kdl:4:21]
     3 | on "a" {
     4 | file "/f" { content (file)"../../etc/shadow" }
       :                     ^^^^^^^^^^^^|^^^^^^^^^^^
       :                                 `-- outside
     5 | }
       `----
      help: `(file)` and `(template)` read from the folders `files` and `templates` of the project or
            of the module
    "#);
}

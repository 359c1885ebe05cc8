//! The reports of every sort of mistake: the place, the cause, and the correction.

mod common;

use common::{check, loader, mistakes};
use converge_lang::MemorySources;
use insta::assert_snapshot;

/// Returns the result for the body of an `on` block with one host.
fn body(body: &str) -> String {
    check(&format!("vars {{ x 1 }}\nhost \"a\"\non \"a\" {{\n{body}\n}}"))
}

#[test]
fn a_misspelt_parameter() {
    assert_snapshot!(body("file \"/f\" contnet=\"x\""), @r#"
lang::unknown

  x `file` has no parameter `contnet`
   ,-[inventory.kdl:4:11]
 3 | on "a" {
 4 | file "/f" contnet="x"
   :           ^^^|^^^
   :              `-- unknown
 5 | }
   `----
  help: did you mean `content`?
"#);
    assert_snapshot!(body("flie \"/f\""), @r#"
lang::unknown

  x there is no kind or module `flie`
   ,-[inventory.kdl:4:1]
 3 | on "a" {
 4 | flie "/f"
   : ^^|^
   :   `-- unknown
 5 | }
   `----
  help: did you mean `file`?
"#);
}

#[test]
fn a_wrong_type() {
    assert_snapshot!(body("user \"ada\" uid=\"many\" shell=\"bash\""), @r#"
lang::type

  x `many` is not a whole number
   ,-[inventory.kdl:4:16]
 3 | on "a" {
 4 | user "ada" uid="many" shell="bash"
   :                ^^^|^^
   :                   `-- here
 5 | }
   `----
  help: write digits alone: `4`
lang::type

  x `bash` is not an absolute path
   ,-[inventory.kdl:4:29]
 3 | on "a" {
 4 | user "ada" uid="many" shell="bash"
   :                             ^^^|^^
   :                                `-- here
 5 | }
   `----
  help: write `/bash`
"#);
    assert_snapshot!(body("file \"/f\" mode=0644"), @r#"
    lang::number

      x `0644` would be read as the number 644
       ,-[inventory.kdl:4:16]
     3 | on "a" {
     4 | file "/f" mode=0644
       :                ^^|^
       :                  `-- this number
     5 | }
       `----
      help: write it in quotes: `"0644"`
    "#);
    assert_snapshot!(body("service \"x\" running=\"yes\""), @r#"
lang::type

  x `yes` is neither true nor false
   ,-[inventory.kdl:4:21]
 3 | on "a" {
 4 | service "x" running="yes"
   :                     ^^|^^
   :                       `-- here
 5 | }
   `----
  help: write `#true`
"#);
    assert_snapshot!(body("file \"/f\" state=\"gone\""), @r#"
lang::type

  x `gone` is not allowed here
   ,-[inventory.kdl:4:17]
 3 | on "a" {
 4 | file "/f" state="gone"
   :                 ^^^|^^
   :                    `-- here
 5 | }
   `----
  help: expected one of `present`, `absent`
"#);
    assert_snapshot!(body("sysctl \"a\" value=1.10"), @r#"
    lang::number

      x `1.10` would be read as the number 1.1
       ,-[inventory.kdl:4:18]
     3 | on "a" {
     4 | sysctl "a" value=1.10
       :                  ^^|^
       :                    `-- this number
     5 | }
       `----
      help: write it in quotes: `"1.10"`
    "#);
}

#[test]
fn an_undefined_variable() {
    assert_snapshot!(body("file \"/{{ y }}\""), @r#"
lang::template

  x `y` is undefined
   ,-[inventory.kdl:4:11]
 3 | on "a" {
 4 | file "/{{ y }}"
   :           |
   :           `-- here
 5 | }
   `----
  help: did you mean `x`?
"#);
    assert_snapshot!(body("file \"/f\" when=\"y\""), @r#"
lang::template

  x `y` is undefined
   ,-[inventory.kdl:4:17]
 3 | on "a" {
 4 | file "/f" when="y"
   :                 |
   :                 `-- here
 5 | }
   `----
  help: did you mean `x`?
"#);
}

#[test]
fn a_cycle() {
    assert_snapshot!(body("file \"/a\" after=\"file[/b]\"\nfile \"/b\" after=\"file[/a]\""), @r#"
lang::cycle

  x resources wait for each other: file[/a] -> file[/b] -> file[/a]
   ,-[inventory.kdl:4:17]
 3 | on "a" {
 4 | file "/a" after="file[/b]"
   :                 ^^^^^|^^^^
   :                      `-- waits for file[/b]
 5 | file "/b" after="file[/a]"
   :                 ^^^^^|^^^^
   :                      `-- waits for file[/a]
 6 | }
   `----
  help: leave one `after` out; resources run in the order written
"#);
    assert_snapshot!(check("group \"a\" { group \"b\" }\ngroup \"b\" { members \"a\" }\nhost \"x\""), @r#"
lang::cycle

  x the group `a` is inside itself
   ,-[inventory.kdl:1:19]
 1 | group "a" { group "b" }
   :                   ^|^
   :                    `-- `b` is inside `a`
 2 | group "b" { members "a" }
   :                     ^|^
   :                      `-- `a` is inside `b`
 3 | host "x"
   `----
lang::empty-match

  > `a` is a group without hosts
   ,-[inventory.kdl:2:21]
 1 | group "a" { group "b" }
 2 | group "b" { members "a" }
   :                     ^|^
   :                      `-- no host
 3 | host "x"
   `----
"#);
    let sources = MemorySources::new()
        .file("inventory.kdl", "include \"b.kdl\"\nhost \"a\"")
        .file("b.kdl", "include \"inventory.kdl\"");
    assert_snapshot!(common::run(&loader(sources, &[]), "inventory.kdl", &[]), @r#"
    lang::include

      x `inventory.kdl` includes itself
       ,-[b.kdl:1:9]
     1 | include "inventory.kdl"
       :         ^^^^^^^|^^^^^^^
       :                `-- includes the first file again
       `----

    Advice: 
      > in inventory.kdl
       ,-[inventory.kdl:1:9]
     1 | include "b.kdl"
       :         ^^^|^^^
       :            `-- includes `b.kdl`
     2 | host "a"
       `----
    "#);
    assert_snapshot!(check("host \"a\"\nhost \"b\"\non \"a\" after=\"b\" { package \"x\" }\non \"b\" after=\"a\" { package \"x\" }"), @r#"
lang::cycle

  x hosts wait for each other
   ,-[inventory.kdl:3:14]
 2 | host "b"
 3 | on "a" after="b" { package "x" }
   :              ^|^
   :               `-- `on "a"` waits
 4 | on "b" after="a" { package "x" }
   :              ^|^
   :               `-- `on "b"` waits
   `----
  help: remove one `after`, or exclude hosts from its pattern
"#);
}

#[test]
fn a_duplicate_host() {
    assert_snapshot!(check("host \"web[1..3]\"\ngroup \"web\" { host \"web2\" }"), @r#"
lang::duplicate

  x the host `web2` is defined twice
   ,-[inventory.kdl:1:6]
 1 | host "web[1..3]"
   :      ^^^^^|^^^^^
   :           `-- defined here
 2 | group "web" { host "web2" }
   :                    ^^^|^^
   :                       `-- and again here
   `----
  help: to put a defined host into another group, write `members` there
"#);
    assert_snapshot!(check("host \"web\"\ngroup \"web\""), @r#"
lang::duplicate

  x `web` is a group and a host
   ,-[inventory.kdl:1:6]
 1 | host "web"
   :      ^^|^^
   :        `-- the host
 2 | group "web"
   :       ^^|^^
   :         `-- the group
   `----
  help: hosts and groups share one name space
"#);
    assert_snapshot!(check("host \"-oProxyCommand=x\" \"a;b\""), @r#"
lang::host-name

  x a host name starts with a letter or a digit, not with '-'
   ,-[inventory.kdl:1:6]
 1 | host "-oProxyCommand=x" "a;b"
   :      ^^^^^^^^^|^^^^^^^^
   :               `-- in this name
   `----
lang::host-name

  x a host name holds letters, digits, `.`, `_` and `-`, not ';'
   ,-[inventory.kdl:1:25]
 1 | host "-oProxyCommand=x" "a;b"
   :                         ^^|^^
   :                           `-- in this name
   `----
"#);
}

#[test]
fn an_empty_match() {
    assert_snapshot!(check("host \"a\"\non \"wbe\" { package \"x\" }"), @r#"
lang::pattern

  x no host and no group is called `wbe`
   ,-[inventory.kdl:2:4]
 1 | host "a"
 2 | on "wbe" { package "x" }
   :    ^^|^^
   :      `-- here
   `----
  help: the only host is `a`
"#);
    assert_snapshot!(check("host \"a\"\non \"lb*\" { package \"x\" }"), @r#"
lang::pattern

  x no host and no group matches `lb*`
   ,-[inventory.kdl:2:4]
 1 | host "a"
 2 | on "lb*" { package "x" }
   :    ^^|^^
   :      `-- here
   `----
  help: the only host is `a`
"#);
    assert_snapshot!(check("host \"a\"\ngroup \"cache\"\non \"cache\" { package \"x\" }"), @r#"
lang::empty-match

  > `cache` is a group without hosts
   ,-[inventory.kdl:3:4]
 2 | group "cache"
 3 | on "cache" { package "x" }
   :    ^^^|^^^
   :       `-- no host
   `----
a
"#);
}

#[test]
fn conditions_and_loops() {
    assert_snapshot!(body("file \"/f\" when=\"x\""), @r#"
lang::type

  x a condition must be true or false, found a number
   ,-[inventory.kdl:4:16]
 3 | on "a" {
 4 | file "/f" when="x"
   :                ^|^
   :                 `-- not a boolean
 5 | }
   `----
  help: compare it: `x == 'y'`, `x | length > 0`, `x is not none`
"#);
    assert_snapshot!(body("file \"/f\" when=\"{{ x == 1 }}\""), @r#"
    lang::template

      x an expression needs no braces
       ,-[inventory.kdl:4:16]
     3 | on "a" {
     4 | file "/f" when="{{ x == 1 }}"
       :                ^^^^^^^|^^^^^^
       :                       `-- holds a template
     5 | }
       `----
      help: write it without braces: `when="x == 1"`
    "#);
    assert_snapshot!(body("file \"/f\" when=\"facts.os.idd == 'x'\""), @r#"
lang::template

  x there is no fact `facts.os.idd`
   ,-[inventory.kdl:4:22]
 3 | on "a" {
 4 | file "/f" when="facts.os.idd == 'x'"
   :                      ^^^|^^^
   :                         `-- here
 5 | }
   `----
  help: did you mean `id`?
"#);
    assert_snapshot!(body("for \"a\" in=\"'text'\" { package \"y\" }"), @r#"
    lang::type

      x a loop cannot use a single value
       ,-[inventory.kdl:4:12]
     3 | on "a" {
     4 | for "a" in="'text'" { package "y" }
       :            ^^^^|^^^
       :                `-- a single value
     5 | }
       `----
      help: write a list of one item as `x { - "a" }`
    "#);
    assert_snapshot!(body("file \"/a\" { mode \"0644\" for=\"all\" }"), @r#"
lang::form

  x `mode` has no property `for`
   ,-[inventory.kdl:4:25]
 3 | on "a" {
 4 | file "/a" { mode "0644" for="all" }
   :                         ^|^
   :                          `-- unknown
 5 | }
   `----
  help: it is a single value: write `mode "…"`
"#);
    assert_snapshot!(body("for \"a\" \"b\" \"c\" in=\"x\" { package \"y\" }"), @r#"
lang::form

  x `for` needs one name, or two names for a map
   ,-[inventory.kdl:4:1]
 3 | on "a" {
 4 | for "a" "b" "c" in="x" { package "y" }
   : ^|^
   :  `-- here
 5 | }
   `----
  help: write `for "x" in="colours" { … }` or `for "key" "value" in="limits" { … }`
"#);
}

#[test]
fn values_in_the_wrong_place() {
    assert_snapshot!(body("file \"/f\" { mode }"), @r#"
    lang::empty

      x `mode` has no value
       ,-[inventory.kdl:4:13]
     3 | on "a" {
     4 | file "/f" { mode }
       :             ^^|^
       :               `-- needs a value
     5 | }
       `----
      help: write `mode #true` to enable it
    "#);
    assert_snapshot!(body("file \"/f\" path=\"/g\""), @r#"
lang::doubled

  x `path` is given twice
   ,-[inventory.kdl:4:6]
 3 | on "a" {
 4 | file "/f" path="/g"
   :      ^^|^      ^^|^
   :        |         `-- and again here
   :        `-- given here
 5 | }
   `----
  help: it takes one value; keep one of them
"#);
    assert_snapshot!(body("file"), @r#"
    lang::missing

      x `file` needs `path`
       ,-[inventory.kdl:4:1]
     3 | on "a" {
     4 | file
       : ^^|^
       :   `-- without `path`
     5 | }
       `----
      help: write `path` as the first argument of `file`: A parameter of a test.
    "#);
    assert_snapshot!(body("link \"/f\""), @r#"
    lang::missing

      x `link` needs `to`
       ,-[inventory.kdl:4:1]
     3 | on "a" {
     4 | link "/f"
       : ^^|^
       :   `-- without `to`
     5 | }
       `----
      help: write `to` as a property or child of `link`: A parameter of a test.
    "#);
    assert_snapshot!(body("file \"/f\" owner=\"nobody-there\""), @r#"
lang::params

  x there is no such owner
   ,-[inventory.kdl:4:17]
 3 | on "a" {
 4 | file "/f" owner="nobody-there"
   :                 ^^^^^^^|^^^^^^
   :                        `-- here
 5 | }
   `----
  help: write another
"#);
}

#[test]
fn two_of_one_thing() {
    assert_snapshot!(body("file \"/f\"\nfile \"/f\" mode=\"0600\""), @r#"
    lang::duplicate

      x `file[/f]` is declared twice
       ,-[inventory.kdl:4:1]
     3 | on "a" {
     4 | file "/f"
       : ^^|^
       :   `-- declared here
     5 | file "/f" mode="0600"
       : ^^|^
       :   `-- and again here
     6 | }
       `----
      help: a resource cannot override another one: use a variable for the value that differs, or give
            one an `id`: `file … id="other"`
    "#);
    assert_snapshot!(body("package \"curl\"\npackage \"curl\""), @r#"
    lang::duplicate

      x `package[curl]` is declared twice
       ,-[inventory.kdl:4:1]
     3 | on "a" {
     4 | package "curl"
       : ^^^|^^^
       :    `-- declared here
     5 | package "curl"
       : ^^^|^^^
       :    `-- and again here
     6 | }
       `----
      help: one body declares it twice; remove one of them
    "#);
    assert_snapshot!(body("file \"/f\" { content \"x\" }\nline \"/f\" \"y\""), @r#"
    lang::claim

      x `file[/f]` and `line[/f: y]` both own path:/f
       ,-[inventory.kdl:4:1]
     3 | on "a" {
     4 | file "/f" { content "x" }
       : ^^|^
       :   `-- first owner
     5 | line "/f" "y"
       : ^^|^
       :   `-- second owner
     6 | }
       `----
      help: remove one of them; `line`, `block` and `ini` can edit a `file` that has no `content`
    "#);
    assert_snapshot!(body("file \"/d\" state=\"absent\"\nfile \"/d/x\""), @r#"
    lang::claim

      x `file[/d]` and `file[/d/x]` both own path:/d/x
       ,-[inventory.kdl:4:1]
     3 | on "a" {
     4 | file "/d" state="absent"
       : ^^|^
       :   `-- first owner
     5 | file "/d/x"
       : ^^|^
       :   `-- second owner
     6 | }
       `----
      help: remove one of them; `line`, `block` and `ini` can edit a `file` that has no `content`
    "#);
}

#[test]
fn addresses_that_lead_nowhere() {
    assert_snapshot!(body("service \"nginx\"\nfile \"/f\" notify=\"service[ngnix]\""), @r#"
lang::address

  x there is no `service[ngnix]` on this host
   ,-[inventory.kdl:5:18]
 4 | service "nginx"
 5 | file "/f" notify="service[ngnix]"
   :                  ^^^^^^^^|^^^^^^^
   :                          `-- named here
 6 | }
   `----
  help: did you mean `service[nginx]`?
"#);
    assert_snapshot!(body("package \"nginx\"\nfile \"/f\" notify=\"package[nginx]\""), @r#"
lang::notify

  x `package[nginx]` cannot be notified
   ,-[inventory.kdl:5:18]
 4 | package "nginx"
 5 | file "/f" notify="package[nginx]"
   :                  ^^^^^^^^|^^^^^^^
   :                          `-- named here
 6 | }
   `----
  help: notify a service, or a command with `only-notified=#true`
"#);
}

#[test]
fn files_that_are_not_there() {
    assert_snapshot!(check("include \"people.kdl\" \"../../etc/shadow\" \"/etc/passwd\"\nhost \"a\""), @r#"
lang::read

  x failed to read `people.kdl`: no such file
   ,-[inventory.kdl:1:9]
 1 | include "people.kdl" "../../etc/shadow" "/etc/passwd"
   :         ^^^^^^|^^^^^
   :               `-- named here
 2 | host "a"
   `----
lang::path

  x the path leads out of the project
   ,-[inventory.kdl:1:22]
 1 | include "people.kdl" "../../etc/shadow" "/etc/passwd"
   :                      ^^^^^^^^^|^^^^^^^^
   :                               `-- outside
 2 | host "a"
   `----
  help: keep the files of an inventory in the project's folder
lang::path

  x the path leads out of the project
   ,-[inventory.kdl:1:41]
 1 | include "people.kdl" "../../etc/shadow" "/etc/passwd"
   :                                         ^^^^^^|^^^^^^
   :                                               `-- outside
 2 | host "a"
   `----
  help: keep the files of an inventory in the project's folder
"#);
    let not_text = MemorySources::new().file("inventory.kdl", b"host \"a\"\n\xff".as_slice());
    assert_snapshot!(common::run(&loader(not_text, &[]), "inventory.kdl", &[]), @r#"
lang::utf8

  x `inventory.kdl` is not UTF-8 text in line 2
  help: save it as UTF-8: `iconv -f LATIN1 -t UTF-8` turns older text into it
"#);
    assert_snapshot!(common::run(&loader(MemorySources::new(), &[]), "nowhere.kdl", &[]), @r#"
lang::read

  x failed to read `nowhere.kdl`: no such file
"#);
}

#[test]
fn one_mistake_does_not_hide_another_nor_bring_a_second() {
    assert_snapshot!(body("file \"/f\" owner=\"nobody-there\"\nfile \"/g\" mode=\"rw\" after=\"pakage[x]\"\npakage \"x\""), @r#"
lang::type

  x `rw` is not a mode
   ,-[inventory.kdl:5:16]
 4 | file "/f" owner="nobody-there"
 5 | file "/g" mode="rw" after="pakage[x]"
   :                ^^|^
   :                  `-- here
 6 | pakage "x"
   `----
  help: write it in digits: `"0644"`
lang::unknown

  x there is no kind or module `pakage`
   ,-[inventory.kdl:6:1]
 5 | file "/g" mode="rw" after="pakage[x]"
 6 | pakage "x"
   : ^^^|^^
   :    `-- unknown
 7 | }
   `----
  help: did you mean `package`?
lang::params

  x there is no such owner
   ,-[inventory.kdl:4:17]
 3 | on "a" {
 4 | file "/f" owner="nobody-there"
   :                 ^^^^^^^|^^^^^^
   :                        `-- here
 5 | file "/g" mode="rw" after="pakage[x]"
   `----
  help: write another
"#);
}

#[test]
fn every_mistake_in_one_run() {
    let found = mistakes(
        r#"
        vars { x 1 }
        host "a" "a"
        on "a" {
            flie "/f"
            file "/f" contnet="x"
            file "/g" { content "{{ y }}" }
            when "facts.os.family == 'redhat'" { file "/h" mdoe="0644" }
        }
        "#,
    );
    assert_eq!(found.iter().count(), 5, "{:?}", found.iter().map(|d| &d.message).collect::<Vec<_>>());
    let found = mistakes(
        r#"
        host "a"
        host "b"
        on "*" {
            flie "/f"
            file "/f" contnet="x"
            file "/g" { content "{{ y }}" }
            when "facts.os.family == 'redhat'" { file "/h" mdoe="0644" }
            when "host.name == 'c'" { file "/i" mdoe="0644"; file "/j" { content "{{ y" } }
            when "host.name == 'd'" { command "x" { env { A { B "{{ z" } } } }
        }
        "#,
    );
    assert_eq!(found.iter().count(), 7, "{:?}", found.iter().map(|d| &d.message).collect::<Vec<_>>());
}

#[test]
fn a_broken_variable_is_one_mistake_wherever_it_is_used() {
    let found = mistakes(
        r#"
        vars { folder "{{ nowhere }}/x" }
        host "a"
        on "a" {
            for "name" in="['1', '2', '3']" { file "{{ folder }}/{{ name }}" mode="0644" }
            link "/current" to="{{ folder }}"
            user "x" shell="{{ folder }}"
        }
        "#,
    );
    assert_eq!(found.iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["lang::template"]);
}

#[test]
fn habits_of_other_tools_are_answered() {
    let check = |body: &str, help: &str| {
        let found = mistakes(&format!("vars {{ users \"ada\" }}\nhost \"a\"\non \"a\" {{\n{body}\n}}"));
        let helps: Vec<_> = found.iter().filter_map(|one| one.help.as_deref()).collect();
        assert!(helps.iter().any(|given| given.contains(help)), "{body}: {helps:?}");
    };
    check("apt \"nginx\"", "`package \"nginx\"`");
    check("file \"/x\" loop=\"a\"", "`for \"x\" in=\"list\" { … }`");
    check("file \"/{{ item }}\"", "`for \"item\" in=\"list\" { … }`");
    check("file \"/{{ inventory_hostname }}\"", "`host.name`");
    check("for \"u\" in=\"{{ users }}\" { user \"{{ u }}\" }", "`in=\"users\"`");
    check("file \"/x\" when=\"{{ users == 'x' }}\"", "`when=\"users == 'x'\"`");
    check("file \"/x\" when=\"users = 'x'\"", "`==` compares");
    check("file \"/{{ 'a' + 1 }}\"", "`~` joins strings");
    check("file \"/x\" content \"y\"", "`content=…`");
    check("user \"ada\" groups=\"a, b\"", "`\"a\" \"b\"`");
    check("when users == \"x\" { package \"y\" }", "a condition is one string");
    check("file \"/x\" mode [1, 2]", "`mode 1 2`");
    check("sysctl \"a\" value=1,", "without commas: `1`");
    check("package \"x\", \"y\"", "without commas: `\"x\"`");
    check("file \"/x\" \u{1}", "invisible character");
}

#[test]
fn an_inventory_with_mistakes_is_there_unless_some_of_it_could_not_be_read() {
    let mistaken = |text: &str| loader(common::one(text), &[]).load("inventory.kdl", &[]).mistaken.is_some();
    assert!(mistaken("host \"a\" \"a\""));
    assert!(!mistaken("host \"a\" \"a\"\ninclude \"gone.kdl\""));
}

#[test]
fn a_name_is_helped_with_the_nearest_where_facts_are_not_known() {
    let shown = check(
        "vars { colour \"red\" }\nhost \"a\"\non \"a\" { file \"/x\" { content (file)\"{{ colur }}.txt\" } }",
    );
    assert!(shown.contains("did you mean `colour`?"), "{shown}");
}

#[test]
fn a_text_from_a_file_is_not_large() {
    let named = |length: usize| {
        let sources = common::one("host \"a\"\non \"a\" { sysctl \"x\" value=(file)\"x.txt\" }")
            .file("files/x.txt", "x".repeat(length));
        common::run(&loader(sources, &[]), "inventory.kdl", &[])
    };
    assert!(named(64 * 1024).starts_with("a\n"));
    assert!(named(64 * 1024 + 1).contains("a file used as a string has at most 64 KiB"));
}

#[test]
fn more_mistakes_than_are_shown_are_counted_once() {
    let lines: String = (0..500).map(|number| format!("flie \"/{number}\"\n")).collect();
    let found = mistakes(&format!("host \"a\"\non \"a\" {{\n{lines}}}"));
    assert!(found.dropped() > 1, "{}", found.dropped());
    assert_eq!(found.iter().count() + found.dropped(), 500);
}

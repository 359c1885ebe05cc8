//! Modules: the types of their parameters, the merging of an instance's pieces, their place in the order, and their
//! scope.

mod common;

use common::{loader, one, run};
use converge_lang::{Builtin, MemorySources};
use insta::assert_snapshot;

/// A module with parameters of many sorts.
const WEB: &str = r#"
module "web" summary="A web server" version="1.2.0" requires=">=0.1"
params {
    param "workers" type="int" default=2 min=1 max=64 doc="Processes"
    param "tags-of" type="list" of="name" { default "a" "b" }
    param "mode" type="string" default="plain" { one-of "plain" "strict" }
    param "env" type="map"
    child "site" {
        arg "name" type="name"
        param "aliases" type="list" of="hostname"
        param "tls" type="bool" default=#false
        param "certificate" type="path"
        param "limit" type="duration" default="30s"
        child "header" { arg "name"; arg "value" }
        assert "not tls or certificate is not none" "tls needs a certificate"
    }
    child "rule" key=#false { arg "ports" type="list" of="port" }
    assert "workers < 32 or mode == 'strict'" "many workers want the strict mode"
}
vars {
    names (expr)"params.site | map(attribute='name') | list"
    title "{{ names | join('+') }} with {{ params.workers }}"
}
resources {
    package "web"
    for "site" in="params.site" {
        file "/sites/{{ site.name }}" notify="service[web]" {
            content "{{ site.aliases | join(' ') }} {{ site.limit }} {% for h in site.header %}{{ h.name }}={{ h.value }};{% endfor %}"
        }
    }
    file "/web.conf" { content "{{ title }} {{ params.rule | length }} {{ params.env | tojson }} {{ params.tags_of | join(',') }} {{ params.certificate is defined }}" }
    service "web"
}
"#;

fn web(inventory: &str) -> String {
    run(&loader(one(inventory).file("modules/web/module.kdl", WEB), &[]), "inventory.kdl", &[])
}

#[test]
fn pieces_of_one_instance_become_one_where_it_is_first_written() {
    assert_snapshot!(web(
        r#"
        host "a"
        on "*" { file "/first"; web { site "shop" { header "A" "1" }; rule 80; env X=1 }; file "/between" }
        on "a" {
            web workers=4 { site "shop" aliases="x.example" { header "B" "2" }; site "blog"; rule 80; rule 443 8443; env Y="2"; tags-of "c" }
            web when="1 > 2" { site "gone" }
        }
        "#
    ), @r#"
a
  file[/first] path="/first" newline=true state="present"  (on "*")
  web.package[web] name=["web"] state="present"  (web)
  web.file[/sites/shop] path="/sites/shop" content="x.example 30s A=1;B=2;\n" newline=true state="present" notify=web.service[web]:AsTargetSays  (web)
  web.file[/sites/blog] path="/sites/blog" content=" 30s \n" newline=true state="present" notify=web.service[web]:AsTargetSays  (web)
  web.file[/web.conf] path="/web.conf" content="shop+blog with 4 2 {\"X\": 1, \"Y\": \"2\"} c false\n" newline=true state="present"  (web)
  web.service[web] name="web" running=true enabled=true on-notify="restart"  (web)
  file[/between] path="/between" newline=true state="present"  (on "*")
"#);
    assert_snapshot!(web(
        r#"
        host "a"
        on "*" { web workers=4 { site "shop" limit="1m" } }
        on "a" { web workers=8 { site "shop" limit="2m" }; web when="facts.os.family == 'redhat'" workers=16 }
        "#
    ), @r#"
lang::merge

  x two places of one module give `workers` different values
   ,-[inventory.kdl:3:30]
 2 |         host "a"
 3 |         on "*" { web workers=4 { site "shop" limit="1m" } }
   :                              |
   :                              `-- the other
 4 |         on "a" { web workers=8 { site "shop" limit="2m" }; web when="facts.os.family == 'redhat'" workers=16 }
   :                              |
   :                              `-- one
 5 |         
   `----
  help: no body overrides another: use a variable that groups or hosts set
lang::merge

  x two places of one module give `limit` different values
   ,-[inventory.kdl:3:52]
 2 |         host "a"
 3 |         on "*" { web workers=4 { site "shop" limit="1m" } }
   :                                                    ^^|^
   :                                                      `-- the other
 4 |         on "a" { web workers=8 { site "shop" limit="2m" }; web when="facts.os.family == 'redhat'" workers=16 }
   :                                                    ^^|^
   :                                                      `-- one
 5 |         
   `----
  help: no body overrides another: use a variable that groups or hosts set
"#);
}

#[test]
fn what_a_module_demands_is_checked() {
    assert_snapshot!(web("host \"a\"\non \"a\" { web workers=40 { site \"shop\" tls=#true } }"), @r#"
    lang::assert

      x many workers want the strict mode
       ,-[inventory.kdl:2:22]
     1 | host "a"
     2 | on "a" { web workers=40 { site "shop" tls=#true } }
       :                      ^|
       :                       `-- here
       `----

    Advice: 
      > in modules/web/module.kdl
        ,-[modules/web/module.kdl:18:12]
     17 |     child "rule" key=#false { arg "ports" type="list" of="port" }
     18 |     assert "workers < 32 or mode == 'strict'" "many workers want the strict mode"
        :            ^^^^^^^^^^^^^^^^^|^^^^^^^^^^^^^^^^
        :                             `-- checked here
     19 | }
        `----
    lang::assert

      x tls needs a certificate
       ,-[inventory.kdl:2:43]
     1 | host "a"
     2 | on "a" { web workers=40 { site "shop" tls=#true } }
       :                                           ^^|^^
       :                                             `-- here
       `----

    Advice: 
      > in modules/web/module.kdl
        ,-[modules/web/module.kdl:15:16]
     14 |         child "header" { arg "name"; arg "value" }
     15 |         assert "not tls or certificate is not none" "tls needs a certificate"
        :                ^^^^^^^^^^^^^^^^^^|^^^^^^^^^^^^^^^^^
        :                                  `-- checked here
     16 |     }
        `----
    "#);
    assert_snapshot!(web("host \"a\"\non \"a\" { web workers=0 mode=\"lax\" stie=1 { rule \"http\" } }"), @r#"
lang::type

  x 0 is too small
   ,-[inventory.kdl:2:22]
 1 | host "a"
 2 | on "a" { web workers=0 mode="lax" stie=1 { rule "http" } }
   :                      |
   :                      `-- here
   `----
  help: expected a value from 1 to 64
lang::type

  x `lax` is not allowed here
   ,-[inventory.kdl:2:29]
 1 | host "a"
 2 | on "a" { web workers=0 mode="lax" stie=1 { rule "http" } }
   :                             ^^|^^
   :                               `-- here
   `----
  help: expected one of `plain`, `strict`
lang::unknown

  x `web` has no parameter `stie`
   ,-[inventory.kdl:2:35]
 1 | host "a"
 2 | on "a" { web workers=0 mode="lax" stie=1 { rule "http" } }
   :                                   ^^|^
   :                                     `-- unknown
   `----
  help: did you mean `site`?
lang::type

  x `http` is not a port
   ,-[inventory.kdl:2:49]
 1 | host "a"
 2 | on "a" { web workers=0 mode="lax" stie=1 { rule "http" } }
   :                                                 ^^^|^^
   :                                                    `-- here
   `----
  help: a port is a number from 1 to 65535
"#);
    assert_snapshot!(web("host \"a\"\non \"a\" { web { site tls=#false } }"), @r#"
    lang::missing

      x `site` needs `name`
       ,-[inventory.kdl:2:16]
     1 | host "a"
     2 | on "a" { web { site tls=#false } }
       :                ^^|^
       :                  `-- without `name`
       `----
      help: write `name` as the first argument of `site`
    "#);
    assert_snapshot!(web("host \"a\"\non \"a\" { web \"named\" retries=2 }"), @r#"
lang::form

  x `web` has one argument too many
   ,-[inventory.kdl:2:14]
 1 | host "a"
 2 | on "a" { web "named" retries=2 }
   :              ^^^|^^^
   :                 `-- this one
   `----
  help: write one `web` for each; parameters have names: `key="value"`
lang::form

  x a module cannot have `retries`
   ,-[inventory.kdl:2:30]
 1 | host "a"
 2 | on "a" { web "named" retries=2 }
   :                              |
   :                              `-- here
   `----
  help: set it on a single resource
"#);
}

#[test]
fn a_module_sees_its_parameters_and_no_variables() {
    let module = "module \"m\"\nparams { param \"contact\" }\nresources { file \"/f\" { content \"{{ domain }}\" }; file \"/g\" { content \"{{ params.contact }}\" } }";
    let inventory = "vars { domain \"example.com\"; raw (raw)\"{{ 1 }}\" }\nhost \"a\"\non \"a\" { m contact=\"ops@{{ domain }} {{ raw }}\" }";
    assert_snapshot!(run(&loader(one(inventory).file("modules/m/module.kdl", module), &[]), "inventory.kdl", &[]), @r#"
lang::template

  x `domain` is undefined
   ,-[modules/m/module.kdl:3:37]
 2 | params { param "contact" }
 3 | resources { file "/f" { content "{{ domain }}" }; file "/g" { content "{{ params.contact }}" } }
   :                                     ^^^|^^
   :                                        `-- here
   `----
  help: use `default(…)` for a missing value
"#);
}

/// A project in which `outer` calls `inner`. The inventory calls `inner`, too.
fn nested(inventory: &str) -> String {
    let outer = r#"
module "outer"
params { arg "name" type="name"; param "port" type="port" default=80 }
resources {
    file "/{{ params.name }}/first"
    inner { allow "{{ params.name }}" port=(expr)"params.port" }
    file "/{{ params.name }}/last" after="inner"
}
"#;
    let inner = r#"
module "inner"
params { child "allow" { arg "name" type="name"; param "port" type="port" } }
resources {
    file "/rules" notify="service[inner]" { content "{% for a in params.allow %}{{ a.name }}:{{ a.port }} {% endfor %}" }
    service "inner"
}
"#;
    let sources =
        one(inventory).file("modules/outer/module.kdl", outer).file("modules/inner/module.kdl", inner);
    run(&loader(sources, &[]), "inventory.kdl", &[])
}

#[test]
fn an_instance_is_one_wherever_it_is_called() {
    assert_snapshot!(nested("host \"a\"\non \"a\" { outer \"x\"; inner { allow \"own\" port=22 }; outer \"y\" port=443 }"), @r#"
a
  outer[x].file[/x/first] path="/x/first" newline=true state="present"  (outer[x])
  inner.file[/rules] path="/rules" content="x:80 own:22 y:443 \n" newline=true state="present" notify=inner.service[inner]:AsTargetSays  (inner)
  inner.service[inner] name="inner" running=true enabled=true on-notify="restart"  (inner)
  outer[x].file[/x/last] path="/x/last" newline=true state="present" after=inner.file[/rules],inner.service[inner]  (outer[x])
  outer[y].file[/y/first] path="/y/first" newline=true state="present"  (outer[y])
  outer[y].file[/y/last] path="/y/last" newline=true state="present" after=inner.file[/rules],inner.service[inner]  (outer[y])
"#);
    assert_snapshot!(nested("host \"a\"\non \"a\" { outer \"x\"; inner { allow \"x\" port=22 } }"), @r#"
lang::merge

  x two places of one module give `port` different values
   ,-[inventory.kdl:2:44]
 1 | host "a"
 2 | on "a" { outer "x"; inner { allow "x" port=22 } }
   :                                            ^|
   :                                             `-- one
   `----
  help: no body overrides another: use a variable that groups or hosts set

Advice: 
  > in modules/outer/module.kdl
   ,-[modules/outer/module.kdl:6:50]
 5 |     file "/{{ params.name }}/first"
 6 |     inner { allow "{{ params.name }}" port=(expr)"params.port" }
   :                                                  ^^^^^^|^^^^^^
   :                                                        `-- the other
 7 |     file "/{{ params.name }}/last" after="inner"
   `----
"#);
}

#[test]
fn options_of_a_module_reach_what_is_inside() {
    assert_snapshot!(nested(
        r#"
        host "a"
        on "a" {
            inner tags="edge" sensitive=#true drift="ignore" after="file[/later]" notify="service[other]" { allow "x" port=1 }
            service "other"
            file "/later"
            file "/f" notify="inner:reload" after="outer"
            outer "o"
        }
        "#
    ), @r#"
a
  service[other] name="other" running=true enabled=true on-notify="restart"  (on "a")
  file[/later] path="/later" newline=true state="present"  (on "a")
  inner.file[/rules] path="/rules" content="x:1 o:80 \n" newline=true state="present" after=file[/later] notify=inner.service[inner]:AsTargetSays notify=service[other]:AsTargetSays Options { selected: true, may_fail: false, sensitive: true, retries: 0, timeout: None, drift: Ignore }  (inner)
  inner.service[inner] name="inner" running=true enabled=true on-notify="restart" after=file[/later] notify=service[other]:AsTargetSays Options { selected: true, may_fail: false, sensitive: true, retries: 0, timeout: None, drift: Ignore }  (inner)
  outer[o].file[/o/first] path="/o/first" newline=true state="present"  (outer[o])
  outer[o].file[/o/last] path="/o/last" newline=true state="present" after=inner.file[/rules],inner.service[inner]  (outer[o])
  file[/f] path="/f" newline=true state="present" after=outer[o].file[/o/first],outer[o].file[/o/last] notify=inner.service[inner]:Reload  (on "a")
"#);
}

#[test]
fn addresses_from_outside_are_full() {
    assert_snapshot!(nested("host \"a\"\non \"a\" { outer \"x\"; file \"/f\" notify=\"service[inner]\" }"), @r#"
lang::address

  x there is no `service[inner]` on this host
   ,-[inventory.kdl:2:38]
 1 | host "a"
 2 | on "a" { outer "x"; file "/f" notify="service[inner]" }
   :                                      ^^^^^^^^|^^^^^^^
   :                                              `-- named here
   `----
  help: its full address is `inner.service[inner]`
"#);
    assert_snapshot!(nested("host \"a\"\non \"a\" { outer \"x\"; file \"/f\" notify=\"inner.service[inner]\" { after \"outer[x].file[/x/first]\" } }"), @r#"
a
  outer[x].file[/x/first] path="/x/first" newline=true state="present"  (outer[x])
  inner.file[/rules] path="/rules" content="x:80 \n" newline=true state="present" notify=inner.service[inner]:AsTargetSays  (inner)
  inner.service[inner] name="inner" running=true enabled=true on-notify="restart"  (inner)
  outer[x].file[/x/last] path="/x/last" newline=true state="present" after=inner.file[/rules],inner.service[inner]  (outer[x])
  file[/f] path="/f" newline=true state="present" after=outer[x].file[/x/first] notify=inner.service[inner]:AsTargetSays  (on "a")
"#);
}

#[test]
fn a_module_without_resources_may_be_named() {
    let sources = one("host \"a\"\non \"a\" { m; file \"/f\" after=\"m\" }")
        .file("modules/m/module.kdl", "module \"m\"\nresources { file \"/x\" when=#false }");
    assert_snapshot!(run(&loader(sources, &[]), "inventory.kdl", &[]), @r#"
a
  file[/f] path="/f" newline=true state="present"  (on "a")
"#);
}

#[test]
fn a_module_that_calls_itself_is_an_error() {
    let a = "module \"a\"\nresources { b }";
    let b = "module \"b\"\nresources { when \"true\" { a } }";
    let sources =
        one("host \"x\"\non \"x\" { a }").file("modules/a/module.kdl", a).file("modules/b/module.kdl", b);
    assert_snapshot!(run(&loader(sources, &[]), "inventory.kdl", &[]), @r#"
lang::cycle

  x the module `a` calls itself
   ,-[modules/a/module.kdl:2:13]
 1 | module "a"
 2 | resources { b }
   :             |
   :             `-- `a` calls it here
   `----

Advice: 
  > in modules/b/module.kdl
   ,-[modules/b/module.kdl:2:27]
 1 | module "b"
 2 | resources { when "true" { a } }
   :                           |
   :                           `-- `b` calls it here
   `----
"#);
}

#[test]
fn modules_that_call_each_other_are_expanded_to_their_limit_and_refused_beyond() {
    let chain = |length: usize| {
        let sources = (0..length).fold(one("host \"a\"\non \"a\" { m00 }"), |sources, place| {
            let next = if place + 1 < length { format!("m{:02}; ", place + 1) } else { String::new() };
            let module = format!("resources {{ {next}file \"/{place}\" }}");
            sources.file(&format!("modules/m{place:02}/module.kdl"), module)
        });
        run(&loader(sources, &[]), "inventory.kdl", &[])
    };
    assert_eq!(chain(65).matches("file[").count(), 65);
    let refused = chain(66);
    assert!(refused.contains("modules call each other more than 64 levels deep"), "{refused}");
}

#[test]
fn a_project_replaces_a_built_in_module_visibly_and_a_kind_never() {
    const BUILTIN: &[Builtin] = &[Builtin {
        name: "m",
        files: &[
            ("module.kdl", b"module \"m\"\nresources { file \"/builtin\" { content (file)\"x\" } }"),
            ("files/x", b"from inside"),
        ],
    }];
    let inventory = || one("host \"a\"\non \"a\" { m }");
    assert_snapshot!(run(&loader(inventory(), BUILTIN), "inventory.kdl", &[]), @r#"
a
  m.file[/builtin] path="/builtin" content="from inside" newline=true state="present"  (m)
"#);
    let own = inventory().file("modules/m/module.kdl", "module \"m\"\nresources { file \"/own\" }");
    assert_snapshot!(run(&loader(own, BUILTIN), "inventory.kdl", &[]), @r#"
lang::module

  > the project's module `m` replaces the built-in one
   ,-[modules/m/module.kdl:1:1]
 1 | module "m"
   : ^
   : `-- used instead
 2 | resources { file "/own" }
   `----
a
  m.file[/own] path="/own" newline=true state="present"  (m)
"#);
    let kind = one("host \"a\"").file("modules/file/module.kdl", "module \"file\"");
    assert_snapshot!(run(&loader(kind, BUILTIN), "inventory.kdl", &[]), @r#"
lang::module

  x `file` is a kind of resource
   ,-[modules/file/module.kdl:1:1]
 1 | module "file"
   : ^
   : `-- a module of the same name
   `----
  help: kinds cannot be replaced; give the module another name
"#);
}

#[test]
fn a_modules_own_mistakes() {
    let module = r#"
module "other" requires=">=99.0"
params {
    param "x" type="itn"
    param "when"
    param "y" type="int" default="many"
    param "y"
    param "z" pattern="("
    chld "a"
}
resources { flie "/x"; file "/y" { content "{{ params.x" } }
"#;
    let sources =
        one("host \"a\"").file("modules/m/module.kdl", module).file("modules/m/templates/t.j2", "{% for %}");
    assert_snapshot!(run(&loader(sources, &[]), "inventory.kdl", &[]), @r#"
lang::template

  x unexpected end of block, expected in
   ,-[modules/m/templates/t.j2:1:8]
 1 | {% for %}
   :        ^|
   :         `-- here
   `----
lang::module

  x the module in this folder is called `m`
   ,-[modules/m/module.kdl:2:1]
 1 | 
 2 | module "other" requires=">=99.0"
   : ^^^|^^
   :    `-- here
 3 | params {
   `----
lang::module

  x the module needs Converge >=99.0, this is 0.1.0
   ,-[modules/m/module.kdl:2:25]
 1 | 
 2 | module "other" requires=">=99.0"
   :                         ^^^^|^^^
   :                             `-- here
 3 | params {
   `----
lang::module

  x there is no type `itn`
   ,-[modules/m/module.kdl:4:20]
 3 | params {
 4 |     param "x" type="itn"
   :                    ^^|^^
   :                      `-- unknown
 5 |     param "when"
   `----
  help: did you mean `int`?
lang::module

  x `when` cannot be the name of a parameter
   ,-[modules/m/module.kdl:5:11]
 4 |     param "x" type="itn"
 5 |     param "when"
   :           ^^^|^^
   :              `-- here
 6 |     param "y" type="int" default="many"
   `----
lang::type

  x `many` is not a whole number
   ,-[modules/m/module.kdl:6:34]
 5 |     param "when"
 6 |     param "y" type="int" default="many"
   :                                  ^^^|^^
   :                                     `-- this default
 7 |     param "y"
   `----
  help: write digits alone: `4`
lang::module

  x `y` is declared twice
   ,-[modules/m/module.kdl:7:5]
 6 |     param "y" type="int" default="many"
 7 |     param "y"
   :     ^^|^^
   :       `-- here
 8 |     param "z" pattern="("
   `----
lang::module

  x `(` is not a regular expression: found open group without closing ')'
   ,-[modules/m/module.kdl:8:5]
 7 |     param "y"
 8 |     param "z" pattern="("
   :     ^^|^^
   :       `-- in this parameter
 9 |     chld "a"
   `----
lang::unknown

  x there is no node `chld` here
    ,-[modules/m/module.kdl:9:5]
  8 |     param "z" pattern="("
  9 |     chld "a"
    :     ^^|^
    :       `-- unknown
 10 | }
    `----
  help: did you mean `child`?
lang::unknown

  x there is no kind or module `flie`
    ,-[modules/m/module.kdl:11:13]
 10 | }
 11 | resources { flie "/x"; file "/y" { content "{{ params.x" } }
    :             ^^|^
    :               `-- unknown
    `----
  help: did you mean `file`?
lang::template

  x a `{{` is never closed
    ,-[modules/m/module.kdl:11:45]
 10 | }
 11 | resources { flie "/x"; file "/y" { content "{{ params.x" } }
    :                                             ^|
    :                                              `-- here
    `----
  help: close it with `}}`
"#);
}

#[test]
fn modules_are_listed_with_their_schemas() {
    const BUILTIN: &[Builtin] = &[Builtin {
        name: "m",
        files: &[("module.kdl", b"module \"m\" summary=\"S\""), ("README.md", b"# m")],
    }];
    let (modules, diagnostics) =
        loader(MemorySources::new().file("modules/web/module.kdl", WEB), BUILTIN).modules();
    assert!(diagnostics.is_empty());
    let shown: Vec<String> = modules
        .iter()
        .map(|m| {
            format!(
                "{} {:?} {:?} {} {:?} {:?} {:?}",
                m.name,
                m.origin,
                m.version,
                m.params.len(),
                m.children.iter().map(|c| &c.name).collect::<Vec<_>>(),
                m.asserts,
                m.readme
            )
        })
        .collect();
    assert_snapshot!(shown.join("\n"), @r##"
m Builtin None 0 [] [] Some("# m")
web Project Some("1.2.0") 4 ["site", "rule"] [("workers < 32 or mode == 'strict'", "many workers want the strict mode")] None
"##);
}

#[test]
fn a_misspelt_name_in_a_module_is_helped_with_the_nearest_of_its_own() {
    let said = |content: &str| {
        let module = format!(
            "module \"m\"\nparams {{ param \"port\" type=\"int\" default=1 }}\nvars {{ colour \"red\" }}\nresources {{ file \"/x\" {{ content {content:?} }} }}"
        );
        let sources = one("host \"a\"\non \"a\" { m }").file("modules/m/module.kdl", module);
        run(&loader(sources, &[]), "inventory.kdl", &[])
    };
    assert!(said("{{ colur }}").contains("did you mean `colour`?"), "{}", said("{{ colur }}"));
    assert!(said("{{ parms.port }}").contains("did you mean `params`?"), "{}", said("{{ parms.port }}"));
}

/// A project with a module that passes its parameters to another module and to a resource.
fn handed_through(inventory: &str) -> String {
    let outer = r#"
        params { arg "name" type="name"; param "source" type="string"; param "owners" type="list" of="string" }
        resources {
            inner "{{ params.name }}" from=(expr)"params.source"
            for "owner" in="params.owners | sort" { file "/owners/{{ owner }}" owner=(expr)"owner" }
        }
    "#;
    let inner = r#"
        params { arg "name" type="name"; param "from" type="string" }
        vars { text (file)"{{ params.from }}.txt" }
        resources {
            file "/same" { content (expr)"text" }
            file "/{{ params.name }}" { content (file)"{{ params.from }}.txt" }
        }
    "#;
    let sources = one(inventory)
        .file("modules/outer/module.kdl", outer)
        .file("modules/inner/module.kdl", inner)
        .file("modules/inner/files/here.txt", "here");
    run(&loader(sources, &[]), "inventory.kdl", &[])
}

#[test]
fn a_value_that_proves_wrong_inside_a_module_is_shown_where_it_is_given() {
    assert_snapshot!(handed_through("host \"a\"\non \"a\" {\n    outer \"x\" {\n        source \"gone\"\n    }\n}"), @r#"
lang::read

  x failed to read `gone.txt`: no such file
   ,-[inventory.kdl:4:16]
 3 |     outer "x" {
 4 |         source "gone"
   :                ^^^|^^
   :                   `-- named here
 5 |     }
   `----

Advice: 
  > in modules/inner/module.kdl
   ,-[modules/inner/module.kdl:3:21]
 2 |         params { arg "name" type="name"; param "from" type="string" }
 3 |         vars { text (file)"{{ params.from }}.txt" }
   :                     ^^^^^^^^^^^^^^|^^^^^^^^^^^^^^
   :                                   `-- used here
 4 |         resources {
   `----
"#);
    assert_snapshot!(handed_through("host \"a\"\non \"a\" {\n    outer \"x\" source=\"here\" {\n        owners \"root\" \"nobody-there\"\n    }\n}"), @r#"
lang::params

  x there is no such owner
   ,-[inventory.kdl:4:16]
 3 |     outer "x" source="here" {
 4 |         owners "root" "nobody-there"
   :                ^^^^^^^^^^|^^^^^^^^^^
   :                          `-- here
 5 |     }
   `----
  help: write another

Advice: 
  > in modules/outer/module.kdl
   ,-[modules/outer/module.kdl:5:92]
 4 |             inner "{{ params.name }}" from=(expr)"params.source"
 5 |             for "owner" in="params.owners | sort" { file "/owners/{{ owner }}" owner=(expr)"owner" }
   :                                                                                            ^^^|^^^
   :                                                                                               `-- used here
 6 |         }
   `----
"#);
    assert_snapshot!(handed_through("host \"a\"\non \"a\" {\n    outer \"x\" source=\"here\"\n    inner \"y\" from=\"here\"\n    file \"/same\"\n}"), @r#"
    lang::claim

      x `inner[x].file[/same]` and `file[/same]` both own path:/same
       ,-[modules/inner/module.kdl:5:13]
     4 |         resources {
     5 |             file "/same" { content (expr)"text" }
       :             ^^|^
       :               `-- first owner
     6 |             file "/{{ params.name }}" { content (file)"{{ params.from }}.txt" }
       `----
      help: remove one of them; `line`, `block` and `ini` can edit a `file` that has no `content`

    Advice: 
      > in inventory.kdl
       ,-[inventory.kdl:3:5]
     2 | on "a" {
     3 |     outer "x" source="here"
       :     ^^|^^
       :       `-- called here
     4 |     inner "y" from="here"
     5 |     file "/same"
       :     ^^|^
       :       `-- second owner
     6 | }
       `----
    "#);
}

const RULES: &str = r#"
module "rules"
params {
    child "rule" join=#false {
        arg "name" type="string"
        param "commands" type="list" of="string"
        param "free" type="bool"
    }
}
resources { for "rule" in="params.rule" { file "/{{ rule.name }}" { content "{{ rule.commands | join(',') }} {{ rule.free is none }}" } } }
"#;

#[test]
fn a_child_that_is_a_rule_is_never_made_of_two() {
    let rules = |inventory: &str| {
        run(&loader(one(inventory).file("modules/rules/module.kdl", RULES), &[]), "inventory.kdl", &[])
    };
    let alike = rules(
        "host \"a\"\non \"*\" { rules { rule \"x\" commands=\"a\"; rule \"y\" } }\non \"a\" { rules { rule \"x\" commands=\"a\" } }\n",
    );
    assert_eq!(alike.matches("file[/x]").count(), 1, "{alike}");
    for other in ["commands=\"b\"", "commands=\"a\" free=#true", ""] {
        let pieces = format!(
            "host \"a\"\non \"*\" {{ rules {{ rule \"x\" commands=\"a\" }} }}\non \"a\" {{ rules {{ rule \"x\" {other} }} }}\n"
        );
        let torn = rules(&pieces);
        assert!(torn.contains("two places of one module write `rule \"x\"` differently"), "{other}: {torn}");
        let inside =
            format!("host \"a\"\non \"*\" {{ rules {{ rule \"x\" commands=\"a\"; rule \"x\" {other} }} }}\n");
        assert!(rules(&inside).contains("differently"), "{other}");
    }
    let maybe = rules(
        "host \"a\"\non \"*\" { rules { rule \"x\" commands=\"a\" }; rules when=\"facts.os.family == 'redhat'\" { rule \"x\" } }\n",
    );
    assert!(!maybe.contains("differently"), "{maybe}");
}

#[test]
fn a_child_with_others_inside_is_compared_whole() {
    let module = r#"
module "rules"
params {
    child "rule" join=#false { arg "name" type="string"; param "env" type="map"; child "to" key=#false { arg "host" type="string" } }
    child "free" key=#false { arg "name" type="string"; param "env" type="map"; child "to" key=#false { arg "host" type="string" } }
}
resources { file "/rules" { content "{{ params.rule | length }} {{ params.free | length }}" } }
"#;
    let rules = |one_place: &str, other: &str| {
        let inventory =
            format!("host \"a\"\non \"*\" {{ rules {{ {one_place} }} }}\non \"a\" {{ rules {{ {other} }} }}");
        run(&loader(one(&inventory).file("modules/rules/module.kdl", module), &[]), "inventory.kdl", &[])
    };
    let whole = "\"x\" { to \"a\"; to \"b\"; env { A 1; B 2 } }";
    let others = [
        "\"x\" { to \"a\"; env { A 1; B 2 } }",
        "\"x\" { to \"a\"; to \"c\"; env { A 1; B 2 } }",
        "\"x\" { to \"a\"; to \"b\"; env { A 1; C 2 } }",
        "\"x\" { to \"a\"; to \"b\"; env { A 1; B 3 } }",
        "\"x\" { to \"a\"; to \"b\"; env { A 1; B (expr)\"[2]\" } }",
    ];
    let alike = rules(&format!("rule {whole}; free {whole}"), &format!("rule {whole}; free {whole}"));
    assert!(alike.contains("content=\"1 1\\n\""), "{alike}");
    for other in others {
        let torn = rules(&format!("rule {whole}"), &format!("rule {other}"));
        assert!(torn.contains("write `rule \"x\"` differently"), "{other}: {torn}");
        let apart = rules(&format!("free {whole}"), &format!("free {other}"));
        assert!(apart.contains("content=\"0 2\\n\""), "{other}: {apart}");
    }
    let facts = "\"x\" { to \"{{ facts.arch }}\"; to \"b\"; env { A 1; B 2 } }";
    let of_amd64 = "\"x\" { to \"x86_64\"; to \"b\"; env { A 1; B 2 } }";
    let open = rules(&format!("rule {facts}"), &format!("rule {of_amd64}"));
    assert!(open.contains("content=\"1 0\\n\""), "{open}");
    let walked = "\"x\" { for \"t\" in=\"['x86_64', 'b'] if facts.arch == 'x86_64' else []\" { to \"{{ t }}\" }; env { A 1; B 2 } }";
    let open = rules(&format!("rule {walked}"), &format!("rule {of_amd64}"));
    assert!(open.contains("content=\"1 0\\n\""), "{open}");
}

#[test]
fn what_a_condition_drops_of_a_module_may_be_named() {
    let named = |address: &str| {
        nested(&format!(
            "host \"a\"\non \"a\" {{ inner when=#false {{ allow \"x\" }}; file \"/f\" after=\"{address}\" }}"
        ))
    };
    for address in ["inner", "inner.file[/rules]"] {
        assert!(named(address).starts_with("a\n  file[/f] "), "{address}: {}", named(address));
    }
    assert!(named("inne.file[/rules]").contains("there is no `inne.file[/rules]` on this host"));
}

#[test]
fn the_variables_of_a_module_are_evaluated_by_key_too() {
    let module = |vars: &str| {
        let text = format!("module \"m\"\nvars {{ {vars} }}\nresources {{ file \"{{{{ app.path }}}}\" }}");
        let sources = one("host \"a\"\non \"a\" { m }").file("modules/m/module.kdl", text);
        run(&loader(sources, &[]), "inventory.kdl", &[])
    };
    assert_snapshot!(module("app { name \"blog\"; path \"/{{ app.name }}\" }"), @r#"
a
  m.file[/blog] path="/blog" newline=true state="present"  (m)
"#);
    assert_snapshot!(module("app { name \"{{ app.path }}\"; path \"/{{ app.name }}\" }"), @r#"
lang::cycle

  x the variable `app.path` needs itself: app.path -> app.name -> app.path
   ,-[modules/m/module.kdl:2:14]
 1 | module "m"
 2 | vars { app { name "{{ app.path }}"; path "/{{ app.name }}" } }
   :              ^^|^                   ^^|^
   :                |                      `-- `app.path` uses `app.name`
   :                `-- `app.name` uses `app.path`
 3 | resources { file "{{ app.path }}" }
   `----

Advice: 
  > in inventory.kdl
   ,-[inventory.kdl:2:10]
 1 | host "a"
 2 | on "a" { m }
   :          |
   :          `-- called here
   `----
"#);
}

#[test]
fn a_map_that_a_demand_read_is_forgotten_with_its_instance() {
    let module = "module \"m\"\nparams { arg \"name\" type=\"name\"; param \"n\" type=\"int\"; \
                  assert \"n < limit.most\" \"above the limit\" }\nvars { limit { most 5; other 1 } }\n\
                  resources { file \"/{{ params.name }}\" }";
    let sources =
        one("host \"a\"\non \"a\" { m \"one\" n=9; m \"two\" n=1 }").file("modules/m/module.kdl", module);
    let told = run(&loader(sources, &[]), "inventory.kdl", &[]);
    assert!(told.contains("above the limit") && !told.contains("after its catalog"), "{told}");
}

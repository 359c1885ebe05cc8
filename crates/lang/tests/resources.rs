//! Resources: names and addresses, the two forms of parameters, loops and conditions, commands and content, order and
//! notifications.

mod common;

use std::sync::Arc;

use common::{check, facts, loader, one, run};
use converge_lang::{FactsOf, MemorySources, NoFacts, Selection};
use insta::assert_snapshot;

/// Returns the result for the body of an `on` block with one host.
fn body(body: &str) -> String {
    check(&format!(
        "vars {{ ports 80 443; u {{ name \"ada\"; uid 2001; groups \"a\" \"b\" }}; word \"two words\"; limits {{ soft 1; hard 2 }} }}\nhost \"a\"\non \"a\" {{\n{body}\n}}"
    ))
}

#[test]
fn properties_and_children_mean_the_same() {
    assert_snapshot!(body("user \"ada\" uid=7 { groups \"x\" \"y\" }\nuser \"eve\" { uid \"7\"; groups { - \"x\" }; groups \"y\" }"), @r#"
a
  user[ada] name="ada" uid=7 groups=["x" "y"]  (on "a")
  user[eve] name="eve" uid=7 groups=["x" "y"]  (on "a")
"#);
}

#[test]
fn parameters_come_from_a_map_and_what_is_beside_it_wins() {
    assert_snapshot!(body("user \"eve\" with=(expr)\"u\" uid=3"), @r#"
a
  user[eve] name="eve" uid=3 groups=["a" "b"]  (on "a")
"#);
    assert_snapshot!(body("user \"eve\" with=(expr)\"limits\""), @r#"
lang::unknown

  x `user` has no parameter `soft`
   ,-[inventory.kdl:4:23]
 3 | on "a" {
 4 | user "eve" with=(expr)"limits"
   :                       ^^^^|^^^
   :                           `-- unknown
 5 | }
   `----
  help: there are name, uid, shell, groups, when, after, notify, id, tags, drift, sensitive,
        retries, timeout, may-fail
lang::unknown

  x `user` has no parameter `hard`
   ,-[inventory.kdl:4:23]
 3 | on "a" {
 4 | user "eve" with=(expr)"limits"
   :                       ^^^^|^^^
   :                           `-- unknown
 5 | }
   `----
  help: there are name, uid, shell, groups, when, after, notify, id, tags, drift, sensitive,
        retries, timeout, may-fail
"#);
}

#[test]
fn lists_take_scalars_and_splice_lists() {
    assert_snapshot!(body("user \"a\" groups=\"one\"\nuser \"b\" { groups \"first\" (expr)\"u.groups\" \"last\" }\nuser \"c\" groups=(expr)\"[]\""), @r#"
a
  user[a] name="a" groups=["one"]  (on "a")
  user[b] name="b" groups=["first" "a" "b" "last"]  (on "a")
  user[c] name="c" groups=[]  (on "a")
"#);
}

#[test]
fn loops_walk_lists_and_maps_and_leave_no_trace() {
    assert_snapshot!(body("for \"p\" in=\"ports\" { sysctl \"port.{{ p }}\" value=(expr)\"loop.index\" }\nfor \"k\" \"v\" in=\"limits\" { sysctl \"limit.{{ k }}\" value=(expr)\"v\" }"), @r#"
a
  sysctl[port.80] name="port.80" value=1  (on "a")
  sysctl[port.443] name="port.443" value=2  (on "a")
  sysctl[limit.soft] name="limit.soft" value=1  (on "a")
  sysctl[limit.hard] name="limit.hard" value=2  (on "a")
"#);
    assert_snapshot!(body("for \"a\" in=\"ports\" { for \"b\" in=\"ports\" { when \"a != b\" { sysctl \"{{ a }}.{{ b }}\" value=\"{{ loop.index }}\" } } }"), @r#"
a
  sysctl[80.443] name="80.443" value="2"  (on "a")
  sysctl[443.80] name="443.80" value="1"  (on "a")
"#);
}

#[test]
fn conditions_drop_resources_and_parts_of_them() {
    assert_snapshot!(body("file \"/a\" when=\"facts.os.family == 'redhat'\"\nfile \"/b\" when=#false\nwhen \"facts.os.family == 'debian'\" { file \"/c\" }\nuser \"x\" { when \"1 > 2\" { uid 1 }; for \"g\" in=\"u.groups\" { groups \"g-{{ g }}\" } }"), @r#"
a
  file[/c] path="/c" newline=true state="present"  (on "a")
  user[x] name="x" groups=["g-a" "g-b"]  (on "a")
"#);
}

#[test]
fn commands_are_split_before_they_are_filled_in() {
    assert_snapshot!(body("command \"createuser '{{ word }}' {{ word }}\" unless=\"id {{ word | quote }} | grep -q x\""), @r#"
a
  command[createuser two words two words] command=["createuser" "two words" "two words"] shell=false unless="id 'two words' | grep -q x" only-notified=false  (on "a")
"#);
    assert_snapshot!(body("command \"echo {{ word }} | cat\" shell=#true creates=\"/x\"\ncommand \"a b\" \"c\""), @r#"
a
  command[echo two words | cat] command=["echo two words | cat"] shell=true creates="/x" only-notified=false  (on "a")
  command[a b c] command=["a b" "c"] shell=false only-notified=false  (on "a")
"#);
    assert_snapshot!(body("command \"true\" { env A=\"1\" { B (expr)\"u.uid\"; C \"x\" \"y\" } }"), @r#"
a
  command[true] command=["true"] shell=false only-notified=false env={A=["1"] B=[2001] C=["x" "y"]}  (on "a")
"#);
    assert_snapshot!(body("command \"echo 'x\""), @r#"
lang::command

  x a quote that is not closed
   ,-[inventory.kdl:4:9]
 3 | on "a" {
 4 | command "echo 'x"
   :         ^^^^|^^^^
   :             `-- in this command
 5 | }
   `----
  help: close the quote, or use `shell=#true` for a line of shell
"#);
}

#[test]
fn content_ends_with_a_newline_unless_it_is_exact() {
    let inventory = r#"
host "a"
on "a" {
    file "/text" { content "x" }
    file "/ended" { content "x\n" }
    file "/exact" newline=#false { content "x" }
    file "/empty" { content "" }
    file "/bytes" { content (file)"blob.bin" }
    file "/rendered" { content (template)"t.j2" }
    file "/number" { content (expr)"1 + 1" }
}
"#;
    let sources = one(inventory)
        .file("files/blob.bin", b"\xff\x00".as_slice())
        .file("templates/t.j2", "{# gone #}{% include 'inner.j2' %}")
        .file("templates/inner.j2", "inner of {{ host.name }}");
    assert_snapshot!(run(&loader(sources, &[]), "inventory.kdl", &[]), @r#"
a
  file[/text] path="/text" content="x\n" newline=true state="present"  (on "a")
  file[/ended] path="/ended" content="x\n" newline=true state="present"  (on "a")
  file[/exact] path="/exact" content="x" newline=false state="present"  (on "a")
  file[/empty] path="/empty" content="" newline=true state="present"  (on "a")
  file[/bytes] path="/bytes" content=(files/blob.bin) newline=true state="present"  (on "a")
  file[/rendered] path="/rendered" content="inner of a\n" newline=true state="present"  (on "a")
  file[/number] path="/number" content="2\n" newline=true state="present"  (on "a")
"#);
}

#[test]
fn addresses_escape_and_ids_replace_names() {
    assert_snapshot!(body(r#"file "/a]b\\c" id="odd"
file "/a]b\\c" when=#false
file "/x]y" 
file "/z" after="file[/x\\]y]"
line "/etc/x" "Port 22" match="^Port"
line "/etc/x" "y" id="named"
command "a b""#), @r#"
a
  file[odd] path="/a]b\\c" newline=true state="present"  (on "a")
  file[/x\]y] path="/x]y" newline=true state="present"  (on "a")
  file[/z] path="/z" newline=true state="present" after=file[/x\]y]  (on "a")
  line[/etc/x: ^Port] path="/etc/x" text="Port 22" match="^Port"  (on "a")
  line[named] path="/etc/x" text="y"  (on "a")
  command[a b] command=["a" "b"] shell=false only-notified=false  (on "a")
"#);
}

#[test]
fn after_moves_later_and_everything_else_stays() {
    assert_snapshot!(body("file \"/a\" after=\"file[/c]\"\nfile \"/b\"\nfile \"/c\"\nfile \"/d\" { after \"file[/a]\" \"file[/b]\" }"), @r#"
a
  file[/b] path="/b" newline=true state="present"  (on "a")
  file[/c] path="/c" newline=true state="present"  (on "a")
  file[/a] path="/a" newline=true state="present" after=file[/c]  (on "a")
  file[/d] path="/d" newline=true state="present" after=file[/b],file[/a]  (on "a")
"#);
}

#[test]
fn services_and_handlers_are_notified() {
    assert_snapshot!(body("file \"/a\" { notify \"service[x]:reload\" \"command[test]\" }\nservice \"x\"\ncommand \"nginx -t\" id=\"test\" only-notified=#true"), @r#"
a
  file[/a] path="/a" newline=true state="present" notify=service[x]:Reload notify=command[test]:AsTargetSays  (on "a")
  service[x] name="x" running=true enabled=true on-notify="restart"  (on "a")
  command[test] command=["nginx" "-t"] shell=false only-notified=true  (on "a")
"#);
    assert_snapshot!(body("file \"/a\" notify=\"command[true]\"\ncommand \"true\""), @r#"
lang::notify

  x `command[true]` cannot be notified
   ,-[inventory.kdl:4:18]
 3 | on "a" {
 4 | file "/a" notify="command[true]"
   :                  ^^^^^^^|^^^^^^^
   :                         `-- named here
 5 | command "true"
   `----
  help: notify a service, or a command with `only-notified=#true`
"#);
}

#[test]
fn what_a_condition_drops_may_be_named() {
    for (dropped, address) in [
        ("line \"/etc/x\" \"y\"", "line[/etc/x: y]"),
        ("line \"/etc/x\" \"y\" id=\"named\"", "line[named]"),
        ("package \"x\"", "package[x]"),
    ] {
        let shown = body(&format!("file \"/a\" after=\"{address}\"\nwhen \"1 > 2\" {{ {dropped} }}"));
        assert!(shown.starts_with("a\n  file[/a] "), "{dropped}: {shown}");
    }
    assert_snapshot!(body("file \"/a\" after=\"file[/b]\" notify=\"service[x]\"\nwhen \"1 > 2\" { file \"/b\"; service \"x\" }"), @r#"
a
  file[/a] path="/a" newline=true state="present"  (on "a")
"#);
}

#[test]
fn options_are_read_by_their_types() {
    assert_snapshot!(body("package \"x\" retries=3 timeout=\"90s\" may-fail=#true sensitive=#true drift=\"correct\" { tags \"a\" \"b\" }"), @r#"
a
  package[x] name=["x"] state="present" Options { selected: true, may_fail: true, sensitive: true, retries: 3, timeout: Some(90000), drift: Correct }  (on "a")
"#);
    assert_snapshot!(body("package \"x\" retries=(expr)\"limits.hard\" timeout=\"{{ limits.soft }}m\" drift=\"report\""), @r#"
a
  package[x] name=["x"] state="present" Options { selected: true, may_fail: false, sensitive: false, retries: 2, timeout: Some(60000), drift: Report }  (on "a")
"#);
    assert_snapshot!(check("host \"a\" { drift mode=\"correct\" }\non \"a\" { package \"x\" drift=\"report\" may-fail=#true }"), @r#"
a
  package[x] name=["x"] state="present" Options { selected: true, may_fail: true, sensitive: false, retries: 0, timeout: None, drift: Report }  (on "a")
"#);
    assert_snapshot!(body("package \"x\" retries=-1 timeout=90 drift=\"sometimes\""), @r#"
lang::type

  x -1 is too small
   ,-[inventory.kdl:4:21]
 3 | on "a" {
 4 | package "x" retries=-1 timeout=90 drift="sometimes"
   :                     ^|
   :                      `-- here
 5 | }
   `----
  help: expected a value from 0 to 100
lang::type

  x 90 is not a duration
   ,-[inventory.kdl:4:32]
 3 | on "a" {
 4 | package "x" retries=-1 timeout=90 drift="sometimes"
   :                                ^|
   :                                 `-- here
 5 | }
   `----
  help: write `"90s"`, with a unit (ms, s, m, h, d, w)
lang::type

  x `sometimes` is not allowed here
   ,-[inventory.kdl:4:41]
 3 | on "a" {
 4 | package "x" retries=-1 timeout=90 drift="sometimes"
   :                                         ^^^^^|^^^^^
   :                                              `-- here
 5 | }
   `----
  help: expected one of `correct`, `report`, `ignore`
"#);
}

#[test]
fn equal_resources_in_different_bodies_are_one() {
    assert_snapshot!(check("host \"a\"\non \"*\" { package \"curl\"; package \"vim\" }\non \"a\" { package \"curl\" tags=\"net\"; file \"/x\" after=\"package[curl]\" }"), @r#"
a
  package[curl] name=["curl"] state="present"  (on "*", on "a")
  package[vim] name=["vim"] state="present"  (on "*")
  file[/x] path="/x" newline=true state="present" after=package[curl]  (on "a")
"#);
    assert_snapshot!(check("host \"a\"\non \"*\" { file \"/x\" mode=\"0644\" }\non \"a\" { file \"/x\" mode=\"0600\" }"), @r#"
    lang::duplicate

      x `file[/x]` is declared twice
       ,-[inventory.kdl:2:10]
     1 | host "a"
     2 | on "*" { file "/x" mode="0644" }
       :          ^^|^
       :            `-- declared here
     3 | on "a" { file "/x" mode="0600" }
       :          ^^|^
       :            `-- and again here
       `----
      help: a resource cannot override another one: use a variable for the value that differs, or give
            one an `id`: `file … id="other"`
    "#);
}

#[test]
fn equal_resources_are_as_careful_as_the_most_careful() {
    let shown = check(
        "host \"a\"\non \"*\" { package \"x\" may-fail=#true }\non \"a\" { package \"x\" sensitive=#true }",
    );
    assert!(shown.contains("may_fail: false, sensitive: true"), "{shown}");
    let twice = check("host \"a\"\non \"a\" { user \"x\"; user \"x\" id=\"y\" }");
    assert!(twice.contains("`user[x]` and `user[y]` both own user:x"), "{twice}");
    let owners = "host \"a\"\non \"*\" { file \"/x\" when=\"facts.os.id == 'debian'\" { content \"y\" } }\non \"a\" { file \"/x\" { content \"y\" }; link \"/x\" to=\"/y\" }";
    let found = common::mistakes(owners);
    assert!(found.iter().any(|one| one.message.ends_with("both own path:/x")), "{found:?}");
}

#[test]
fn children_of_kinds_become_rows() {
    assert_snapshot!(body("unit \"shop\" { section \"Service\" { ExecStart \"/bin/x\" \"/bin/y\"; User \"{{ u.name }}\" }; section \"Install\" WantedBy=\"multi-user.target\" }"), @r#"
a
  unit[shop] name="shop" section=<name="Service" settings={ExecStart=["/bin/x" "/bin/y"] User=["ada"]}><name="Install" settings={WantedBy=["multi-user.target"]}>  (on "a")
"#);
}

#[test]
fn a_folder_is_no_whole_system() {
    assert_snapshot!(check("connection \"local\" root=\"sandbox\"\nhost \"a\"\non \"a\" { service \"x\" }"), @r#"
lang::root

  x `service` needs a whole system
   ,-[inventory.kdl:3:10]
 2 | host "a"
 3 | on "a" { service "x" }
   :          ^^^|^^^
   :             `-- in a folder
   `----
  help: the connection has `root=`: a folder that stands for `/`
"#);
}

#[test]
fn a_selection_marks_what_it_holds() {
    let inventory = loader(
        one("host \"a\"\non \"a\" { package \"x\" tags=\"net\"; package \"y\" tags=\"web\"; package \"z\" }"),
        &[],
    );
    let inventory = inventory.load("inventory.kdl", &[]).inventory.unwrap();
    let host = inventory.hosts().next().unwrap();
    let facts = facts(&inventory);
    let check = |selection: Selection, expected: &[bool]| {
        let (compiled, _) = inventory.compile(host, &facts, &selection);
        let selected: Vec<bool> =
            compiled.unwrap().catalog.resources.iter().map(|r| r.options.selected).collect();
        assert_eq!(selected, expected);
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    check(Selection::default(), &[true, true, true]);
    check(Selection { tags: texts(&["net", "web"]), ..Selection::default() }, &[true, true, false]);
    check(Selection { skip_tags: texts(&["net"]), ..Selection::default() }, &[false, true, true]);
    check(Selection { only: texts(&["package[z]"]), ..Selection::default() }, &[false, false, true]);
    let two = texts(&["package[y]", "package[z]"]);
    check(Selection { skip: two, ..Selection::default() }, &[true, false, false]);
    let both = Selection { only: texts(&["package[x]", "package[y]"]), ..Selection::default() };
    check(Selection { skip: texts(&["package[x]"]), ..both }, &[false, true, false]);
}

#[test]
fn without_facts_both_sides_are_looked_at_and_nothing_depends_on_them() {
    let text = r#"
host "a"
on "a" {
    when "facts.os.family == 'debian'" { file "/x" mode="0644" }
    when "facts.os.family != 'debian'" { file "/x" mode="0600" }
    for "disk" in="facts.disks" { file "/mnt/{{ disk.name }}" }
    file "/{{ facts.hostname }}" after="file[/x]"
    sysctl "{{ facts.cpu.count * 2 }}" value=(expr)"facts.memory.total // 1024"
}
"#;
    assert_snapshot!(check(text), @r#"
a
  file[/x] path="/x" newline=true mode=420 state="present"  (on "a")
  file[/here] path="/here" newline=true state="present" after=file[/x]  (on "a")
  sysctl[0] name="0" value=0  (on "a")
"#);
    let inventory = loader(one(text), &[]).load("inventory.kdl", &[]).inventory.unwrap();
    let none: Arc<dyn FactsOf> = Arc::new(NoFacts);
    let host = inventory.hosts().next().unwrap();
    let (compiled, diagnostics) = inventory.compile(host, &none, &Selection::default());
    assert!(compiled.is_some() && diagnostics.is_empty());
}

#[test]
fn facts_of_another_host_are_asked_for_by_name() {
    let text = "host \"a\"\nhost \"b\"\non \"a\" { file \"/x\" { content \"{{ hosts.b.facts.arch }}\" } }";
    let inventory = loader(one(text), &[]).load("inventory.kdl", &[]).inventory.unwrap();
    let host = inventory.hosts().next().unwrap();
    let (compiled, _) = inventory.compile(host, &facts(&inventory), &Selection::default());
    let reads: Vec<String> = compiled.unwrap().reads_facts_of.iter().map(ToString::to_string).collect();
    assert_eq!(reads, ["b"]);
    let only_a: Arc<dyn FactsOf> =
        Arc::new(std::collections::BTreeMap::from([(host.clone(), Arc::new(common::debian()))]));
    let (compiled, diagnostics) = inventory.compile(host, &only_a, &Selection::default());
    assert!(compiled.is_none());
    assert_snapshot!(diagnostics.render(inventory.files(), converge_lang::diagnostic::Style::PLAIN), @r#"
lang::template

  x there are no facts of `b` yet: no run has included it
   ,-[inventory.kdl:3:39]
 2 | host "b"
 3 | on "a" { file "/x" { content "{{ hosts.b.facts.arch }}" } }
   :                                       ^^^^|^^^
   :                                           `-- here
   `----
"#);
}

#[test]
fn paths_on_the_controller_do_not_depend_on_facts() {
    let run = |text: &str| {
        let sources = MemorySources::new().file("inventory.kdl", text).file("files/debian.conf", "x");
        run(&loader(sources, &[]), "inventory.kdl", &[])
    };
    assert_snapshot!(run("host \"a\"\non \"a\" { file \"/x\" { content (file)\"{{ facts.os.id }}.conf\" } }"), @r#"
lang::facts

  x this cannot depend on facts
   ,-[inventory.kdl:2:30]
 1 | host "a"
 2 | on "a" { file "/x" { content (file)"{{ facts.os.id }}.conf" } }
   :                              ^^^^^^^^^^^^^^^|^^^^^^^^^^^^^^
   :                                             `-- here
   `----
  help: the controller reads files and connects before it knows the facts of the host
"#);
    assert_snapshot!(run("vars { id \"debian\" }\nhost \"a\"\non \"a\" { file \"/x\" { content (file)\"{{ id }}.conf\" } }"), @r#"
a
  file[/x] path="/x" content=(files/debian.conf) newline=true state="present"  (on "a")
"#);
}

#[test]
fn a_catalog_has_its_limit() {
    let long = "x".repeat(900_000);
    let mut text = format!("vars {{ long \"{long}\" }}\nhost \"a\"\non \"a\" {{\n");
    (0..20).for_each(|place| {
        text.push_str(&format!("line \"/f\" \"{place}{{{{ long }}}}\" match=\"{place}\"\n"))
    });
    text.push('}');
    let inventory = loader(one(&text), &[]).load("inventory.kdl", &[]).inventory.unwrap();
    let host = inventory.hosts().next().unwrap();
    let (compiled, diagnostics) = inventory.compile(host, &facts(&inventory), &Selection::default());
    assert!(compiled.is_none());
    let messages: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
    assert_eq!(messages, ["the catalog is larger than 16 MiB"]);
}

#[test]
fn what_runs_once_is_known_by_its_address_and_key() {
    let text = "host \"a\"\non \"a\" {\ncommand \"migrate\" id=\"shop\" once=\"{{ 'a' ~ 1 }}\"\n}";
    let inventory = loader(one(text), &[]).load("inventory.kdl", &[]).inventory.unwrap();
    let host = inventory.hosts().next().unwrap();
    let (compiled, _) = inventory.compile(host, &facts(&inventory), &Selection::default());
    assert_eq!(compiled.unwrap().catalog.resources[0].once(), Some("command[shop] a1"));
}

#[test]
fn the_digest_of_a_file_of_the_project_may_be_part_of_a_name() {
    let with = |path: &str| {
        let inventory = format!(
            "vars {{ file \"app.tar.gz\"; id (digest)\"{path}\" }}\nhost \"a\"\non \"a\" {{ file \"/srv/{{{{ id }}}}\" }}"
        );
        run(&loader(one(&inventory).file("dist/app.tar.gz", "1.0"), &[]), "inventory.kdl", &[])
    };
    let digest = converge_model::Digest::of(b"1.0").short();
    let catalog = with("dist/{{ file }}");
    assert!(catalog.contains(&format!("file[/srv/{digest}]")), "{catalog}");
    assert!(with("dist/gone").contains("failed to read `dist/gone`: no such file"));
    assert!(with("../outside").contains("the path leads out of the project"));
    assert!(with("{{ facts.os.id }}").contains("this cannot depend on facts"));
}

#[test]
fn templates_are_found_eight_folders_deep() {
    let found = |folders: &str| {
        let named =
            format!("host \"a\"\non \"a\" {{ file \"/x\" {{ content (template)\"{folders}/t.j2\" }} }}");
        let sources = one(&named).file(&format!("templates/{folders}/t.j2"), "found");
        run(&loader(sources, &[]), "inventory.kdl", &[])
    };
    assert!(found("1/2/3/4/5/6/7/8").contains("content=\"found\\n\""));
    assert!(found("1/2/3/4/5/6/7/8/9").contains("there is no template `1/2/3/4/5/6/7/8/9/t.j2`"));
}

#[test]
fn address_may_be_one_that_facts_make() {
    let named = "host \"a\"\non \"a\" {\n    file \"/{{ facts.hostname }}\"\n    file \"/x\"\n    file \"/y\" after=\"file[/here]\"\n}";
    assert_snapshot!(check(named), @r#"
a
  file[/here] path="/here" newline=true state="present"  (on "a")
  file[/x] path="/x" newline=true state="present"  (on "a")
  file[/y] path="/y" newline=true state="present" after=file[/here]  (on "a")
"#);
}

#[test]
fn tags_come_from_lists_and_null_is_none() {
    let chosen = |tags: &str, tag: &str| {
        let text = format!(
            "vars {{ both \"p\" \"q\" }}\nhost \"a\"\non \"a\" {{ package \"x\" {{ tags {tags} }} }}"
        );
        let inventory = loader(one(&text), &[]).load("inventory.kdl", &[]).inventory.unwrap();
        let host = inventory.hosts().next().unwrap();
        let selection = Selection { tags: vec![tag.to_owned()], ..Selection::default() };
        let (compiled, diagnostics) = inventory.compile(host, &facts(&inventory), &selection);
        assert!(!diagnostics.has_errors(), "{diagnostics:?}");
        compiled.unwrap().catalog.resources[0].options.selected
    };
    assert!(chosen("\"o\" (expr)\"both\"", "q"));
    assert!(!chosen("(expr)\"none\"", "q"));
}

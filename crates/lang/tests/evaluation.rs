//! What expressions and templates come to: hosts, groups, facts, maps, and where a value may stand.

mod common;

use common::{check, facts, loader, mistakes, one, run};
use converge_lang::{Case, CaseOutcome, MemorySources, Moment, Selection};
use converge_model::{HostName, Value};

/// What a project of these files comes to.
fn of_files(files: &[(&str, &str)]) -> String {
    let sources = files.iter().fold(MemorySources::new(), |sources, (path, text)| sources.file(path, *text));
    run(&loader(sources, &[]), "inventory.kdl", &[])
}

/// The content that a report shows; else all of it.
fn content_of(said: String) -> String {
    match said.split_once("content=\"").and_then(|(_, rest)| rest.split_once("\" newline=")) {
        Some((content, _)) => content.to_owned(),
        None => said,
    }
}

/// Two hosts, the first of which writes `template` into a file: what is in it, or what is wrong.
fn written(more: &str, template: &str) -> String {
    let project = format!(
        "host \"db-1\" \"web1\"\ngroup \"back-end\" {{ members \"db-1\" }}\ngroup \"web\" {{ members \"web1\" }}\n{more}\n\
         on \"db-1\" {{ file \"/f\" newline=#false {{ content {template:?} }} }}"
    );
    content_of(check(&project))
}

#[test]
fn hosts_and_groups_are_found_by_place_and_by_either_spelling_of_a_name() {
    let check = |template: &str, expected: &str| assert_eq!(written("", template), expected, "{template}");
    check("{{ hosts[1].name }} {{ hosts['db-1'].name }} {{ hosts.db_1.name }}", "web1 db-1 db-1");
    check("{{ groups['back-end'][0].name }} {{ groups.back_end[0].name }}", "db-1 db-1");
    check("{{ groups.web[0] == hosts.web1 }} {{ groups.web[0] == hosts.db_1 }}", "true false");
    check("{{ hosts.web1.vars == hosts.web1.vars }} {{ hosts.web1.vars == hosts.db_1.vars }}", "true false");
    check("{{ hosts | map(attribute='name') | join(' ') }}", "db-1 web1");
    check("{{ [hosts.web1] | tojson | length > 2 }}", "true");
    assert!(written("", "{{ groups.back.name }}").contains("is undefined"));
}

#[test]
fn maps_and_lists_are_counted_compared_and_walked() {
    let vars = r#"vars { m { a 1; b "two" }; l 1 2 3; e {} }"#;
    let check = |template: &str, expected: &str| assert_eq!(written(vars, template), expected, "{template}");
    check("{{ m | length }} {{ l | length }}", "2 3");
    check("{{ m == m }} {{ m.a == 1 }} {{ l[2] }}", "true true 3");
    check("{% for key in m %}{{ key }}={{ m[key] }};{% endfor %}", "a=1;b=two;");
    check("{% for word in ['a', 'b'] %}{% set last = word %}{{ last }}{{ loop.index }}{% endfor %}", "a1b2");
    check("{{ 'a-b-a' | replace('a', 'xy') }}", "xy-b-xy");
}

#[test]
fn a_name_that_is_nothing_is_told_with_its_nearest_in_every_scope() {
    let told = |more: &str, template: &str, help: &str| {
        let said = written(more, template);
        assert!(said.contains("is undefined") && said.contains(help), "{template}: {said}");
    };
    told("vars { workers 2 }", "{{ wrokers }}", "did you mean `workers`?");
    told("", "{{ hots }}", "did you mean `host`");
    told("vars { colour 1 }", "{% for x in [1] %}{{ color }}{% endfor %}", "did you mean `colour`?");
    // In a condition of a loop, names of the loop and of its surroundings.
    let of_loop = |when: &str| {
        check(&format!(
            "vars {{ sizes 1 2 }}\nhost \"a\"\non \"a\" {{ for size in=(expr)\"sizes\" {{ file \"/{{{{ size }}}}\" when={when:?} }} }}"
        ))
    };
    let two = of_loop("size > 1");
    assert!(two.contains("file[/2]") && !two.contains("file[/1]"), "{two}");
    assert!(of_loop("sise > 1").contains("did you mean `size`?"));
}

#[test]
fn in_a_module_its_parameters_and_variables_are_the_names() {
    let module = |body: &str| {
        let text = format!(
            "module \"site\" summary=\"s\"\nparams {{ param \"name\" type=\"name\" }}\nvars {{ folder \"/srv\" }}\nresources {{ file \"/f\" newline=#false {{ content {body:?} }} }}"
        );
        of_files(&[
            (
                "inventory.kdl",
                "host \"a\"
on \"a\" { site name=\"shop\" }",
            ),
            ("modules/site/module.kdl", &text),
        ])
    };
    let said = module;
    assert!(
        said("{{ folder }}/{{ params.name }}").contains("content=\"/srv/shop\""),
        "{}",
        said("{{ folder }}")
    );
    for (body, nearest) in
        [("{{ foldr }}", "`folder`"), ("{{ parms.name }}", "`params`"), ("{{ hots }}", "`host`")]
    {
        assert!(said(body).contains(&format!("did you mean {nearest}")), "{}", said(body));
    }
}

#[test]
fn names_of_the_network_are_told_from_what_only_looks_like_them() {
    let typed = |ty: &str, value: &str| {
        let text = format!(
            "module \"m\" summary=\"s\"\nparams {{ param \"v\" type={ty:?} }}\nresources {{ file \"/f\" newline=#false {{ content \"{{{{ params.v }}}}\" }} }}"
        );
        let inventory = &format!("host \"a\"\non \"a\" {{ m {{ v {value:?} }} }}");
        let said = content_of(of_files(&[("inventory.kdl", inventory), ("modules/m/module.kdl", &text)]));
        if said.contains('\n') { "refused".to_owned() } else { said }
    };
    let check =
        |ty: &str, value: &str, expected: &str| assert_eq!(typed(ty, value), expected, "{ty} {value}");
    check("hostname", "*.example.com.", "*.example.com.");
    for wrong in ["-a.example", "a-.example", "a..b", "a b"] {
        check("hostname", wrong, "refused");
    }
    check("url", "https://example.com/x", "https://example.com/x");
    check("url", "git+ssh://example.com/x", "git+ssh://example.com/x");
    for wrong in ["https:/x", "1x://y", "https//x", "ht tp://x", "https://"] {
        check("url", wrong, "refused");
    }
}

#[test]
fn each_drift_mode_has_its_name() {
    for (word, mode) in [("correct", "Correct"), ("report", "Report"), ("ignore", "Ignore")] {
        let said = check(&format!("host \"a\"\non \"a\" {{ file \"/f\" drift={word:?} may-fail=#true }}"));
        assert!(said.contains(&format!("drift: {mode}")), "{said}");
    }
}

#[test]
fn a_file_that_is_too_large_for_a_text_says_how_large_it_may_be() {
    let said = of_files(&[
        (
            "inventory.kdl",
            "vars { text (file)\"large\" }\nhost \"a\"\non \"a\" { file \"/f\" { content \"{{ text }}\" } }",
        ),
        ("files/large", &"x".repeat(64 * 1024 + 1)),
    ]);
    assert!(said.contains("as a text a file has at most 64 KiB"), "{said}");
}

#[test]
fn a_mistake_that_a_case_expects_must_be_that_mistake() {
    let loader = loader(MemorySources::default(), &[]);
    let run = |expected: &str| {
        let text = format!("error {expected:?}\nfile \"/f\" mdoe=\"0644\"");
        Case::read("modules/m/cases/a.kdl", &text).map(|case| case.run(&loader))
    };
    assert!(matches!(run("mdoe"), Ok(CaseOutcome::Refused)), "{:?}", run("mdoe"));
    let Ok(CaseOutcome::Broken(why)) = run("something else") else { panic!("{:?}", run("something else")) };
    assert!(why.contains("a mistake was expected: something else"), "{why}");
}

/// What is wrong with the body of a block on one host.
fn wrong(body: &str) -> String {
    check(&format!("host \"a\" \"b\"\non \"a\" {{\n{body}\n}}"))
}

#[test]
fn a_number_is_taken_as_it_is_written_or_refused() {
    let told = |value: &str| {
        content_of(check(&format!(
            "vars {{ n {value} }}\nhost \"a\"\non \"a\" {{ file \"/f\" newline=#false {{ content \"{{{{ n }}}}\" }} }}"
        )))
    };
    for (written, shown) in [
        ("0x1f", "31"),
        ("-0x10", "-16"),
        ("0o17", "15"),
        ("0b101", "5"),
        ("1_000", "1000"),
        ("7", "7"),
        ("-7", "-7"),
        ("1.5", "1.5"),
        ("1e3", "1000.0"),
        ("1_0.5", "10.5"),
    ] {
        assert_eq!(told(written), shown, "{written}");
    }
    for written in ["007", "+5", "1.10", "-0.50"] {
        assert!(
            told(written).contains(&format!("`{written}` is the number")),
            "{written}: {}",
            told(written)
        );
    }
}

#[test]
fn options_are_left_out_by_null_and_walked_as_lists() {
    let fine = |option: &str| wrong(&format!("package \"x\" id=\"first\"\npackage \"y\" {option}"));
    assert!(fine("after=#null").contains("package[y]"), "{}", fine("after=#null"));
    assert!(fine("after=(expr)\"none\"").contains("package[y]"));
    assert!(fine("after=(expr)\"['package[first]']\"").contains("package[y]"));
    assert!(fine("after=(expr)\"['package[frist]']\"").contains("package[first]"), "the nearest is told");
    assert!(fine("after=(expr)\"{'a': 1}\"").contains("is a text"));
    let fine = fine("retries=\"{{ 1 + 1 }}\"");
    assert!(fine.contains("retries: 2"), "{fine}");
}

#[test]
fn what_several_blocks_say_of_one_resource_holds_together() {
    let both = |one: &str, other: &str| {
        check(&format!(
            "host \"a\"\non \"*\" {{ package \"x\" {one} }}\non \"a\" {{ package \"x\" {other} }}"
        ))
    };
    // It is sensitive if one says so, and may fail only if all say so.
    for (one, other) in
        [("sensitive=#true", ""), ("", "sensitive=#true"), ("sensitive=#true", "sensitive=#true")]
    {
        assert!(both(one, other).contains("sensitive: true"), "{one} {other}");
    }
    assert!(!both("may-fail=#true", "").contains("may_fail: true"));
    assert!(!both("", "may-fail=#true").contains("may_fail: true"));
    assert!(both("may-fail=#true", "may-fail=#true").contains("may_fail: true"));
}

#[test]
fn a_name_that_is_secret_is_one_mistake_and_what_a_condition_drops_keeps_its_name() {
    let dropped = wrong("package \"x\" id=\"one\" when=\"1 == 2\"\nfile \"/f\" after=\"package[one]\"");
    assert!(dropped.contains("file[/f]"), "{dropped}");
    let in_loop = wrong(
        "when \"1 == 2\" { for \"n\" in=(expr)\"['x']\" { package \"{{ n }}\" } }\nfile \"/f\" after=\"package[x]\"",
    );
    assert!(in_loop.contains("file[/f]"), "{in_loop}");
    let never = wrong("package \"x\" when=\"1 == 2\"\nfile \"/f\" after=\"package[z]\"");
    assert!(never.contains("package[z]") && !never.contains("file[/f] path"), "{never}");
}

#[test]
fn one_thing_has_one_owner() {
    let said = wrong("service \"x\"\nservice \"x\" id=\"again\" enabled=#false");
    assert!(
        said.contains("`service[again]` and `service[x]` both own")
            || said.contains("`service[x]` and `service[again]` both own"),
        "{said}"
    );
    assert!(!wrong("service \"x\"\nservice \"y\"").contains("lang::claim"));
    let doubled = check("vars { m { a 1; a 2 } }\nhost \"a\"\non \"a\" { package \"x\" }");
    assert!(doubled.contains("`a` is given twice"), "{doubled}");
}

#[test]
fn words_of_other_tools_are_sent_to_ours() {
    for word in ["removed", "uninstalled", "deleted", "purged"] {
        let said = wrong(&format!("package \"x\" state={word:?}"));
        assert!(said.contains("write `absent`"), "{word}: {said}");
    }
    for word in ["installed", "latest"] {
        let said = wrong(&format!("package \"x\" state={word:?}"));
        assert!(said.contains("write `present`, or leave it out"), "{word}: {said}");
    }
    for word in ["jump", "proxy", "bastion"] {
        let said = check(&format!("host \"a\" {word}=\"x\"\non \"a\" {{ package \"x\" }}"));
        assert!(said.contains("jump="), "{word}: {said}");
    }
}

#[test]
fn a_range_counts_up_and_keeps_its_width() {
    let hosts = |name: &str| check(&format!("host {name:?}\non \"*\" {{ package \"x\" }}"));
    for name in ["w[3..1]", "w[a..b]", "w[1..]", "w[1..9..0]", "w[-1..2]"] {
        assert!(hosts(name).contains("lang::"), "{name}: {}", hosts(name));
    }
    let same = hosts("w[5..5]");
    assert!(same.starts_with("w5\n"), "{same}");
    let padded = hosts("w[08..10]");
    assert!(padded.starts_with("w08\n") && padded.contains("w10\n"), "{padded}");
}

#[test]
fn mistakes_in_templates_of_a_module_are_found_in_folders_of_folders() {
    let said = of_files(&[
        ("inventory.kdl", "host \"a\"\non \"a\" { m }"),
        (
            "modules/m/module.kdl",
            "module \"m\" summary=\"s\"\nresources { file \"/f\" { content (template)\"one/two/x.j2\" } }",
        ),
        ("modules/m/templates/one/two/x.j2", "{% include 'one/y.j2' %}"),
        ("modules/m/templates/one/y.j2", "{{ nowhere }}"),
    ]);
    assert!(said.contains("`nowhere` is undefined") && said.contains("(in `one/y.j2`, line 1)"), "{said}");
}

#[test]
fn a_host_without_blocks_asks_for_nothing() {
    let text = "drift every=\"1h\"\nhost \"a\" \"b\" \"c\"\nhost \"d\" { drift every=\"5m\" }\non \"a\" { package \"x\" }\non \"b\" { }\n";
    let inventory = loader(one(text), &[]).load("inventory.kdl", &[]).inventory.unwrap();
    let of = |name: &str| HostName::new(name).unwrap();
    assert_eq!(["a", "b", "c"].map(|name| inventory.asks_for_anything(&of(name))), [true, false, false]);
    assert_ne!(inventory.drift(&of("a")), inventory.drift(&of("d")));
    let inputs: Vec<String> = inventory.inputs().into_iter().map(|(name, _)| name).collect();
    assert_eq!(inputs, ["inventory.kdl"]);
    let set = [("x".to_owned(), "1".to_owned())];
    let text = format!("vars {{ x 2 }}\n{text}");
    let inventory = loader(one(&text), &[]).load("inventory.kdl", &set).inventory.unwrap();
    let inputs: Vec<String> = inventory.inputs().into_iter().map(|(name, _)| name).collect();
    assert_eq!(inputs, ["inventory.kdl"], "what `--set` says is no file");
}

#[test]
fn names_behind_facts_are_known_in_a_loop_as_well() {
    let behind = |name: &str| {
        check(&format!(
            "vars {{ workers 2 }}\nhost \"a\"\non \"a\" {{ for \"size\" in=(expr)\"[1]\" {{ file \"/{{{{ size }}}}\" {{ content \"x{{% if facts.os.family == 'redhat' %}}{{{{ {name} }}}}{{% endif %}}\" }} }} }}"
        ))
    };
    for fine in ["size", "workers", "host.name"] {
        assert!(behind(fine).contains("file[/1]"), "{fine}: {}", behind(fine));
    }
    let before_facts = |name: &str| {
        let found = mistakes(&format!(
            "vars {{ workers 2 }}\nhost \"a\"\non \"a\" {{ for \"size\" in=(expr)\"[1]\" {{ file \"/{{{{ size }}}}\" {{ content \"{{% if facts.os.family == 'debian' %}}{{{{ {name} }}}}{{% endif %}}\" }} }} }}"
        ));
        found.iter().map(|found| found.message.clone()).collect::<Vec<_>>()
    };
    for fine in ["size", "workers", "host.name"] {
        assert_eq!(before_facts(fine), Vec::<String>::new());
    }
    for slip in ["siz", "worker"] {
        assert_eq!(before_facts(slip), [format!("`{slip}` is undefined")]);
    }
    for (slip, meant) in [("siz", "size"), ("worker", "workers")] {
        assert!(behind(slip).contains(&format!("did you mean `{meant}`?")), "{slip}: {}", behind(slip));
    }
}

#[test]
fn a_path_on_the_controller_knows_the_names_around_it() {
    let said = wrong("file \"/f\" { content (file)\"{{ hots }}\" }");
    assert!(said.contains("did you mean `host`?"), "{said}");
}

#[test]
fn templates_are_read_ahead_as_deep_as_anybody_nests_them() {
    let at = |depth: usize| {
        let path = format!("modules/m/templates/{}x.j2", "f/".repeat(depth));
        let module = "module \"m\" summary=\"s\"\nresources { package \"x\" }";
        of_files(&[
            ("inventory.kdl", "host \"a\"\non \"a\" { m }"),
            ("modules/m/module.kdl", module),
            (&path, "{{ broken"),
        ])
    };
    assert!(at(8).contains("x.j2"), "{}", at(8));
    assert!(!at(9).contains("x.j2"), "{}", at(9));
}

#[test]
fn rules_with_maps_are_compared_by_key_and_value() {
    let module = "module \"rules\"\nparams { child \"rule\" join=#false { arg \"name\" type=\"string\"; param \"env\" type=\"map\"; param \"free\" type=\"bool\" } }\nresources { for \"rule\" in=\"params.rule\" { file \"/{{ rule.name }}\" { content \"{{ rule.env | tojson }}\" } } }";
    let rules = |other: &str| {
        let inventory = format!(
            "host \"a\"\non \"*\" {{ rules {{ rule \"x\" {{ env {{ A \"1\" }} }} }} }}\non \"a\" {{ rules {{ rule \"x\" {{ {other} }} }} }}"
        );
        of_files(&[("inventory.kdl", &inventory), ("modules/rules/module.kdl", module)])
    };
    assert!(!rules("env { A \"1\" }").contains("differently"), "{}", rules("env { A \"1\" }"));
    for other in [
        "env { A \"2\" }",
        "env { B \"1\" }",
        "env { A \"1\" \"2\" }",
        "env { A \"1\"; B \"2\" }",
        "free #true",
    ] {
        assert!(rules(other).contains("differently"), "{other}: {}", rules(other));
    }
}

#[test]
fn groups_that_say_the_same_of_a_variable_agree() {
    let groups = |first: &str, second: &str| {
        check(&format!(
            "host \"a\"\ngroup \"g\" {{ members \"a\"; vars {{ {first} }} }}\ngroup \"h\" {{ members \"a\"; vars {{ {second} }} }}\non \"a\" {{ file \"/f\" newline=#false {{ content \"{{{{ m | tojson }}}}\" }} }}"
        ))
    };
    let fine = |first: &str, second: &str| groups(first, second).contains("file[/f]");
    assert!(fine("m { a 1; b 2 }", "m { b 2; a 1 }"), "{}", groups("m { a 1; b 2 }", "m { b 2; a 1 }"));
    assert!(fine("m 1 2", "m 1 2"));
    assert!(fine("m { - { a 1 }; - { b 2 } }", "m { - { a 1 }; - { b 2 } }"));
    assert!(!fine("m { - { a 1 } }", "m { - { a 2 } }") && !fine("m { - { a 1 } }", "m { - { a 1; b 2 } }"));
    for (first, second) in
        [("m { a 1 }", "m { a 2 }"), ("m 1 2", "m 2 1"), ("m 1 2", "m 1 2 3"), ("m 1", "m { a 1 }")]
    {
        assert!(!fine(first, second), "{first} {second}: {}", groups(first, second));
    }
}

#[test]
fn an_argument_too_many_is_told_where_it_may_stand() {
    let missing = wrong("link \"/x\" \"/y\"");
    assert!(missing.contains("write `link") && missing.contains(" to="), "{missing}");
    for given in ["link \"/x\" \"/y\" to=\"/z\"", "link \"/x\" \"/y\" { to \"/z\" }"] {
        assert!(wrong(given).contains("write one `link` each"), "{}", wrong(given));
    }
}

#[test]
fn settings_and_blocks_take_values_and_no_bodies() {
    let told = |text: &str| check(&format!("{text}\non \"*\" {{ package \"x\" }}"));
    let fine = told("connection { user \"admin\"; port 2222 }\nhost \"a\"");
    assert!(fine.contains("package[x]"), "{fine}");
    for wrong in [
        "connection { user \"admin\" x=1 }\nhost \"a\"",
        "connection { user \"admin\" { x } }\nhost \"a\"",
        "host \"a\"\ndrift { window \"mon 1:00-2:00\" \"tue 1:00-2:00\" x=1 }",
        "host \"a\"\ndrift { window \"mon 1:00-2:00\" \"tue 1:00-2:00\" { x } }",
        "host \"a\" \"b\"\non \"a\" { after \"b\" { x }; package \"y\" }",
        "host \"w[+1..2]\"",
        "host \"w[000000000000000000001..2]\"",
    ] {
        assert!(told(wrong).contains("lang::"), "{wrong}: {}", told(wrong));
    }
    let widest = told("host \"w[00000000000000000001..2]\"");
    assert!(widest.starts_with("w00000000000000000001\n"), "{widest}");
}

#[test]
fn a_truth_that_a_template_writes_is_a_truth() {
    let newline = |value: &str| wrong(&format!("file \"/f\" newline={value} {{ content \"x\" }}"));
    assert!(newline("\"{{ 1 == 2 }}\"").contains("newline=false"), "{}", newline("\"{{ 1 == 2 }}\""));
    assert!(newline("\"{{ 1 == 1 }}\"").contains("newline=true"));
    assert!(newline("\"{{ 'no' }}\"").contains("write `#false`"));
}

#[test]
fn two_slips_in_a_long_name_are_still_a_slip_of_the_pen() {
    assert!(written("vars { database 1 }", "{{ dtabas }}").contains("did you mean `database`?"));
    assert!(!written("vars { port 1 }", "{{ prtx }}").contains("did you mean `port`?"));
}

#[test]
fn what_a_dropped_module_would_hold_may_be_named() {
    let module = "module \"m\" summary=\"s\"\nresources { package \"x\" }";
    let named = |address: &str| {
        let inventory =
            format!("host \"a\"\non \"a\" {{ m when=\"1 == 2\"; file \"/f\" after={address:?} }}");
        of_files(&[("inventory.kdl", &inventory), ("modules/m/module.kdl", module)])
    };
    assert!(named("m").contains("file[/f]"), "{}", named("m"));
    assert!(named("m.package[x]").contains("file[/f]"), "{}", named("m.package[x]"));
    assert!(!named("mm.package[x]").contains("file[/f] path"), "{}", named("mm.package[x]"));
    assert!(Selection::default().is_everything());
    assert!(!Selection { only: vec!["m".to_owned()], ..Selection::default() }.is_everything());
}

#[test]
fn a_command_around_a_host_runs_each_time_unless_it_says_when() {
    let text = "host \"a\"\non \"*\" { rollout { before { command \"drain\"; command \"flush\" creates=\"/x\"; command \"wait\" { creates \"/y\" } } } }";
    let inventory = loader(one(text), &[]).load("inventory.kdl", &[]).inventory.unwrap();
    let (gates, _) = inventory.gates(&HostName::new("a").unwrap(), Moment::Before, &facts(&inventory));
    let gates = gates.unwrap();
    let always = gates.iter().flat_map(|gate| &gate.compiled.catalog.resources);
    let always: Vec<_> = always.map(|step| (step.address.as_str(), step.params.get("always"))).collect();
    let yes = Value::from(true);
    assert_eq!(always, [("command[drain]", Some(&yes)), ("command[flush]", None), ("command[wait]", None)]);
}

#[test]
fn an_address_of_a_name_that_facts_decide_is_left_to_the_plan() {
    let found = |body: &str| {
        let found = mistakes(&format!("host \"a\"\non \"a\" {{\n{body}\n}}"));
        found.iter().map(|found| found.message.clone()).collect::<Vec<_>>()
    };
    let vague = "package \"{{ facts.os.family }}\"\nfile \"/f\" after=\"package[debian]\"";
    assert_eq!(found(vague), Vec::<String>::new());
    assert_eq!(found("package \"debain\"\nfile \"/f\" after=\"package[debian]\"").len(), 1);
}

#[test]
fn rules_with_rules_of_their_own_are_compared_whole() {
    let module = "module \"rules\"\nparams { child \"rule\" join=#false { arg \"name\" type=\"string\"; child \"h\" { arg \"name\"; arg \"value\" } } }\nresources { for \"rule\" in=\"params.rule\" { file \"/{{ rule.name }}\" { content \"{{ rule.h | length }}\" } } }";
    let rules = |other: &str| {
        let inventory = format!(
            "host \"a\"\non \"*\" {{ rules {{ rule \"x\" {{ h \"a\" \"1\" }} }} }}\non \"a\" {{ rules {{ rule \"x\" {{ {other} }} }} }}"
        );
        of_files(&[("inventory.kdl", &inventory), ("modules/rules/module.kdl", module)])
    };
    let same = rules("h \"a\" \"1\"");
    assert!(same.contains("file[/x]") && !same.contains("differently"), "{same}");
    for other in ["h \"a\" \"1\"; h \"b\" \"2\"", "h \"a\" \"2\"", "h \"b\" \"1\""] {
        assert!(rules(other).contains("differently"), "{other}: {}", rules(other));
    }
}

#[test]
fn a_mark_of_a_project_names_its_inventory_where_it_is_asked_itself() {
    let load = |entry: &str, mark: &str| {
        let sources = MemorySources::new()
            .file("converge.kdl", mark)
            .file("inventory.kdl", "host \"a\"\non \"a\" { package \"x\" }");
        run(&loader(sources, &[]), entry, &[])
    };
    assert!(load("converge.kdl", "project \"shop\"").contains("`converge.kdl` names no inventory"));
    assert!(load("converge.kdl", "inventory \"inventory.kdl\"").contains("package[x]"));
    assert!(load("inventory.kdl", "project \"shop\"").contains("package[x]"));
}

#[test]
fn a_parameter_of_free_names_takes_one_value_each() {
    let unit = |settings: &str| wrong(&format!("unit \"x\" {{ section \"Unit\" {{ {settings} }} }}"));
    assert!(unit("Description \"y\"").contains("Description"), "{}", unit("Description \"y\""));
    assert!(!unit("Description \"y\"").contains("lang::"));
    for told in ["Description \"y\" x=1", "Description { y }"] {
        assert!(unit(told).contains("lang::"), "{told}: {}", unit(told));
    }
}

#[test]
fn a_folder_is_a_project_whether_or_not_its_mark_names_an_inventory() {
    let load = |mark: &str| {
        let sources = MemorySources::new().file("prod/converge.kdl", mark).file(
            "prod/a.kdl",
            "host \"a\"\non \"a\" { after \"b\"; package \"x\" }\nhost \"b\"\non \"b\" { package \"y\" }",
        );
        run(&loader(sources, &[]), "prod", &[])
    };
    assert!(load("project \"shop\"").contains("package[x]"), "{}", load("project \"shop\""));
    assert!(load("inventory \"a.kdl\"").contains("package[x]"), "{}", load("inventory \"a.kdl\""));
}

#[test]
fn what_set_cannot_give_is_told_by_its_shape() {
    let set = |name: &str| {
        let text = "vars { l 1 2; m { a 1 }; n 1 }\nhost \"a\"\non \"a\" { file \"/{{ n }}\" }";
        run(&loader(one(text), &[]), "inventory.kdl", &[(name.to_owned(), "3".to_owned())])
    };
    assert!(set("l").contains("a list, which `--set` cannot give"), "{}", set("l"));
    assert!(set("m").contains("a map; set one of its keys"), "{}", set("m"));
    assert!(set("n").contains("file[/3]"), "{}", set("n"));
}

#[test]
fn values_with_commas_are_shown_without_them() {
    let said =
        |value: &str| check(&format!("vars {{ a {value} }}\nhost \"a\"\non \"a\" {{ package \"x\" }}"));
    assert!(said("80, 81").contains("without commas: `80`"), "{}", said("80, 81"));
    assert!(said("\"ada\", \"bob\"").contains("without commas: `\"ada\"`"), "{}", said("\"ada\", \"bob\""));
    assert!(said("[1, 2]").contains("several values stand beside each other"), "{}", said("[1, 2]"));
}

#[test]
fn more_mistakes_than_anybody_reads_are_counted() {
    let lines: String = (0..500).map(|number| format!("flie \"/{number}\"\n")).collect();
    let found = mistakes(&format!("host \"a\"\non \"a\" {{\n{lines}}}"));
    assert!(found.dropped() > 1, "{}", found.dropped());
    assert_eq!(found.iter().count() + found.dropped(), 500);
}

#[test]
fn vocabulary_is_told_with_where_it_is_listed() {
    let help = |template: &str, help: &str| {
        let said = written("vars { x 1 }", template);
        assert!(said.contains(help), "{template}: {said}");
    };
    help("{{ x | zzzzzz }}", "docs/language.md lists the filters");
    help("{{ x is zzzzzz }}", "docs/language.md lists the tests");
    help("{{ zzzzzz(1) }}", "there are ");
    help("{{ x.zzzzzz() }}", "values have no methods; a filter is written `x | upper`");
    let found = mistakes(
        "host \"a\"\non \"a\" { file \"/f\" { content \"{% if facts.os.family == 'debian' %}{{ range(1, host.name | nofilter) }}{{ host.name | default(host.name | other) }}{% endif %}\" } }",
    );
    assert!(found.iter().any(|found| found.message.contains("there is no filter `nofilter`")));
}

#[test]
fn facts_that_nobody_told_yet_are_unknown_in_every_part() {
    for template in [
        "{{ facts.disks[0].name }}",
        "{{ facts.os.family == facts.os.version }}",
        "{{ facts.disks | length }}",
        "{% for disk in facts.disks %}{{ disk.name }}{% endfor %}",
        "{{ [facts.os.family, 'x'] | join('-') }}",
    ] {
        let found = mistakes(&format!("host \"a\"\non \"a\" {{ file \"/f\" {{ content {template:?} }} }}"));
        let found: Vec<_> = found.iter().map(|found| found.message.as_str()).collect();
        assert!(found.is_empty(), "{template}: {found:?}");
    }
}

#[test]
fn the_name_of_a_module_is_no_secret() {
    let module =
        "module \"m\" summary=\"s\"\nparams { arg \"name\" type=\"name\" }\nresources { package \"x\" }";
    let sources = one("").file("modules/m/module.kdl", module);
    let case = Case::read(
        "modules/m/cases/a.kdl",
        "secrets { ops { mail \"hidden@example.com\" } }\nm (secret)\"ops/mail\"",
    );
    let outcome = case.map(|case| case.run(&loader(sources, &[])));
    let Ok(CaseOutcome::Broken(why)) = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("secret") && !why.contains("hidden@example.com"), "{why}");
}

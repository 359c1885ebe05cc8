//! What expressions and templates come to: hosts, groups, facts, maps, and where a value may stand.

mod common;

use common::{check, loader, run};
use converge_lang::{Case, CaseOutcome, MemorySources};

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
    check("{{ groups['back-end'][0].name }} {{ groups.back_end | length }}", "db-1 1");
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

//! The values of expressions: hosts, groups, maps, options, and unknown facts.

mod common;

use common::{check, mistakes};

/// Returns the content in a report, or else the whole report.
fn content_of(said: String) -> String {
    match said.split_once("content=\"").and_then(|(_, rest)| rest.split_once("\" newline=")) {
        Some((content, _)) => content.to_owned(),
        None => said,
    }
}

/// Returns the file that the first of two hosts writes from `template`, or the mistakes.
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
    // In a condition of a loop, names of the loop and of the surrounding scope are suggested.
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
fn options_are_left_out_by_null_and_walked_as_lists() {
    let fine = |option: &str| {
        check(&format!("host \"a\"\non \"a\" {{\npackage \"x\" id=\"first\"\npackage \"y\" {option}\n}}"))
    };
    assert!(fine("after=#null").contains("package[y]"), "{}", fine("after=#null"));
    assert!(fine("after=(expr)\"none\"").contains("package[y]"));
    assert!(fine("after=(expr)\"['package[first]']\"").contains("package[y]"));
    assert!(fine("after=(expr)\"['package[frist]']\"").contains("package[first]"), "the nearest is told");
    assert!(fine("after=(expr)\"{'a': 1}\"").contains("must be a string"));
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
    // The merged resource is sensitive if one of them is, and may fail only if all may fail.
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
fn facts_that_are_not_known_yet_are_unknown_in_every_part() {
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

//! The mistakes that `check` finds although they depend on unknown facts, and those that it leaves to the plan.

mod common;

use common::{check, mistakes};

/// Returns the messages about the body of an `on` block.
fn found(vars: &str, body: &str) -> Vec<String> {
    let diagnostics = mistakes(&format!("vars {{ {vars} }}\nhost \"a\"\non \"a\" {{\n{body}\n}}"));
    diagnostics.iter().map(|diagnostic| diagnostic.message.clone()).collect()
}

#[test]
fn vocabulary_is_checked_behind_facts() {
    let body = r#"
        file "/tmp/a" { content "{{ facts.os.version | nofilter }}" }
        file "/tmp/b" { content "{% if facts.os.version is version('11', '>=') %}new{% endif %}" }
        file "/tmp/c" { content "{% if facts.os.family == 'debian' %}{{ nowhere }}{% endif %}" }
        file "/tmp/d" when="facts.os.version is version('11', '>=')"
        for "x" in="facts.disks | nofilter2" { file "/tmp/e-{{ x.name }}" }
    "#;
    let found = found("x 1", body);
    for message in [
        "there is no filter `nofilter`",
        "there is no test `version`",
        "`nowhere` is undefined",
        "there is no filter `nofilter2`",
    ] {
        assert!(found.iter().any(|known| known == message), "{message}: {found:?}");
    }
}

#[test]
fn name_of_another_group_may_be_missing_behind_a_condition_of_the_template() {
    let inventory = r#"
        group "db" { host "db1"; vars { only-db 1 } }
        host "web1"
        on "*" { file "/tmp/x" { content "{{ facts.hostname }}{% if host.name == 'db1' %}{{ only_db }}{% endif %}" } }
    "#;
    assert!(mistakes(inventory).is_empty(), "{}", check(inventory));
    let always = inventory.replace("{% if host.name == 'db1' %}{{ only_db }}{% endif %}", "{{ only_db }}");
    assert!(mistakes(&always).has_errors());
}

#[test]
fn closed_secret_goes_through_tojson() {
    let inventory = r#"
        host "a"
        vars { pw (secret)"x"; all { deep { pw (secret)"x" } } }
        on "a" { file "/x" { content "{{ pw | tojson }}{{ all | tojson }}{{ facts | tojson }}" } }
    "#;
    // The file of secrets does not exist, so no secret can be read.
    let found = mistakes(&format!("secrets \"s.age\"\n{inventory}"));
    assert!(!found.has_errors(), "{found:?}");
}

#[test]
fn variable_that_is_its_host_comes_to_an_end() {
    let check = |content: &str| {
        let inventory = format!(
            "host \"a\"\nhost \"b\"\nvars {{ me (expr)\"host\"; all (expr)\"hosts\" }}\non \"a\" {{ file \"/x\" {{ content {content:?} }} }}"
        );
        check(&inventory)
    };
    let refused = check("{{ host | tojson }}");
    assert!(refused.contains("nested more than"), "{refused}");
    assert!(check("{{ hosts | tojson }}").contains("nested more than"));
    assert!(check("{{ me ~ '' }}").contains("content=\"a\\n\""), "{}", check("{{ me ~ '' }}"));
    assert!(
        check("{{ host == hosts[1] }} {{ host == me }} {{ hosts | sort | list | length }}")
            .contains("false true 2")
    );
    assert!(check("{{ host.vars ~ '' }}").contains("vars"));
    assert!(check("{{ host.vars == hosts[1].vars }} {{ host.vars == me.vars }}").contains("false true"));
}

#[test]
fn an_address_that_facts_may_make_is_left_to_the_plan() {
    let after =
        |name: &str| found("x 1", &format!("package {name:?}\nfile \"/f\" after=\"package[debian]\""));
    assert_eq!(after("{{ facts.os.family }}"), Vec::<String>::new());
    assert_eq!(after("debain").len(), 1);
}

#[test]
fn names_of_a_loop_are_known_behind_facts() {
    let in_loop = |content: &str| {
        let content = format!("{{% if facts.os.family == 'debian' %}}{content}{{% endif %}}");
        found(
            "list \"a\" \"b\"",
            &format!("for \"x\" in=\"list\" {{ file \"/{{{{ x }}}}\" {{ content {content:?} }} }}"),
        )
    };
    assert_eq!(in_loop("{{ x }} {{ loop.index }} {{ list | join }}"), Vec::<String>::new());
    assert_eq!(in_loop("{{ nowhere }}"), ["`nowhere` is undefined"]);
    assert_eq!(in_loop("{% macro m() %}{{ x }}{% endmacro %}"), Vec::<String>::new());
    assert_eq!(in_loop("{% macro m() %}{{ nowhere }}{% endmacro %}"), ["`nowhere` is undefined"]);
    assert_eq!(in_loop("{{ range(nowhere) | join }}"), ["`nowhere` is undefined"]);
}

#[test]
fn variables_that_need_each_other_under_opposite_conditions_are_no_mistake() {
    let vars = r#"
        a "{% if facts.os.family == 'debian' %}1{% else %}{{ b }}{% endif %}"
        b "{% if facts.os.family == 'debian' %}{{ a }}{% else %}2{% endif %}"
    "#;
    assert_eq!(found(vars, "file \"/x\" { content \"{{ a }}{{ b }}\" }"), Vec::<String>::new());
}

#[test]
fn facts_of_its_own_may_be_of_any_shape() {
    let fine = [
        "{{ facts.own.app.version }}",
        "{{ facts.own.app['version'].major | upper }}",
        "{% for site in facts.own.sites %}{{ site.name }} {{ site.ports | join(', ') }}{% endfor %}",
        "{{ facts.own.sites | map(attribute='name') | sort | first }}",
        "{{ [facts.own.app, 'x'] | join(' ') }}",
        "{{ [facts.own.b, facts.own.a] | sort | join }}",
        "{{ [facts.os] ~ '' }}",
        "{% if facts.own.a < facts.own.b %}{{ facts.own.a + 1 }}{% endif %}",
    ];
    for content in fine {
        let told = |content: &str| found("x 1", &format!("file \"/x\" {{ content {content:?} }}"));
        assert_eq!(told(content), Vec::<String>::new(), "{content}");
        // No part of it ends the rendering early; otherwise the text after it would not be checked.
        let wide = told(&format!("{content}{{{{ 'a' | indent(10**9) }}}}"));
        assert!(
            wide.len() == 1 && wide[0].starts_with("`indent` takes numbers up to"),
            "{content}: {wide:?}"
        );
    }
    let body = "for \"site\" in=\"facts.own.sites\" { file \"/{{ site.name }}\" mode=\"{{ site.mode }}\" }\nfile \"/x\" when=\"facts.own.old.enough\" owner=\"{{ facts.own.owner }}\"";
    assert_eq!(found("x 1", body), Vec::<String>::new());
}

#[test]
fn template_that_includes_itself_behind_facts_comes_to_an_end() {
    let inventory = "host \"a\"\non \"a\" { file \"/x\" { content (template)\"t.j2\" } }";
    let text = "{% if facts.os.family == 'debian' %}{{ host.name }}{% else %}{% include 't.j2' %}{% endif %}";
    let sources = common::one(inventory).file("templates/t.j2", text);
    let shown = common::run(&common::loader(sources, &[]), "inventory.kdl", &[]);
    assert!(shown.contains("content=\"a\\n\""), "{shown}");
}

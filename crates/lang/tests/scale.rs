//! Large inventories, and wrong ones that only look large.

mod common;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use common::{facts, loader, mistakes, one};
use converge_lang::{Loaded, MemorySources, Selection};

/// Returns an inventory with so many hosts and resources for each, with variables, a loop and a condition.
fn fleet(hosts: usize, resources: usize) -> String {
    let mut text = format!(
        "vars {{ domain \"example.com\"; root \"/srv/{{{{ host.name }}}}\" }}\ngroup \"web\" {{ host \"web[1..{hosts}]\"; vars {{ port 80 }} }}\non \"web\" {{\n"
    );
    for place in 0..resources {
        let _ = writeln!(
            text,
            "file \"{{{{ root }}}}/{place}\" mode=\"0644\" {{ content \"{{{{ host.name }}}}.{{{{ domain }}}}:{{{{ port + {place} }}}} on {{{{ facts.arch }}}}\" }}"
        );
    }
    text.push('}');
    text
}

#[test]
fn a_fleet_compiles_in_time() {
    let started = Instant::now();
    let Loaded { inventory, diagnostics, .. } = loader(one(&fleet(100, 50)), &[]).load("inventory.kdl", &[]);
    assert!(!diagnostics.has_errors());
    let inventory = inventory.unwrap();
    let loaded = started.elapsed();
    assert!(!inventory.check().has_errors());
    let checked = started.elapsed();
    let facts = facts(&inventory);
    for host in inventory.hosts() {
        let (compiled, _) = inventory.compile(host, &facts, &Selection::default());
        assert_eq!(compiled.unwrap().catalog.resources.len(), 50);
    }
    let compiled = started.elapsed();
    // A debug build is about ten times slower than a release build. A quadratic step would be a hundred times slower.
    assert!(
        compiled < Duration::from_secs(20),
        "loaded {loaded:?}, checked {checked:?}, compiled {compiled:?}"
    );
    eprintln!("loaded {loaded:?}, checked {checked:?}, compiled {compiled:?}");
}

/// Checks that wrong input is refused in time, with a place and without a panic.
fn refused(name: &str, text: &str) {
    // A release build on an idle machine takes fifty milliseconds. A step without a limit would take minutes on any
    // machine.
    refused_within(Duration::from_secs(20), name, text);
}

fn refused_within(time: Duration, name: &str, text: &str) {
    let started = Instant::now();
    let found = mistakes(text);
    let took = started.elapsed();
    assert!(found.has_errors(), "{name}");
    assert!(took < time, "{name}: {took:?}");
}

#[test]
fn a_million_resources_are_refused_at_the_limit() {
    let text = "vars { l (expr)\"range(1000) | list\" }\nhost \"a\"\non \"a\" { for \"x\" in=\"l\" { for \"y\" in=\"l\" { sysctl \"a{{ x }}.{{ y }}\" value=1 } } }";
    refused_within(Duration::from_secs(60), "loops", text);
}

#[test]
fn bad_input_is_refused_in_time() {
    refused("slashdash", &"a /-{ ".repeat(5_000));
    refused("slashdash of nodes", &"/- ".repeat(5_000));
    refused("nesting", &"a { ".repeat(10_000));
    refused("large", &"a \"b\"\n".repeat(300_000));
    refused("hosts", "host \"a[1..9999]\" \"b[1..9999]\"");
    refused("ranges", "host \"a[1..100][1..100][1..100]\"");
    refused("braces", &"}".repeat(1_000));
    refused("quotes", &"\"".repeat(10_001));
    refused("include", "include \".\"");
    refused("loop", "host \"a\"\non \"a\" { for \"x\" in=\"range(100000)\" { package \"x{{ x }}\" } }");
    refused(
        "template",
        "host \"a\"\non \"a\" { file \"/a\" { content \"{% for x in range(10000) %}{% for y in range(10000) %}{{ x }}{% endfor %}{% endfor %}\" } }",
    );
    refused("empty", "");
}

#[test]
fn a_fan_of_includes_ends() {
    let mut sources = MemorySources::new().file("inventory.kdl", "include \"all\"\nhost \"a\"");
    for place in 0..400 {
        sources = sources.file(&format!("all/{place}.kdl"), format!("include \"{}.kdl\"", (place + 1) % 400));
    }
    let started = Instant::now();
    let Loaded { diagnostics, .. } = loader(sources, &[]).load("inventory.kdl", &[]);
    assert!(diagnostics.has_errors());
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn variables_that_grow_from_each_other_end() {
    let mut text = "vars {\nx0 \"aaaaaaaaaa\"\n".to_owned();
    for place in 1..40 {
        let _ = writeln!(text, "x{place} \"{{{{ x{0} }}}}{{{{ x{0} }}}}\"", place - 1);
    }
    text.push_str("}\nhost \"a\"\non \"a\" { file \"/a\" { content \"{{ x39 }}\" } }");
    refused("doubling", &text);
    let mut chain = "vars {\nx0 1\n".to_owned();
    for place in 1..3_000 {
        let _ = writeln!(chain, "x{place} \"{{{{ x{} }}}}\"", place - 1);
    }
    chain.push_str("}\nhost \"a\"\non \"a\" { file \"/a\" { content \"{{ x2999 }}\" } }");
    refused("chain", &chain);
}

/// Returns a project with a file whose content is filled in from `template`.
fn filled(template: &str) -> String {
    format!("host \"a\"\non \"a\" {{ file \"/a\" {{ content #\"{template}\"# }} }}")
}

#[test]
fn texts_that_grow_end() {
    refused("repeat", &filled("{{ 'a' * 10**9 }}"));
    refused("indent", &filled("{{ 'a' | indent(10**9) }}"));
    refused("indent by name", &filled("{{ 'a' | indent(width=10**9) }}"));
    refused("format", &filled("{{ '%1000000000d' | format(1) }}"));
    refused("slice", &filled("{{ [1] | slice(10**9) | list | length }}"));
    refused("batch", &filled("{{ [1] | batch(10**9, 'x') | list | length }}"));
    let hundred = "b".repeat(100);
    let replace = format!(" | replace('b', '{hundred}')").repeat(8);
    refused("replace", &filled(&format!("{{{{ 'b'{replace} }}}}")));
    refused(
        "capture",
        &filled(&format!(
            "{}{{{{ x | length }}}}",
            format!("{{% set x %}}{}{{% endset %}}", "{{ x }}".repeat(10)).repeat(12).replacen(
                "{{ x }}",
                "aaaaaaaaaa",
                10
            )
        )),
    );
    refused("macro", &filled("{% macro f(x) %}{{ f(x) }}{{ f(x) }}{% endmacro %}{{ f(1) }}"));
}

#[test]
fn loops_in_loops_end() {
    let list = "in=\"range(9999)\"";
    let nested = format!(
        "for \"a\" {list} {{ for \"b\" {list} {{ for \"c\" {list} {{ package \"x\" when=\"false\" }} }} }}"
    );
    refused_within(Duration::from_secs(60), "loops", &format!("host \"a\"\non \"a\" {{ {nested} }}"));
    let keys = format!("for \"a\" {list} {{ for \"b\" {list} {{ content \"x\" }} }}");
    refused_within(
        Duration::from_secs(60),
        "loops in a resource",
        &format!("host \"a\"\non \"a\" {{ file \"/x\" {{ {keys} }} }}"),
    );
}

#[test]
fn hosts_that_each_list_all_hosts_are_refused_with_their_number() {
    let text =
        "host \"h[1..3000]\"\non \"*\" { for \"h\" in=\"hosts\" { sysctl \"a.{{ h.name }}\" value=1 } }";
    let started = Instant::now();
    let found = mistakes(text);
    let message = found.iter().next().map(|report| report.message.clone()).unwrap_or_default();
    assert_eq!(message, "3000 hosts have about 9000000 resources; the maximum is 5000000");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

//! One mistake gives one message, and all mistakes are reported together.

mod common;

use common::{loader, mistakes};
use converge_lang::MemorySources;

fn messages(inventory: &str) -> Vec<String> {
    mistakes(inventory).iter().map(|diagnostic| diagnostic.message.clone()).collect()
}

#[test]
fn draft_with_a_mistake_is_not_declared_twice() {
    let found = messages(
        "host \"a\"\non \"a\" { for \"n\" in=\"['a', 'b']\" { line \"/etc/hosts\" \"{{ n }}\" match=\"{{ nowhere }}\" } }",
    );
    assert_eq!(found, ["`nowhere` is undefined"]);
}

#[test]
fn draft_that_depends_on_facts_is_not_declared_twice() {
    let found = messages(
        "host \"a\"\non \"a\" { for \"n\" in=\"['a', 'b']\" { line \"/etc/hosts\" \"{{ n }}\" match=\"{{ n }}{{ facts.hostname }}\" } }",
    );
    assert_eq!(found, Vec::<String>::new());
    let named = messages(
        "host \"a\"\non \"a\" { line \"/etc/hosts\" \"{{ facts.hostname }}\"; file \"/x\" after=\"line[/etc/hosts: debian]\" }",
    );
    assert_eq!(named, Vec::<String>::new());
}

#[test]
fn missing_secrets_of_a_map_are_all_named() {
    let inventory = r#"
        secrets "s.age"
        host "a"
        vars { accounts { one (secret)"app/one"; inner { two (secret)"app/two" }; list (secret)"app/three" (secret)"app/four" } }
        on "a" { for "name" "password" in="accounts" { file "/tmp/{{ name }}" { content (expr)"password" } } }
    "#;
    let sources =
        MemorySources::new().file("inventory.kdl", inventory).secret_file("s.age", "app { other \"x\" }");
    let loaded = loader(sources, &[]).load("inventory.kdl", &[]);
    let mut found = loaded.diagnostics;
    found.extend(loaded.inventory.expect("it can be read").check());
    let missing: Vec<&str> = found
        .iter()
        .filter_map(|diagnostic| diagnostic.message.strip_prefix("there is no secret "))
        .collect();
    assert_eq!(missing, ["`app/one`", "`app/two`", "`app/three`", "`app/four`"]);
}

#[test]
fn problem_of_a_kind_names_its_parameter() {
    let found = messages("host \"a\"\non \"a\" { file \"/x\" owner=\"nobody-there\" }");
    assert_eq!(found, ["there is no such owner"]);
}

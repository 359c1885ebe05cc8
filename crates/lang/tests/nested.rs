//! Keys inside the keys of a map: they are refused by name, however the map is given, and never lost.

mod common;

use common::mistakes;

/// What is wrong with an inventory whose `env` is a map: message and help of each.
fn found(vars: &str, env: &str) -> Vec<String> {
    let text =
        format!("vars {{ {vars} }}\nhost \"a\"\non \"a\" {{ command \"x\" always=#true {{ {env} }} }}");
    let diagnostics = mistakes(&text);
    diagnostics.iter().map(|diagnostic| diagnostic.message.clone()).collect()
}

fn is_refused(vars: &str, env: &str, key: &str) {
    let found = found(vars, env);
    assert!(found.len() == 1 && found[0].contains(&format!("`{key}`")), "{env}: {found:?}");
}

fn is_fine(vars: &str, env: &str) {
    assert_eq!(found(vars, env), Vec::<String>::new(), "{env}");
}

#[test]
fn nested_keys_of_a_map_in_braces_are_refused_by_name() {
    is_refused("x 1", "env { A 1; log { level \"info\" } }", "log");
    is_refused("x 1", "env { tls certificate=\"/x\" }", "tls");
    is_refused("x 1", "env { limits \"soft\" { files 1024 } }", "limits");
    is_refused("x 1", "env { limits \"soft\" files=1024 }", "limits");
    is_refused("x 1", "env { log { } }", "log");
    is_refused("x 1", "env { log { - \"a\"; level \"b\" } }", "log");
    is_refused("x 1", "env { log { - \"a\" { b 1 } } }", "env");
    is_refused("x 1", "when \"true\" { env { for \"k\" in=\"[1]\" { log { level \"{{ k }}\" } } } }", "log");
}

#[test]
fn nested_keys_of_a_map_from_an_expression_are_refused_by_name() {
    is_refused("s { port 80; log { level \"info\" } }", "env (expr)\"s\"", "log");
    is_refused("s { port 80; log { - { level \"info\" } } }", "env (expr)\"s\"", "log");
    is_refused("s { env { port 80; log { level \"info\" } } }", "with (expr)\"s\"", "log");
    is_refused("x 1", "env (expr)\"{'port': 80, 'log': {'level': 'info'}}\"", "log");
}

#[test]
fn values_and_lists_of_a_map_are_kept() {
    is_fine("x 1", "env A=1 { B \"x\" \"y\"; C { - \"x\"; - \"y\" }; D (expr)\"[x, 2]\" }");
    is_fine("s { port 80; names \"a\" \"b\" }", "env (expr)\"s\"");
}

#[test]
fn keys_of_an_item_of_a_list_are_refused() {
    let item = mistakes("host \"a\"\non \"a\" { user \"x\" { groups { - \"wheel\" why=\"x\" } } }");
    let messages: Vec<&str> = item.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
    assert_eq!(messages, ["an item of `groups` has keys of its own"]);
}

//! Mistakes that are found without a host: in bodies that no host uses, and once for all hosts.

mod common;

use common::{loader, mistakes, one};

/// Returns the mistakes of `body` from loading alone. No host uses it.
fn unreached(body: &str) -> Vec<String> {
    let inventory =
        format!("vars {{ x 1; colours \"red\" }}\nhost \"a\"\ngroup \"none\"\non \"none\" {{\n{body}\n}}");
    told(&inventory)
}

fn told(inventory: &str) -> Vec<String> {
    let loaded = loader(one(inventory), &[]).load("inventory.kdl", &[]);
    let messages = loaded.diagnostics.iter().map(|diagnostic| diagnostic.message.clone());
    messages.filter(|message| message != "`none` is a group without hosts").collect()
}

/// Returns the mistakes of a module that is never called.
fn uncalled(module: &str) -> Vec<String> {
    let sources = one("host \"a\"").file("modules/m/module.kdl", module);
    let loaded = loader(sources, &[]).load("inventory.kdl", &[]);
    loaded.diagnostics.iter().map(|diagnostic| diagnostic.message.clone()).collect()
}

#[test]
fn mistakes_of_what_no_host_reaches_are_told() {
    let cases = [
        ("flie \"/f\"", "there is no kind or module `flie`"),
        ("file \"/f\" contnet=\"x\"", "`file` has no parameter `contnet`"),
        ("file \"/f\" mode=\"rw\"", "`rw` is not a mode"),
        ("file \"/f\" \"x\"", "`file` has one argument too many"),
        ("link \"/f\"", "`link` needs `to`"),
        ("package { name }", "`name` has no value"),
        ("file \"/f\" { content \"x\" mode=\"0644\" }", "`content` has no property `mode`"),
        ("file \"/f\" { mode \"0644\" \"0600\" }", "`mode` takes one value"),
        ("file \"/f\" id=\"a\" { id \"a\" \"b\" }", "`id` takes one value"),
        ("command \"echo 'x\" always=#true", "a quote that is not closed"),
        ("command \"x\" { always; env 5 }", "this must be a map"),
        (
            "command \"x\" { env { A { B 1 } } }",
            "`A` has keys of its own, but `env` takes only values and lists",
        ),
        ("file \"/f\" retries=1000", "1000 is too large"),
        ("file \"/f\" drift=\"never\"", "`never` is not allowed here"),
        ("file \"/f\" may-fail=\"yes\"", "`yes` is neither true nor false"),
        ("file \"/f\" after=5", "`after` must be a string"),
        ("file \"/f\" tags=\"a,b\"", "`a,b` is one tag that contains a comma"),
        ("file \"/f\" content=\"a\" { content \"b\" }", "`content` is given twice"),
        ("command \"x\" { always; env A=1 { A 2 } }", "`A` is given twice"),
        ("unit \"x\" section=\"y\"", "`section` must be written as a child"),
        ("file \"/f\" when=5", "a condition must be true or false, found another value"),
        ("file \"/f\" { when }", "`when` needs a condition"),
        ("file \"/f\" when=\"x\" { when \"x\" }", "`when` is given twice"),
        ("when { file \"/f\" }", "`when` needs a condition"),
        ("when \"{{ x }}\" { file \"/f\" }", "an expression needs no braces"),
        ("for \"c\" { file \"/f\" }", "`for` needs a list: `for \"x\" in=\"colours\"`"),
        ("for \"host\" in=\"colours\" { file \"/f\" }", "`host` cannot be the name of a loop variable"),
        ("for \"c\" in=\"colours\" by=2 { file \"/f\" }", "`for` has no property `by`"),
        ("for in=\"colours\" { file \"/f\" }", "`for` needs one name, or two names for a map"),
        ("file \"/f\" content=\"{{ facts.os.famly }}\"", "there is no fact `facts.os.famly`"),
        ("file \"/f\" content=\"{{ x | uper }}\"", "there is no filter `uper`"),
        ("file \"/f\" content=(template)\"no.j2\"", "there is no template `no.j2`"),
    ];
    for (body, message) in cases {
        let found = unreached(body);
        assert!(found.iter().any(|found| found.starts_with(message)), "{body}: {found:?}");
    }
}

#[test]
fn no_second_mistake_follows_from_the_first() {
    let alone = |body: &str, message: &str| {
        let inventory = format!("vars {{ x 1; colours \"red\" }}\nhost \"a\"\non \"a\" {{\n{body}\n}}");
        let found: Vec<String> =
            mistakes(&inventory).iter().map(|diagnostic| diagnostic.message.clone()).collect();
        assert_eq!(found, [message], "{body}");
    };
    alone(
        "for \"host\" in=\"colours\" { file \"/{{ c }}\" }",
        "`host` cannot be the name of a loop variable",
    );
    alone(
        "file \"/f\" content=\"{{ nowhere }}\"; package \"x\" after=\"file[/f]\"",
        "`nowhere` is undefined",
    );
    alone("file \"f\"; package \"x\" after=\"file[/f]\"", "`f` is not an absolute path");
    alone("link \"/a\" \"/b\"; package \"x\" after=\"link[/a]\"", "`link` has one argument too many");
    alone(
        "when \"x == 2\" { flie \"/g\" }; package \"x\" after=\"flie[/g]\"",
        "there is no kind or module `flie`",
    );
}

/// Code for the hosts of another environment may name variables that only those hosts have.
#[test]
fn variables_are_for_hosts_to_say() {
    let nothing = Vec::<String>::new();
    assert_eq!(unreached("file \"/f\" content=\"{{ nowhere }}\""), nothing);
    let inventory = "vars { mode \"x\" }\nhost \"a\"\non \"a\" { when \"mode == 'y'\" { file \"/f\" content=\"{{ nowhere }}\" } }";
    assert!(mistakes(inventory).is_empty());
}

#[test]
fn what_is_asked_for_may_be_missing() {
    let module = |body: &str| uncalled(&format!("module \"m\"\nresources {{ {body} }}"));
    let nothing = Vec::<String>::new();
    for fine in [
        "when \"db is defined\" { file \"/f\" content=\"{{ db.name }}\" }",
        "file \"/f\" content=\"{{ db.name }}\" when=\"db is defined\"",
        "file \"/f\" { content \"{{ db.name }}\"; when \"db is defined\" }",
        "file \"/f\" content=\"{{ db | default('x') }}\"",
        "for \"c\" in=\"db | default([])\" { file \"/{{ c }}{{ loop.index }}\" content=\"{{ db | length }}\" }",
        "for \"c\" in=\"db if db is defined else []\" { file \"/{{ c }}\" content=\"{{ db }}\" }",
        "file \"/f\" content=\"{% if host.name == 'a' %}{{ db }}{% endif %}\"",
        "file \"/f\" content=\"{% if host.name == 'a' %}{% set x = 1 %}{% elif host.name == 'b' %}{% set x = 2 %}{% endif %}{{ x }}\"",
        "file \"/f\" content=\"{% macro m() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}\"",
        "file \"/f\" content=\"{{ facts.own | default({}) }}{{ facts['os'].family }}{{ hosts['db1.example.com'].name }}\"",
    ] {
        assert_eq!(module(fine), nothing, "{fine}");
    }
    for wrong in [
        "when \"db is defined\" { file \"/f\" content=\"{{ bd.name }}\" }",
        "file \"/f\" when=\"facts.os.id | default('') == 'x'\" content=\"{{ bd.name }}\"",
        "for \"c\" in=\"bd.name\" { file \"/f\" }",
        "file \"/f\" when=\"bd.name\"",
        "file \"/f\" when=#false content=\"{{ bd.name }}\"",
    ] {
        assert_eq!(module(wrong), ["`bd.name` is undefined"], "{wrong}");
    }
    assert_eq!(
        module("file \"/f\" when=\"facts.os.id | default('') == 'x'\" content=\"{{ facts.os.famly }}\""),
        ["there is no fact `facts.os.famly`"]
    );
}

#[test]
fn parameters_of_a_module_are_known_before_it_is_called() {
    let module = |body: &str| {
        uncalled(&format!(
            "module \"m\"\nparams {{ param \"port\" type=\"port\"; child \"site\" {{ arg \"name\" }}; assert \"prot > 1\" \"x\" }}\n\
             vars {{ file \"/{{{{ params.port }}}}\" }}\nresources {{ {body} }}"
        ))
    };
    let demand = "`prot` is undefined";
    assert_eq!(module("file \"/f\" content=\"{{ params.port }}{{ file }}{{ host.name }}\""), [demand]);
    assert_eq!(
        module(
            "for \"s\" in=\"params.site\" { file \"/{{ s.name }}\" }; file \"/f\" content=\"{{ params.prot }}\""
        ),
        [demand, "`params.prot` is undefined"]
    );
}

#[test]
fn bodies_of_a_rollout_are_resolved() {
    let rollout = |body: &str| {
        told(&format!("host \"a\"\ngroup \"none\"\non \"none\" {{ rollout {{ before {{ {body} }} }} }}"))
    };
    assert_eq!(rollout("comand \"x\""), ["there is no kind or module `comand`"]);
    assert_eq!(rollout("command \"x\" at=\"{{ facts.nowhere }}\""), ["there is no fact `facts.nowhere`"]);
    assert_eq!(
        rollout("for \"h\" in=\"hosts\" { command \"x\" at=\"a\" }"),
        ["`command` has no parameter `at`"]
    );
    assert_eq!(rollout("command \"x\" at=\"a\""), Vec::<String>::new());
}

#[test]
fn what_no_host_changes_is_bound_once_and_still_told_apart() {
    let inventory = "vars { x 1 }\nhost \"a\"\nhost \"b\"\non \"a\" \"b\" { file \"/f\" content=\"x\"; package \"nginx\" after=\"file[/f]\" }\non \"b\" { file \"/f\" content=\"y\" }";
    let found: Vec<String> =
        mistakes(inventory).iter().map(|diagnostic| diagnostic.message.clone()).collect();
    assert_eq!(found, ["`file[/f]` is declared twice"]);
}

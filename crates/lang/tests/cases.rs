//! Test cases of modules: the nodes that set up a case, and the output of its resources.

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{loader, one};
use converge_lang::{Case, CaseOutcome, MemorySources};
use insta::assert_snapshot;

const MOTD: &str = r#"
module "motd" summary="What people see when they log in"
params {
    param "contact" type="string" required=#true
    param "lines" type="list" of="string"
    assert "lines | length < 3" "three lines are too many"
}
resources {
    file "/etc/motd" mode="0644" notify="service[motd]" { content "{{ facts.os.pretty_name }}\n{{ params.contact }}\n" }
    for "line" in="params.lines" { line "/etc/issue" "{{ line }}" }
    service "motd"
}
"#;

fn outcome(case: &str) -> Result<CaseOutcome, String> {
    let sources: MemorySources = one("").file("modules/motd/module.kdl", MOTD);
    Case::read("modules/motd/cases/one.kdl", case).map(|case| case.run(&loader(sources, &[])))
}

fn resources(case: &str) -> String {
    match outcome(case) {
        Ok(CaseOutcome::Resources(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_case_brings_its_facts_variables_secrets_and_files() {
    assert_snapshot!(resources(
        r#"
        // Everything at once.
        facts { os { pretty-name "Ubuntu 24.04" } }
        vars { lines "a" "b" }
        secrets { ops { mail "hidden@example.com" } }
        source "dist/x" "content"
        motd contact="x" { lines (expr)"lines" }
        file "/mail" { content (secret)"ops/mail" }
        "#
    ), @r#"
    motd.file[/etc/motd]
        path "/etc/motd"
        content
            | Ubuntu 24.04
            | x
        mode 0644
        -> notify motd.service[motd]
    motd.line[/etc/issue: a]
        path "/etc/issue"
        text "a"
    motd.line[/etc/issue: b]
        path "/etc/issue"
        text "b"
    motd.service[motd]
        name "motd"
    file[/mail]
        path "/mail"
        content (secret)
    "#);
}

#[test]
fn what_surrounds_a_case_must_be_known() {
    let check = |case: &str, said: &str| {
        let error = outcome(case).unwrap_err();
        assert!(error.contains(said), "{error}");
    };
    check("facts { os { flavour \"x\" } }", "there is no fact `facts.os.flavour`");
    check("facts { os { id 7 } }", "invalid type");
    check("source \"only one\"", "`source` takes two strings");
    check("motd {", "a `{` is never closed");
}

#[test]
fn a_mistake_is_shown_at_its_place_in_the_case_unless_it_is_what_the_case_is_about() {
    let Ok(CaseOutcome::Broken(report)) = outcome("facts { arch \"x\" }\n\nmotd {\n    contakt \"x\"\n}")
    else {
        panic!()
    };
    assert!(report.contains("modules/motd/cases/one.kdl:4:5"), "{report}");
    let too_many = "motd { contact \"x\"; lines \"1\" \"2\" \"3\" }";
    assert_eq!(outcome(&format!("error \"three lines\"\n{too_many}")), Ok(CaseOutcome::Refused));
    let Ok(CaseOutcome::Broken(report)) = outcome("error \"three lines\"\nmotd contact=\"x\"") else {
        panic!()
    };
    assert!(report.contains("expected an error that contains: three lines"), "{report}");
}

#[test]
fn a_case_that_expects_a_mistake_is_broken_by_another() {
    let Ok(CaseOutcome::Broken(report)) = outcome("error \"three lines\"\nmotd contakt=\"x\"") else {
        panic!()
    };
    assert!(
        report.contains("no parameter `contakt`") && report.contains("error that contains: three lines"),
        "{report}"
    );
}

#[test]
fn a_case_sees_the_environment() {
    let sources = one("").variable("WHO", "ada");
    let case = Case::read("cases/one.kdl", "package (env)\"WHO\"").unwrap();
    assert_eq!(
        case.run(&loader(sources, &[])),
        CaseOutcome::Resources("package[ada]\n    name \"ada\"\n".to_owned())
    );
}

#[test]
fn the_examples_of_a_readme_are_its_plain_fences() {
    let readme = "# m\n```kdl\nm \"a\"\n  b\n```\n```kdl title=x\nno\n```\n```sh\nno\n```\n```kdl\n```\n";
    assert_eq!(converge_lang::case::examples(readme), ["m \"a\"\n  b\n", ""]);
}

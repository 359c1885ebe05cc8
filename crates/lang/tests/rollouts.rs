//! Rollouts: their settings, their actions around a host, and mistakes in both.

mod common;

use common::{check, facts, loader, one};
use converge_lang::Moment;
use converge_model::HostName;

fn rollout(text: &str) -> String {
    format!("host \"w[1..2]\" \"lb1\"\non \"w*\" {{\n{text}\n}}\n")
}

#[test]
fn what_is_done_around_a_host_is_done_where_at_says() {
    let text = rollout(
        "rollout canary=1 wait=\"30s\" {\n\
         before { command \"drain {{ host.name }}\" at=\"lb1\"; command \"flush\" creates=\"/x\" at=\"lb1\"; command \"wait\" at=\"lb1\" { creates \"/y\" }; directory \"/own\" }\n\
         health retries=3 every=\"1s\" { when \"host.name == 'w2'\" { command \"ask\" } }\n}",
    );
    let inventory = loader(one(&text), &[]).load("inventory.kdl", &[]).inventory.unwrap();
    let rollout = &inventory.rollouts()[0];
    assert_eq!((rollout.wait, rollout.retries, rollout.every), (30_000, 3, 1000));
    let show = |host: &str, moment: Moment| {
        let host = HostName::new(host).unwrap();
        let (gates, diagnostics) = inventory.gates(&host, moment, &facts(&inventory));
        let told = diagnostics.iter().map(|told| told.message.as_str()).collect::<Vec<_>>();
        assert!(!diagnostics.has_errors(), "{told:?}");
        let show = |gate: &converge_lang::Gate| {
            assert_eq!(gate.compiled.catalog.host, gate.on);
            // A command without a guard is run each time.
            let step = |step: &converge_model::Resource| match step.params.get("always") {
                Some(_) => format!("{} always", step.address),
                None => step.address.to_string(),
            };
            let steps = gate.compiled.catalog.resources.iter().map(step);
            format!("{}: {}", gate.on, steps.collect::<Vec<_>>().join(" "))
        };
        gates.unwrap().iter().map(show).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        show("w1", Moment::Before),
        "lb1: command[drain w1] always command[flush] command[wait]\nw1: directory[/own]"
    );
    assert_eq!(
        (show("w1", Moment::Health), show("w2", Moment::Health)),
        ("w1: ".into(), "w2: command[ask] always".into())
    );
    assert_eq!(show("w1", Moment::After), "");
}

#[test]
fn mistakes_have_their_places() {
    let told = |text: &str, words: &[&str]| {
        let shown = check(&rollout(text));
        words.iter().for_each(|words| assert!(shown.contains(words), "no {words} in {shown}"));
    };
    told(
        "rollout { before { command \"drain\" at=\"lb2\" } }",
        &["there is no host `lb2`", "did you mean `lb1`?"],
    );
    told("rollout { before { when \"true\" { command \"drain\" at=\"lb1\" } } }", &["`at`"]);
    told("rollout wait=\"soon\"", &["a duration such as"]);
    told(
        "rollout { health often=#true { }; health { } }",
        &["does not accept this `often`", "`health` is given twice"],
    );
    told("rollout { after retries=2 { } }", &["`after` does not accept this `retries`"]);
    told("rollout { before { flie \"/x\" } }", &["there is no kind or module `flie`"]);
    told("rollout { around { } }", &["has no setting `around`"]);
}

//! The policy on a host with a simulated nft.

use std::sync::{Arc, Mutex};

use converge_model::{Cell, Change, ParamProblem, Params, Row, Shown, Value, Verb};

use crate::access::{Login, Peer, Visit};
use crate::kind::Planned;
use crate::kinds::testing::{Trial, change, finished, impossible, params};
use crate::overlay::{Effect, Version};
use crate::system::processes::{Command, Finished};

const SSH: &str = "chain input {\n\ttcp dport 22 accept\n}\n";
const WEB: &str = "chain input {\n\ttcp dport 22 accept\n\ttcp dport 80 accept\n}\n";

/// The kernel's state on a trial host.
#[derive(Default)]
struct Kernel {
    /// The table. None if there is none.
    table: Option<String>,
    /// How many times it was replaced.
    loads: usize,
}

fn policy(rules: &str) -> Params {
    params([("name", "converge".into()), ("rules", rules.into())])
}

fn absent() -> Params {
    params([("name", "converge".into()), ("state", "absent".into())])
}

/// A host with an nft that keeps its last script and refuses the word `acept`.
fn host() -> (Trial, Arc<Mutex<Kernel>>) {
    let trial = Trial::new();
    trial.write("/usr/sbin/nft", "");
    let kernel = Arc::<Mutex<Kernel>>::default();
    let its = Arc::clone(&kernel);
    trial.answer(move |command| nft(command, &mut its.lock().unwrap()));
    (trial, kernel)
}

fn nft(command: &Command, kernel: &mut Kernel) -> Finished {
    let script = command.input.as_ref().map(|text| String::from_utf8_lossy(text.expose()).into_owned());
    match (command.words.join(" ").as_str(), script) {
        ("nft -s list table inet converge", None) => match &kernel.table {
            Some(listing) => finished(0, listing),
            None => finished(1, "Error: No such file or directory\nlist table inet converge\n"),
        },
        ("nft -c -f -", Some(script)) if script.contains("acept") => {
            finished(1, "/dev/stdin:5:2-6: Error: syntax error, unexpected string\n")
        }
        ("nft -f -", Some(script)) => {
            let new = script.split_once("delete table inet converge\n").map(|(_, new)| new.to_owned());
            kernel.table = new.filter(|new| !new.is_empty());
            kernel.loads += 1;
            finished(0, "")
        }
        (line, _) if line.starts_with("nft -c -f ") => finished(0, ""),
        (line, _) => panic!("{line}"),
    }
}

#[test]
fn a_policy_is_put_in_force_replaced_and_taken_away() {
    let (trial, kernel) = host();
    let created = trial.laws("firewall-policy", &policy(SSH));
    assert_eq!(created.verb, Verb::Create);
    assert!(kernel.lock().unwrap().table.as_ref().unwrap().contains("tcp dport 22"));
    let changed = trial.laws("firewall-policy", &policy(WEB));
    let shown = &changed.properties.iter().find(|property| property.property == "content").unwrap().diff;
    assert!(shown.as_ref().unwrap().unified.contains("+\ttcp dport 80 accept"), "{changed:?}");
    trial.laws("firewall-policy", &absent());
    assert_eq!(kernel.lock().unwrap().table, None);
}

#[test]
fn undoing_brings_back_the_table_that_was_there() {
    let (trial, kernel) = host();
    let undo = trial.apply("firewall-policy", &policy(SSH)).unwrap();
    let first = kernel.lock().unwrap().table.clone();
    let second = trial.apply("firewall-policy", &policy(WEB)).unwrap();
    assert_ne!(kernel.lock().unwrap().table, first);
    trial.restore(second);
    assert_eq!(kernel.lock().unwrap().table, first);
    trial.assert_in_sync("firewall-policy", &policy(SSH));
    trial.restore(undo);
    assert_eq!(kernel.lock().unwrap().table, None);
}

#[test]
fn what_was_done_to_the_table_is_shown_rule_by_rule_and_restored() {
    let (trial, kernel) = host();
    trial.apply("firewall-policy", &policy(WEB)).unwrap();
    let edit = |edited: Option<String>, expected: &str| {
        let file = trial.read("/etc/converge/firewall.nft");
        kernel.lock().unwrap().table = edited;
        let planned = change(trial.plan("firewall-policy", &policy(WEB)));
        let [rules] = &planned.properties[..] else { panic!("{planned:?}") };
        assert!(rules.diff.as_ref().unwrap().unified.contains(expected), "{rules:?}");
        trial.apply("firewall-policy", &policy(WEB)).unwrap();
        assert_eq!(trial.read("/etc/converge/firewall.nft"), file);
        trial.assert_in_sync("firewall-policy", &policy(WEB));
    };
    let listing = kernel.lock().unwrap().table.clone().unwrap();
    edit(None, "+\ttcp dport 80 accept");
    edit(Some(listing.replace("dport 22", "dport 23")), "-\ttcp dport 23 accept\n+\ttcp dport 22 accept");
}

#[test]
fn a_file_that_was_edited_is_restored_without_touching_the_table() {
    let (trial, kernel) = host();
    trial.apply("firewall-policy", &policy(SSH)).unwrap();
    trial.write("/etc/converge/firewall.nft", "flush ruleset\n");
    let planned = change(trial.plan("firewall-policy", &policy(SSH)));
    assert!(planned.properties.iter().all(|property| property.property != "rules"), "{planned:?}");
    trial.apply("firewall-policy", &policy(SSH)).unwrap();
    assert_eq!(kernel.lock().unwrap().loads, 1);
    trial.assert_in_sync("firewall-policy", &policy(SSH));
}

#[test]
fn the_plan_says_whose_rules_it_replaces() {
    let (trial, kernel) = host();
    let before = |rules: &str| {
        let planned = change(trial.plan("firewall-policy", &policy(rules)));
        planned.properties.into_iter().find(|property| property.property == "rules").unwrap().before
    };
    assert_eq!(before(SSH), Shown::Absent);
    kernel.lock().unwrap().table = Some("table inet converge {}\n".to_owned());
    assert_eq!(before(SSH), "not from Converge".into());
    trial.apply("firewall-policy", &policy(SSH)).unwrap();
    assert_eq!(before(WEB), "of the old policy".into());
    kernel.lock().unwrap().table = Some("table inet converge {}\n".to_owned());
    assert_eq!(before(WEB), "changed since they were applied".into());
    assert_eq!(before(SSH), "changed since they were applied".into());
}

#[test]
fn a_policy_in_force_is_listed_and_not_checked_again() {
    let (trial, kernel) = host();
    trial.apply("firewall-policy", &policy(SSH)).unwrap();
    trial.answer(move |command| {
        assert_eq!(command.words.join(" "), "nft -s list table inet converge");
        nft(command, &mut kernel.lock().unwrap())
    });
    trial.assert_in_sync("firewall-policy", &policy(SSH));
}

#[test]
fn a_refused_policy_is_an_error_of_the_plan_and_changes_nothing() {
    let (trial, kernel) = host();
    let wrong = policy("chain input {\n\tacept\n}\n");
    let message = impossible(trial.plan("firewall-policy", &wrong));
    assert_eq!(message, "nft refuses the policy: line 5:2-6: Error: syntax error, unexpected string");
    assert_eq!(kernel.lock().unwrap().table, None);
}

#[test]
fn nft_may_come_with_an_earlier_step() {
    let trial = Trial::new();
    trial.answer(|_| finished(127, ""));
    assert!(impossible(trial.plan("firewall-policy", &policy(SSH))).contains("nft does not exist"));
    let after = |effects: Vec<Effect>| trial.plan_after(effects, "firewall-policy", &policy(SSH));
    assert!(impossible(after(vec![Effect::Open])).contains("nft does not exist"), "a command brings none");
    let nftables = Effect::Package("nftables".to_owned(), Some(Version::Unknown));
    let planned = after(vec![nftables, Effect::Open]);
    assert!(matches!(planned, Planned::Change(_)), "{planned:?}");
}

#[test]
fn a_table_that_cannot_be_listed_is_an_error() {
    let (trial, _) = host();
    trial.answer(|_| finished(1, "Operation not permitted (you must be root)\nnetlink: Error: …\n"));
    let failure = trial.failure("firewall-policy", &policy(SSH));
    assert!(failure.contains("Operation not permitted"), "{failure}");
}

/// A child of a policy.
fn row<const N: usize>(cells: [(&str, Cell); N]) -> Row {
    Row(cells.into_iter().map(|(name, cell)| (name.to_owned(), cell)).collect())
}

fn word(word: &str) -> Cell {
    Cell::Scalar(word.into())
}

fn words(words: &[&str]) -> Cell {
    Cell::List(words.iter().map(|word| (*word).into()).collect())
}

/// A policy with these rules, and the service ssh.
fn typed(rules: Vec<Row>) -> Params {
    let ssh = row([("name", word("ssh")), ("tcp", words(&["22"]))]);
    params([("name", "converge".into()), ("rule", Value::Rows(rules)), ("service", Value::Rows(vec![ssh]))])
}

#[test]
fn rules_are_rendered_for_the_filter_of_the_host() {
    let (trial, kernel) = host();
    let limit = row([("action", word("limit")), ("service", words(&["ssh"])), ("rate", word("3/minute"))]);
    let web = row([
        ("action", word("accept")),
        ("tcp", words(&["80", "443"])),
        ("from", words(&["10.0.0.0/8"])),
        ("comment", word("the office")),
    ]);
    trial.laws("firewall-policy", &typed(vec![limit, web]));
    let table = kernel.lock().unwrap().table.clone().unwrap();
    for line in [
        "type filter hook input priority filter; policy drop;",
        "ip saddr 10.0.0.0/8 tcp dport { 80, 443 } accept comment \"the office\"",
        "tcp dport 22 ct state new update @limit_1_ip { ip saddr limit rate 3/minute burst 3 packets } accept",
    ] {
        assert!(table.contains(line), "{line}: {table}");
    }
}

#[test]
fn a_policy_that_does_not_let_in_its_own_run_is_warned_of() {
    let trial = Trial::new();
    let peer = || {
        let [from, to] = ["10.0.0.9", "192.0.2.1"].map(|address| address.parse().unwrap());
        Some(Peer { from, to, port: 22, interface: None })
    };
    let login = Login::default();
    let check = |params: &Params, expected: Option<&str>| {
        let visit = Visit { login: &login, peer: &peer };
        let warning = trial.wanted("firewall-policy", params).warns(&Change::new(Verb::Update), visit);
        assert_eq!(warning.as_deref(), expected);
    };
    let rule = |port: &str| row([("action", word("accept")), ("tcp", words(&[port]))]);
    check(&typed(vec![rule("22")]), None);
    check(&absent(), None);
    let shut = "no rule lets in this run from 10.0.0.9 at port 22";
    check(&typed(vec![rule("80")]), Some(shut));
    let mut raw = typed(vec![rule("80")]);
    raw.set("raw", Value::Rows(vec![row([("rule", word("tcp dport 22 accept"))])]));
    let only_raw = "only raw rules, which Converge does not read, may let in this run from 10.0.0.9 at port \
                    22";
    check(&raw, Some(only_raw));
    let own = "Converge does not read rules in the syntax of nftables: they may not let in this run from \
               10.0.0.9 at port 22";
    check(&policy(SSH), Some(own));
}

#[test]
fn mistakes_are_found_before_a_host_is_reached() {
    let trial = Trial::new();
    let check = |params: Params, expected: &str| {
        let problems: Vec<ParamProblem> = trial.problems("firewall-policy", &params);
        assert!(
            problems.iter().any(|problem| problem.message.contains(expected)),
            "{expected}: {problems:?}"
        );
    };
    check(policy("}\nflush ruleset\n"), "must stay inside its table");
    check(params([("name", "converge".into())]), "is missing");
    let mut both = policy(SSH);
    both.set("state", "absent".into());
    check(both, "must not be set");
    let mut both = typed(Vec::new());
    both.set("rules", SSH.into());
    check(both, "together with other parts");
    let mut both = typed(Vec::new());
    both.set("state", "absent".into());
    check(both, "must not have rules");
    let of = |cells: [(&str, Cell); 2]| typed(vec![row(cells)]);
    check(of([("action", word("accept")), ("service", words(&["http"]))]), "there is no service \"http\"");
    check(of([("action", word("accept")), ("tcp", words(&["70000"]))]), "\"70000\" must be a port");
    check(
        of([("action", word("accept")), ("from", words(&["10.0.0.0/40"]))]),
        "\"10.0.0.0/40\" must be an address",
    );
    check(of([("action", word("limit")), ("tcp", words(&["22"]))]), "must have a `rate`");
    for text in ["accept } chain x {", "tcp dport 9 \\"] {
        let mut raw = typed(Vec::new());
        raw.set("raw", Value::Rows(vec![row([("rule", word(text))])]));
        check(raw, "must stay inside its chain");
    }
    let rule = |more: [(&str, Cell); 2]| {
        let cells = [("action", word("accept")), ("tcp", words(&["22"]))];
        typed(vec![row([cells[0].clone(), cells[1].clone(), more[0].clone(), more[1].clone()])])
    };
    let none = || ("comment", word("x"));
    check(rule([("rate", word("5/minute")), none()]), "must be in a rule with `limit`");
    check(
        rule([("out-interface", words(&["wg0"])), none()]),
        "must be in a rule with `direction=\"forward\"`",
    );
    let [v4, v6] = [("from", words(&["10.0.0.0/8"])), ("to", words(&["2001:db8::1"]))];
    check(rule([v4, v6]), "a common address family");
    check(of([("action", word("limit")), ("rate", word("5/minute"))]), "must name a port");
    check(of([("action", word("limit")), ("rate", word("5000000000/minute"))]), "is not a rate");
    let mut twice = typed(Vec::new());
    let ssh = || row([("name", word("ssh")), ("tcp", words(&["22"]))]);
    twice.set("service", Value::Rows(vec![ssh(), ssh(), row([("name", word("x"))])]));
    check(twice.clone(), "\"ssh\" must be declared once");
    check(twice, "\"x\" must have a port");
    let mut away = typed(Vec::new());
    away.set("port-forward", Value::Rows(vec![row([("to", word("10.0.0.5"))])]));
    check(away, "it must name a port");
    let mut own = policy(SSH);
    own.set("log", true.into());
    check(own, "together with other parts");
    let mut gone = absent();
    gone.set("ping", false.into());
    check(gone, "must not have rules");
}

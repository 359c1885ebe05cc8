//! Acts over packages: which of them are one transaction, and what is said of each.

use converge_model::{HostState, Notify, Scalar, Value};
use converge_resources::system::fake::Offer;
use converge_resources::system::packages::PackageRequest;

use super::tests::outcomes;
use super::*;
use crate::testing::{Bench, resource};

fn offer() -> Offer {
    Offer { version: "1".into(), ..Offer::default() }
}

/// A package on offer, in a body of its own.
fn package(bench: &Bench, name: &str, offer: Offer) -> Resource {
    bench.world.offer(name, offer);
    let mut package = resource("package", name);
    package.bodies = vec![u32::from(name.as_bytes()[0])];
    package
}

/// The steps of an act as they began and ended.
fn course(bench: &Bench) -> Vec<String> {
    let events = bench.controller.events.lock().unwrap();
    let told = |event: &EventKind| match event {
        EventKind::StepStarted { address, .. } => Some(format!("begin {address}")),
        EventKind::StepFinished { result } => Some(format!("end {}", result.address)),
        _ => None,
    };
    events.iter().filter_map(told).collect()
}

#[test]
fn neighbouring_packages_are_one_transaction_and_no_others() {
    let check = |between: &dyn Fn(&Bench) -> Vec<Resource>, expected: &[&str]| {
        let bench = Bench::new();
        let (first, second) = (package(&bench, "a", offer()), package(&bench, "b", offer()));
        let catalog = [vec![first], between(&bench), vec![second]].concat();
        assert_eq!(bench.apply(&catalog).state, HostState::Changed);
        assert_eq!(course(&bench), expected);
        assert_eq!(bench.world.log(), ["install a", "install b"]);
    };
    let together = ["begin package[a]", "begin package[b]", "end package[a]", "end package[b]"];
    check(&|_| Vec::new(), &together);
    let left_out = |mut one: Resource| {
        one.options.selected = false;
        vec![one]
    };
    check(&|bench| left_out(package(bench, "c", offer())), &together);
    check(&|bench| left_out(bench.file("/etc/motd", "x\n")), &together);
    let apart = ["package[a]", "file[/etc/motd]", "package[b]"];
    let apart = apart.map(|one| [format!("begin {one}"), format!("end {one}")]).concat();
    let apart: Vec<_> = apart.iter().map(String::as_str).collect();
    check(&|bench| vec![bench.file("/etc/motd", "x\n")], &apart);
}

#[test]
fn an_action_that_is_due_between_two_packages_runs_between_them() {
    let bench = Bench::new();
    bench.world.unit("app.service");
    bench.world.units().act(converge_resources::system::services::Verb::Start, "app.service").unwrap();
    let mut service = resource("service", "app");
    service.params.set("settle", Value::from(0));
    let (mut first, second) = (package(&bench, "a", offer()), package(&bench, "b", offer()));
    first.notify = vec![Notify { target: 0, how: NotifyHow::AsTargetSays }];
    let report = bench.apply(&[service, first, second]);
    assert_eq!(report.state, HostState::Changed, "{report:?}");
    assert_eq!(bench.world.log()[1..], ["install a", "restart app.service", "install b"]);
}

#[test]
fn a_transaction_holds_only_what_is_to_change_and_may() {
    let bench = Bench::new();
    let mut broken = bench.file("/etc/broken", "x");
    broken.params.set("validate", Value::List(vec![Scalar::from("check"), Scalar::from("%s")]));
    let there = package(&bench, "there", offer());
    bench.world.by_hand(PackageRequest::present("there")).unwrap();
    let mut waits = package(&bench, "waits", offer());
    waits.after = vec![0];
    let impossible = package(&bench, "impossible", Offer { depends: vec!["nowhere".to_owned()], ..offer() });
    let (first, second) = (package(&bench, "a", offer()), package(&bench, "b", offer()));
    let report = bench.apply(&[broken, first, there, waits, impossible, second]);
    assert_eq!((report.state, report.in_sync), (HostState::Failed, 1), "{report:?}");
    let mut all = outcomes(&report);
    all.sort();
    let expected = [
        ("file[/etc/broken]", "failed"),
        ("package[a]", "done"),
        ("package[b]", "done"),
        ("package[impossible]", "failed"),
        ("package[waits]", "skipped"),
    ];
    assert_eq!(all, expected.map(|(address, word)| (address.to_owned(), word)));
    assert_eq!(bench.world.log()[2..], ["install a", "install b"]);
}

#[test]
fn a_package_that_fails_in_a_transaction_is_told_of_itself_alone() {
    let bench = Bench::new();
    let bad = package(&bench, "bad", Offer { fails: true, ..offer() });
    let report = bench.apply(&[bad, package(&bench, "good", offer())]);
    assert_eq!((report.state, &report.problems), (HostState::Failed, &Vec::new()));
    let StepOutcome::Failed { back, stands, .. } = &report.results[0].outcome else { panic!("{report:?}") };
    let half = Stands::Differs { properties: vec!["state".to_owned()] };
    assert_eq!((*back, stands), (PutBack::Nothing, &half));
    assert_eq!(report.results[1].outcome, StepOutcome::Done);
}

#[test]
fn what_comes_along_with_a_transaction_is_told_at_its_last_package() {
    let bench = Bench::new();
    let (new, other) = (package(&bench, "new", offer()), package(&bench, "other", offer()));
    bench.world.offer("libnew", offer());
    bench.world.offer_next("new", Offer { depends: vec!["libnew".to_owned()], ..offer() });
    let report = bench.apply(&[new, other]);
    let beyond: Vec<_> = report.results.iter().map(|result| result.unforeseen.len()).collect();
    assert_eq!((report.state, beyond), (HostState::Changed, vec![0, 1]), "{report:?}");
}

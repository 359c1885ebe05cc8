//! Tests of acts over packages: which of them are one transaction, and what is reported of each.

use converge_model::{
    EventKind, HostState, Notify, NotifyHow, PropertyChange, Resource, Restoration, Scalar, Shown, Stands,
    StepOutcome, Value,
};
use converge_resources::System;
use converge_resources::system::fake::Offer;
use converge_resources::system::packages::{PackageGoal, PackageRequest};

use super::outcomes;
use crate::testing::{Bench, resource};

fn offer() -> Offer {
    Offer { version: "1".into(), ..Offer::default() }
}

/// An available package, in a body of its own.
fn package(bench: &Bench, name: &str, offer: Offer) -> Resource {
    bench.world.offer(name, offer);
    let mut package = resource("package", name);
    package.bodies = vec![u32::from(name.as_bytes()[0])];
    package
}

/// The starts and ends of the steps of an act.
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
    let StepOutcome::Failed { restored, stands, .. } = &report.results[0].outcome else {
        panic!("{report:?}")
    };
    let half = Stands::Differs { properties: vec!["state".to_owned()] };
    assert_eq!((*restored, stands), (Restoration::Nothing, &half));
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

/// A host whose sources are newer than its lists. The new lists say that `new` conflicts with `mail`, if `conflicts`,
/// and needs `libnew`.
fn stale(bench: &Bench, conflicts: bool) {
    let plain = |version: &str| Offer { version: version.into(), ..Offer::default() };
    bench.world.offer("mail", plain("3"));
    bench.world.by_hand(PackageRequest::present("mail")).unwrap();
    bench.world.offer("libnew", plain("2"));
    let conflicts = if conflicts { vec!["mail".to_owned()] } else { Vec::new() };
    bench.world.offer_next("new", Offer { depends: vec!["libnew".to_owned()], conflicts, ..plain("1") });
}

#[test]
fn packages_that_the_plan_does_not_name_stay_whatever_fetched_lists_say() {
    let other = |bench: &Bench| {
        bench.world.offer("other", Offer { version: "1".into(), ..Offer::default() });
        resource("package", "other")
    };
    for more in [false, true] {
        let bench = Bench::new();
        stale(&bench, true);
        let mut catalog = vec![resource("package", "new")];
        catalog.extend(more.then(|| other(&bench)));
        let report = bench.apply(&catalog);
        assert_eq!(report.state, HostState::Failed);
        for result in &report.results {
            let StepOutcome::Failed { why, .. } = &result.outcome else { panic!("{result:?}") };
            assert!(why.contains("would remove mail, which the plan does not name"), "{why}");
        }
        assert_eq!(bench.world.log(), ["install mail", "refresh"], "nothing changed but the lists");
        // The plan now knows the removal and shows it.
        let plan = bench.look(&catalog);
        let removes: Vec<_> = plan.steps.iter().flat_map(|step| &step.change.properties).collect();
        assert!(
            removes.iter().any(|one| one.property == "removes" && one.before == Shown::Text("mail".into()))
        );
        assert_eq!(bench.apply(&catalog).state, HostState::Changed);
    }
}

#[test]
fn packages_that_come_beyond_the_plan_are_told() {
    let bench = Bench::new();
    stale(&bench, false);
    let report = bench.apply(&[resource("package", "new")]);
    assert_eq!(report.state, HostState::Changed, "{report:?}");
    assert_eq!(report.results[0].unforeseen, [PropertyChange::new("libnew", Shown::Absent, "2")]);
    assert_eq!(report.results[0].outcome, StepOutcome::Done);
    let seen = bench.controller.events.lock().unwrap().iter().any(
        |event| matches!(event, EventKind::StepFinished { result } if result.unforeseen == report.results[0].unforeseen),
    );
    assert!(seen, "the event tells it, too");
}

#[test]
fn packages_that_the_plan_foresaw_are_no_surprise() {
    let bench = Bench::new();
    let plain = |version: &str| Offer { version: version.into(), ..Offer::default() };
    bench.world.offer("lib", plain("2"));
    bench.world.offer("old", plain("1"));
    bench.world.offer(
        "new",
        Offer { depends: vec!["lib".to_owned()], conflicts: vec!["old".to_owned()], ..plain("1") },
    );
    bench.world.by_hand(PackageRequest::present("old")).unwrap();
    let report = bench.apply(&[resource("package", "new")]);
    assert_eq!((report.state, &report.results[0].unforeseen), (HostState::Changed, &Vec::new()));
}

#[test]
fn an_autoremove_that_an_earlier_step_makes_larger_stops() {
    let bench = Bench::new();
    for name in ["old", "libold"] {
        bench.world.offer(name, Offer { version: "1".into(), ..Offer::default() });
        bench.world.by_hand(PackageRequest::present(name)).unwrap();
    }
    bench.world.command("purge", |world| {
        let gone = PackageRequest::new("old", PackageGoal::Absent { purge: false });
        i32::from(world.by_hand(gone).is_err())
    });
    bench.world.leaves("old", "libold");
    let mut command = resource("command", "purge");
    command.params.set("command", Value::List(vec![Scalar::from("purge")]));
    command.params.set("always", Value::from(true));
    let report = bench.apply(&[command, resource("autoremove", "packages")]);
    assert_eq!(report.state, HostState::Failed);
    let StepOutcome::Failed { why, .. } = &report.results[1].outcome else { panic!("{report:?}") };
    assert!(why.contains("would remove libold, which the plan does not name"), "{why}");
}

#[test]
fn an_autoremove_names_what_a_removal_before_it_leaves() {
    let bench = Bench::new();
    for name in ["old", "libold"] {
        bench.world.offer(name, Offer { version: "1".into(), ..Offer::default() });
        bench.world.by_hand(PackageRequest::present(name)).unwrap();
    }
    bench.world.leaves("old", "libold");
    let mut old = resource("package", "old");
    old.params.set("state", Value::from("absent"));
    let catalog = [old, resource("autoremove", "packages")];
    let plan = bench.look(&catalog);
    assert_eq!(plan.steps[1].change.properties[0].before, Shown::Text("libold".into()), "{plan:?}");
    assert_eq!(bench.apply(&catalog).state, HostState::Changed);
    assert_eq!(bench.world.log()[2..], ["remove old", "remove libold"]);
}

#[test]
fn a_package_is_judged_by_its_state_and_what_another_broke_is_told_beside_it() {
    for names in [&["tree"][..], &["tree", "wood"]] {
        let bench = Bench::new();
        for name in names {
            bench.world.offer(name, Offer { version: "1".into(), ..Offer::default() });
        }
        bench.world.complain("apt-get ended with 100: dpkg: error processing package badpkg");
        let catalog: Vec<_> = names.iter().map(|name| resource("package", name)).collect();
        let report = bench.apply(&catalog);
        assert!(outcomes(&report).iter().all(|(_, outcome)| *outcome == "done"), "{report:?}");
        assert_eq!(report.state, HostState::Failed, "the package manager is not well");
        let [problem] = &report.problems[..] else { panic!("{report:?}") };
        assert!(
            problem.message.contains("it is in sync, but") && problem.message.contains("badpkg"),
            "{problem:?}"
        );
        assert_eq!(
            problem.address.as_ref().map(|at| at.as_str()),
            Some(&*format!("package[{}]", names[names.len() - 1]))
        );
    }
}

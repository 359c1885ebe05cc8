//! Tests of plans: what a step shows of itself, of the steps before it, and of packages that come along.

use converge_model::{Notify, NotifyHow, Resource, Shown, Value};
use converge_resources::system::fake::Offer;
use converge_resources::system::packages::PackageRequest;

use super::*;
use crate::testing::{Bench, resource};

fn offer() -> Offer {
    Offer { version: "1".into(), ..Offer::default() }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Returns the values of a property that a step shows: before and after.
fn said(step: &Step, name: &str) -> Option<(Shown, Shown)> {
    let property = step.change.properties.iter().find(|property| property.property == name)?;
    Some((property.before.clone(), property.after.clone()))
}

#[test]
fn a_transaction_tells_at_its_last_package_what_comes_and_goes_with_it() {
    let bench = Bench::new();
    bench.world.offer("old", offer());
    bench.world.by_hand(PackageRequest::present("old")).unwrap();
    bench.world.offer("lib", Offer { version: "2".into(), ..offer() });
    bench.world.offer("first", Offer { depends: names(&["lib", "second"]), ..offer() });
    bench.world.offer("second", Offer { version: "3".into(), conflicts: names(&["old"]), ..offer() });
    let mut gone = resource("package", "old");
    gone.params.set("state", Value::from("absent"));
    let [first, second, lib] = ["first", "second", "lib"].map(|name| resource("package", name));
    // Packages that come or go with a step count for the steps after it.
    let catalog = [first, second, bench.file("/etc/motd", "x\n"), lib, gone];
    let plan = bench.look(&catalog);
    let steps: Vec<_> = plan.steps.iter().map(|step| step.address.as_str()).collect();
    assert_eq!(steps, ["package[first]", "package[second]", "file[/etc/motd]"], "{plan:?}");
    let version = |at: usize| said(&plan.steps[at], "version").map(|(_, after)| after);
    assert_eq!([0, 1].map(version), ["1", "3"].map(|version| Some(Shown::Text(version.to_owned()))));
    let said = |at: usize| (said(&plan.steps[at], "also installs"), said(&plan.steps[at], "removes"));
    assert_eq!(said(0), (None, None));
    let brings = (Shown::Absent, Shown::Text("lib 2".into()));
    assert_eq!(said(1), (Some(brings), Some((Shown::Text("old".into()), Shown::Absent))));
    assert!(plan.steps.iter().all(|step| step.warning.is_none()));
}

#[test]
fn two_names_of_one_thing_have_two_plans_for_it_and_the_host_is_refused() {
    let bench = Bench::new();
    std::fs::create_dir(bench.root().join("srv")).unwrap();
    bench.world.write("/srv/real/other".as_ref(), "");
    std::os::unix::fs::symlink("real", bench.root().join("srv/link")).unwrap();
    let plan = bench.look(&[bench.file("/srv/real/x", "one\n"), bench.file("/srv/link/x", "two\n")]);
    let told: Vec<_> = plan.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(told.len(), 1, "{plan:?}");
    assert!(told[0].starts_with("file[/srv/real/x] and file[/srv/link/x] both own "), "{told:?}");
}

#[test]
fn an_action_is_as_sure_as_what_causes_it() {
    let bench = Bench::new();
    bench.world.unit("app.service");
    bench.world.command("fetch", |_| 0);
    let mut command = resource("command", "fetch");
    command.params.set("command", Value::List(vec![converge_model::Scalar::from("fetch")]));
    command.params.set("creates", Value::from("/opt/app/done"));
    let notifies = |path: &str| {
        let mut file = bench.file(path, "x\n");
        file.notify = vec![Notify { target: 2, how: NotifyHow::AsTargetSays }];
        file
    };
    let certainty = |file: Resource| {
        let plan = bench.look(&[command.clone(), file, resource("service", "app")]);
        plan.steps.last().map(|step| (step.address.to_string(), step.change.certainty.clone()))
    };
    let name = "service[app]".to_owned();
    assert_eq!(certainty(notifies("/etc/app")), Some((name.clone(), Certainty::Exact)));
    let why = "only if it really changes".to_owned();
    let conditional = Certainty::Conditional { on: vec![1], why };
    assert_eq!(certainty(notifies("/opt/app/conf")), Some((name, conditional)));
}

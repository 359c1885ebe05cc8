//! Tests of the laws with random catalogs, on a host that changes in unexpected ways. Packages bring files, users and
//! running units. Commands change managed things. Runs die at any point.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use converge_model::{
    Claim, HostPlan, HostReport, HostState, Notify, NotifyHow, Resource, Scalar, Shown, StepOutcome,
    StepResult, Value, Verb,
};
use converge_resources::System;
use converge_resources::system::fake::Offer;
use converge_resources::system::packages::{PackageGoal, PackageRequest, PackageTable};
use proptest::prelude::*;

use crate::testing::{Bench, order, resource};
use crate::work::act_in;

/// One resource of a random catalog.
#[derive(Clone, Debug)]
enum Part {
    Folder {
        path: &'static str,
        mode: i64,
    },
    File {
        path: &'static str,
        text: &'static str,
        absent: bool,
    },
    Package {
        name: &'static str,
        absent: bool,
    },
    Service {
        running: bool,
    },
    /// A command that makes its own mark. A hostile one also writes over a managed file.
    Command {
        number: usize,
        hostile: bool,
    },
}

const FOLDERS: [&str; 3] = ["/srv/a", "/srv/a/b", "/etc/web"];
const FILES: [&str; 5] = ["/etc/one", "/srv/a/two", "/srv/a/b/three", "/etc/web/conf", "/etc/web/site"];
const TEXTS: [&str; 3] = ["first\n", "second\n", ""];
const PACKAGES: [&str; 3] = ["web", "libweb", "mail"];

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![
        (0..FOLDERS.len(), prop_oneof![Just(0o755), Just(0o700)])
            .prop_map(|(at, mode)| Part::Folder { path: FOLDERS[at], mode }),
        (0..FILES.len(), 0..TEXTS.len(), prop::bool::weighted(0.2))
            .prop_map(|(at, text, absent)| Part::File { path: FILES[at], text: TEXTS[text], absent }),
        (0..PACKAGES.len(), prop::bool::weighted(0.2))
            .prop_map(|(at, absent)| Part::Package { name: PACKAGES[at], absent }),
        any::<bool>().prop_map(|running| Part::Service { running }),
        (0..3usize, prop::bool::weighted(0.3))
            .prop_map(|(number, hostile)| Part::Command { number, hostile }),
    ]
}

/// A random host and a random catalog for it.
#[derive(Clone, Debug)]
struct Case {
    parts: Vec<Part>,
    /// Files that exist before the run.
    there: Vec<(usize, usize)>,
    installed: bool,
    /// The entry of `web` in new lists. None: the lists are up to date.
    news: Option<News>,
    notifies: Vec<bool>,
}

/// The facts that new lists may add about a package, and that a plan over the old lists did not know.
#[derive(Clone, Copy, Debug)]
enum News {
    /// It conflicts with `mail`, which is installed.
    Conflicts,
    /// It also depends on `libnew`.
    Depends,
}

fn case() -> impl Strategy<Value = Case> {
    let parts = prop::collection::vec(part(), 1..9);
    let there = prop::collection::vec((0..FILES.len(), 0..TEXTS.len()), 0..3);
    let news = prop_oneof![
        3 => Just(None),
        1 => Just(Some(News::Conflicts)),
        1 => Just(Some(News::Depends)),
    ];
    (parts, there, any::<bool>(), news, prop::collection::vec(any::<bool>(), 9)).prop_map(
        |(parts, there, installed, news, notifies)| Case { parts, there, installed, news, notifies },
    )
}

impl Case {
    /// The host before the run.
    fn bench(&self) -> Bench {
        let bench = Bench::new();
        std::fs::create_dir(bench.root().join("srv")).unwrap();
        let web = Offer {
            version: "1.0".into(),
            depends: vec!["libweb".into()],
            files: vec![
                ("/etc/web/conf".into(), "packaged\n".into()),
                ("/usr/bin/web".into(), "#!\n".into()),
            ],
            users: vec!["web".into()],
            units: vec![("web.service".into(), true)],
            ..Offer::default()
        };
        bench.world.offer("web", web.clone());
        for name in ["libweb", "libnew", "mail"] {
            bench.world.offer(name, Offer { version: "0.9".into(), ..Offer::default() });
        }
        bench.world.by_hand(PackageRequest::present("mail")).unwrap();
        if self.installed {
            bench.world.by_hand(PackageRequest::present("web")).unwrap();
        }
        if let Some(news) = self.news {
            let one = |name: &str| vec![name.to_owned()];
            let (conflicts, more) = match news {
                News::Conflicts => (one("mail"), Vec::new()),
                News::Depends => (Vec::new(), one("libnew")),
            };
            let depends = [web.depends.clone(), more].concat();
            bench.world.offer_next("web", Offer { depends, conflicts, ..web });
        }
        for (file, text) in &self.there {
            bench.world.write(FILES[*file].as_ref(), TEXTS[*text]);
        }
        for part in &self.parts {
            if let Part::Command { number, hostile } = *part {
                let mark = format!("/var/lib/mark-{number}");
                let done = mark.clone();
                bench.world.command(&format!("deed {number}"), move |world| {
                    world.write(mark.as_ref(), "done\n");
                    if hostile {
                        world.write("/etc/one".as_ref(), "hostile\n");
                    }
                    0
                });
                bench.world.command(&format!("/bin/sh -c done {number}"), move |world| {
                    i32::from(!world.files().outside(Path::new(&done)).exists())
                });
            }
        }
        bench
    }

    /// The catalog. Each claim appears once, in the order of the parts.
    fn catalog(&self, bench: &Bench) -> Vec<Resource> {
        let mut catalog: Vec<Resource> = Vec::new();
        let mut names = BTreeSet::new();
        for (part, notifies) in self.parts.iter().zip(&self.notifies) {
            let mut one = match part {
                Part::Folder { path, mode } => {
                    let mut folder = resource("directory", path);
                    folder.params.set("mode", Value::from(*mode));
                    folder
                }
                Part::File { path, absent: true, .. } => {
                    let mut file = resource("file", path);
                    file.params.set("state", Value::from("absent"));
                    file
                }
                Part::File { path, text, .. } => bench.file(path, text),
                Part::Package { name, absent } => {
                    let mut package = resource("package", name);
                    package.params.set("state", Value::from(if *absent { "absent" } else { "present" }));
                    package
                }
                Part::Service { running } => {
                    let mut service = resource("service", "web");
                    service.params.set("running", Value::from(*running));
                    service.params.set("settle", Value::from(0));
                    service
                }
                Part::Command { number, .. } => {
                    let mut command = resource("command", &format!("deed {number}"));
                    let words = [Scalar::from("deed"), Scalar::Text(number.to_string())];
                    command.params.set("command", Value::List(words.to_vec()));
                    command.params.set("unless", Value::from(format!("done {number}").as_str()));
                    command
                }
            };
            one.bodies = vec![catalog.len() as u32];
            if names.insert(one.address.clone()) {
                if *notifies {
                    one.notify = vec![Notify { target: u32::MAX, how: NotifyHow::AsTargetSays }];
                }
                catalog.push(one);
            }
        }
        let service = catalog.iter().position(|one| one.kind == "service");
        for one in &mut catalog {
            match service {
                Some(at) if one.kind == "file" => one.notify.iter_mut().for_each(|n| n.target = at as u32),
                _ => one.notify.clear(),
            }
        }
        without_conflicts(catalog)
    }
}

/// The catalog up to the first resource with a conflicting claim. The language refuses such catalogs.
fn without_conflicts(catalog: Vec<Resource>) -> Vec<Resource> {
    let claims =
        order(&catalog).catalog.resources.into_iter().map(|one| one.claims).collect::<Vec<Vec<Claim>>>();
    let conflict = |at: &usize| {
        claims[..*at].iter().flatten().any(|claim| claims[*at].iter().any(|other| claim.conflicts(other)))
    };
    let end = (0..catalog.len()).find(conflict).unwrap_or(catalog.len());
    let mut kept: Vec<_> = catalog.into_iter().take(end).collect();
    let count = kept.len() as u32;
    kept.iter_mut().for_each(|one| one.notify.retain(|notify| notify.target < count));
    kept
}

/// Everything on the host: bytes and modes.
fn image(root: &Path) -> BTreeMap<PathBuf, String> {
    use std::os::unix::fs::PermissionsExt;
    let mut image = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            let body = if meta.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
            let name = Path::new("/").join(path.strip_prefix(root).unwrap());
            image.insert(name, format!("{:o} {}", meta.permissions().mode(), body.escape_ascii()));
            if meta.is_dir() {
                todo.push(path);
            }
        }
    }
    image
}

fn law_one(bench: &Bench, catalog: &[Resource]) -> HostPlan {
    let (before, log) = (image(bench.root()), bench.world.deeds());
    let plan = bench.look(catalog);
    assert_eq!(image(bench.root()), before, "law 1: a look wrote");
    assert_eq!(bench.world.deeds(), log, "law 1: a look did something");
    plan
}

/// Each step is in the report, and only claimed or declared things changed.
fn law_two(
    plan: &HostPlan,
    report: &HostReport,
    catalog: &[Resource],
    before: &BTreeMap<PathBuf, String>,
    after: &BTreeMap<PathBuf, String>,
) {
    let is_open = |step: u32| matches!(catalog[step as usize].kind.as_str(), "package" | "command");
    let first_open = plan.steps.iter().position(|step| is_open(step.resource)).unwrap_or(plan.steps.len());
    for (place, step) in plan.steps.iter().enumerate() {
        let mut results = report.results.iter().filter(|r| {
            r.resource == step.resource && (r.change.verb == Verb::Act) == (step.change.verb == Verb::Act)
        });
        let Some(result) = results.next() else {
            panic!("law 2: {} has no result: {report:?}", step.address)
        };
        if place < first_open && !result.outcome.failed() {
            assert!(
                matches!(result.outcome, StepOutcome::Done | StepOutcome::Skipped { .. }),
                "law 2: {result:?}"
            );
        }
    }
    let waits = |resource: u32| plan.steps.iter().any(|step| step.resource == resource);
    for blocked in plan.blocked.iter().filter(|blocked| !waits(blocked.resource)) {
        let mut results = report.results.iter().filter(|result| result.resource == blocked.resource);
        // If only an action waits, the resource itself is in sync, unless an open step brings something that should
        // be absent.
        let waits_to_act = blocked.why.starts_with("its notification waits");
        let is_left = |result: &StepResult| {
            !result.outcome.left_a_change() || waits_to_act && result.outcome == StepOutcome::Unforeseen
        };
        assert!(results.all(is_left), "law 2: what is left as it is was changed: {blocked:?} {report:?}");
    }
    for result in &report.results {
        if result.outcome == StepOutcome::Unforeseen {
            let surprised =
                first_open < plan.steps.len() || catalog[result.resource as usize].kind == "command";
            assert!(surprised, "law 2: unforeseen without an open step: {result:?}");
        }
    }
    let planned = |resource: u32| {
        plan.steps.iter().any(|step| step.resource == resource && step.change.verb == Verb::Act)
            || plan.blocked.iter().any(|blocked| blocked.resource == resource)
    };
    let unforeseen = report.results.iter().any(|result| result.outcome == StepOutcome::Unforeseen);
    for result in report.results.iter().filter(|result| result.change.verb == Verb::Act && !unforeseen) {
        assert!(planned(result.resource), "law 2: an action that no plan announced: {result:?}");
    }
    if first_open == plan.steps.len() {
        let claims =
            order(catalog).catalog.resources.into_iter().flat_map(|one| one.claims).collect::<Vec<_>>();
        let claimed = |path: &Path| {
            claims
                .iter()
                .any(|claim| matches!(claim, Claim::Path { path: owned, .. } if path.starts_with(owned)))
        };
        let listed = |path: &Path| {
            let properties = plan.steps.iter().flat_map(|step| &step.change.properties);
            let mut parents = properties.filter(|property| property.property == "parent");
            parents.any(|parent| parent.after == Shown::Text(path.display().to_string()))
        };
        for path in before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path)) {
            assert!(
                claimed(path) || listed(path),
                "law 2: {} changed, and no resource claims it",
                path.display()
            );
        }
    }
}

/// Packages are removed only if the plan names them, and the report names all that come along.
fn law_of_packages(plan: &HostPlan, report: &HostReport, before: &PackageTable, after: &PackageTable) {
    let names = |property: &str| -> BTreeSet<String> {
        let found = plan.steps.iter().flat_map(|step| &step.change.properties);
        let texts =
            found.filter(|found| found.property == property).flat_map(|found| [&found.before, &found.after]);
        let lists = texts.filter_map(|shown| if let Shown::Text(text) = shown { Some(text) } else { None });
        lists
            .flat_map(|list| list.split(", "))
            .filter_map(|one| one.split(' ').next())
            .map(str::to_owned)
            .collect()
    };
    let asked = |name: &str, verb: Verb| {
        let address = format!("package[{name}]");
        let results = report.results.iter().map(|result| (&result.address, &result.change));
        let mut all = plan.steps.iter().map(|step| (&step.address, &step.change)).chain(results);
        all.any(|(at, change)| {
            at.as_str() == address && (change.verb == Verb::Remove) == (verb == Verb::Remove)
        })
    };
    let (brings, removes) = (names("also installs"), names("removes"));
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        assert!(
            asked(name, Verb::Remove) || removes.contains(name),
            "{name} went, and no plan named it: {plan:?}"
        );
    }
    for name in after.keys().filter(|name| before.get(*name) != after.get(*name)) {
        let told = report
            .results
            .iter()
            .flat_map(|result| &result.unforeseen)
            .any(|beyond| beyond.property == *name);
        assert!(
            asked(name, Verb::Create) || brings.contains(name) || told,
            "{name} came, and nothing tells of it: {report:?}"
        );
    }
}

/// After a successful run, nothing is pending.
fn law_three(bench: &Bench, catalog: &[Resource]) {
    let again = bench.look(catalog);
    assert!(again.is_empty() && again.problems.is_empty(), "law 3: {:?} {:?}", again.steps, again.problems);
    assert!(again.ledger_complete, "law 3: the ledger lacks something");
}

fn no_temporaries(image: &BTreeMap<PathBuf, String>) {
    let left: Vec<_> = image.keys().filter(|path| path.to_string_lossy().contains(".converge-")).collect();
    assert!(left.is_empty(), "law 4: temporaries are left: {left:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_tells_the_truth_and_a_second_one_is_empty(case in case()) {
        let bench = case.bench();
        let catalog = case.catalog(&bench);
        let plan = law_one(&bench, &catalog);
        if plan.problems.is_empty() {
            let before = image(bench.root());
            let packages = bench.world.packages().installed().unwrap();
            let report = bench.apply(&catalog);
            let after = image(bench.root());
            law_of_packages(&plan, &report, &packages, &bench.world.packages().installed().unwrap());
            law_two(&plan, &report, &catalog, &before, &after);
            no_temporaries(&after);
            if matches!(report.state, HostState::Changed | HostState::InSync) {
                law_three(&bench, &catalog);
            } else {
                prop_assert!(report.state == HostState::Failed, "{report:?}");
                prop_assert!(!report.problems.is_empty() || report.results.iter().any(|r| r.outcome.failed()));
            }
        }
    }

    #[test]
    fn a_run_that_dies_anywhere_is_made_good_by_the_next(case in case(), dies_at in 0usize..40) {
        let clean = case.bench();
        let catalog = case.catalog(&clean);
        if clean.look(&catalog).problems.is_empty() {
            let clean_report = clean.apply(&catalog);
            let bench = case.bench();
            // The contents belong to the controller, so each bench has its own catalog.
            let catalog = case.catalog(&bench);
            let plan = bench.look(&catalog);
            bench.controller.die_at(dies_at);
            let died = catch_unwind(AssertUnwindSafe(|| {
                act_in(&bench.world, &bench.state, &order(&catalog), plan.token, &bench.controller)
            }));
            bench.controller.live();
            let second = bench.look(&catalog);
            prop_assert_eq!(second.interrupted.is_some(), died.is_err());
            if second.problems.is_empty() && clean_report.state == HostState::Changed {
                let report = bench.apply(&catalog);
                prop_assert!(matches!(report.state, HostState::Changed | HostState::InSync), "{report:?}");
                let now = image(bench.root());
                no_temporaries(&now);
                prop_assert_eq!(now, image(clean.root()), "law 4: another end state");
                law_three(&bench, &catalog);
                let restarted = |bench: &Bench| bench.world.deeds().iter().any(|deed| deed.starts_with("restart"));
                let started = bench.world.deeds().iter().any(|deed| deed.starts_with("start"));
                prop_assert!(!restarted(&clean) || restarted(&bench) || started, "law 4: a restart was forgotten");
            }
        }
    }
}

/// A resource of each kind that supports absence, with the parameters that the kind requires.
fn absent(kind: &str) -> Resource {
    // Each has its own thing: two owners of one thing are refused.
    let path = format!("/etc/gone-{kind}");
    let name = match kind {
        "user" | "group" | "cron" | "package" | "apt-repository" | "systemd-unit" | "authorized-key" => {
            "gone"
        }
        "sudo-rule" | "firewall-policy" => "gone",
        "sysctl" => "vm.swappiness",
        _ => &path,
    };
    let mut one = resource(kind, name);
    let texts: &[(&str, &str)] = match kind {
        "authorized-key" => &[("key", KEY)],
        "line" => &[("text", "gone=1")],
        "block" => &[("content", "gone")],
        "ini" => &[("section", "a"), ("key", "b")],
        "sudo-rule" => &[("user", "root")],
        _ => &[],
    };
    texts.iter().for_each(|(name, text)| one.params.set(name, Value::from(*text)));
    one.params.set("state", Value::from("absent"));
    one
}

pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

#[test]
fn what_is_absent_stays_in_sync_while_packages_are_open() {
    let bench = Bench::new();
    bench.world.write("/etc/fstab".as_ref(), "");
    bench.world.offer("tree", Offer { version: "2".into(), ..Offer::default() });
    let can_be_absent = |kind: &&dyn converge_resources::AnyKind| {
        let states = kind.schema().params.iter().filter(|param| param.name == "state");
        states.flat_map(|param| &param.one_of).any(|state| state == "absent")
    };
    let kinds = converge_resources::registry().filter(can_be_absent);
    let mut catalog = vec![resource("package", "tree")];
    catalog.extend(kinds.map(|kind| absent(&kind.schema().name)));
    assert!(catalog.len() > 15, "the kinds are not found any more");
    let check = |addresses: &[&str]| {
        let plan = bench.look(&catalog);
        let steps: Vec<_> = plan.steps.iter().map(|step| step.address.as_str()).collect();
        assert_eq!((steps, &plan.blocked), (addresses.to_vec(), &Vec::new()));
        assert_eq!(plan.drifted().count() + plan.pending().count(), addresses.len());
    };
    check(&["package[tree]"]);
    assert_eq!(bench.apply(&catalog).state, HostState::Changed);
    check(&[]);
    bench.world.by_hand(PackageRequest::new("tree", PackageGoal::Absent { purge: true })).unwrap();
    check(&["package[tree]"]);
    assert_eq!(bench.look(&catalog).drifted().count(), 1);
}

//! The plan for each state of a package, of its lists and of the database.

use converge_model::{Certainty, Change, Params, Shown, Value, Verb};

use super::*;
use crate::kinds::testing::{Trial, change, impossible, params};
use crate::overlay::Version;
use crate::system::fake::Offer;
use crate::system::packages::apt::dpkg;
use crate::system::packages::{EntryPackages, Features, resolve};

const KIND: &str = "package";

fn package<const N: usize>(name: &str, more: [(&str, Value); N]) -> Params {
    let mut all = params([("name", name.into())]);
    more.into_iter().for_each(|(name, value)| all.set(name, value));
    all
}

/// A manager with all features.
static DEBIAN_LIKE: Manager = manager("trial", Features::ALL);

/// A manager with Debian's rules and these features.
const fn manager(name: &'static str, features: Features) -> Manager {
    Manager {
        name,
        features,
        sources: &[],
        entry: EntryPackages { server: &[], escalation: &[] },
        is_name: dpkg::is_name,
        matches: dpkg::matches,
        compare: dpkg::compare,
    }
}

fn wish(goal: PackageGoal) -> Wish {
    Wish {
        name: "nginx".into(),
        goal,
        hold: None,
        recommends: None,
        downgrade: false,
        refresh: None,
        brings: Vec::new(),
    }
}

fn installed(version: &str) -> Seen<Installed> {
    Seen::Known(Installed { version: version.to_owned(), held: false, whole: true })
}

/// The state of a host without special conditions.
fn found(installed: Seen<Installed>, candidate: Option<&str>) -> Found {
    let order = match (&installed, candidate) {
        (Seen::Known(installed), Some(candidate)) => Some(installed.version.as_str().cmp(candidate)),
        _ => None,
    };
    let upkeep = Upkeep { lists_age: Some(Duration::from_secs(60)), ..Upkeep::default() };
    Found {
        manager: &DEBIAN_LIKE,
        installed,
        candidate: candidate.map(str::to_owned),
        provider: Err(Vec::new()),
        order,
        upkeep,
        sources_change: false,
    }
}

/// A change as a line: `Update version 1 -> 2`.
fn line(change: &Change) -> String {
    let shown = |shown: &Shown| match shown {
        Shown::Absent => "-".to_owned(),
        Shown::Text(text) => text.clone(),
        Shown::Masked => "*".to_owned(),
        Shown::Unknown(_) => "?".to_owned(),
    };
    let properties = change
        .properties
        .iter()
        .map(|p| format!(" {} {} -> {}", p.property, shown(&p.before), shown(&p.after)));
    let condition = if change.certainty == Certainty::Exact { "" } else { " (conditional)" };
    format!("{:?}{}{condition}", change.verb, properties.collect::<Vec<_>>().join(","))
}

fn check(wish: &Wish, found: &Found, expected: &str) {
    let planned = match plan::plan(wish, found) {
        Planned::InSync(why) => {
            assert!(!why.is_empty());
            "in sync".to_owned()
        }
        Planned::Change(planned) => line(&planned.change),
        Planned::Impossible { message, .. } => message,
    };
    assert_eq!(planned, expected);
}

#[test]
fn present_is_any_version() {
    let present = wish(PackageGoal::Present);
    check(&present, &found(installed("1"), None), "in sync");
    check(&present, &found(Seen::Absent, Some("2")), "Create version - -> ?");
    check(&present, &found(Seen::MayCome(vec![0]), Some("2")), "Create version - -> ?");
    check(&present, &found(Seen::Unknown(vec![]), None), "in sync");
    check(&present, &found(Seen::Absent, None), "Create version - -> ?, lists without nginx -> updated");
    let broken = Installed { version: "1".into(), held: false, whole: false };
    let mut half = found(Seen::Known(broken), None);
    half.upkeep.interrupted = true;
    check(&present, &half, "Update state half-installed -> installed, database interrupted -> repaired");
    half.upkeep.busy = Some("dpkg (7)".into());
    check(
        &present,
        &half,
        "Update state half-installed -> installed, database in use by dpkg (7) -> repaired",
    );
}

#[test]
fn latest_follows_the_lists() {
    let latest = wish(PackageGoal::Latest);
    check(&latest, &found(installed("2"), Some("2")), "in sync");
    check(&latest, &found(installed("1"), Some("2")), "Update version 1 -> 2");
    check(&latest, &found(Seen::Absent, Some("2")), "Create version - -> 2");
    let mut newer = found(installed("2"), Some("2"));
    newer.upkeep.sources_newer = true;
    check(&latest, &newer, "Update version 2 -> ?, lists older than the sources -> updated");
    let mut planned = found(installed("2"), Some("2"));
    planned.sources_change = true;
    check(&latest, &planned, "Update version 2 -> ?, lists older than the sources -> updated (conditional)");
}

#[test]
fn a_version_may_be_a_pattern_and_goes_down_only_on_request() {
    let version = |version: &str| wish(PackageGoal::Version(version.into()));
    check(&version("1.*"), &found(installed("1.4"), None), "in sync");
    check(&version("2.*"), &found(installed("1.4"), Some("2.1")), "Update version 1.4 -> ?");
    check(&version("2.1"), &found(Seen::Absent, Some("2.1")), "Create version - -> 2.1");
    let again = "Update version 1.4 -> 2.2, lists without nginx 2.2 -> updated";
    check(&version("2.2"), &found(installed("1.4"), Some("2.1")), again);
    let mut down = found(installed("3"), Some("2"));
    down.order = Some(std::cmp::Ordering::Greater);
    check(&version("2"), &down, "version 3 is installed, which is newer than the wanted version");
    check(&Wish { downgrade: true, ..version("2") }, &down, "Update version 3 -> 2");
}

#[test]
fn what_the_administrator_holds_is_left_alone() {
    let held = |version: &str, candidate: Option<&str>| {
        let held = Installed { version: version.into(), held: true, whole: true };
        found(Seen::Known(held), candidate)
    };
    let latest = wish(PackageGoal::Latest);
    check(&latest, &held("1", Some("2")), "it is held at version 1");
    check(&wish(PackageGoal::Absent { purge: false }), &held("1", None), "it is held at version 1");
    let moved = Wish { hold: Some(true), ..wish(PackageGoal::Latest) };
    check(&moved, &held("1", Some("2")), "Update version 1 -> 2");
    let freed = Wish { hold: Some(false), ..wish(PackageGoal::Present) };
    check(&freed, &held("1", None), "Update hold yes -> no");
    assert_eq!(plan::request(&freed, &held("1", None)).goal, PackageGoal::Kept);
}

#[test]
fn absence_may_include_what_was_left_behind() {
    let absent = |purge| wish(PackageGoal::Absent { purge });
    check(&absent(false), &found(installed("1"), None), "Remove version 1 -> -");
    check(&absent(true), &found(Seen::Absent, None), "in sync");
    check(&absent(false), &found(Seen::MayCome(vec![1]), None), "in sync");
    let mut left = found(Seen::Absent, None);
    left.upkeep.leftovers.insert("nginx".into());
    check(&absent(false), &left, "in sync");
    check(&absent(true), &left, "Remove configuration left behind -> -");
}

#[test]
fn old_lists_matter_only_where_something_is_installed() {
    let asked = Wish { refresh: Some(Duration::from_secs(30)), ..wish(PackageGoal::Present) };
    check(&asked, &found(installed("1"), None), "in sync");
    let refreshed = "Create version - -> ?, lists older than `refresh` allows -> updated";
    check(&asked, &found(Seen::Absent, Some("1")), refreshed);
    assert!(plan::request(&asked, &found(Seen::Absent, Some("1"))).refresh);
    let patient = Wish { refresh: Some(Duration::from_secs(90)), ..wish(PackageGoal::Present) };
    check(&patient, &found(Seen::Absent, Some("1")), "Create version - -> ?");
    let just = Wish { refresh: Some(Duration::from_secs(60)), ..wish(PackageGoal::Present) };
    check(&just, &found(Seen::Absent, Some("1")), "Create version - -> ?");
    let mut never = found(Seen::Absent, None);
    never.upkeep.lists_age = None;
    check(&patient, &never, "Create version - -> ?, lists never fetched -> updated");
}

#[test]
fn a_package_is_installed_and_removed_on_a_trial_host() {
    let trial = Trial::new();
    trial.world().offer("web", Offer { version: "1.2".into(), ..Offer::default() });
    let present = package("web", []);
    let created = trial.laws(KIND, &present);
    assert_eq!((created.verb, line(&created).as_str()), (Verb::Create, "Create version - -> ?"));
    let held = package("web", [("hold", true.into())]);
    assert_eq!(line(&change(trial.plan(KIND, &held))), "Update hold no -> yes");
    trial.apply(KIND, &held).unwrap();
    trial.assert_in_sync(KIND, &held);
    assert_eq!(
        impossible(trial.plan(KIND, &package("web", [("state", "absent".into())]))),
        "it is held at version 1.2"
    );
    trial.apply(KIND, &package("web", [("hold", false.into())])).unwrap();
    trial.laws(KIND, &package("web", [("state", "absent".into())]));
    assert_eq!(trial.world().log(), ["install web", "remove web"]);
}

#[test]
fn earlier_steps_are_seen() {
    let trial = Trial::new();
    trial.world().offer("web", Offer { version: "1.2".into(), ..Offer::default() });
    let web = |version| vec![Effect::Package("web".into(), version), Effect::Open, Effect::PackagesNamed];
    assert!(trial.plan_after(web(Some(Version::Known("1".into()))), KIND, &package("web", [])).is_in_sync());
    let absent = |name| package(name, [("state", "absent".into())]);
    assert!(trial.plan_after(web(Some(Version::Unknown)), KIND, &absent("telnet")).is_in_sync());
    assert!(trial.plan_after(vec![Effect::Open], KIND, &absent("telnet")).is_in_sync());
    let source = vec![Effect::Path("/etc/apt/sources.list.d/x.sources".into(), None)];
    let created = change(trial.plan_after(source, KIND, &package("web", [])));
    assert_eq!(
        line(&created),
        "Create version - -> ?, lists older than the sources -> updated (conditional)"
    );
}

#[test]
fn what_it_is_said_to_bring_is_counted_on_and_asked_for() {
    let trial = Trial::new();
    let files =
        vec![("/etc/web/conf".into(), "listen 80\n".into()), ("/usr/sbin/webd".into(), String::new())];
    let (users, units) = (vec!["web".into()], vec![("web.service".into(), true)]);
    trial.world().offer("web", Offer { version: "1.2".into(), files, users, units, ..Offer::default() });
    let brings = |names: &[&str]| {
        package("web", [("brings", Value::List(names.iter().map(|name| (*name).into()).collect()))])
    };
    let told = brings(&["/etc/web", "web.service", "user[web]", "/usr/sbin/webd"]);
    let later = [
        ("service", params([("name", "web".into()), ("running", true.into())])),
        ("directory", params([("path", "/etc/web/sites".into()), ("owner", "web".into())])),
    ];
    for (wish, certain) in [(&told, true), (&package("web", []), false)] {
        let effects = trial.look(KIND, wish).effects;
        for (kind, other) in &later {
            let after = change(trial.plan_after(effects.clone(), kind, other));
            assert_eq!(after.certainty == Certainty::Exact, certain, "{kind}: {after:?}");
        }
    }
    trial.apply(KIND, &told).unwrap();
    trial.assert_in_sync(KIND, &told);
    assert_eq!(
        impossible(trial.plan(KIND, &brings(&["/etc/web", "webs.service"]))),
        "it is installed, but the unit webs.service, which `brings` names, is missing"
    );
}

#[test]
fn a_name_that_is_only_provided_takes_no_package_by_chance() {
    let present = wish(PackageGoal::Present);
    let by = |provider: Result<&str, &[&str]>| Found {
        provider: provider
            .map(str::to_owned)
            .map_err(|offered| offered.iter().map(|name| (*name).to_owned()).collect()),
        ..found(Seen::Absent, None)
    };
    check(&present, &by(Ok("postfix")), "in sync");
    let of_two = "nginx is a virtual package, provided by exim, postfix";
    check(&present, &by(Err(&["exim", "postfix"])), of_two);
    let Planned::Impossible { help, .. } = plan::plan(&present, &by(Err(&["exim"]))) else { panic!() };
    assert_eq!(help.as_deref(), Some("declare `package \"exim\"`"));
    let held = Wish { hold: Some(true), ..wish(PackageGoal::Present) };
    for narrow in [wish(PackageGoal::Latest), wish(PackageGoal::Version("1".into())), held] {
        check(&narrow, &by(Ok("postfix")), "nginx is a virtual package, provided by postfix");
    }
    let mut stale = by(Err(&["exim", "postfix"]));
    stale.upkeep.sources_newer = true;
    check(&present, &stale, "Create version - -> ?, lists older than the sources -> updated");
    check(&present, &by(Err(&[])), "Create version - -> ?, lists without nginx -> updated");
}

#[test]
fn a_provider_that_is_there_or_comes_is_as_good() {
    let trial = Trial::new();
    let offer = |provides: &[&str]| Offer {
        version: "1".into(),
        provides: provides.iter().map(|name| (*name).to_owned()).collect(),
        ..Offer::default()
    };
    for name in ["exim", "postfix"] {
        trial.world().offer(name, offer(&["mta"]));
    }
    let mta = package("mta", []);
    let none = impossible(trial.plan(KIND, &mta));
    assert_eq!(none, "mta is a virtual package, provided by exim, postfix");
    let postfix =
        |version| vec![Effect::Package("postfix".into(), version), Effect::Open, Effect::PackagesNamed];
    assert!(trial.plan_after(postfix(Some(Version::Unknown)), KIND, &mta).is_in_sync());
    trial.apply(KIND, &package("postfix", [])).unwrap();
    trial.assert_in_sync(KIND, &mta);
    assert_eq!(impossible(trial.plan_after(postfix(None), KIND, &mta)), none, "the provider goes before");
    trial.world().offer("mta", offer(&[]));
    assert_eq!(change(trial.plan(KIND, &mta)).verb, Verb::Create, "a package of that name comes first");
}

#[test]
fn a_name_that_fetched_lists_only_provide_stops_the_transaction() {
    let trial = Trial::new();
    let provides = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    trial.world().offer_next("exim", Offer { provides: provides(&["mta"]), ..Offer::default() });
    assert_eq!(change(trial.plan(KIND, &package("mta", []))).verb, Verb::Create, "old lists cannot tell");
    let error = trial.apply(KIND, &package("mta", [])).map(drop).unwrap_err();
    assert_eq!(error.message, "mta is a virtual package, provided by exim; declare one of them");
    assert_eq!(trial.world().log(), ["refresh"]);
    let asked = ["mta", "exim"].map(PackageRequest::present);
    assert_eq!(resolve(trial.world(), &asked).unwrap(), [PackageRequest::present("exim")]);
}

#[test]
fn mistakes_are_gathered() {
    let trial = Trial::new();
    let check = |wish: Params, count: usize| {
        let problems = trial.problems(KIND, &wish);
        assert_eq!(problems.len(), count, "{problems:?}");
    };
    for name in ["g++", "libc6:i386", "postgresql-15", "0ad", "lib.so", "NetworkManager", "py3_yaml"] {
        check(package(name, []), 0);
    }
    for name in ["-y", "a b", "a=1", "a/b", ":i386", "a*", "ä", ""] {
        check(package(name, []), 1);
    }
    check(package("a", [("version", "1 2".into())]), 1);
    check(package("a", [("version", "1".into()), ("state", "latest".into())]), 1);
    check(package("a", [("purge", true.into()), ("allow-downgrade", true.into())]), 2);
    check(package("a", [("state", "absent".into()), ("hold", true.into()), ("recommends", true.into())]), 2);
}

#[test]
fn a_name_that_the_manager_of_the_host_cannot_have_is_refused_by_the_plan() {
    let present = |name: &str| Wish { name: name.into(), ..wish(PackageGoal::Present) };
    for name in ["sudo-", "NetworkManager", "a:", "a:I386", "a:-x"] {
        let expected = format!("trial does not accept the package name {name:?}");
        check(&present(name), &found(Seen::Absent, Some("1")), &expected);
    }
    check(&present("libc6:kfreebsd-amd64"), &found(installed("1"), None), "in sync");
}

#[test]
fn what_the_manager_cannot_do_is_said_by_the_plan() {
    static BARE: Manager = manager("bare", Features::NONE);
    let on_bare = |installed: Seen<Installed>| Found { manager: &BARE, ..found(installed, Some("2")) };
    let present = || wish(PackageGoal::Present);
    let refuse = |asked: Wish, expected: &str| {
        check(&asked, &on_bare(Seen::Absent), expected);
        check(&asked, &on_bare(installed("2")), expected);
    };
    refuse(Wish { hold: Some(true), ..present() }, "bare cannot hold a package");
    refuse(Wish { recommends: Some(true), ..present() }, "bare cannot install recommended packages");
    refuse(wish(PackageGoal::Absent { purge: true }), "bare cannot purge the configuration of a package");
    refuse(Wish { downgrade: true, ..present() }, "bare cannot downgrade a package");
    refuse(wish(PackageGoal::Version("2.*".into())), "bare cannot match versions by a pattern");
    let nothing_more = Wish { hold: Some(false), recommends: Some(false), ..present() };
    check(&nothing_more, &on_bare(installed("2")), "in sync");
    check(&wish(PackageGoal::Absent { purge: false }), &on_bare(Seen::Absent), "in sync");
}

#[test]
fn an_installed_version_is_held_against_what_is_asked_and_what_is_on_offer() {
    let trial = Trial::new();
    trial.world().installed("web", "1.4");
    trial.world().offer("web", Offer { version: "2.1".into(), ..Offer::default() });
    let version = |version: &str| package("web", [("version", version.into())]);
    trial.assert_in_sync(KIND, &version("1.*"));
    assert_eq!(line(&change(trial.plan(KIND, &version("2.*")))), "Update version 1.4 -> ?");
    assert_eq!(line(&change(trial.plan(KIND, &version("2.1")))), "Update version 1.4 -> 2.1");
    let older = impossible(trial.plan(KIND, &version("1.2")));
    assert_eq!(older, "version 1.4 is installed, which is newer than the wanted version");
}

#[test]
fn later_steps_see_the_version_where_it_is_known() {
    let check = |goal: PackageGoal, found: &Found, expected: Option<Version>| {
        let effects = plan::effects(&wish(goal), found);
        let version = effects.iter().find_map(|effect| match effect {
            Effect::Package(_, version) => version.clone(),
            _ => None,
        });
        assert_eq!(version, expected);
    };
    let known = |version: &str| Some(Version::Known(version.to_owned()));
    check(PackageGoal::Latest, &found(installed("1"), Some("2")), known("2"));
    check(PackageGoal::Version("2".into()), &found(Seen::Absent, Some("2")), known("2"));
    check(PackageGoal::Present, &found(Seen::Absent, Some("2")), Some(Version::Unknown));
    check(PackageGoal::Present, &found(installed("1"), Some("2")), None);
    check(PackageGoal::Absent { purge: false }, &found(installed("1"), None), None);
}

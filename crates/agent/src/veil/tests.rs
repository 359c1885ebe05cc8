//! No plan, event or state file holds a secret that any run wrote to a path, whatever later runs ask of that path.

use std::panic::{AssertUnwindSafe, catch_unwind};

use converge_model::value::Row;
use converge_model::{
    Cell, Content, HostState, Resource, Scalar, SecretTable, Shown, TextDiff, Tree, Value, Verb,
};
use converge_resources::System as _;
use proptest::prelude::*;

use super::*;
use crate::testing::{Bench, resource};
use crate::work::act_in;

/// Every secret of these tests begins with this text.
const CANARY: &str = "canary";
const OLD: &str = "canary-hunter2-old";
const NEW: &str = "canary-rotated-new";

/// The desired content of a file: plain, or with a secret in it.
#[derive(Clone, Debug)]
enum Words {
    Plain(String),
    Secret(String, String),
}

fn plain(text: &str) -> Words {
    Words::Plain(text.to_owned())
}

/// Returns `text` with the secret in the place of `$`.
fn secret(text: &str, value: &str) -> Words {
    Words::Secret(text.replace('$', value), value.to_owned())
}

fn scalar(bench: &Bench, words: &Words) -> Scalar {
    match words {
        Words::Plain(text) => Scalar::Text(text.clone()),
        Words::Secret(text, secret) => Scalar::Secret(bench.secret_text(text, secret)),
    }
}

fn content(bench: &Bench, words: &Words) -> Content {
    match words {
        Words::Secret(text, secret) => Content::Secret(bench.secret_text(text, secret)),
        Words::Plain(text) => match bench.file("/unused", text).params.get("content") {
            Some(Value::Content(content)) => *content,
            _ => unreachable!("it has content"),
        },
    }
}

fn file(bench: &Bench, path: &str, words: &Words) -> Resource {
    let mut file = resource("file", path);
    file.params.set("content", Value::Content(content(bench, words)));
    file
}

fn line(bench: &Bench, path: &str, key: &str, words: &Words) -> Resource {
    let mut line = resource("line", path);
    line.params.set("text", Value::Scalar(scalar(bench, words)));
    line.params.set("match", Value::from(format!("^{key}").as_str()));
    line
}

fn block(bench: &Bench, path: &str, name: &str, words: &Words) -> Resource {
    let mut block = resource("block", path);
    block.params.set("name", Value::from(name));
    block.params.set("content", Value::Scalar(scalar(bench, words)));
    block
}

fn ini(bench: &Bench, path: &str, option: &str, words: &Words) -> Resource {
    let mut ini = resource("ini", path);
    ini.params.set("section", Value::from("main"));
    ini.params.set("option", Value::from(option));
    ini.params.set("value", Value::List(vec![scalar(bench, words)]));
    ini
}

fn tree(bench: &Bench, folder: &str, name: &str, words: &Words) -> Resource {
    let mut tree = resource("tree", folder);
    let cells = vec![
        ("name".to_owned(), Cell::Scalar(Scalar::from(name))),
        ("content".to_owned(), Cell::Content(content(bench, words))),
    ];
    tree.params.set("file", Value::Rows(vec![Row(cells)]));
    tree
}

fn mount(bench: &Bench, path: &str, options: &[Words]) -> Resource {
    let mut mount = resource("mount", path);
    mount.params.set("source", Value::from("share"));
    mount.params.set("fstype", Value::from("tmpfs"));
    mount.params.set("options", Value::List(options.iter().map(|words| scalar(bench, words)).collect()));
    mount.params.set("state", Value::from("present"));
    mount
}

fn unit(bench: &Bench, words: &Words) -> Resource {
    let mut unit = resource("systemd-unit", "app.service");
    let options = vec![
        ("ExecStart".to_owned(), vec![Scalar::from("/usr/bin/app")]),
        ("Environment".to_owned(), vec![scalar(bench, words)]),
    ];
    let cells =
        vec![("name".to_owned(), Cell::Scalar("Service".into())), ("options".to_owned(), Cell::Map(options))];
    unit.params.set("section", Value::Rows(vec![Row(cells)]));
    unit.params.set("verify", Value::from(false));
    unit
}

/// Applies `before` with the old secret. Returns what a look shows at `after`, with the new secret.
fn shown(before: &dyn Fn(&Bench) -> Vec<Resource>, after: &dyn Fn(&Bench) -> Vec<Resource>) -> String {
    let bench = Bench::new();
    for folder in ["etc/systemd/system", "srv"] {
        std::fs::create_dir_all(bench.root().join(folder)).unwrap();
    }
    for program in ["mount", "umount"] {
        bench.world.write(format!("/usr/bin/{program}").as_ref(), "");
    }
    let catalog = before(&bench);
    let report = bench.apply(&catalog);
    assert!(report.problems.is_empty() && !report.results.iter().any(|r| r.outcome.failed()), "{report:?}");
    *bench.secrets.lock().unwrap() = SecretTable::default();
    let plan = bench.look(&after(&bench));
    assert!(!plan.steps.is_empty(), "something is to change: {plan:?}");
    let properties = plan.steps.iter().flat_map(|step| &step.change.properties);
    let diffs: String =
        properties.filter_map(|property| Some(property.diff.as_ref()?.unified.clone())).collect();
    assert!(!format!("{plan:?}").contains(CANARY), "{plan:?}");
    diffs
}

#[test]
fn a_path_that_held_a_secret_hides_it_from_every_other_claim_on_it() {
    type Form<'a> = &'a dyn Fn(&Bench) -> Vec<Resource>;
    let check = |before: Form<'_>, after: Form<'_>, seen: &[&str]| {
        let diffs = shown(before, after);
        seen.iter().for_each(|line| assert!(diffs.contains(line), "{line:?} in {diffs}"));
    };
    let user = |b: &Bench, name: &str| line(b, "/etc/x", "user", &plain(&format!("user = {name}")));
    let password = |b: &Bench, value: &str| line(b, "/etc/x", "pass", &secret("pass = $", value));
    // Another line of the file changes before it.
    check(
        &|b| vec![user(b, "a"), password(b, OLD)],
        &|b| vec![user(b, "b"), password(b, NEW)],
        &["-user = a", "+user = b", "-********", "+********"],
    );
    // The whole file, after a line held the secret.
    check(
        &|b| vec![password(b, OLD)],
        &|b| vec![file(b, "/etc/x", &plain("all new\n"))],
        &["-********", "+all new"],
    );
    // A line of it, after the whole file held the secret and no secret is declared any more.
    let whole = |b: &Bench| vec![file(b, "/etc/x", &secret("pass=$\nuser = a\n", OLD))];
    check(&whole, &|b| vec![user(b, "b")], &[" ********", "-user = a", "+user = b"]);
    check(&whole, &|b| vec![file(b, "/etc/x", &plain("user = a\n"))], &["-********", " user = a"]);
    // Another option, and a block beside a block.
    check(
        &|b| vec![ini(b, "/etc/x", "pw", &secret("$", OLD))],
        &|b| vec![ini(b, "/etc/x", "user", &plain("bob")), ini(b, "/etc/x", "pw", &secret("$", NEW))],
        &["+user = bob", " [main]"],
    );
    check(
        &|b| vec![block(b, "/etc/x", "s", &secret("$", OLD))],
        &|b| vec![block(b, "/etc/x", "other", &plain("hello")), block(b, "/etc/x", "s", &secret("$", NEW))],
        &["+hello", "-********", "+********"],
    );
    // A part of a tree, then a file of its own, and the reverse.
    check(
        &|b| vec![resource("directory", "/etc/t"), tree(b, "/etc/t", "a", &secret("$", OLD))],
        &|b| vec![resource("directory", "/etc/t"), file(b, "/etc/t/a", &plain("public"))],
        &["-********", "+public"],
    );
    check(
        &|b| vec![resource("directory", "/etc/t"), file(b, "/etc/t/a", &secret("$", OLD))],
        &|b| vec![resource("directory", "/etc/t"), tree(b, "/etc/t", "a", &plain("public"))],
        &["-********", "+public"],
    );
    // Another address of the same claim.
    check(
        &whole,
        &|b| {
            let mut renamed = file(b, "/etc/x", &plain("p\n"));
            renamed.address = converge_model::Address::new(None, "file", "renamed");
            vec![renamed]
        },
        &["-********", "+p"],
    );
    // Two mounts share a file, and so do a unit and a resource that writes over it.
    let nas = |b: &Bench, value: &str| mount(b, "/srv/nas", &[plain("ro"), secret("password=$", value)]);
    check(
        &|b| vec![nas(b, OLD)],
        &|b| vec![mount(b, "/srv/other", &[plain("ro")]), nas(b, NEW)],
        &[" ********", "+share /srv/other tmpfs ro 0 0"],
    );
    check(
        &|b| vec![unit(b, &secret("KEY=$", OLD))],
        &|b| vec![unit(b, &secret("KEY=$", NEW))],
        &["-********", "+********", " ExecStart=/usr/bin/app"],
    );
}

/// A resource of each kind that writes at a path, with a canary among its texts if the kind takes any. None for other
/// kinds. A new kind must be added here.
fn writer(bench: &Bench, kind: &str) -> Option<Resource> {
    let content = || Value::Content(content(bench, &plain("canary\n")));
    let text = |text: &str| Value::from(text);
    let list = |one: &str| Value::List(vec![one.into()]);
    let (name, params) = match kind {
        "apt-repository" => {
            let uri = list("https://canary.example/debian");
            ("shop", vec![("uris", uri), ("suites", list("bookworm")), ("components", list("main"))])
        }
        "archive" => ("/srv/archive", vec![("source", content())]),
        "authorized-key" => {
            let key = format!("{} canary", crate::laws::KEY);
            ("root", vec![("key", list(&key)), ("path", text("/etc/keys"))])
        }
        "block" => ("/etc/block", vec![("content", text("canary"))]),
        "cron" => ("job", vec![("command", text("canary"))]),
        "directory" => ("/srv/directory", vec![]),
        "download" => {
            let sum = format!("sha256:{}", "0".repeat(64));
            ("/srv/download", vec![("url", text("https://canary.example/x")), ("checksum", text(&sum))])
        }
        "file" => ("/etc/file", vec![("content", content())]),
        "firewall-policy" => ("canary", vec![("rules", text("set canary { type ipv4_addr; }"))]),
        "git" => ("/srv/git", vec![("url", text("https://canary.example/x.git"))]),
        "hostname" => ("canary", vec![]),
        "ini" => ("/etc/ini", vec![("section", text("a")), ("option", text("b")), ("value", list("canary"))]),
        "line" => ("/etc/line", vec![("text", text("canary"))]),
        "link" => ("/etc/link", vec![("to", text("canary"))]),
        "mount" => return Some(mount(bench, "/srv/mount", &[plain("canary")])),
        "retention" => ("/srv/releases", vec![("current", text("/srv/current"))]),
        "sudo-rule" => ("rule", vec![("user", text("root")), ("commands", list("/usr/bin/canary"))]),
        "sysctl" => ("kernel.core_pattern", vec![("value", text("canary"))]),
        "systemd-unit" => return Some(unit(bench, &plain("A=canary"))),
        "timezone" => ("Europe/Berlin", vec![]),
        "tree" => return Some(tree(bench, "/srv", "file", &plain("canary"))),
        "virtualenv" => ("/srv/venv", vec![("install", list("canary==1"))]),
        "autoremove" | "command" | "group" | "package" | "service" | "user" => return None,
        other => panic!("say here how a {other} looks"),
    };
    let mut one = resource(kind, name);
    params.into_iter().for_each(|(name, value)| one.params.set(name, value));
    Some(one)
}

/// A host on which every kind that writes can be planned. `/alias` leads to its root.
fn writable() -> Bench {
    let bench = Bench::new();
    for folder in ["etc/systemd/system", "etc/apt/sources.list.d", "etc/cron.d", "etc/sudoers.d", "srv"] {
        std::fs::create_dir_all(bench.root().join(folder)).unwrap();
    }
    for program in ["mount", "umount", "cron", "visudo", "nft", "git", "python3"] {
        bench.world.write(format!("/usr/bin/{program}").as_ref(), "");
        bench.world.write(format!("/usr/sbin/{program}").as_ref(), "");
    }
    bench.world.write("/proc/sys/kernel/core_pattern".as_ref(), "core\n");
    std::os::unix::fs::symlink("/", bench.root().join("alias")).unwrap();
    bench
}

fn writers() -> impl Iterator<Item = &'static str> {
    converge_resources::registry()
        .map(|kind| kind.schema().name.as_str())
        .filter(|kind| writer(&Bench::new(), kind).is_some())
}

/// The kinds that show the diff of a text, or replace a file whose content is not shown.
const SHOWN: [&str; 11] = [
    "apt-repository",
    "authorized-key",
    "block",
    "cron",
    "download",
    "file",
    "ini",
    "line",
    "sudo-rule",
    "systemd-unit",
    "tree",
];

#[test]
fn a_secret_at_a_path_is_hidden_from_every_kind_that_writes_there_under_every_name() {
    for alias in ["", "/alias"] {
        let mut planned = Vec::new();
        for kind in writers() {
            for path in content_paths(kind) {
                let bench = writable();
                let before = file(&bench, &format!("{alias}{path}"), &secret("pass=$\n", OLD));
                let report = bench.apply(&[before]);
                if report.results.iter().any(|result| result.outcome.failed()) {
                    continue;
                }
                *bench.secrets.lock().unwrap() = SecretTable::default();
                let plan = bench.look(&[writer(&bench, kind).unwrap()]);
                assert!(!format!("{plan:?}").contains(OLD), "{kind} at {alias}{path}: {plan:?}");
                planned.extend((!plan.steps.is_empty()).then_some(kind));
            }
        }
        planned.dedup();
        let is_planned = |kind: &&&str| !planned.contains(*kind);
        assert_eq!(SHOWN.iter().filter(is_planned).collect::<Vec<_>>(), [&""; 0], "{planned:?}");
    }
}

/// The paths that a resource of the kind writes. If the kind owns a folder, a file in it.
fn content_paths(kind: &str) -> Vec<String> {
    let bench = writable();
    let order = bench.order(&[writer(&bench, kind).unwrap()]);
    let claims = &order.catalog.resources[0].claims;
    claims.iter().filter_map(content_path).map(str::to_owned).collect()
}

#[test]
fn a_resource_of_any_kind_that_says_it_is_sensitive_shows_none_of_its_texts() {
    for kind in writers() {
        let bench = writable();
        let mut one = writer(&bench, kind).unwrap();
        one.address = converge_model::Address::new(None, kind, "one");
        one.options.sensitive = true;
        let plan = bench.look(&[one]);
        let properties = plan.steps.iter().flat_map(|step| &step.change.properties);
        let shown: Vec<_> = properties.map(|one| (&one.before, &one.after, &one.diff)).collect();
        assert!(!format!("{shown:?}").contains(CANARY), "{kind}: {shown:?}");
    }
}

#[test]
fn a_secret_in_any_parameter_that_takes_one_is_shown_in_no_plan() {
    let mut taken = 0;
    for kind in converge_resources::registry().map(|kind| &kind.schema().name) {
        let Some(kind_of) = converge_resources::kind(kind) else { continue };
        for param in &kind_of.schema().params {
            let bench = writable();
            let Some(mut one) = writer(&bench, kind) else { continue };
            let words = secret("/$", OLD);
            let hidden = || scalar(&bench, &words);
            let value = match &param.ty {
                converge_model::Type::Content => Value::Content(content(&bench, &words)),
                converge_model::Type::List(_) => Value::List(vec![hidden()]),
                converge_model::Type::Map => Value::Map(vec![("KEY".into(), vec![hidden()])]),
                converge_model::Type::Tree => Value::Tree(vec![("KEY".into(), Tree::Scalar(hidden()))]),
                _ => Value::Scalar(hidden()),
            };
            one.address = converge_model::Address::new(None, kind, "one");
            one.params.set(&param.name, value);
            if kind_of.decode(&one.params, &bench.secrets.lock().unwrap()).is_err() {
                continue;
            }
            let plan = bench.look(&[one]);
            taken += usize::from(!plan.steps.is_empty());
            assert!(!format!("{plan:?}").contains(OLD), "{kind} {}: {plan:?}", param.name);
        }
    }
    assert!(taken >= 5, "only {taken} parameters take a secret");
}

#[test]
fn a_path_that_an_earlier_step_makes_another_name_of_a_secret_hides_it() {
    let bench = writable();
    bench.apply(&[file(&bench, "/etc/x", &secret("pass=$\n", OLD))]);
    *bench.secrets.lock().unwrap() = SecretTable::default();
    let mut name = resource("link", "/srv/name");
    name.params.set("to", Value::from("/etc"));
    let plan = format!("{:?}", bench.look(&[name, line(&bench, "/srv/name/x", "user", &plain("user=a"))]));
    assert!(!plan.contains(OLD) && plan.contains("+user=a"), "{plan}");
}

#[test]
fn a_secret_that_was_written_through_a_link_is_hidden_where_it_is_wherever_the_link_leads_since() {
    let bench = Bench::new();
    let release = |number: u32| {
        let mut current = resource("link", "/srv/current");
        current.params.set("to", Value::from(format!("releases/{number}").as_str()));
        let folders = ["/srv/releases/1", "/srv/releases/2"].map(|path| {
            let mut folder = resource("directory", path);
            folder.params.set("parents", Value::from(true));
            folder
        });
        [folders.to_vec(), vec![current]].concat()
    };
    let apply = |number: u32, more: Resource| {
        let report = bench.apply(&[release(number), vec![more]].concat());
        assert_eq!(report.state, HostState::Changed, "{report:?}");
        *bench.secrets.lock().unwrap() = SecretTable::default();
    };
    let settings = |text: &Words| file(&bench, "/srv/current/x", text);
    apply(1, settings(&secret("pass=$\nuser=a\n", OLD)));
    apply(2, settings(&plain("user=b\n")));
    let old = |text: &str| file(&bench, "/srv/releases/1/x", &plain(text));
    let plan = format!("{:?}", bench.look(&[old("pass=none\n")]));
    assert!(!plan.contains(CANARY) && plan.contains("+pass=none"), "{plan}");
    apply(2, old("pass=none\n"));
    let plan = format!("{:?}", bench.look(&[old("pass=more\n")]));
    assert!(plan.contains("-pass=none"), "nothing of it is secret any more: {plan}");
}

#[test]
fn a_secret_is_hidden_under_every_name_of_its_file() {
    let bench = writable();
    bench.apply(&[file(&bench, "/etc/x", &secret("pass=$\n", OLD))]);
    std::fs::hard_link(bench.root().join("etc/x"), bench.root().join("etc/y")).unwrap();
    *bench.secrets.lock().unwrap() = SecretTable::default();
    let plan = format!("{:?}", bench.look(&[line(&bench, "/etc/y", "user", &plain("user=a"))]));
    assert!(!plan.contains(CANARY) && plan.contains("+user=a"), "{plan}");
}

#[test]
fn a_rotated_secret_shows_a_difference_with_the_lines_that_hold_none() {
    let text = |value: &str| secret("frontend web\nuser admin $\nbind :80\n", value);
    let diffs = shown(&|b| vec![file(b, "/etc/x", &text(OLD))], &|b| vec![file(b, "/etc/x", &text(NEW))]);
    assert_eq!(diffs, "@@ -1,3 +1,3 @@\n frontend web\n-********\n+********\n bind :80\n");
}

#[test]
fn a_file_without_a_secret_is_shown_whole_once_it_was_written_without_one() {
    let bench = Bench::new();
    bench.apply(&[line(&bench, "/etc/x", "pass", &secret("pass = $", OLD))]);
    *bench.secrets.lock().unwrap() = SecretTable::default();
    bench.apply(&[file(&bench, "/etc/x", &plain("a\nb\n"))]);
    let plan = format!("{:?}", bench.look(&[file(&bench, "/etc/x", &plain("a\nc\n"))]));
    assert!(plan.contains(r"a\n-b\n+c"), "{plan}");
}

#[test]
fn a_secret_that_a_killed_run_wrote_is_hidden_by_the_next_look() {
    let bench = Bench::new();
    let dying = [file(&bench, "/etc/x", &secret("pass=$\nuser=a\n", OLD))];
    let plan = bench.look(&dying);
    // The run dies one exchange later each time, until the file is there and the run has not ended.
    let died = (0..40).any(|at| {
        bench.controller.die_at(at);
        let act = || act_in(&bench.world, &bench.state, &bench.order(&dying), plan.token, &bench.controller);
        let died = catch_unwind(AssertUnwindSafe(act)).is_err();
        bench.controller.live();
        died && bench.root().join("etc/x").exists()
    });
    assert!(died, "it died after it wrote");
    *bench.secrets.lock().unwrap() = SecretTable::default();
    let plan = format!("{:?}", bench.look(&[file(&bench, "/etc/x", &plain("user=a\npass=none\n"))]));
    assert!(!plan.contains(CANARY) && plan.contains("+pass=none"), "{plan}");
    assert!(plan.contains("Intentional"), "the last apply is unknown: {plan}");
}

#[test]
fn a_secret_that_a_failed_step_left_is_hidden_by_the_next_look() {
    let bench = Bench::new();
    // A later step changes the file again, so the step that wrote it failed.
    bench.world.command("spoil", |world| {
        let path = world.files().outside("/etc/x".as_ref());
        let spoilt = std::fs::read_to_string(&path).map(|text| text + "more\n");
        i32::from(spoilt.and_then(|text| std::fs::write(path, text)).is_err())
    });
    let mut spoil = resource("command", "spoil");
    spoil.params.set("command", Value::List(vec![Scalar::from("spoil")]));
    spoil.params.set("always", Value::from(true));
    let report = bench.apply(&[file(&bench, "/etc/x", &secret("pass=$\nuser=a\n", OLD)), spoil]);
    assert_eq!(report.state, HostState::Failed, "{report:?}");
    *bench.secrets.lock().unwrap() = SecretTable::default();
    let plan = format!("{:?}", bench.look(&[file(&bench, "/etc/x", &plain("user=a\npass=none\n"))]));
    assert!(!plan.contains(CANARY) && plan.contains("+pass=none"), "{plan}");
}

#[test]
fn what_only_the_journal_knows_of_a_run_is_known_to_the_next() {
    let bench = Bench::new();
    bench.apply(&[file(&bench, "/etc/other", &plain("x\n"))]);
    // The ledger cannot be written: a folder is at the path of its new version.
    let blocked = bench.state.path("ledger.new");
    std::fs::create_dir(&blocked).unwrap();
    let report = bench.apply(&[file(&bench, "/etc/x", &secret("pass=$\n", OLD))]);
    assert!(report.problems.iter().any(|problem| problem.message.contains("ledger")), "{report:?}");
    *bench.secrets.lock().unwrap() = SecretTable::default();
    let next = [file(&bench, "/etc/x", &plain("pass=none\n"))];
    assert!(!format!("{:?}", bench.look(&next)).contains(CANARY));
    std::fs::remove_dir(&blocked).unwrap();
    bench.apply(&[file(&bench, "/etc/other", &plain("y\n"))]);
    assert!(!format!("{:?}", bench.look(&next)).contains(CANARY), "an act that has no part in it keeps it");
    let ledger = Ledger::read(&bench.state).unwrap();
    let origin = ledger.origin("path:/etc/x");
    assert_eq!(origin, Some(crate::state::ledger::Origin::Created));
}

#[test]
fn a_copy_is_made_of_no_file_that_holds_or_held_a_secret() {
    let bench = Bench::new();
    let with_backup = |words: &Words| {
        let mut file = file(&bench, "/etc/x", words);
        file.params.set("backup", Value::from(true));
        [file]
    };
    let copied = || bench.root().join("etc/x.converge-backup").exists();
    bench.apply(&with_backup(&secret("pass=$\n", OLD)));
    let rotated = with_backup(&secret("pass=$\n", NEW));
    assert!(!format!("{:?}", bench.look(&rotated)).contains("converge-backup"));
    bench.apply(&rotated);
    assert!(!copied());
    bench.apply(&with_backup(&plain("pass=none\n")));
    assert!(!copied(), "it held one");
    bench.apply(&with_backup(&plain("pass=less\n")));
    assert!(copied(), "it holds none any more");
}

#[test]
fn a_veil_over_what_says_so_itself_lets_nothing_through() {
    let bench = Bench::new();
    let mut words = file(&bench, "/etc/x", &plain("words\n"));
    words.options.sensitive = true;
    let plan = format!("{:?}", bench.look(&[words]));
    assert!(!plan.contains("words") && plan.contains("Masked"), "{plan}");
}

#[test]
fn lines_of_a_difference_are_masked_by_what_is_known_of_each() {
    let known = Known { lines: HashSet::from([b"user=a".to_vec()]), ..Known::default() };
    let unified = "@@ -1,3 +1,2 @@\n user=a\n-pass=x\n+@@ -1 +1 @@\n\n\\ No newline at end of file\n";
    let masked = "@@ -1,3 +1,2 @@\n user=a\n-********\n+********\n\n\\ No newline at end of file\n";
    assert_eq!(known.mask(unified), masked);
    let table = SecretTable::default();
    let mut property = PropertyChange::new("content", "12 bytes", Shown::Absent);
    property.diff = Some(TextDiff { unified: unified.to_owned(), cut: false });
    let mut change = Change::new(Verb::Update).property(property);
    let veil = Veil { masker: Masker::new(&table), covered: BTreeMap::from([(0, known)]), ..Veil::default() };
    veil.cover(0, &mut change);
    assert_eq!(change.properties[0].before, Shown::Masked, "a size tells how long a secret is");
    assert_eq!(change.properties[0].diff.as_ref().unwrap().unified, masked);
}

/// One request for a path.
#[derive(Clone, Debug)]
enum Ask {
    File { path: usize, holds: bool },
    Line { path: usize, key: usize, holds: bool },
    Block { path: usize, key: usize, holds: bool },
    Ini { path: usize, key: usize, holds: bool },
    Tree { path: usize, holds: bool },
    Absent { path: usize },
}

const PATHS: [&str; 3] = ["/etc/t/a", "/etc/t/b", "/etc/x"];
const KEYS: [&str; 3] = ["user", "pass", "host"];

fn ask() -> impl Strategy<Value = Ask> {
    let (path, key, holds) = (0..PATHS.len(), 0..KEYS.len(), any::<bool>());
    let part = (path.clone(), key, holds);
    prop_oneof![
        (path.clone(), holds_any()).prop_map(|(path, holds)| Ask::File { path, holds }),
        part.clone().prop_map(|(path, key, holds)| Ask::Line { path, key, holds }),
        part.clone().prop_map(|(path, key, holds)| Ask::Block { path, key, holds }),
        part.prop_map(|(path, key, holds)| Ask::Ini { path, key, holds }),
        (0..2_usize, holds_any()).prop_map(|(path, holds)| Ask::Tree { path, holds }),
        path.prop_map(|path| Ask::Absent { path }),
    ]
}

fn holds_any() -> impl Strategy<Value = bool> {
    any::<bool>()
}

impl Ask {
    fn path(&self) -> usize {
        match self {
            Self::File { path, .. }
            | Self::Line { path, .. }
            | Self::Block { path, .. }
            | Self::Ini { path, .. }
            | Self::Tree { path, .. }
            | Self::Absent { path } => *path,
        }
    }

    fn is_part(&self) -> bool {
        matches!(self, Self::Line { .. } | Self::Block { .. } | Self::Ini { .. })
    }

    /// The resource in the run `number`. All its secrets belong to that run.
    fn resource(&self, bench: &Bench, number: usize) -> Resource {
        let canary = format!("{CANARY}-{number}-hunter2");
        let words = |holds: bool, before: &str, after: &str| match holds {
            true => secret(&format!("{before}$ of {number}{after}"), &canary),
            false => plain(&format!("{before}plain {number}{after}")),
        };
        match *self {
            Self::File { path, holds } => file(bench, PATHS[path], &words(holds, "a\nuser = ", "\nz\n")),
            Self::Line { path, key, holds } => {
                let key = KEYS[key];
                line(bench, PATHS[path], &format!("{key} ="), &words(holds, &format!("{key} = "), ""))
            }
            Self::Block { path, key, holds } => {
                block(bench, PATHS[path], KEYS[key], &words(holds, "x\n", "\ny"))
            }
            Self::Ini { path, key, holds } => ini(bench, PATHS[path], KEYS[key], &words(holds, "", "")),
            Self::Tree { path, holds } => {
                tree(bench, "/etc/t", &PATHS[path]["/etc/t/".len()..], &words(holds, "t\n", "\nz\n"))
            }
            Self::Absent { path } => {
                let mut file = resource("file", PATHS[path]);
                file.params.set("state", Value::from("absent"));
                file
            }
        }
    }
}

/// The requests that are possible together: one thing has one owner.
fn together(asks: &[Ask]) -> Vec<Ask> {
    let mut kept: Vec<Ask> = Vec::new();
    for ask in asks {
        let clash = |other: &Ask| {
            let twice =
                format!("{ask:?}").split(", holds").next() == format!("{other:?}").split(", holds").next();
            let trees = matches!((ask, other), (Ask::Tree { .. }, Ask::Tree { .. }));
            trees || (other.path() == ask.path() && (twice || !(ask.is_part() && other.is_part())))
        };
        if !kept.iter().any(clash) {
            kept.push(ask.clone());
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Law 6.
    #[test]
    fn nothing_tells_a_secret_that_an_earlier_run_wrote(
        runs in prop::collection::vec((prop::collection::vec(ask(), 1..6), prop::option::weighted(0.3, 0..12_usize)), 2..6),
    ) {
        let bench = Bench::new();
        std::fs::create_dir_all(bench.root().join("etc/t")).unwrap();
        for (number, (asks, dies_at)) in runs.iter().enumerate() {
            *bench.secrets.lock().unwrap() = SecretTable::default();
            let catalog: Vec<_> =
                together(asks).iter().map(|ask| ask.resource(&bench, number)).collect();
            let plan = bench.look(&catalog);
            prop_assert!(!format!("{:?}", plan).contains(CANARY), "run {}: {:?}", number, plan);
            if let Some(at) = dies_at {
                bench.controller.die_at(*at);
            }
            let act = || act_in(&bench.world, &bench.state, &bench.order(&catalog), plan.token, &bench.controller);
            let report = catch_unwind(AssertUnwindSafe(act));
            bench.controller.live();
            if let Ok(report) = report {
                prop_assert!(!format!("{:?}", report).contains(CANARY), "run {}: {:?}", number, report);
            }
            let events = bench.controller.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let told = format!("{:?}", *events);
            drop(events);
            prop_assert!(!told.contains(CANARY), "{}", told);
            for name in ["ledger", "journal"] {
                let text = std::fs::read(bench.state.path(name)).unwrap_or_default();
                prop_assert!(!String::from_utf8_lossy(&text).contains(CANARY), "{} holds a secret", name);
            }
        }
    }
}

//! Tests of `tree`.

use std::fs;

use converge_model::{Cell, Content, Params, Row, Scalar, Shown, Value, Verb};

use crate::kinds::testing::{Trial, change, finished, impossible, params};
use crate::overlay::{Effect, Version};

/// A file of a tree. Its text is in the store of the trial's controller.
fn file(trial: &Trial, name: &str, text: &str) -> Row {
    let Value::Content(content) = trial.content(text) else { unreachable!("content is content") };
    Row(vec![("name".into(), Cell::Scalar(name.into())), ("content".into(), Cell::Content(content))])
}

fn link(name: &str, to: &str) -> Row {
    Row(vec![("name".into(), Cell::Scalar(name.into())), ("to".into(), Cell::Scalar(to.into()))])
}

fn tree(files: Vec<Row>, links: Vec<Row>, absent: &[&str]) -> Params {
    params([
        ("path", "/etc/app".into()),
        ("absent", Value::List(absent.iter().map(|name| Scalar::from(*name)).collect())),
        ("file", Value::Rows(files)),
        ("link", Value::Rows(links)),
    ])
}

fn validated(mut params: Params) -> Params {
    params.set("validate", Value::List(vec!["app".into(), "-t".into()]));
    params
}

fn host() -> Trial {
    let trial = Trial::new();
    trial.write("/etc/app/main.conf", "old\n");
    trial.write("/etc/app/sites/default", "welcome\n");
    trial.write("/etc/app/mime.types", "text\n");
    trial
}

#[test]
fn files_links_and_what_should_not_be_there_are_one_change() {
    let trial = host();
    let wish = tree(
        vec![file(&trial, "main.conf", "new\n"), file(&trial, "conf.d/a/b.conf", "b\n")],
        vec![link("sites/shop", "../conf.d/a/b.conf")],
        &["sites/default", "sites/gone"],
    );
    let change = trial.laws("tree", &wish);
    let told: Vec<_> = change.properties.iter().map(|p| (p.property.as_str(), &p.before, &p.after)).collect();
    let text = |text: &str| Shown::from(text);
    let (absent, bytes) = (Shown::Absent, |count: u32| text(&format!("{count} bytes")));
    assert_eq!(change.verb, Verb::Update);
    assert_eq!(
        told,
        [
            ("conf.d/", &absent, &text("directory")),
            ("conf.d/a/", &absent, &text("directory")),
            ("main.conf", &bytes(4), &bytes(4)),
            ("conf.d/a/b.conf", &absent, &bytes(2)),
            ("sites/shop", &absent, &text("../conf.d/a/b.conf")),
            ("sites/default", &text("file"), &absent),
        ]
    );
    assert_eq!(trial.read("/etc/app/sites/shop"), b"b\n");
    assert_eq!(trial.read("/etc/app/mime.types"), b"text\n", "what is not its own stays");
}

#[test]
fn the_check_sees_the_whole_tree_as_it_will_be_and_no_other_program_does() {
    let trial = host();
    let at = trial.at("/");
    let live = trial.at("/etc/app/main.conf");
    trial.answer(move |command| {
        let substitute = command.substitute.as_ref().unwrap();
        let copy = at.join(substitute.folder.strip_prefix("/").unwrap());
        let read = |name: &str| fs::read_to_string(copy.join(name)).ok();
        assert_eq!(substitute.at, std::path::Path::new("/etc/app"));
        assert_eq!(read("main.conf").as_deref(), Some("new\n"));
        assert_eq!(read("conf.d/a.conf").as_deref(), Some("a\n"));
        assert_eq!(read("mime.types").as_deref(), Some("text\n"));
        assert_eq!(read("sites/default"), None);
        assert_eq!(fs::read_to_string(&live).unwrap(), "old\n");
        finished(1, "app: line 1: no\n")
    });
    let files = vec![file(&trial, "main.conf", "new\n"), file(&trial, "conf.d/a.conf", "a\n")];
    let wish = validated(tree(files, Vec::new(), &["sites/default"]));
    let before = trial.image();
    let error = trial.apply("tree", &wish).err().unwrap();
    assert_eq!(error.message, "the new files were refused: app ended with 1");
    assert_eq!(error.output, "app: line 1: no\n");
    assert_eq!(trial.image(), before, "nothing is touched, and no copy stays");
    trial.answer(|_| finished(0, ""));
    trial.laws("tree", &wish);
}

#[test]
fn what_the_tree_brought_goes_with_its_line_and_nothing_else_does() {
    let trial = host();
    let both = vec![file(&trial, "main.conf", "new\n"), file(&trial, "sites/shop", "shop\n")];
    trial.laws("tree", &tree(both, vec![link("sites/on", "shop")], &[]));
    let change = trial.laws("tree", &tree(vec![file(&trial, "sites/next", "next\n")], Vec::new(), &[]));
    let told: Vec<_> = change.properties.iter().map(|property| property.property.as_str()).collect();
    assert_eq!(told, ["sites/next", "sites/shop", "sites/on"]);
    let names = |path: &str| {
        let mut names: Vec<_> =
            fs::read_dir(trial.at(path)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("/etc/app/sites"), ["default", "next"]);
    assert_eq!(trial.read("/etc/app/main.conf"), b"new\n", "it was there before the tree");
}

#[test]
fn what_another_resource_claims_by_now_is_not_taken_away() {
    let mut trial = host();
    trial.apply("tree", &tree(vec![file(&trial, "sites/shop", "shop\n")], Vec::new(), &[])).unwrap();
    trial.others.push(converge_model::Claim::path("/etc/app/sites/shop", converge_model::Extent::Whole));
    trial.assert_in_sync("tree", &tree(vec![], Vec::new(), &["sites/gone"]));
}

#[test]
fn a_secret_is_shown_to_no_user() {
    let trial = host();
    let Scalar::Secret(reference) = trial.secret("hunter22") else { unreachable!("a secret is one") };
    let row = Row(vec![
        ("name".into(), Cell::Scalar("passwd".into())),
        ("content".into(), Cell::Content(Content::Secret(reference))),
        ("mode".into(), Cell::Scalar(0o640.into())),
    ]);
    let change = trial.laws("tree", &tree(vec![row], Vec::new(), &[]));
    assert_eq!(change.properties[0].after, Shown::Masked);
    assert_eq!(change.properties[1].property, "passwd: mode");
    assert_eq!(trial.read("/etc/app/passwd"), b"hunter22");
}

#[test]
fn what_is_in_the_way_is_an_error_of_the_plan() {
    let trial = host();
    let wish = |name: &str| tree(vec![file(&trial, name, "x\n")], Vec::new(), &[]);
    std::os::unix::fs::symlink("/srv", trial.at("/etc/app/away")).unwrap();
    assert_eq!(impossible(trial.plan("tree", &wish("away/x"))), "a link is in the way at /etc/app/away");
    assert_eq!(impossible(trial.plan("tree", &wish("away"))), "away: a link is in the way");
    assert_eq!(impossible(trial.plan("tree", &wish("sites"))), "sites: a directory is in the way");
    fs::remove_dir_all(trial.at("/etc/app")).unwrap();
    assert_eq!(impossible(trial.plan("tree", &wish("a"))), "the folder /etc/app does not exist");
}

#[test]
fn a_folder_that_a_package_may_bring_is_made_where_it_is_not_there() {
    let trial = Trial::new();
    let wish = tree(vec![file(&trial, "conf.d/main.conf", "x\n")], Vec::new(), &["default"]);
    let package = Effect::Package("app".into(), Some(Version::Unknown));
    let change = change(trial.plan_after(vec![package, Effect::Open], "tree", &wish));
    let told: Vec<_> = change.properties.iter().map(|property| property.property.as_str()).collect();
    assert_eq!(told, ["conf.d/", "conf.d/main.conf"], "what does not exist needs no removal");
}

#[test]
fn what_should_not_be_there_and_is_not_is_in_sync_whatever_may_come() {
    let trial = host();
    let wish = tree(Vec::new(), Vec::new(), &["sites/gone"]);
    assert!(trial.plan_after(vec![Effect::Open], "tree", &wish).is_in_sync(), "a command");
    let package = Effect::Package("app".into(), Some(Version::Unknown));
    assert!(trial.plan_after(vec![package, Effect::Open], "tree", &wish).is_in_sync(), "a package");
}

/// A tree that reads a certificate through a link, as certbot creates it.
fn reading(trial: &Trial) -> Params {
    let mut params = validated(tree(
        vec![file(
            trial,
            "main.conf",
            "old
",
        )],
        Vec::new(),
        &[],
    ));
    params.set("reads", Value::List(vec!["/etc/live/cert.pem".into()]));
    params
}

#[test]
fn a_file_elsewhere_that_changed_is_read_again() {
    let trial = host();
    let wish = reading(&trial);
    trial.answer(|_| finished(0, ""));
    trial.write("/etc/archive/cert1.pem", "one");
    fs::create_dir(trial.at("/etc/live")).unwrap();
    std::os::unix::fs::symlink("../archive/cert1.pem", trial.at("/etc/live/cert.pem")).unwrap();
    let told = |change: converge_model::Change| {
        let [property] = &change.properties[..] else { panic!("{change:?}") };
        (property.property.clone(), property.before.clone(), property.after.clone())
    };
    let name = "/etc/live/cert.pem".to_owned();
    assert_eq!(told(change(trial.plan("tree", &wish))), (name.clone(), Shown::Absent, "read".into()));
    trial.apply("tree", &wish).unwrap();
    trial.assert_in_sync("tree", &wish);

    trial.write("/etc/archive/cert1.pem", "two");
    let again = (name, Shown::from("changed since it was read"), Shown::from("read"));
    assert_eq!(told(change(trial.plan("tree", &wish))), again);
    let undo = trial.apply("tree", &wish).unwrap();
    trial.assert_in_sync("tree", &wish);
    trial.restore(undo);
    assert_eq!(told(change(trial.plan("tree", &wish))), again, "what was restored is owed again");

    trial.answer(|_| {
        finished(
            1,
            "app: no such key
",
        )
    });
    let error = trial.apply("tree", &wish).err().unwrap();
    assert_eq!(error.message, "the new files were refused: app ended with 1");
    assert_eq!(told(change(trial.plan("tree", &wish))), again, "what was refused was not read");
}

#[test]
fn a_file_elsewhere_must_be_there_or_be_brought() {
    let trial = host();
    let wish = reading(&trial);
    assert_eq!(impossible(trial.plan("tree", &wish)), "the file /etc/live/cert.pem does not exist");
    let maybe = change(trial.plan_after(vec![Effect::Open], "tree", &wish));
    assert!(matches!(maybe.certainty, converge_model::Certainty::Conditional { .. }), "{maybe:?}");
    let brought = params([("path", "/etc/live/cert.pem".into()), ("content", trial.content("new"))]);
    fs::create_dir(trial.at("/etc/live")).unwrap();
    let effects = trial.look("file", &brought).effects;
    assert_eq!(change(trial.plan_after(effects, "tree", &wish)).certainty, converge_model::Certainty::Exact);
}

#[test]
fn names_lead_into_the_folder_and_stand_once() {
    let trial = Trial::new();
    let check = |names: &[&str], absent: &[&str], problems: usize| {
        let files = names.iter().map(|name| file(&trial, name, "x\n")).collect();
        assert_eq!(trial.problems("tree", &tree(files, Vec::new(), absent)).len(), problems, "{names:?}");
    };
    check(&["a", "b/./c"], &["d"], 0);
    check(&["/a", "../b", "", "."], &[], 4);
    check(&["a", "./a"], &[], 1);
    check(&["a"], &["a"], 1);
    check(&["a", "a/b"], &[], 1);
}

#[test]
fn a_tree_is_new_only_if_all_that_it_makes_is() {
    let check = |files: &[&str], links: &[&str], absent: &[&str], verb: Verb| {
        let trial = host();
        std::os::unix::fs::symlink("elsewhere", trial.at("/etc/app/there")).unwrap();
        let files = files.iter().map(|name| file(&trial, name, "new\n")).collect();
        let links = links.iter().map(|name| link(name, "main.conf")).collect();
        assert_eq!(change(trial.plan("tree", &tree(files, links, absent))).verb, verb);
    };
    check(&["a", "b"], &["on"], &[], Verb::Create);
    check(&["a"], &["on"], &["sites/default"], Verb::Create);
    check(&["a", "main.conf"], &["on"], &[], Verb::Update);
    check(&["a"], &["there"], &[], Verb::Update);
    check(&[], &[], &["sites/default"], Verb::Update);
}

#[test]
fn a_link_that_was_there_before_the_tree_stays_when_it_is_written_no_more() {
    let trial = host();
    std::os::unix::fs::symlink("elsewhere", trial.at("/etc/app/there")).unwrap();
    let links = vec![link("there", "main.conf"), link("brought", "main.conf")];
    trial.apply("tree", &tree(vec![file(&trial, "main.conf", "new\n")], links, &[])).unwrap();
    trial.apply("tree", &tree(vec![file(&trial, "main.conf", "new\n")], Vec::new(), &[])).unwrap();
    assert!(trial.at("/etc/app/there").is_symlink() && !trial.at("/etc/app/brought").is_symlink());
}

#[test]
fn each_difference_stands_at_its_own_file() {
    let trial = host();
    trial.write("/etc/app/second.conf", "older\n");
    let files = vec![
        file(&trial, "new.conf", "new\n"),
        file(&trial, "main.conf", "main\n"),
        file(&trial, "second.conf", "second\n"),
    ];
    let crate::Planned::Change(planned) = trial.plan("tree", &tree(files, Vec::new(), &[])) else { panic!() };
    let at = |diff: &crate::kind::DiffRequest| planned.change.properties[diff.property].property.clone();
    let found: Vec<_> = planned.diffs.iter().map(|diff| (at(diff), diff.before.clone())).collect();
    let before = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
    let expected = [("new.conf", ""), ("main.conf", "old\n"), ("second.conf", "older\n")];
    assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), before(text))));
}

#[test]
fn what_a_tree_cannot_hold_is_said() {
    let trial = Trial::new();
    let check = |files: &[&str], links: &[(&str, &str)], expected: &[&str]| {
        let files = files.iter().map(|name| file(&trial, name, "x\n")).collect();
        let links = links.iter().map(|(name, to)| link(name, to)).collect();
        let problems = trial.problems("tree", &tree(files, links, &[]));
        let said: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(said, expected);
    };
    let (long, longer) = ("x".repeat(4095), "x".repeat(4096));
    check(&[], &[("a", &long)], &[]);
    check(&[], &[("a", &longer), ("b", "")], &["must have a target `to` of 1 to 4095 bytes"; 2]);
    check(&["a"], &[("a", "x")], &["a must be declared once in the tree"]);
    check(&["a", "a/b"], &[], &["a/b cannot be below a"]);
}

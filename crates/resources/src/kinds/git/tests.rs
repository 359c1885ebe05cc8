use std::path::Path;
use std::process::{Command, Stdio};

use converge_model::{Certainty, Params, Shown, Value, Verb};

use crate::kinds::testing::{Trial, change, finished, impossible, params};
use crate::overlay::Effect;
use crate::system::processes::Finished;

/// Runs a command of this machine as the agent would.
fn run(words: &[String]) -> Finished {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", "/");
    let output = command.output().unwrap();
    finished(
        output.status.code().unwrap(),
        &(String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr)),
    )
}

/// Like [`run`], with the folder and the standard input of the command.
fn run_in(root: &Path, command: &crate::system::processes::Command) -> Finished {
    let (Some(folder), Some(input)) = (&command.folder, &command.input) else { return run(&command.words) };
    let input = String::from_utf8_lossy(input.expose()).into_owned();
    let line = format!("cd \"$1\" && printf %s \"$2\" | {{ {}; }}", command.words[2]);
    let folder = root.join(folder.strip_prefix("/").unwrap()).to_string_lossy().into_owned();
    run(&["/bin/sh".to_owned(), "-c".to_owned(), line, "sh".to_owned(), folder, input])
}

fn git(folder: &Path, line: &str) -> String {
    let named = ["git", "-C", folder.to_str().unwrap(), "-c", "user.name=a", "-c", "user.email=a@b"];
    let words: Vec<_> = named.into_iter().chain(line.split(' ')).map(str::to_owned).collect();
    let finished = run(&words);
    assert!(finished.success(), "{line}: {}", String::from_utf8_lossy(&finished.output));
    String::from_utf8(finished.output).unwrap().trim().to_owned()
}

/// A host with git, and a repository with the tag v1 and a newer commit on its branch. None if this machine has no
/// git.
fn host() -> Option<(Trial, tempfile::TempDir)> {
    if Command::new("git").arg("--version").output().is_err() {
        eprintln!("skipped: no git on this machine");
        return None;
    }
    let origin = tempfile::tempdir().unwrap();
    git(origin.path(), "init -q -b main");
    commit(origin.path(), "one");
    git(origin.path(), "tag -a v1 -m v1");
    commit(origin.path(), "two");
    let trial = Trial::new();
    std::fs::create_dir_all(trial.at("/opt")).unwrap();
    let root = trial.at("/");
    trial.answer(move |command| run_in(&root, command));
    Some((trial, origin))
}

fn commit(folder: &Path, text: &str) {
    std::fs::write(folder.join("file"), text).unwrap();
    git(folder, "add .");
    git(folder, &format!("commit -q -m {text}"));
}

fn checkout(origin: &Path, more: &[(&str, Value)]) -> Params {
    let mut params = params([("path", "/opt/app".into()), ("url", origin.to_str().unwrap().into())]);
    more.iter().for_each(|(name, value)| params.set(name, value.clone()));
    params
}

#[test]
fn tags_branches_and_commits_are_checked_out() {
    let Some((trial, origin)) = host() else { return };
    let first = git(origin.path(), "rev-parse v1^{commit}");
    let check = |version: &str, text: &str| {
        let wish = checkout(origin.path(), &[("version", version.into())]);
        let before = trial.image();
        let change = change(trial.plan("git", &wish));
        assert_eq!(trial.image(), before, "law 1");
        trial.apply("git", &wish).unwrap();
        trial.assert_in_sync("git", &wish);
        assert_eq!(trial.read("/opt/app/file"), text.as_bytes(), "{version}");
        change.verb
    };
    assert_eq!(check("v1", "one"), Verb::Create);
    assert_eq!(check("main", "two"), Verb::Update);
    assert_eq!(check(&first, "one"), Verb::Update);
    assert_eq!(check("HEAD", "two"), Verb::Update);
}

#[test]
fn a_branch_is_followed_unless_it_should_stay() {
    let Some((trial, origin)) = host() else { return };
    let wish = checkout(origin.path(), &[("version", "main".into()), ("depth", 1.into())]);
    trial.apply("git", &wish).unwrap();
    commit(origin.path(), "three");
    let stays = checkout(origin.path(), &[("version", "main".into()), ("update", false.into())]);
    trial.assert_in_sync("git", &stays);
    let planned = change(trial.plan("git", &wish));
    let tip = git(origin.path(), "rev-parse main");
    assert_eq!(planned.properties[0].after, Shown::Text(format!("main ({})", &tip[..12])));
    let undo = trial.apply("git", &wish).unwrap();
    assert_eq!(trial.read("/opt/app/file"), b"three");
    trial.restore(undo);
    assert_eq!(trial.read("/opt/app/file"), b"two");
}

#[test]
fn what_was_fetched_makes_no_branch_of_the_hosts_own() {
    let Some((trial, origin)) = host() else { return };
    for version in ["main", "v1", "HEAD"] {
        trial.apply("git", &checkout(origin.path(), &[("version", version.into())])).unwrap();
        let of = |kind: &str| git(&trial.at("/opt/app"), &format!("for-each-ref --format=%(refname) {kind}"));
        assert_eq!(of("refs/heads"), "", "{version}");
        assert_eq!(of("refs/remotes"), "refs/remotes/origin/main", "{version}");
    }
}

#[test]
fn another_origin_takes_the_place_of_the_old_one_and_is_restored() {
    let Some((trial, origin)) = host() else { return };
    trial.apply("git", &checkout(origin.path(), &[])).unwrap();
    let url = || git(&trial.at("/opt/app"), "remote get-url origin");
    let old = url();
    let moved = tempfile::tempdir().unwrap();
    git(moved.path(), &format!("clone -q {} .", origin.path().display()));
    let planned = change(trial.plan("git", &checkout(moved.path(), &[])));
    let names: Vec<_> = planned.properties.iter().map(|property| property.property.as_str()).collect();
    assert_eq!(names, ["url"]);
    let undo = trial.apply("git", &checkout(moved.path(), &[])).unwrap();
    assert_eq!(url(), moved.path().to_str().unwrap());
    trial.assert_in_sync("git", &checkout(moved.path(), &[]));
    trial.restore(undo);
    assert_eq!(url(), old);
    // A repository without an origin gets one.
    git(&trial.at("/opt/app"), "remote remove origin");
    trial.apply("git", &checkout(origin.path(), &[])).unwrap();
    assert_eq!(url(), old);
}

#[test]
fn what_was_cloned_is_removed_on_restore() {
    let Some((trial, origin)) = host() else { return };
    let before = trial.image();
    let undo = trial.apply("git", &checkout(origin.path(), &[])).unwrap();
    trial.restore(undo);
    assert_eq!(trial.image(), before);
}

#[test]
fn local_changes_stay_unless_they_are_to_be_discarded() {
    let Some((trial, origin)) = host() else { return };
    trial.apply("git", &checkout(origin.path(), &[("version", "v1".into())])).unwrap();
    trial.write("/opt/app/file", "mine");
    assert!(trial.apply("git", &checkout(origin.path(), &[])).is_err());
    assert_eq!(trial.read("/opt/app/file"), b"mine");
    let forced = checkout(origin.path(), &[("force", true.into())]);
    assert!(change(trial.plan("git", &forced)).irreversible.is_some());
    trial.apply("git", &forced).unwrap();
    assert_eq!(trial.read("/opt/app/file"), b"two");
}

#[test]
fn an_excluded_path_is_not_checked_out_and_comes_back() {
    let Some((trial, origin)) = host() else { return };
    let write = |path: &str| {
        let path = origin.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "kept").unwrap();
    };
    ["media/.gitkeep", "var/up/a", "var/b", "config"].iter().for_each(|path| write(path));
    commit(origin.path(), "three");
    let exclude = |paths: &[&str]| {
        let paths = paths.iter().map(|path| converge_model::Scalar::from(*path)).collect();
        checkout(origin.path(), &[("exclude", Value::List(paths)), ("version", "main".into())])
    };
    let there = || {
        ["file", "media", "var/up", "var/b", "config"].map(|path| trial.at("/opt/app").join(path).exists())
    };
    let wish = exclude(&["media", "/var/up/", "config", "none"]);
    trial.apply("git", &wish).unwrap();
    trial.assert_in_sync("git", &wish);
    assert_eq!(there(), [true, false, false, true, false]);
    // git neither misses nor changes another entry at an excluded path.
    std::os::unix::fs::symlink("/srv/media", trial.at("/opt/app/media")).unwrap();
    trial.assert_in_sync("git", &wish);
    commit(origin.path(), "four");
    trial.apply("git", &wish).unwrap();
    assert!(trial.at("/opt/app/media").is_symlink());
    std::fs::remove_file(trial.at("/opt/app/media")).unwrap();
    let fewer = exclude(&["media"]);
    let planned = change(trial.plan("git", &fewer));
    let shown = [&planned.properties[0].before, &planned.properties[0].after];
    assert_eq!(planned.properties[0].property, "exclude");
    assert_eq!(shown, [&"media var/up config none".into(), &"media".into()]);
    let undo = trial.apply("git", &fewer).unwrap();
    assert_eq!(there(), [true, false, true, true, true]);
    trial.restore(undo);
    assert_eq!(there(), [true, false, false, true, false]);
    let all = exclude(&[]);
    assert_eq!(change(trial.plan("git", &all)).properties[0].after, Shown::Absent);
    trial.apply("git", &all).unwrap();
    trial.assert_in_sync("git", &all);
    assert_eq!(there(), [true; 5]);
    assert!(!Trial::new().problems("git", &exclude(&["../x"])).is_empty());
}

#[test]
fn a_known_tag_starts_no_process() {
    let Some((trial, origin)) = host() else { return };
    git(origin.path(), "tag light v1^{commit}");
    let wish = checkout(origin.path(), &[("version", "light".into())]);
    trial.apply("git", &wish).unwrap();
    trial.answer(|command| panic!("started {:?}", command.words));
    trial.assert_in_sync("git", &wish);
}

#[test]
fn a_version_that_is_missing_and_a_folder_in_the_way_are_errors_of_the_plan() {
    let Some((trial, origin)) = host() else { return };
    let why = impossible(trial.plan("git", &checkout(origin.path(), &[("version", "v9".into())])));
    assert!(why.ends_with("has neither a tag nor a branch v9"), "{why}");
    let moves = [("version", "main".into()), ("branches", false.into())];
    let why = impossible(trial.plan("git", &checkout(origin.path(), &moves)));
    assert!(why.ends_with("has no tag main"), "{why}");
    trial.write("/opt/app/file", "mine");
    let why = impossible(trial.plan("git", &checkout(origin.path(), &[])));
    assert_eq!(why, "a directory that is not a repository is in the way");
}

#[test]
fn git_that_comes_with_an_earlier_step_makes_it_conditional() {
    let trial = Trial::new();
    trial.answer(|_| finished(127, ""));
    let wish = params([("path", "/etc/app".into()), ("url", "https://example.org/x".into())]);
    let change = change(trial.plan_after(vec![Effect::Open], "git", &wish));
    assert!(matches!(change.certainty, Certainty::Conditional { .. }));
    assert!(matches!(change.properties[0].after, Shown::Unknown(_)));
}

#[test]
fn mistakes_are_found_before_the_host() {
    let check = |name: &str, value: &str| {
        let wish = checkout(Path::new("/x"), &[(name, value.into())]);
        assert!(!Trial::new().problems("git", &wish).is_empty(), "{name} {value}");
    };
    check("url", "--upload-pack=x");
    check("url", "ext::sh -c id");
    check("url", "ssh://-oProxyCommand=id/x");
    check("url", "git@-oProxyCommand=id:x");
    check("version", "--force");
    check("version", "a..b");
    check("version", "a b");
    check("version", &"A".repeat(40));
}

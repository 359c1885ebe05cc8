//! Tests of the answers of a view, for a trial host and the effects of earlier steps.

use super::seen::Bytes;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::*;
use crate::kinds::testing::{Trial, finished};
use crate::overlay::Effect;

fn command(words: &[&str]) -> Command {
    Command::new(words.iter().copied())
}

#[test]
fn a_path_is_resolved_up_to_its_last_part() {
    let trial = Trial::new();
    trial.write("/srv/real/deep/x", "");
    for (target, path) in [
        ("./real", "/srv/here"),
        ("/srv/real", "/etc/absolute"),
        ("../srv/./real/../here", "/etc/up"),
        ("x", "/srv/real/deep/last"),
        ("circle", "/srv/circle"),
    ] {
        symlink(target, trial.at(path)).unwrap();
    }
    let resolved = |path: &str| trial.view(|view| view.resolved(Path::new(path)));
    let check = |path: &str, expected: &str| {
        assert_eq!(resolved(path).unwrap().to_str(), Some(expected), "{path}");
    };
    check("/", "/");
    check("/srv/here/deep/x", "/srv/real/deep/x");
    check("/etc/absolute/deep", "/srv/real/deep");
    check("/etc/up/deep", "/srv/real/deep");
    check("/srv/real/deep/../new", "/srv/real/new");
    check("/../srv/real", "/srv/real");
    check("/srv/here", "/srv/here");
    check("/srv/real/deep/last", "/srv/real/deep/last");
    check("/srv/none/x", "/srv/none/x");
    assert!(resolved("/srv/circle/x").unwrap_err().to_string().contains("too many links"));
    let planned = vec![trial.planned_file("/srv/here", b"")];
    let seen = trial.view_after(planned, |view| view.resolved(Path::new("/srv/here/x")).unwrap());
    assert_eq!(seen, Path::new("/srv/here/x"), "an earlier step puts a file in the place of the link");
}

#[test]
fn what_a_question_prints_is_kept_up_to_the_limit() {
    let trial = Trial::new();
    for (length, kept) in [(5, 5), (TEXT_LIMIT, TEXT_LIMIT), (TEXT_LIMIT + 9, TEXT_LIMIT)] {
        trial.answer(move |_| finished(0, &"x".repeat(length)));
        let asked = trial.view(|view| view.ask(&command(&["app"]))).unwrap().known().unwrap();
        assert_eq!(asked.output.len(), kept);
    }
}

#[test]
fn a_question_whose_program_is_not_there_may_come_to_be_answered() {
    let trial = Trial::new();
    let ask = |code: i32, effects: Vec<Effect>| {
        trial.answer(move |_| finished(code, ""));
        trial.view_after(effects, |view| view.ask(&command(&["app"])).unwrap().map(|finished| finished.code))
    };
    assert_eq!(ask(3, Vec::new()), Seen::Known(Some(3)));
    for code in [126, 127] {
        assert_eq!(ask(code, Vec::new()), Seen::Absent);
        assert_eq!(ask(code, vec![Effect::Open]), Seen::MayCome(vec![0]));
    }
}

#[test]
fn a_program_that_cannot_be_started_is_told_from_one_that_is_not_there() {
    let trial = Trial::real();
    let folder = tempfile::tempdir().unwrap();
    let closed = folder.path().join("closed");
    fs::write(&closed, "").unwrap();
    let ask = |path: &Path| trial.view(|view| view.ask(&Command::new([path.to_str().unwrap()])));
    assert!(ask(&closed).is_err(), "it may not be executed");
    assert_eq!(ask(&folder.path().join("none")).unwrap(), Seen::Absent);
}

#[test]
fn a_guard_succeeds_fails_or_is_not_there_yet() {
    let trial = Trial::new();
    let guard = |code: i32, said: &'static str, effects: Vec<Effect>| {
        trial.answer(move |_| finished(code, said));
        trial.view_after(effects, |view| view.guard(&command(&["app"])).unwrap())
    };
    assert_eq!(guard(0, "", Vec::new()), Seen::Known(Answer::Yes));
    assert_eq!(guard(1, "", vec![Effect::Open]), Seen::Known(Answer::No));
    assert_eq!(
        guard(1, "cannot touch x: Read-only file system", Vec::new()),
        Seen::Known(Answer::WantedToWrite)
    );
    for code in [126, 127] {
        assert_eq!(guard(code, "", Vec::new()), Seen::Known(Answer::No));
        assert_eq!(guard(code, "", vec![Effect::Open]), Seen::MayCome(vec![0]));
    }
}

#[test]
fn a_guard_is_not_run_before_its_user_and_its_folder_are_there() {
    let trial = Trial::new();
    trial.answer(|_| finished(0, ""));
    let guard = |user: Option<&str>, folder: Option<&str>, effects: Vec<Effect>| {
        let user = user.map(str::to_owned);
        let command = Command { user, folder: folder.map(PathBuf::from), ..command(&["app"]) };
        trial.view_after(effects, |view| view.guard(&command).unwrap())
    };
    let ada = || vec![Effect::User("ada".into(), Some(PlannedUser::default()))];
    let folder = || {
        let Effect::Path(path, Some(place)) = trial.planned_file("/srv/new", b"") else { unreachable!() };
        vec![Effect::Path(path, Some(Place { sort: Sort::Folder, body: Body::OnDisk, ..place }))]
    };
    assert_eq!(guard(Some("root"), Some("/etc"), Vec::new()), Seen::Known(Answer::Yes));
    assert_eq!(guard(Some("0"), None, Vec::new()), Seen::Known(Answer::Yes));
    assert_eq!(guard(Some("ada"), None, Vec::new()), Seen::Absent);
    assert_eq!(guard(Some("ada"), None, ada()), Seen::MayCome(Vec::new()));
    assert_eq!(guard(None, Some("/srv/new"), Vec::new()), Seen::Absent);
    assert_eq!(guard(None, Some("/srv/new"), folder()), Seen::MayCome(Vec::new()));
    assert_eq!(guard(None, Some("/srv/new"), vec![Effect::Open]), Seen::MayCome(vec![0]));
}

#[test]
fn a_planned_user_is_known_with_all_that_is_asked_of_it_once_its_numbers_are() {
    let trial = Trial::new();
    let user = |planned: PlannedUser| {
        let effects = vec![Effect::User("ada".into(), Some(planned))];
        trial.view_after(effects, |view| view.user("ada").unwrap())
    };
    let ada = PlannedUser {
        uid: Some(7),
        group: Some("nogroup".into()),
        home: Some("/srv/ada".into()),
        shell: Some("/bin/sh".into()),
        comment: Some("Ada".into()),
        ..PlannedUser::default()
    };
    let found = user(ada.clone()).known().unwrap();
    let fields = (found.uid, found.gid, found.home.as_str(), found.shell.as_str(), found.comment.as_str());
    assert_eq!(fields, (7, 65534, "/srv/ada", "/bin/sh", "Ada"));
    let is_open = |planned: PlannedUser| matches!(user(planned), Seen::Unknown(steps) if steps.is_empty());
    assert!(is_open(PlannedUser { uid: None, ..ada.clone() }));
    assert!(is_open(PlannedUser { group: None, ..ada.clone() }));
    assert!(is_open(PlannedUser { group: Some("none".into()), ..ada }));
}

#[test]
fn a_folder_has_the_names_that_earlier_steps_leave_in_it() {
    let trial = Trial::new();
    trial.write("/srv/a", "");
    trial.write("/srv/b", "");
    let list = |effects: Vec<Effect>| {
        let names = trial.view_after(effects, |view| view.list(Path::new("/srv")).unwrap());
        names.map(|names| {
            names.into_iter().map(|name| name.into_string().unwrap()).collect::<Vec<_>>().concat()
        })
    };
    let gone = |path: &str| Effect::Path(path.into(), None);
    assert_eq!(list(Vec::new()), Seen::Known("ab".into()));
    assert_eq!(list(vec![trial.planned_file("/srv/c", b""), gone("/srv/a")]), Seen::Known("bc".into()));
    assert_eq!(list(vec![gone("/srv")]), Seen::Absent);
    let mounted = |mount| vec![Effect::Mount("/srv".into(), mount)];
    assert_eq!(list(mounted(PlannedMount::Empty)), Seen::Known(String::new()));
    assert_eq!(list(mounted(PlannedMount::Kept)), Seen::Known("ab".into()));
}

#[test]
fn a_text_and_its_digest_are_those_that_will_be_there() {
    let trial = Trial::new();
    trial.write("/etc/x", "disk");
    let see = |body: Option<Body>| {
        let effects = body.into_iter().map(|body| {
            let Effect::Path(path, Some(place)) = trial.planned_file("/etc/x", b"") else { unreachable!() };
            Effect::Path(path, Some(Place { body, ..place }))
        });
        let path = Path::new("/etc/x");
        trial.view_after(effects.collect(), |view| {
            (
                view.text(path).unwrap(),
                view.digest(path).unwrap(),
                view.sha256(path).unwrap().known().is_some(),
            )
        })
    };
    let known = |text: &[u8]| (Seen::Known(text.to_vec()), Seen::Known(Digest::of(text)));
    let pair = |(text, digest, is_summed): (_, _, bool)| ((text, digest), is_summed);
    assert_eq!(pair(see(None)), (known(b"disk"), true));
    assert_eq!(pair(see(Some(Body::Text(Bytes::from(b"new".to_vec()))))), (known(b"new"), false));
    let secret = Filling::Secret(converge_model::Secret::new("hidden"));
    assert_eq!(pair(see(Some(Body::Planned(secret)))), (known(b"hidden"), false));
    let open = (Seen::Unknown(vec![4]), Seen::Unknown(vec![4]));
    assert_eq!(pair(see(Some(Body::Unknown(vec![4])))), (open, false));
}

#[test]
fn systemd_reads_its_folders_and_fstab() {
    for (path, is_read) in [
        ("/etc/systemd/system/a.service", true),
        ("/run/systemd/system/a.service.d/b.conf", true),
        ("/etc/fstab", true),
        ("/etc/systemd/system.conf", false),
        ("/etc/fstab.d/x", false),
    ] {
        assert_eq!(is_read_by_systemd(Path::new(path)), is_read, "{path}");
    }
}

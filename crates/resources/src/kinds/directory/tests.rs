use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};

use converge_model::{Claim, Extent, Params, Value, Verb};
use rustix::fs::{CWD, FileType, Mode};

use crate::kinds::testing::{Trial, change, impossible, params};

fn directory(more: &[(&str, Value)]) -> Params {
    let mut params = params([("path", "/srv".into())]);
    more.iter().for_each(|(name, value)| params.set(name, value.clone()));
    params
}

fn purged() -> Params {
    directory(&[("purge", true.into())])
}

fn absent() -> Params {
    directory(&[("state", "absent".into())])
}

#[test]
fn a_directory_comes_changes_and_goes_with_what_is_in_it() {
    let trial = Trial::new();
    assert_eq!(trial.laws("directory", &directory(&[])).verb, Verb::Create);
    assert_eq!(trial.laws("directory", &directory(&[("mode", 0o700.into())])).verb, Verb::Update);
    trial.write("/srv/a/b/c", "deep");
    symlink("/etc", trial.at("/srv/a/etc")).unwrap();
    let change = trial.laws("directory", &absent());
    assert_eq!((change.verb, change.irreversible), (Verb::Remove, None));
    assert!(trial.at("/etc/passwd").exists(), "a link was followed");
}

#[test]
fn what_no_resource_claims_is_purged_and_the_rest_stays() {
    let mut trial = Trial::new();
    trial.write("/srv/kept", "");
    trial.write("/srv/tree/x", "of another resource, with all below it");
    trial.write("/srv/way/to/kept", "");
    trial.write("/srv/way/stray", "");
    trial.write("/srv/stray/deep/x", "");
    symlink("/etc", trial.at("/srv/link")).unwrap();
    trial.others =
        ["/srv/kept", "/srv/tree", "/srv/way/to/kept"].map(|path| Claim::path(path, Extent::Whole)).to_vec();
    let change = trial.laws("directory", &purged());
    let shown: Vec<_> = change.properties.iter().map(|property| property.property.as_str()).collect();
    assert_eq!(shown, ["link", "stray", "way/stray"]);
    let left: Vec<_> = trial.image().into_keys().filter(|path| path.starts_with("/srv")).collect();
    let left: Vec<_> = left.iter().map(|path| path.to_str().unwrap()).collect();
    assert_eq!(
        left,
        ["/srv", "/srv/kept", "/srv/tree", "/srv/tree/x", "/srv/way", "/srv/way/to", "/srv/way/to/kept"]
    );
}

#[test]
fn the_copy_of_a_claimed_file_is_not_purged() {
    let mut trial = Trial::new();
    for name in ["kept", "kept.converge-backup", "gone.converge-backup", ".converge-backup"] {
        trial.write(&format!("/srv/{name}"), "");
    }
    trial.others = vec![Claim::path("/srv/kept", Extent::Whole)];
    let change = trial.laws("directory", &purged());
    let shown: Vec<_> = change.properties.iter().map(|property| property.property.as_str()).collect();
    assert_eq!(shown, [".converge-backup", "gone.converge-backup"]);
}

#[test]
fn names_that_are_no_text_go_as_bytes_and_are_shown_escaped() {
    let trial = Trial::new();
    fs::create_dir(trial.at("/srv")).unwrap();
    fs::write(trial.at("/srv").join(OsStr::from_bytes(b"a\xff\nb")), "").unwrap();
    let change = trial.laws("directory", &purged());
    assert_eq!(change.properties[0].property, "a\\xff\\nb");
}

#[test]
fn a_long_list_is_cut_and_counted() {
    let shown = |entries: usize| {
        let trial = Trial::new();
        (0..entries).for_each(|number| trial.write(&format!("/srv/{number}"), ""));
        let mut properties = change(trial.plan("directory", &purged())).properties;
        let last = properties.pop().unwrap();
        (properties.len(), (last.property == "…").then_some(last.after))
    };
    assert_eq!(shown(100), (99, None));
    assert_eq!(shown(101), (100, Some("1 more changes below it".into())));
    assert_eq!(shown(130), (100, Some("30 more changes below it".into())));
}

#[test]
fn directories_nested_too_deep_are_an_error_of_the_look() {
    let trial = Trial::new();
    let modes = directory(&[("file-mode", 0o600.into())]);
    fs::create_dir_all(trial.at("/srv").join("d/".repeat(256))).unwrap();
    for wish in [&absent(), &purged(), &modes] {
        trial.look("directory", wish);
    }
    fs::create_dir(trial.at("/srv").join("d/".repeat(257))).unwrap();
    for wish in [&absent(), &purged(), &modes] {
        let why = trial.failure("directory", wish);
        assert!(why.contains("nested more than 256 deep"), "{wish:?}: {why}");
    }
}

#[test]
fn modes_hold_below_and_links_are_not_followed() {
    let trial = Trial::new();
    trial.write("/srv/a/x", "");
    trial.write("/outside", "");
    symlink("/outside", trial.at("/srv/a/link")).unwrap();
    let wish = directory(&[("file-mode", 0o600.into()), ("dir-mode", 0o500.into())]);
    let change = trial.laws("directory", &wish);
    let shown: Vec<_> = change.properties.iter().map(|property| property.property.as_str()).collect();
    assert_eq!(shown, ["a: mode", "a/x: mode"]);
    assert_eq!(fs::metadata(trial.at("/outside")).unwrap().permissions().mode() & 0o777, 0o644);
}

#[test]
fn owners_hold_below_where_the_agent_may_give_them() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root gives files away");
        return;
    }
    let trial = Trial::new();
    trial.write("/srv/a/x", "");
    symlink("/etc/passwd", trial.at("/srv/a/link")).unwrap();
    let change = trial.laws("directory", &directory(&[("owner", "nobody".into()), ("recurse", true.into())]));
    let shown: Vec<_> = change.properties.iter().map(|property| property.property.as_str()).collect();
    assert_eq!(shown, ["owner", "a: owner", "a/link: owner", "a/x: owner"]);
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(trial.at("/etc/passwd")).unwrap().uid(), 0);
}

#[test]
fn a_socket_or_fifo_goes_but_cannot_be_restored() {
    let trial = Trial::new();
    trial.write("/srv/x", "");
    rustix::fs::mknodat(CWD, trial.at("/srv/fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let change = trial.laws("directory", &absent());
    assert!(change.irreversible.is_some());
    assert!(!trial.at("/srv").exists());
}

#[test]
fn a_mount_in_what_would_go_is_an_error_of_the_plan() {
    let trial = Trial::new();
    trial.write("/srv/a/below/x", "");
    let mounted = trial.at("/srv/a/below");
    let done = rustix::mount::mount("none", &mounted, "tmpfs", rustix::mount::MountFlags::empty(), None);
    if let Err(error) = done {
        eprintln!("skipped: no right to mount: {error}");
        return;
    }
    let plans = [absent(), purged()].map(|wish| trial.plan("directory", &wish));
    rustix::mount::unmount(&mounted, rustix::mount::UnmountFlags::empty()).unwrap();
    for plan in plans {
        assert_eq!(impossible(plan), "a file system is mounted at /srv/a/below, which would be removed");
    }
}

#[test]
fn a_link_to_a_directory_serves_as_one() {
    let trial = Trial::new();
    trial.write("/real/x", "");
    symlink("real", trial.at("/srv")).unwrap();
    trial.assert_in_sync("directory", &directory(&[]));
    let changed = change(trial.plan("directory", &directory(&[("mode", 0o700.into())])));
    assert_eq!(changed.properties.len(), 1);
    trial.apply("directory", &directory(&[("mode", 0o700.into())])).unwrap();
    trial.assert_in_sync("directory", &directory(&[("mode", 0o700.into())]));
    assert_eq!(impossible(trial.plan("directory", &absent())), "a link is in the way");
}

#[test]
fn mistakes_are_found_before_the_host() {
    let check = |params: Params, expected: &str| {
        let problems = Trial::new().problems("directory", &params);
        assert!(problems.iter().any(|problem| problem.message.contains(expected)), "{problems:?}");
    };
    check(params([("path", "/".into()), ("state", "absent".into())]), "must not be `/`");
    check(directory(&[("recurse", true.into())]), "must have `owner`");
    check(directory(&[("state", "absent".into()), ("purge", true.into())]), "must not have parameters");
}

#[test]
fn what_is_missing_above_it_is_made_with_it_and_listed() {
    let trial = Trial::new();
    let params = params([("path", Value::from("/a/b/c")), ("mode", Value::from(0o700))]);
    let change = change(trial.plan("directory", &params));
    let listed: Vec<_> = change.properties.iter().map(|p| (p.property.as_str(), p.after.clone())).collect();
    let text = |text: &str| converge_model::Shown::Text(text.to_owned());
    assert_eq!(listed, [("parent", text("/a")), ("parent", text("/a/b")), ("mode", text("0700"))]);
    let before = trial.image();
    let undo = trial.apply("directory", &params).unwrap();
    trial.assert_in_sync("directory", &params);
    trial.restore(undo);
    assert_eq!(trial.image(), before);
}

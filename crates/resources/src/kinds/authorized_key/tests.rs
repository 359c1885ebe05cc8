//! Keys on a trial host.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use converge_model::{Certainty, Change, Params, Scalar, Shown, Value};

use crate::kinds::testing::{Trial, change, impossible, params};
use crate::overlay::{Effect, PlannedUser};
use crate::registry;

const ADA: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada@example.com";
const BOB: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGQw7sU0xG3Qx2o6o4r0eGd1P3M1lq3x5n5aF7y2hJ7w";

/// A host with the user `ada`. Her number is allowed as the owner of files.
fn host() -> Trial {
    let trial = Trial::new();
    let own = |own: u32| if own == 0 { 2001 } else { own };
    let uid = own(rustix::process::geteuid().as_raw());
    let gid = own(rustix::process::getegid().as_raw());
    trial.write("/etc/passwd", format!("root:x:0:0::/root:/bin/sh\nada:x:{uid}:{gid}::/home/ada:/bin/sh\n"));
    trial.write("/etc/group", format!("root:x:0:\nada:x:{gid}:\n"));
    std::fs::create_dir(trial.at("/home/ada")).unwrap();
    trial
}

fn keys(texts: &[&str], more: &[(&str, Value)]) -> Params {
    let list = Value::List(texts.iter().map(|text| Scalar::from(*text)).collect());
    let mut wish = params([("user", "ada".into()), ("key", list)]);
    more.iter().for_each(|(name, value)| wish.set(name, value.clone()));
    wish
}

fn names(change: &Change) -> Vec<&str> {
    change.properties.iter().map(|property| property.property.as_str()).collect()
}

#[test]
fn keys_come_and_go_and_the_rest_stays() {
    let trial = host();
    let created = trial.laws("authorized-key", &keys(&[ADA], &[]));
    assert_eq!(names(&created), ["content", "directory-mode", "directory-owner", "mode", "owner"]);
    let file = std::fs::metadata(trial.at("/home/ada/.ssh/authorized_keys")).unwrap();
    let folder = std::fs::metadata(trial.at("/home/ada/.ssh")).unwrap();
    assert_eq!((file.mode() & 0o7777, folder.mode() & 0o7777), (0o600, 0o700));
    trial.laws("authorized-key", &keys(&[BOB], &[("options", "no-pty".into())]));
    assert_eq!(trial.read("/home/ada/.ssh/authorized_keys"), format!("{ADA}\nno-pty {BOB}\n").as_bytes());
    trial.laws("authorized-key", &keys(&[ADA], &[("state", "absent".into())]));
    assert_eq!(trial.read("/home/ada/.ssh/authorized_keys"), format!("no-pty {BOB}\n").as_bytes());
    trial.laws("authorized-key", &keys(&[ADA], &[("exclusive", true.into())]));
    assert_eq!(trial.read("/home/ada/.ssh/authorized_keys"), format!("{ADA}\n").as_bytes());
}

#[test]
fn what_others_could_write_is_closed() {
    let trial = host();
    trial.apply("authorized-key", &keys(&[ADA], &[])).unwrap();
    let open =
        |path: &str, mode| std::fs::set_permissions(trial.at(path), PermissionsExt::from_mode(mode)).unwrap();
    open("/home/ada/.ssh", 0o775);
    open("/home/ada/.ssh/authorized_keys", 0o664);
    assert_eq!(names(&trial.laws("authorized-key", &keys(&[ADA], &[]))), ["directory-mode", "mode"]);
}

#[test]
fn the_folder_of_a_file_elsewhere_must_be_there() {
    let trial = host();
    let elsewhere = |more: &[(&str, Value)]| {
        let mut wish = keys(&[ADA], &[("path", "/none/keys".into())]);
        more.iter().for_each(|(name, value)| wish.set(name, value.clone()));
        trial.plan("authorized-key", &wish)
    };
    assert_eq!(impossible(elsewhere(&[])), "the folder /none does not exist");
    assert_eq!(impossible(elsewhere(&[("exclusive", true.into())])), "the folder /none does not exist");
    assert!(elsewhere(&[("state", "absent".into())]).is_in_sync());
}

#[test]
fn a_new_file_belongs_to_the_primary_group_and_an_old_one_keeps_its_group() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root gives files away");
        return;
    }
    let trial = host();
    let groups = String::from_utf8(trial.read("/etc/group")).unwrap();
    trial.write("/etc/group", groups.replace("ada:", "staff:"));
    let file = trial.at("/home/ada/.ssh/authorized_keys");
    let created = trial.laws("authorized-key", &keys(&[ADA], &[]));
    assert_eq!(created.properties[0].before, Shown::Absent);
    assert_eq!(std::fs::metadata(&file).unwrap().gid(), 2001);
    std::os::unix::fs::chown(&file, None, Some(0)).unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    let changed = trial.laws("authorized-key", &keys(&[BOB], &[]));
    assert_eq!(changed.properties[0].before, Shown::Text(format!("{} bytes", ADA.len() + 1)));
    assert_eq!(std::fs::metadata(&file).unwrap().gid(), 0);
}

#[test]
fn what_is_made_for_a_user_who_comes_belongs_to_the_group_that_comes_with_them() {
    let trial = host();
    let mut wish = keys(&[ADA], &[]);
    wish.set("user", "eve".into());
    let home = Effect::Path("/srv/eve".into(), None);
    let user =
        PlannedUser { home: Some("/home/ada".into()), group: Some("staff".into()), ..PlannedUser::default() };
    let look = trial.look_after(vec![home, Effect::User("eve".into(), Some(user))], "authorized-key", &wish);
    let group = |effect: &Effect| match effect {
        Effect::Path(_, place) => place.as_ref().map(|place| place.group.clone()),
        _ => None,
    };
    assert_eq!(look.effects.iter().filter_map(group).collect::<Vec<_>>(), ["staff"; 2]);
}

#[test]
fn a_file_that_keys_are_taken_from_keeps_its_mode() {
    let trial = host();
    trial.apply("authorized-key", &keys(&[ADA, BOB], &[])).unwrap();
    let path = "/home/ada/.ssh/authorized_keys";
    std::fs::set_permissions(trial.at(path), PermissionsExt::from_mode(0o640)).unwrap();
    let look = trial.look_after(Vec::new(), "authorized-key", &keys(&[BOB], &[("state", "absent".into())]));
    let [Effect::Path(_, Some(file))] = &look.effects[..] else { panic!("one file is planned") };
    assert_eq!((file.mode, file.size), (0o640, ADA.len() as u64 + 1));
}

#[test]
fn a_file_of_another_is_not_given_to_the_user_who_could_not_read_it() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root gives files away");
        return;
    }
    let trial = host();
    trial.apply("authorized-key", &keys(&[ADA], &[])).unwrap();
    let file = trial.at("/home/ada/.ssh/authorized_keys");
    std::os::unix::fs::chown(&file, Some(0), None).unwrap();
    let plan = |mode: u32, more: &[(&str, Value)]| {
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        trial.plan("authorized-key", &keys(&[ADA], more))
    };
    let refused = "/home/ada/.ssh/authorized_keys belongs to root, and ada may not read it";
    for mode in [0o600, 0o660, 0o640] {
        assert_eq!(impossible(plan(mode, &[])), refused, "{mode:o}");
        assert_eq!(impossible(plan(mode, &[("exclusive", true.into())])), refused, "{mode:o}");
    }
    change(plan(0o644, &[]));
    change(plan(0o604, &[]));
    change(plan(0o600, &[("state", "absent".into())]));
}

#[test]
fn a_file_elsewhere_is_not_the_users() {
    let trial = host();
    std::fs::create_dir_all(trial.at("/etc/ssh/keys")).unwrap();
    let wish = keys(&[ADA], &[("path", "/etc/ssh/keys/ada".into())]);
    assert_eq!(names(&trial.laws("authorized-key", &wish)), ["content"]);
}

#[test]
fn links_of_the_user_lead_nowhere() {
    let trial = host();
    std::fs::create_dir(trial.at("/etc/secret")).unwrap();
    symlink("/etc/secret", trial.at("/home/ada/.ssh")).unwrap();
    let plan = || impossible(trial.plan("authorized-key", &keys(&[ADA], &[])));
    assert_eq!(plan(), "a link is in the way at /home/ada/.ssh");
    std::fs::remove_file(trial.at("/home/ada/.ssh")).unwrap();
    std::fs::create_dir(trial.at("/home/ada/.ssh")).unwrap();
    symlink("/etc/passwd", trial.at("/home/ada/.ssh/authorized_keys")).unwrap();
    assert_eq!(plan(), "a link is in the way at /home/ada/.ssh/authorized_keys");
}

#[test]
fn a_user_may_come_and_the_last_key_of_the_login_stays() {
    let trial = host();
    let eve = |wish: &mut Params| wish.set("user", "eve".into());
    let mut wish = keys(&[ADA], &[]);
    eve(&mut wish);
    assert_eq!(impossible(trial.plan("authorized-key", &wish)), "the user eve does not exist");
    let home = Effect::Path("/srv/eve".into(), None);
    let user = PlannedUser { home: Some("/home/ada".into()), ..PlannedUser::default() };
    let planned =
        trial.plan_after(vec![home, Effect::User("eve".into(), Some(user))], "authorized-key", &wish);
    assert_eq!(change(planned).certainty, Certainty::Exact);
    let open = change(trial.plan_after(vec![Effect::Open], "authorized-key", &wish));
    assert_ne!(open.certainty, Certainty::Exact);
    let mut gone = keys(&[ADA], &[("state", "absent".into())]);
    assert!(trial.plan("authorized-key", &gone).is_in_sync());
    trial.apply("authorized-key", &keys(&[ADA], &[])).unwrap();
    trial.world().log_in("ada");
    let what = "removing its last key would lock out ada, whose login this run uses";
    assert_eq!(impossible(trial.plan("authorized-key", &gone)), what);
    eve(&mut gone);
    assert!(trial.plan("authorized-key", &gone).is_in_sync(), "eve does not exist");
}

#[test]
fn mistakes_are_found() {
    let trial = host();
    let check = |wish: Params, count: usize| {
        let problems = trial.problems("authorized-key", &wish);
        assert_eq!(problems.len(), count, "{problems:?}");
    };
    check(params([("user", "ada".into())]), 1);
    check(keys(&["nonsense", ADA, ADA], &[]), 2);
    check(keys(&[ADA], &[("state", "absent".into()), ("exclusive", true.into())]), 1);
    check(keys(&[ADA], &[("options", "a\nb".into()), ("path", "keys".into())]), 2);
    for hostile in [&format!("no-pty {BOB}"), "from=\"10.0.0.1", "# no-pty", "a\tb", "command=\"a\tb\""] {
        check(keys(&[ADA], &[("options", hostile.into())]), 1);
    }
    check(keys(&[ADA], &[("options", r#"environment="A=b \" c",no-pty"#.into())]), 0);
}

#[test]
fn two_keys_have_two_addresses_and_one_key_one_owner() {
    let checked = |wish: &Params| registry::kind("authorized-key").unwrap().check(wish).unwrap();
    let (ada, bob) = (checked(&keys(&[ADA], &[])), checked(&keys(&[BOB], &[])));
    assert_eq!(ada.suffix.as_deref(), Some("ada@example.com h2l9GKJl"));
    assert_ne!(ada.suffix, bob.suffix);
    assert!(!ada.claims[0].conflicts(&bob.claims[0]));
    let both = checked(&keys(&[ADA, BOB], &[]));
    assert!(both.claims.iter().any(|claim| claim.conflicts(&ada.claims[0])));
    let all = checked(&keys(&[ADA], &[("exclusive", true.into())]));
    assert!(all.claims[0].conflicts(&bob.claims[0]), "what is exclusive leaves no room");
}

#[test]
fn a_key_is_owned_in_the_home_that_the_account_has_however_it_is_written() {
    let trial = host();
    let passwd = String::from_utf8(trial.read("/etc/passwd")).unwrap();
    trial.write("/etc/passwd", passwd.replace("/home/ada", "/srv/ada"));
    let owned = trial.owned("authorized-key", &keys(&[ADA], &[]));
    assert!(owned[0].starts_with("path:/srv/ada/.ssh/authorized_keys#key:"), "{owned:?}");
    let line = params([("path", "/srv/ada/.ssh/authorized_keys".into()), ("text", ADA.into())]);
    assert!(trial.owned("line", &line).contains(&owned[0]));
    let elsewhere = keys(&[ADA], &[("path", "/etc/keys".into())]);
    assert!(trial.owned("authorized-key", &elsewhere)[0].starts_with("path:/etc/keys#key:"));
}

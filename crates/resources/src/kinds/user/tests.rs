//! Users on a trial host.

use std::os::unix::fs::MetadataExt;

use converge_model::{Certainty, Change, Params, Scalar, Shown, Value};

use crate::kinds::testing::{Trial, change, impossible, params};
use crate::overlay::Effect;
use crate::system::accounts::{Accounts, User};

/// A number that is allowed as the owner of files: that of the tests' own user, unless that is root.
fn number() -> i64 {
    let own = rustix::process::geteuid().as_raw();
    i64::from(if own == 0 { 2001 } else { own })
}

fn list(names: &[&str]) -> Value {
    Value::List(names.iter().map(|name| Scalar::from(*name)).collect())
}

fn with(more: impl IntoIterator<Item = (&'static str, Value)>) -> Params {
    let mut wish = params([("name", "ada".into()), ("uid", number().into())]);
    more.into_iter().for_each(|(name, value)| wish.set(name, value));
    wish
}

fn absent(name: &str) -> Params {
    params([("name", name.into()), ("state", "absent".into())])
}

fn host() -> Trial {
    let trial = Trial::new();
    trial.write("/bin/bash", "");
    trial.write("/etc/skel/.profile", "umask 022\n");
    trial.write("/etc/skel/.config/app", "x\n");
    trial.write("/etc/group", "root:x:0:\nnogroup:x:65534:\nsudo:x:27:\noperators:x:50:\ndba:x:51:\n");
    trial
}

/// A host with the user `ada`.
fn home_of_ada(more: impl IntoIterator<Item = (&'static str, Value)>) -> Trial {
    let trial = host();
    trial.apply("user", &with(more)).unwrap();
    trial
}

fn names(change: &Change) -> Vec<&str> {
    change.properties.iter().map(|property| property.property.as_str()).collect()
}

fn field(trial: &Trial, user: &str) -> String {
    let table = trial.world().table().unwrap();
    String::from_utf8(table.users[user].shadow.clone().unwrap().password.expose().to_vec()).unwrap()
}

#[test]
fn a_new_user_comes_with_its_group_and_its_home() {
    let trial = host();
    let wish = with([
        ("groups", list(&["operators"])),
        ("shell", "/bin/bash".into()),
        ("comment", "Ada".into()),
        ("expires", "2099-12-31".into()),
    ]);
    let created = trial.laws("user", &wish);
    assert_eq!(
        names(&created),
        ["uid", "group", "groups", "comment", "home", "create-home", "shell", "expires"]
    );
    assert_eq!(trial.read("/home/ada/.profile"), b"umask 022\n");
    let home = std::fs::metadata(trial.at("/home/ada/.config")).unwrap();
    assert_eq!(i64::from(home.uid()), number());
    assert_eq!(trial.world().table().unwrap().groups_of("ada"), ["operators"]);
    trial.laws(
        "user",
        &params([("name", "ada".into()), ("state", "absent".into()), ("remove-home", true.into())]),
    );
    assert!(!trial.at("/home/ada").exists());
    assert!(!trial.world().table().unwrap().groups.contains_key("ada"));
}

#[test]
fn an_account_of_the_system_has_no_home_and_no_shell() {
    let trial = host();
    trial.write("/usr/sbin/nologin", "");
    trial.laws(
        "user",
        &params([("name", "shop".into()), ("system", true.into()), ("group", "nogroup".into())]),
    );
    let table = trial.world().table().unwrap();
    assert_eq!(table.users["shop"].shell, "/usr/sbin/nologin");
    assert!(table.users["shop"].uid < 1000 && !table.groups.contains_key("shop"));
    assert!(!trial.at("/home/shop").exists());
    // An existing account does not get a home unless it is asked.
    assert!(trial.plan("user", &params([("name", "nobody".into())])).is_in_sync());
}

#[test]
fn each_property_is_changed_alone_and_restored() {
    let check = |trial: &Trial, more: &[(&'static str, Value)], expected: &[&str]| {
        assert_eq!(names(&trial.laws("user", &with(more.to_vec()))), expected);
    };
    let trial = home_of_ada([]);
    check(&trial, &[("comment", "Ada".into())], &["comment"]);
    check(&trial, &[("shell", "/bin/bash".into())], &["shell"]);
    check(&trial, &[("groups", list(&["operators"]))], &["groups"]);
    check(&trial, &[("groups", list(&["dba"]))], &["groups"]);
    assert_eq!(trial.world().table().unwrap().groups_of("ada"), ["dba", "operators"]);
    check(&trial, &[("groups", list(&["dba"])), ("append", false.into())], &["groups"]);
    check(&trial, &[("group", "dba".into())], &["group"]);
    check(&trial, &[("expires", "2099-01-01".into())], &["expires"]);
    check(&trial, &[("expires", "never".into())], &["expires"]);
    check(&trial, &[("locked", false.into())], &["locked"]);
    assert_eq!(field(&trial, "ada"), "*", "no lock, and no password either");
    check(&trial, &[("locked", true.into())], &["locked"]);
    check(&trial, &[("home", "/home/lovelace".into()), ("move-home", true.into())], &["home", "move-home"]);
    assert!(trial.at("/home/lovelace/.config/app").exists() && !trial.at("/home/ada").exists());
    std::fs::remove_dir_all(trial.at("/home/lovelace")).unwrap();
    check(&trial, &[], &["create-home"]);
}

#[test]
fn a_password_is_masked_and_leaves_a_lock_alone() {
    let trial = home_of_ada([]);
    let hash = |text: &str| with([("password", Value::Scalar(trial.secret(text)))]);
    let first = trial.laws("user", &hash("$y$one"));
    assert_eq!(names(&first), ["password", "locked"]);
    assert_eq!((&first.properties[0].before, &first.properties[0].after), (&Shown::Masked, &Shown::Masked));
    assert!(first.irreversible.is_some());
    assert_eq!(field(&trial, "ada"), "$y$one");
    trial.laws("user", &with([("locked", true.into())]));
    assert_eq!(field(&trial, "ada"), "!$y$one");
    trial.laws("user", &hash("$y$two"));
    assert_eq!(field(&trial, "ada"), "!$y$two");
    let mut once = hash("$y$three");
    once.set("update-password", "on-create".into());
    assert!(trial.plan("user", &once).is_in_sync());
    trial.laws("user", &with([("locked", false.into())]));
    assert_eq!(field(&trial, "ada"), "$y$two");
}

#[test]
fn a_failed_step_is_restored_with_its_home() {
    let trial = host();
    let before = trial.image();
    let mut undo = crate::actor::Undo::default();
    trial.write("/etc/skel/blocked", "x");
    let wish = with([]);
    trial.apply_keeping("user", &wish, &mut undo).unwrap();
    assert!(trial.at("/home/ada/blocked").exists());
    trial.restore(undo);
    std::fs::remove_file(trial.at("/etc/skel/blocked")).unwrap();
    assert_eq!(trial.image(), before);
}

#[test]
fn the_login_in_use_is_not_shut_out() {
    let trial = home_of_ada([("groups", list(&["sudo"])), ("password", "$y$hash".into())]);
    trial.world().log_in("ada");
    let what = "would lock out ada, whose login this run uses";
    let check =
        |wish: &Params, how: &str| assert_eq!(impossible(trial.plan("user", wish)), format!("{how} {what}"));
    check(&absent("ada"), "removing it");
    check(&with([("locked", true.into())]), "locking it");
    check(&with([("expires", "2001-01-01".into())]), "closing it");
    check(&with([("shell", "/usr/sbin/nologin".into())]), "removing its shell");
    check(&with([("home", "/srv/ada".into())]), "another number or home");
    let fewer = with([("groups", list(&["dba"])), ("append", false.into())]);
    check(&fewer, "removing it from the group that makes it root");
    change(trial.plan("user", &with([("groups", list(&["dba"]))])));
}

#[test]
fn what_cannot_be_is_said() {
    let trial = home_of_ada([]);
    let check = |wish: &Params, message: &str| assert_eq!(impossible(trial.plan("user", wish)), message);
    check(&absent("root"), "the user is root");
    check(&params([("name", "eve".into()), ("uid", number().into())]), "its number belongs to the user ada");
    check(&with([("groups", list(&["ops"]))]), "the group ops does not exist");
    check(&with([("shell", "/bin/zsh".into())]), "the program /bin/zsh does not exist");
    check(
        &params([("name", "eve".into()), ("home", "/srv/homes/eve".into())]),
        "the folder /srv/homes does not exist",
    );
    std::fs::create_dir(trial.at("/home/there")).unwrap();
    check(
        &with([("home", "/home/there".into()), ("move-home", true.into())]),
        "its home cannot move: /home/there already exists",
    );
    trial.world().remote_user("eve", User { uid: 70_000, ..User::default() });
    check(&params([("name", "eve".into())]), "it comes from the network, not from the files of the host");
    assert!(trial.plan("user", &absent("eve")).is_in_sync());
    let bob = params([("name", "bob".into()), ("home", "/srv".into()), ("create-home", true.into())]);
    trial.apply("user", &bob).unwrap();
    let mut gone = absent("bob");
    gone.set("remove-home", true.into());
    check(&gone, "its home /srv is a system folder");
}

#[test]
fn earlier_steps_are_seen() {
    let trial = host();
    let group = Effect::Group("ops".into(), Some(Default::default()));
    let wish = with([("groups", list(&["ops"]))]);
    assert_eq!(change(trial.plan_after(vec![group], "user", &wish)).certainty, Certainty::Exact);
    let shell = with([("shell", "/bin/zsh".into())]);
    let open = vec![Effect::Open];
    assert_ne!(change(trial.plan_after(open.clone(), "user", &shell)).certainty, Certainty::Exact);
    assert!(trial.plan_after(open, "user", &absent("postgres")).is_in_sync());
    let own = Effect::Group("ada".into(), Some(Default::default()));
    let created = trial.plan_after(vec![own], "user", &with([]));
    assert_eq!(names(&change(created)), ["uid", "group", "home", "create-home", "shell"]);
}

#[test]
fn mistakes_are_found() {
    let trial = host();
    let check = |more: &[(&'static str, Value)], count: usize| {
        let problems = trial.problems("user", &with(more.to_vec()));
        assert_eq!(problems.len(), count, "{problems:?}");
    };
    check(&[("name", "-rf".into())], 1);
    check(&[("password", "hunter22".into())], 1);
    check(&[("password", "$6$a:b".into())], 1);
    for hash in ["*", "!", "!*", "$y$j9T$salt$hash", "!$6$salt$hash", "_J9..rasmBYk8r9AiWNc"] {
        check(&[("password", hash.into())], 0);
    }
    for text in ["!hunter22", "$6$a b", "_a\nb"] {
        check(&[("password", text.into())], 1);
    }
    check(&[("comment", "a:b".into()), ("shell", "bash".into()), ("expires", "soon".into())], 3);
    check(&[("append", false.into()), ("move-home", true.into()), ("remove-home", true.into())], 3);
}

/// Adds a process of the user to the host.
fn process(trial: &Trial, uid: i64, group: &str) {
    trial.write("/proc/77/status", format!("Name:\tsleep\nUid:\t{uid}\t0\t0\t0\n"));
    trial.write("/proc/77/comm", "sleep\n");
    trial.write("/proc/77/cgroup", format!("0::{group}\n"));
}

#[test]
fn a_user_with_processes_keeps_its_number_and_its_home() {
    let trial = home_of_ada([]);
    process(&trial, number(), "/system.slice/app.service");
    let moved = with([("home", "/home/other".into()), ("move-home", true.into())]);
    let busy = |wish: &Params| match trial.plan("user", wish) {
        crate::kind::Planned::Impossible { message, help } => (message, help.unwrap()),
        other => panic!("{other:?}"),
    };
    let (message, help) = busy(&moved);
    assert_eq!(message, "its number and its home cannot change while it has processes: sleep (77)");
    assert_eq!(help, "first stop them: `service \"app.service\" running=#false`");
    assert_eq!(busy(&absent("ada")).0, "it cannot be removed while it has processes: sleep (77)");
    assert!(busy(&with([("uid", (number() + 1).into())])).0.contains("sleep (77)"));
    // Not blocked: other properties, processes of other users, and processes that a step may end.
    assert!(!trial.plan("user", &with([("comment", "Ada".into())])).is_in_sync());
    let later = change(trial.plan_after(vec![Effect::Open], "user", &moved));
    assert!(matches!(later.certainty, Certainty::Conditional { .. }), "{later:?}");
    trial.world().unit("app.service");
    assert_eq!(change(trial.plan("user", &moved)).certainty, Certainty::Exact);
    process(&trial, number() + 1, "/");
    assert_eq!(change(trial.plan("user", &absent("ada"))).certainty, Certainty::Exact);
}

#[test]
fn a_home_that_moves_takes_its_content_along_and_the_plan_says_so() {
    let trial = home_of_ada([]);
    let moved = with([("home", "/home/other".into()), ("move-home", true.into())]);
    let planned = change(trial.plan("user", &moved));
    let says = |property: &&converge_model::PropertyChange| property.property == "move-home";
    let says = planned.properties.iter().find(says).unwrap();
    assert_eq!(says.after, Shown::Text("the content of /home/ada moves too".into()));
    assert!(
        !names(&change(trial.plan("user", &with([("home", "/home/other".into())])))).contains(&"move-home")
    );
}

#[test]
fn a_number_has_one_owner_whatever_its_names() {
    let trial = host();
    let owned = |name: &str, more: &[(&str, Value)]| {
        let mut wish = params([("name", name.into())]);
        more.iter().for_each(|(name, value)| wish.set(name, value.clone()));
        trial.owned("user", &wish)
    };
    assert_eq!(owned("ada", &[("uid", 2000.into())]), ["user:ada", "uid:2000"]);
    assert_eq!(owned("ada", &[]), ["user:ada"]);
    assert_eq!(owned("ada", &[("uid", 2000.into()), ("state", "absent".into())]), ["user:ada"]);
    assert_eq!(
        trial.owned("group", &params([("name", "dba".into()), ("gid", 7.into())])),
        ["group:dba", "gid:7"]
    );
}

#[test]
fn a_home_is_made_for_people_and_root_and_not_for_accounts_of_the_system() {
    let trial = host();
    std::fs::remove_dir(trial.at("/root")).unwrap();
    let check = |name: &str, more: &[(&str, Value)], made: bool| {
        let mut wish = params([("name", name.into()), ("comment", "x".into())]);
        more.iter().for_each(|(name, value)| wish.set(name, value.clone()));
        let planned = change(trial.plan("user", &wish));
        assert_eq!(names(&planned).contains(&"create-home"), made, "{name} {more:?}: {planned:?}");
    };
    check("eve", &[], true);
    check("eve", &[("uid", 2001.into())], true);
    check("eve", &[("uid", 999.into())], false);
    check("eve", &[("system", true.into())], false);
    check("eve", &[("uid", 999.into()), ("create-home", true.into())], true);
    check("root", &[], true);
    check("nobody", &[], false);
}

#[test]
fn a_user_that_goes_leaves_its_home_unless_that_is_asked() {
    let trial = home_of_ada([]);
    trial.write("/home/ada/thesis", "x");
    let effects = trial.look("user", &absent("ada")).effects;
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Path(..))), "the home stays");
    trial.apply("user", &absent("ada")).unwrap();
    assert!(trial.at("/home/ada/thesis").exists());
    let trial = home_of_ada([]);
    let mut gone = absent("ada");
    gone.set("remove-home", true.into());
    trial.apply("user", &gone).unwrap();
    assert!(!trial.at("/home/ada").exists());
}

#[test]
fn a_user_whose_home_alone_is_missing_is_not_touched() {
    let trial = home_of_ada([]);
    std::fs::remove_dir_all(trial.at("/home/ada")).unwrap();
    let done = trial.world().log().len();
    trial.apply("user", &with([])).unwrap();
    assert!(trial.at("/home/ada/.profile").exists());
    assert_eq!(trial.world().log().split_off(done), [""; 0], "usermod(8) is not called for nothing");
}

#[test]
fn a_group_comes_only_with_a_new_user_that_has_no_other() {
    let trial = host();
    let brings = |trial: &Trial, wish: &Params| {
        let effects = trial.look("user", wish).effects;
        effects.iter().any(|effect| matches!(effect, Effect::Group(name, Some(_)) if name == "ada"))
    };
    assert!(brings(&trial, &with([])));
    assert!(!brings(&trial, &with([("group", "dba".into())])));
    trial.apply("user", &with([])).unwrap();
    assert!(!brings(&trial, &with([("comment", "Ada".into())])));
    assert!(!brings(&trial, &with([("group", "dba".into())])));
}

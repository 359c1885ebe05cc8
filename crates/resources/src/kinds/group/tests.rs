//! Groups on a trial host.

use converge_model::{Certainty, Params, Scalar, Value};

use crate::kinds::testing::{Trial, change, impossible, params};
use crate::overlay::{Effect, PlannedUser};
use crate::system::accounts::Group;

fn list(names: &[&str]) -> Value {
    Value::List(names.iter().map(|name| Scalar::from(*name)).collect())
}

fn host() -> Trial {
    let trial = Trial::new();
    trial.write(
        "/etc/passwd",
        "root:x:0:0::/root:/bin/sh\nada:x:2001:2001::/home/ada:/bin/sh\nbob:x:2002:100::/:/bin/sh\n",
    );
    trial.write("/etc/group", "root:x:0:\nada:x:2001:\nusers:x:100:\nsudo:x:27:ada\n");
    trial
}

fn absent(name: &str) -> Params {
    params([("name", name.into()), ("state", "absent".into())])
}

#[test]
fn a_group_obeys_the_laws() {
    let trial = host();
    trial.laws("group", &params([("name", "ops".into()), ("system", true.into())]));
    trial.laws("group", &params([("name", "ops".into()), ("gid", 2100.into())]));
    let created = trial.laws("group", &params([("name", "dba".into()), ("members", list(&["bob", "ada"]))]));
    assert_eq!(created.properties.len(), 2);
    let emptied = trial.laws("group", &params([("name", "dba".into()), ("members", list(&[]))]));
    assert_eq!(format!("{:?}", emptied.properties[0].before), r#"Text("ada, bob")"#);
    trial.laws("group", &absent("dba"));
}

#[test]
fn what_cannot_be_is_said() {
    let trial = host();
    let check = |params: &Params, message: &str| assert_eq!(impossible(trial.plan("group", params)), message);
    check(&absent("ada"), "it is the primary group of ada");
    check(&params([("name", "x".into()), ("gid", 100.into())]), "its number belongs to the group users");
    check(&params([("name", "x".into()), ("members", list(&["eve"]))]), "the user eve does not exist");
    trial.world().log_in("ada");
    let what = "would lock out ada, whose login this run uses";
    check(&absent("sudo"), &format!("removing the group sudo {what}"));
    let others = params([("name", "sudo".into()), ("members", list(&["bob"]))]);
    check(&others, &format!("removing ada from the group sudo {what}"));
}

#[test]
fn only_who_loses_their_rights_is_locked_out() {
    let trial = host();
    let sudo =
        |names: &[&str]| trial.plan("group", &params([("name", "sudo".into()), ("members", list(names))]));
    trial.world().log_in("bob");
    assert_eq!(change(sudo(&[])).properties[0].before, "ada".into());
    trial.world().log_in("ada");
    assert_eq!(change(sudo(&["ada", "bob"])).properties[0].after, "ada, bob".into());
    impossible(sudo(&["bob"]));
}

#[test]
fn a_group_owns_its_number_as_well() {
    let trial = host();
    let numbered = params([("name", "ops".into()), ("gid", 2100.into())]);
    assert_eq!(trial.owned("group", &numbered), ["group:ops", "gid:2100"]);
    assert_eq!(trial.owned("group", &params([("name", "ops".into())])), ["group:ops"]);
    assert_eq!(trial.owned("group", &absent("ops")), ["group:ops"]);
}

#[test]
fn a_group_of_the_network_is_not_made_again_on_the_host() {
    let trial = host();
    trial.world().remote_group("staff", Group { gid: 9000, members: Vec::new() });
    let why = impossible(trial.plan("group", &params([("name", "staff".into())])));
    assert_eq!(why, "it comes from the network, not from the files of the host");
    trial.assert_in_sync("group", &absent("staff"));
}

#[test]
fn earlier_steps_are_seen() {
    let trial = host();
    let ada = |planned| Effect::User("ada".into(), planned);
    trial.plan_after(vec![ada(None)], "group", &absent("ada"));
    assert_eq!(
        change(trial.plan_after(vec![ada(None)], "group", &absent("ada"))).certainty,
        Certainty::Exact
    );
    let eve = Effect::User(
        "eve".into(),
        Some(PlannedUser { groups: Some(vec!["sudo".into()]), ..PlannedUser::default() }),
    );
    let both = params([("name", "sudo".into()), ("members", list(&["ada", "eve"]))]);
    assert!(trial.plan_after(vec![eve], "group", &both).is_in_sync(), "the user joins by itself");
    assert!(trial.plan_after(vec![Effect::Open], "group", &absent("postgres")).is_in_sync());
}

#[test]
fn mistakes_are_found() {
    let trial = host();
    let check = |params: Params, count: usize| assert_eq!(trial.problems("group", &params).len(), count);
    check(params([("name", "a:b".into())]), 1);
    check(params([("name", "a".repeat(32).as_str().into())]), 0);
    check(params([("name", "a".repeat(33).as_str().into())]), 1);
    check(params([("name", "ops".into()), ("gid", (-1).into()), ("members", list(&["-x", "42"]))]), 3);
    check(params([("name", "ops".into()), ("state", "absent".into()), ("gid", 7.into())]), 1);
}

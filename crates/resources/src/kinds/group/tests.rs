//! Groups on a trial host.

use converge_model::{Certainty, Params, Scalar, Value};

use crate::kinds::testing::{Trial, change, impossible, params};
use crate::overlay::{Effect, PlannedUser};

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
    check(&params([("name", "x".into()), ("members", list(&["eve"]))]), "the user eve is not there");
    trial.world().log_in("ada");
    let what = "would lock out ada, whose login this run uses";
    check(&absent("sudo"), &format!("removing the group sudo {what}"));
    let others = params([("name", "sudo".into()), ("members", list(&["bob"]))]);
    check(&others, &format!("taking ada out of the group sudo {what}"));
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
    check(params([("name", "ops".into()), ("gid", (-1).into()), ("members", list(&["-x", "42"]))]), 3);
    check(params([("name", "ops".into()), ("state", "absent".into()), ("gid", 7.into())]), 1);
}

//! Tests of the common parts of `line`, `block` and `ini`: the file around the part.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use converge_model::{Certainty, Params, Value, Verb};

use crate::kind::Planned;
use crate::kinds::testing::{Trial, change, impossible, params};
use crate::overlay::Effect;
use crate::registry;
use crate::view::{Body, Place, Seen};

/// Returns a resource of each kind that owns a part of `/etc/x`.
fn all(more: &[(&str, Value)]) -> [(&'static str, Params); 3] {
    let path = || ("path", Value::from("/etc/x"));
    let option = [path(), ("section", "s".into()), ("option", "k".into()), ("value", "1".into())];
    let mut all = [
        ("line", params([path(), ("text", "k=1".into())])),
        ("block", params([path(), ("content", "k=1".into())])),
        ("ini", params(option)),
    ];
    for (_, params) in &mut all {
        more.iter().for_each(|(name, value)| params.set(name, value.clone()));
    }
    all
}

#[test]
fn every_parameter_of_the_file_is_in_the_schema() {
    for (kind, _) in all(&[]) {
        let schema = registry::kind(kind).unwrap().schema();
        for name in ["path", "create", "mode", "owner", "group", "validate", "backup"] {
            assert!(schema.params.iter().any(|param| param.name == name), "{kind}: {name}");
        }
    }
}

#[test]
fn a_missing_file_is_created_with_its_mode_unless_it_must_be_there() {
    for (kind, params) in all(&[("mode", 0o600.into())]) {
        let trial = Trial::new();
        assert_eq!(trial.laws(kind, &params).verb, Verb::Create, "{kind}");
        let mode = fs::metadata(trial.at("/etc/x")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{kind}");
    }
    for (kind, params) in all(&[("create", false.into())]) {
        let trial = Trial::new();
        assert_eq!(impossible(trial.plan(kind, &params)), "the file /etc/x does not exist", "{kind}");
    }
}

#[test]
fn an_old_file_keeps_its_mode_and_is_backed_up_where_that_is_asked() {
    for (kind, params) in all(&[("mode", 0o600.into()), ("backup", true.into())]) {
        let trial = Trial::new();
        trial.write("/etc/x", "old\n");
        let planned = change(trial.plan(kind, &params));
        assert_eq!(planned.properties.last().unwrap().property, "backup", "{kind}");
        trial.apply(kind, &params).unwrap();
        trial.assert_in_sync(kind, &params);
        assert_eq!(trial.read("/etc/x.converge-backup"), b"old\n", "{kind}");
        let mode = fs::metadata(trial.at("/etc/x")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "{kind}");
    }
}

#[test]
fn a_link_in_the_way_is_named_with_the_file_that_it_leads_to() {
    for (kind, params) in all(&[]) {
        let trial = Trial::new();
        std::os::unix::fs::symlink("real", trial.at("/etc/x")).unwrap();
        let Planned::Impossible { message, help } = trial.plan(kind, &params) else { panic!("{kind}") };
        assert_eq!(message, "a link is in the way", "{kind}");
        assert_eq!(help.as_deref(), Some("name the file that the link leads to: real"), "{kind}");
    }
}

/// Returns what later steps see at `/etc/x` after a step with these effects and one of `kind`.
fn seen_after(trial: &Trial, mut effects: Vec<Effect>, kind: &str, params: &Params) -> Seen<Vec<u8>> {
    let look = trial.look_after(effects.clone(), kind, params);
    effects.retain(|effect| !matches!(effect, Effect::Open));
    effects.extend(look.effects);
    trial.view_after(effects, |view| view.text(Path::new("/etc/x"))).unwrap()
}

#[test]
fn later_steps_see_the_text_as_it_will_be_or_that_it_is_not_known() {
    for (kind, params) in all(&[]) {
        let trial = Trial::new();
        let made = seen_after(&trial, Vec::new(), kind, &params);
        trial.apply(kind, &params).unwrap();
        assert_eq!(made, Seen::Known(trial.read("/etc/x")), "{kind}: a new file");

        trial.write("/etc/x", "[s]\nold\n");
        let edited = seen_after(&trial, Vec::new(), kind, &params);
        trial.apply(kind, &params).unwrap();
        assert_eq!(edited, Seen::Known(trial.read("/etc/x")), "{kind}: an old file");

        trial.write("/etc/x", "old\n");
        let Effect::Path(path, Some(place)) = trial.planned_file("/etc/x", b"") else { unreachable!() };
        let unknown = Effect::Path(path, Some(Place { body: Body::Unknown(vec![0]), ..place }));
        let planned = change(trial.plan_after(vec![unknown.clone()], kind, &params));
        assert_ne!(planned.certainty, Certainty::Exact, "{kind}");
        let seen = seen_after(&trial, vec![unknown], kind, &params);
        assert!(matches!(seen, Seen::Unknown(_)), "{kind}: a text that a step decides: {seen:?}");

        fs::remove_file(trial.at("/etc/x")).unwrap();
        let seen = seen_after(&trial, vec![Effect::Open], kind, &params);
        assert!(matches!(seen, Seen::Unknown(_)), "{kind}: a file that may come: {seen:?}");
    }
}

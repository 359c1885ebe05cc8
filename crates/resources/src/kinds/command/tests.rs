//! When a command runs, what it receives, and how its result is judged.

use std::sync::{Arc, Mutex};

use converge_model::{Certainty, NotifyHow, Params, Scalar, SecretTable, Shown, Value, Verb};

use super::quoted;
use crate::kind::{Planned, Wanted};
use crate::kinds::testing::{Trial, change, finished, impossible, params};
use crate::overlay::Effect;
use crate::registry;
use crate::system::processes;

const KIND: &str = "command";

fn words(words: &[&str]) -> Value {
    Value::List(words.iter().map(|word| Scalar::from(*word)).collect())
}

fn command<const N: usize>(line: &[&str], more: [(&str, Value); N]) -> Params {
    let mut all = params([("command", words(line))]);
    more.into_iter().for_each(|(name, value)| all.set(name, value));
    all
}

/// A host that runs no command and records each one. A guard that contains `false` fails.
fn recording() -> (Trial, Arc<Mutex<Vec<processes::Command>>>) {
    let trial = Trial::new();
    let ran = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&ran);
    trial.answer(move |command| {
        record.lock().unwrap().push(command.clone());
        finished(i32::from(command.words.concat().contains("false")), "said\n")
    });
    (trial, ran)
}

#[test]
fn without_a_guard_it_is_a_mistake() {
    let trial = Trial::new();
    let check = |wish: Params, message: &str| {
        let problems = trial.problems(KIND, &wish);
        assert!(problems.iter().any(|problem| problem.message.contains(message)), "{problems:?}");
    };
    check(command(&["true"], []), "has no guard");
    check(command(&["true"], [("always", false.into())]), "has no guard");
    check(command(&["true"], [("always", true.into()), ("creates", "/x".into())]), "exclude each other");
    check(
        command(&["true"], [("always", true.into()), ("only-notified", true.into())]),
        "exclude each other",
    );
    check(command(&["true"], [("once", true.into()), ("unless", "x".into())]), "exclude each other");
    check(command(&["true"], [("once", false.into())]), "has no guard");
    check(command(&["true"], [("once", " ".into())]), "one line");
    check(command(&["true"], [("once", "a\nb".into())]), "one line");
    check(command(&["true"], [("once", "x".repeat(201).as_str().into())]), "one line");
    check(command(&[], [("always", true.into())]), "is empty");
    check(command(&["a", "b"], [("always", true.into()), ("shell", true.into())]), "several words");
    check(command(&["a"], [("creates", "etc/x".into())]), "not an absolute path");
    check(command(&["a"], [("always", true.into()), ("success-codes", words(&["0", "256"]))]), "0 to 255");
    let env = Value::Map(vec![("A=B".into(), vec!["x".into()]), ("C".into(), vec!["x".into(), "y".into()])]);
    check(command(&["a"], [("always", true.into()), ("env", env.clone())]), "cannot be the name");
    check(command(&["a"], [("always", true.into()), ("env", env)]), "C must have one value");
}

#[test]
fn a_secret_may_be_read_and_never_be_a_word() {
    let (trial, ran) = recording();
    let secret = trial.secret("hunter22");
    let word =
        params([("command", Value::List(vec!["echo".into(), secret.clone()])), ("always", true.into())]);
    assert!(trial.problems(KIND, &word).iter().any(|problem| problem.message == "cannot be a secret"));
    let stdin = command(&["cat"], [("always", true.into()), ("stdin", Value::Scalar(secret))]);
    let shown = format!("{:?}", change(trial.plan(KIND, &stdin)));
    assert!(!shown.contains("hunter22"), "{shown}");
    trial.apply(KIND, &stdin).unwrap();
    assert_eq!(ran.lock().unwrap()[0].input.as_ref().unwrap().expose(), b"hunter22");
}

#[test]
fn each_guard_can_say_that_it_was_done() {
    let check = |guards: &[(&str, &str)], reason: Option<&str>| {
        let (trial, _) = recording();
        trial.write("/there", "");
        let mut wish = command(&["touch", "/x"], []);
        guards.iter().for_each(|(name, value)| wish.set(name, Value::from(*value)));
        match (trial.plan(KIND, &wish), reason) {
            (Planned::InSync(why), Some(reason)) => assert_eq!(why, reason),
            (Planned::Change(planned), None) => assert_eq!(planned.change.certainty, Certainty::Exact),
            (other, _) => panic!("{guards:?}: {other:?}"),
        }
    };
    check(&[("creates", "/there")], Some("/there is there"));
    check(&[("creates", "/absent")], None);
    check(&[("removes", "/absent")], Some("/absent does not exist"));
    check(&[("removes", "/there")], None);
    check(&[("unless", "true")], Some("`true` succeeds"));
    check(&[("unless", "false")], None);
    check(&[("only-if", "false")], Some("`false` fails"));
    check(&[("only-if", "true")], None);
    check(&[("creates", "/absent"), ("unless", "true")], Some("`true` succeeds"));
    check(&[("creates", "/absent"), ("unless", "false"), ("only-if", "true")], None);
}

#[test]
fn a_path_that_tells_spares_the_processes() {
    let (trial, ran) = recording();
    trial.write("/there", "");
    let wish = command(&["touch", "/x"], [("creates", "/there".into()), ("unless", "false".into())]);
    assert!(trial.plan(KIND, &wish).is_in_sync());
    assert!(ran.lock().unwrap().is_empty());
}

#[test]
fn guards_run_as_the_command_does_and_read_nothing() {
    let (trial, ran) = recording();
    trial.write("/srv/file", "");
    let wish = command(
        &["make", "all things"],
        [
            ("unless", "false".into()),
            ("user", "nobody".into()),
            ("cwd", "/srv".into()),
            ("stdin", "text".into()),
            ("env", Value::Map(vec![("A".into(), vec!["1".into()])])),
        ],
    );
    trial.apply(KIND, &wish).unwrap();
    let ran = ran.lock().unwrap();
    assert_eq!(ran[0].words, ["/bin/sh", "-c", "false"]);
    assert_eq!(ran[1].words, ["make", "all things"]);
    assert!(ran[0].input.is_none() && ran[1].input.is_some());
    for command in ran.iter() {
        assert_eq!(command.user.as_deref(), Some("nobody"));
        assert_eq!(command.folder.as_deref(), Some("/srv".as_ref()));
        assert_eq!(command.environment[0].0, "A");
    }
}

#[test]
fn what_may_come_makes_it_conditional() {
    let check = |guards: &[(&str, &str)], effects: Vec<Effect>, conditional: bool| {
        let (trial, _) = recording();
        let mut wish = command(&["psql"], []);
        guards.iter().for_each(|(name, value)| wish.set(name, Value::from(*value)));
        let change = change(trial.plan_after(effects, KIND, &wish));
        assert_eq!(change.certainty != Certainty::Exact, conditional, "{guards:?}");
    };
    check(&[("creates", "/absent")], vec![Effect::Open], false);
    check(&[("unless", "false"), ("user", "postgres")], vec![Effect::Open], true);
    check(&[("unless", "false"), ("user", "nobody")], vec![Effect::Open], false);
    check(&[("unless", "false"), ("cwd", "/srv")], vec![Effect::Open], true);
    check(
        &[("unless", "false"), ("user", "ada")],
        vec![Effect::User("ada".into(), Some(Default::default()))],
        true,
    );
}

#[test]
fn what_is_gone_already_needs_no_removal_though_it_may_come() {
    let (trial, _) = recording();
    let wish = command(&["psql"], [("removes", "/absent".into())]);
    assert!(trial.plan_after(vec![Effect::Open], KIND, &wish).is_in_sync());
}

#[test]
fn a_user_that_is_not_there_and_does_not_come_is_an_error() {
    let (trial, ran) = recording();
    let wish = command(&["psql"], [("unless", "false".into()), ("user", "postgres".into())]);
    assert_eq!(impossible(trial.plan(KIND, &wish)), "the user postgres does not exist");
    assert!(ran.lock().unwrap().is_empty());
}

#[test]
fn a_program_that_is_not_there_is_an_error_of_the_plan_where_its_place_is_known() {
    // If a folder stands for the host, programs are those of this machine. So this test uses the machine itself.
    let trial = Trial::real();
    let path = Value::Map(vec![("PATH".into(), vec!["/opt/bin".into()])]);
    let check = |line: &str, more: &[(&str, Value)], missing: bool| {
        let mut wish = command(&[line], [("always", true.into())]);
        more.iter().for_each(|(name, value)| wish.set(name, value.clone()));
        match trial.plan(KIND, &wish) {
            Planned::Impossible { message, .. } if missing => {
                assert_eq!(message, format!("the program {line} does not exist"));
            }
            Planned::Change(_) if !missing => {}
            other => panic!("{line} {more:?}: {other:?}"),
        }
    };
    check("sh", &[], false);
    check("/bin/sh", &[], false);
    check("no-such-program", &[], true);
    check("/no/such/program", &[], true);
    check("no/such/program", &[("cwd", "/".into())], false);
    check("no-such-program | sort", &[("shell", true.into())], false);
    check("no-such-program", &[("env", path)], false);
    let other = Value::Map(vec![("HOST".into(), vec!["web1".into()])]);
    check("no-such-program", &[("env", other)], true);
    change(Trial::new().plan(KIND, &command(&["no-such-program"], [("always", true.into())])));
}

/// The decoded resource.
fn wanted(wish: &Params) -> Box<dyn Wanted> {
    registry::kind(KIND).unwrap().decode(wish, &SecretTable::default()).unwrap()
}

#[test]
fn only_a_handler_answers_to_a_notification() {
    let verb = |wish: &Params| wanted(wish).action(NotifyHow::AsTargetSays).map(|action| action.verb);
    assert_eq!(verb(&command(&["true"], [("only-notified", true.into())])), Some("run"));
    for (name, value) in [("always", true.into()), ("once", true.into()), ("creates", "/x".into())] {
        assert_eq!(verb(&command(&["true"], [(name, value)])), None, "{name}");
    }
}

#[test]
fn a_command_that_ran_in_vain_is_told_with_each_of_its_guards() {
    let (trial, _) = recording();
    let told = |wish: &Params| wanted(wish).unsettled(&trial.look(KIND, wish));
    let one = command(&["make"], [("creates", "/x".into())]);
    let says = "it ran and ended with 0, but `creates=\"/x\"` still says that it is not done";
    assert_eq!(told(&one).as_deref(), Some(says));
    let two = command(
        &["make"],
        [("unless", "false".into()), ("only-if", "true".into()), ("success-codes", words(&["0", "3"]))],
    );
    let says = "it ran, but `unless=\"false\"` and `only-if=\"true\"` still say that it is not done";
    assert_eq!(told(&two).as_deref(), Some(says));
    assert_eq!(told(&command(&["make"], [("always", true.into())])), None, "has no guard");
}

#[test]
fn later_steps_know_what_a_command_removes_and_that_it_may_bring_anything() {
    let (trial, _) = recording();
    trial.write("/there", "");
    let removes = trial.look(KIND, &command(&["rm", "/there"], [("removes", "/there".into())]));
    let [Effect::Path(path, None), Effect::Open] = &removes.effects[..] else { panic!("it stays") };
    assert_eq!(path, std::path::Path::new("/there"));
    let creates = trial.look(KIND, &command(&["touch", "/x"], [("creates", "/x".into())]));
    assert!(matches!(&creates.effects[..], [Effect::Open]));
}

#[test]
fn a_shell_reads_the_line_only_where_that_is_asked() {
    let (trial, ran) = recording();
    trial.apply(KIND, &command(&["a | b"], [("always", true.into())])).unwrap();
    trial.apply(KIND, &command(&["a | b"], [("always", true.into()), ("shell", true.into())])).unwrap();
    let ran = ran.lock().unwrap();
    assert_eq!(ran[0].words, ["a | b"]);
    assert_eq!(ran[1].words, ["/bin/sh", "-c", "a | b"]);
}

#[test]
fn always_is_an_action_and_a_handler_waits() {
    let (trial, _) = recording();
    let always = command(&["echo", "a b"], [("always", true.into())]);
    let Planned::Change(planned) = trial.plan(KIND, &always) else { panic!("not a change") };
    assert!(planned.always && planned.change.verb == Verb::Act && planned.change.irreversible.is_some());
    assert_eq!(planned.change.properties[0].after, Shown::from("echo 'a b'"));
    let handler = command(&["true"], [("only-notified", true.into())]);
    assert!(trial.plan(KIND, &handler).is_in_sync());
}

#[test]
fn once_is_an_action_under_a_key_that_hosts_share() {
    let (trial, _) = recording();
    let claims = |wish: &Params| {
        let checked = crate::kind(KIND).unwrap().check(wish).unwrap();
        checked.claims.iter().map(converge_model::Claim::key).collect::<Vec<_>>()
    };
    let release = command(&["migrate"], [("once", "1.5.0".into())]);
    assert_eq!(claims(&release), ["once:1.5.0"]);
    let Planned::Change(planned) = trial.plan(KIND, &release) else { panic!("not a change") };
    assert!(planned.always && planned.change.certainty == Certainty::Exact);
    let key = |line: &[&str], more: &[(&str, Value)]| {
        let mut wish = command(line, [("once", true.into())]);
        more.iter().for_each(|(name, value)| wish.set(name, value.clone()));
        claims(&wish)
    };
    let plain = key(&["migrate"], &[]);
    let env = Value::Map(vec![("HOST".into(), vec!["web1".into()])]);
    assert_eq!(
        plain,
        key(&["migrate"], &[("env", env), ("user", "shop".into())]),
        "hosts may differ in these"
    );
    assert_ne!(plain, key(&["migrate", "up"], &[]));
    assert_ne!(plain, key(&["migrate"], &[("cwd", "/srv/releases/1.5.0".into())]));
}

#[test]
fn the_code_decides() {
    let trial = Trial::new();
    trial.answer(|_| finished(3, "why\n"));
    let plain = command(&["make", "x"], [("always", true.into())]);
    let error = trial.apply(KIND, &plain).err().unwrap();
    assert_eq!((error.message.as_str(), error.output.as_str()), ("make ended with 3", "why\n"));
    let lenient = command(&["make", "x"], [("always", true.into()), ("success-codes", words(&["0", "3"]))]);
    trial.apply(KIND, &lenient).unwrap();
    let shell = command(&["a | b"], [("always", true.into()), ("shell", true.into())]);
    assert_eq!(trial.apply(KIND, &shell).err().unwrap().message, "the shell line ended with 3");
}

#[test]
fn words_are_shown_as_a_shell_reads_them() {
    for (word, shown) in
        [("plain-1.2/x", "plain-1.2/x"), ("", "''"), ("a b", "'a b'"), ("it's", "'it'\\''s'")]
    {
        assert_eq!(quoted(word), shown);
    }
}

#[test]
fn guard_that_wants_to_write_is_named_in_the_plan() {
    let trial = Trial::new();
    trial.answer(|_| finished(2, "sh: 1: cannot create /srv/cache: Read-only file system\n"));
    let guarded = command(&["touch", "/srv/done"], [("unless", "date > /srv/cache".into())]);
    let planned = change(trial.plan(KIND, &guarded));
    let named = planned.properties.iter().find(|property| property.property == "guard");
    assert!(format!("{named:?}").contains("`date > /srv/cache` tried to write"), "{planned:?}");
    let trial = Trial::new();
    trial.answer(|_| finished(2, "no\n"));
    assert_eq!(change(trial.plan(KIND, &guarded)).properties.len(), 1);
}

use converge_model::{Certainty, Params, Shown, Value, Verb};

use crate::kinds::testing::{Trial, change, impossible, params, values};
use crate::overlay::Effect;

const PATH: &str = "/etc/x";

fn line(text: &str, more: &[(&str, &str)]) -> Params {
    let mut params = params([("path", PATH.into())]);
    if !text.is_empty() {
        params.set("text", text.into());
    }
    for (name, value) in more {
        params.set(name, (*value).into());
    }
    params
}

#[test]
fn the_line_comes_and_the_rest_keeps_its_bytes() {
    let check = |before: &[u8], text: &str, more: &[(&str, &str)], after: &[u8]| {
        let trial = Trial::new();
        trial.write(PATH, before);
        trial.laws("line", &line(text, more));
        assert_eq!(trial.read(PATH).escape_ascii().to_string(), after.escape_ascii().to_string());
    };
    check(b"", "a", &[], b"a\n");
    check(b"a\n", "b", &[], b"a\nb\n");
    check(b"a", "b", &[], b"a\nb");
    check(b"a\r\nb\r\n", "c", &[], b"a\r\nb\r\nc\r\n");
    check(b"\xff\xfe\nk=1\n\0", "k=2", &[("match", "^k=")], b"\xff\xfe\nk=2\n\0");
    // The last match becomes the text, as in Ansible's lineinfile.
    check(b"k=1\nx\nk=2\n", "k=3", &[("match", "^k=")], b"k=1\nx\nk=3\n");
    // If the pattern does not match the new text, a second run must not replace another line.
    check(b"#Port 1\n#Port 2\n", "Port 22", &[("match", "^#Port")], b"#Port 1\nPort 22\n");
    check(b"k=1", "k=2", &[("match", "^k=")], b"k=2");
    check(b"a\nb\nc\n", "x", &[("insert-after", "^[ab]")], b"a\nb\nx\nc\n");
    check(b"a\nb\nc\n", "x", &[("insert-before", "^b")], b"a\nx\nb\nc\n");
    check(b"a\n", "x", &[("insert-before", "BOF")], b"x\na\n");
    check(b"a\n", "x", &[("insert-after", "nowhere")], b"a\nx\n");
    check(b"a\nb\na\n", "a", &[("state", "absent")], b"b\n");
    check(b"a1\nb\na2", "", &[("state", "absent"), ("match", "^a")], b"b\n");
}

#[test]
fn what_is_there_stays() {
    let check = |text: &str, wanted: &str, more: &[(&str, &str)]| {
        let trial = Trial::new();
        trial.write(PATH, text);
        trial.assert_in_sync("line", &line(wanted, more));
    };
    check("a\nb\n", "a", &[]);
    check("k=1\n", "k=1", &[("match", "^k=")]);
    check("b\n", "a", &[("state", "absent")]);
}

#[test]
fn a_file_that_is_missing_is_created_unless_it_must_be_there() {
    let trial = Trial::new();
    let change = trial.laws("line", &line("127.0.0.1 hello.local", &[("match", "hello\\.local$")]));
    assert_eq!(change.verb, Verb::Create);
    assert_eq!(trial.read(PATH), b"127.0.0.1 hello.local\n");

    let trial = Trial::new();
    let mut wish = line("a", &[]);
    wish.set("create", false.into());
    assert_eq!(impossible(trial.plan("line", &wish)), "the file /etc/x does not exist");
    trial.assert_in_sync("line", &line("a", &[("state", "absent")]));
    let nowhere = params([("path", "/none/x".into()), ("text", "a".into())]);
    assert_eq!(impossible(trial.plan("line", &nowhere)), "the folder /none does not exist");
}

#[test]
fn a_file_that_may_come_makes_it_conditional() {
    let trial = Trial::new();
    let change = change(trial.plan_after(vec![Effect::Open], "line", &line("a", &[("match", "^a")])));
    assert!(matches!(change.certainty, Certainty::Conditional { ref on, .. } if on == &[0]));
    assert_eq!(change.properties[0].after, Shown::Text("with the line \"a\"".into()));
}

#[test]
fn two_lines_of_one_plan_see_each_other() {
    let trial = Trial::new();
    let first = trial.look("line", &line("a", &[]));
    let second = change(trial.plan_after(first.effects, "line", &line("b", &[])));
    assert_eq!(second.certainty, Certainty::Exact);
    assert_eq!(second.properties[0].diff.as_ref().unwrap().unified, "@@ -1 +1,2 @@\n a\n+b\n");
}

#[test]
fn a_link_in_the_way_is_not_replaced() {
    let trial = Trial::new();
    std::os::unix::fs::symlink("/etc/passwd", trial.at(PATH)).unwrap();
    assert_eq!(impossible(trial.plan("line", &line("a", &[]))), "a link is in the way");
}

#[test]
fn a_secret_is_masked_on_both_sides_and_not_kept() {
    let trial = Trial::new();
    trial.write(PATH, "token=old-token\n");
    let mut wish = line("", &[("match", "^token=")]);
    wish.set("text", Value::Scalar(trial.secret("token=new-token")));
    let change = trial.laws("line", &wish);
    assert!(!values(&change).contains("bytes"), "a size tells of it: {change:?}");
    assert!(change.irreversible.is_some());
    assert_eq!(trial.read(PATH), b"token=new-token\n");
}

#[test]
fn new_content_that_is_refused_changes_nothing() {
    let trial = Trial::new();
    trial.write(PATH, "a\n");
    trial.answer(|command| {
        let new = std::fs::read_to_string(&command.words[1]).unwrap();
        crate::kinds::testing::finished(i32::from(new.contains("bad")), "line 2 is bad\n")
    });
    let mut wish = line("bad", &[]);
    wish.set("validate", Value::List(vec!["check".into(), "%s".into()]));
    let before = trial.image();
    let error = trial.apply("line", &wish).err().unwrap();
    assert_eq!(
        (error.message.as_str(), error.output.as_str()),
        ("the new content was refused: check ended with 1", "line 2 is bad\n",)
    );
    assert_eq!(trial.image(), before);
}

#[test]
fn mistakes_are_found_before_the_host() {
    let check = |params: Params, expected: &str| {
        let problems = Trial::new().problems("line", &params);
        assert!(problems.iter().any(|problem| problem.message.contains(expected)), "{problems:?}");
    };
    check(line("", &[]), "is missing");
    check(line("", &[("state", "absent")]), "must have `text` or `match`");
    check(line("a\nb", &[]), "must be one line");
    check(line("a", &[("match", "(")]), "not a regular expression");
    check(line("a", &[("insert-after", "a"), ("insert-before", "b")]), "not both");
}

#[test]
fn a_line_is_known_by_its_pattern_and_else_by_its_text() {
    let trial = Trial::new();
    let check = |wish: &Params, name: &str| {
        let checked = trial.checked("line", wish);
        assert_eq!(checked.suffix.as_deref(), Some(name));
        let keys: Vec<_> = checked.claims.iter().map(converge_model::Claim::key).collect();
        assert_eq!(keys, [format!("path:/etc/x#line:{name}")]);
    };
    check(&line("a = 1", &[]), "a = 1");
    check(&line("a = 2", &[]), "a = 2");
    check(&line("a = 1", &[("match", "^a =")]), "^a =");
    check(&line("", &[("match", "^a ="), ("state", "absent")]), "^a =");
}

#[test]
fn a_line_owns_its_part_of_the_file_behind_links_and_what_it_means_there() {
    let trial = Trial::new();
    std::fs::create_dir_all(trial.at("/srv/etc/sysctl.d")).unwrap();
    std::os::unix::fs::symlink("/srv/etc/sysctl.d", trial.at("/etc/sysctl.d")).unwrap();
    let owned = |path: &str, text: &str| {
        let mut wish = line(text, &[]);
        wish.set("path", path.into());
        trial.owned("line", &wish)
    };
    assert_eq!(owned("/etc/sysctl.d/a.conf", "a=1"), ["path:/srv/etc/sysctl.d/a.conf#line:a=1"]);
    let part = "path:/etc/sysctl.conf#line:net.core.somaxconn = 5";
    let meant = "sysctl:net.core.somaxconn";
    assert_eq!(owned("/etc/sysctl.conf", "net.core.somaxconn = 5"), [part, meant]);
}

#[test]
fn a_line_of_a_text_that_an_earlier_step_decides_is_shown_as_it_is_asked() {
    let trial = Trial::new();
    let Effect::Path(path, Some(place)) = trial.planned_file(PATH, b"") else { unreachable!() };
    let place = crate::view::Place { body: crate::view::Body::Unknown(vec![0]), ..place };
    let check = |wish: &Params, shown: &str| {
        let effects = vec![Effect::Path(path.clone(), Some(place.clone()))];
        let change = change(trial.plan_after(effects, "line", wish));
        assert_eq!(change.properties[0].after, Shown::from(shown));
        assert!(matches!(change.certainty, Certainty::Conditional { .. }), "{change:?}");
    };
    check(&line("a", &[]), "with the line \"a\"");
    check(&line("a", &[("state", "absent")]), "without lines that match \"a\"");
    check(&line("", &[("state", "absent"), ("match", "^a")]), "without lines that match \"^a\"");
}

#[test]
fn a_line_that_was_added_since_the_look_is_not_lost() {
    let trial = Trial::new();
    for now in ["a\nadded\n", "other\n", ""] {
        trial.write(PATH, "a\n");
        let (wish, mut undo) = (line("b", &[]), trial.undo());
        let look = trial.look("line", &wish);
        trial.write(PATH, now);
        let error = trial.apply_look("line", &wish, &look, &mut undo).unwrap_err();
        assert_eq!(error.message, "failed to write /etc/x: it changed since it was read");
        assert_eq!(trial.read(PATH), now.as_bytes());
    }
}

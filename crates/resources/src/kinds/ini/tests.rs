use converge_model::{Params, Value};

use crate::kinds::testing::{Trial, params};

fn ini(section: &str, option: &str, values: &[&str], more: &[(&str, Value)]) -> Params {
    let mut params = params([("path", "/etc/x".into()), ("section", section.into())]);
    if !option.is_empty() {
        params.set("option", option.into());
    }
    if !values.is_empty() {
        params.set("value", Value::List(values.iter().map(|value| (*value).into()).collect()));
    }
    more.iter().for_each(|(name, value)| params.set(name, value.clone()));
    params
}

#[test]
fn the_option_comes_and_the_rest_keeps_its_bytes() {
    let check = |before: &str, wish: Params, after: &str| {
        let trial = Trial::new();
        trial.write("/etc/x", before);
        trial.laws("ini", &wish);
        assert_eq!(String::from_utf8(trial.read("/etc/x")).unwrap(), after, "{before}");
    };
    let k = |section, values: &[&str]| ini(section, "k", values, &[]);
    check("", k("s", &["1"]), "[s]\nk = 1\n");
    check("", k("", &["1"]), "k = 1\n");
    check("[a]\nx=1\n", k("s", &["1"]), "[a]\nx=1\n\n[s]\nk=1\n");
    check("[s]\nx=1\n\n[t]\nk=0\n", k("s", &["1"]), "[s]\nx=1\nk=1\n\n[t]\nk=0\n");
    check("[s]\n  k  =  0\n", k("s", &["1"]), "[s]\n  k  =  1\n");
    check("[s]\n;k=0\n# k\nk=0 ; x\n", k("s", &["1"]), "[s]\n;k=0\n# k\nk=1\n");
    check("[s]\r\nk=0\r\n", k("s", &["1"]), "[s]\r\nk=1\r\n");
    check("[s]\nk=1\nk=2\nk=3\nz=0\n", k("s", &["1", "9"]), "[s]\nk=1\nk=9\nz=0\n");
    check("[s]\nk=1\nz=0\n", k("s", &["1", "2", "3"]), "[s]\nk=1\nk=2\nk=3\nz=0\n");
    check("[s]\na=1\n[t]\n[s]\nb=1\n", k("s", &["1"]), "[s]\na=1\n[t]\n[s]\nb=1\nk=1\n");
    check("[s]\nk\n", k("s", &["1"]), "[s]\nk = 1\n");
    check("[s]\nk=\n", k("s", &["1"]), "[s]\nk=1\n");
    check("[s]\nk=1\n", k("s", &[""]), "[s]\nk=\n");
    check("[s]\nx=1\n", ini("s", "k", &[], &[("allow-no-value", true.into())]), "[s]\nx=1\nk\n");
    check("[s]\nx=1\n", ini("s", "k", &["1"], &[("spaces", true.into())]), "[s]\nx=1\nk = 1\n");
    let gone = ("state", Value::from("absent"));
    check("[s]\nk=1\nx=1\nk=2\n", ini("s", "k", &[], std::slice::from_ref(&gone)), "[s]\nx=1\n");
    check("a=1\n[s]\nk=1\n[t]\nx=1\n", ini("s", "", &[], &[gone]), "a=1\n[t]\nx=1\n");
}

#[test]
fn what_is_there_stays() {
    let check = |text: &str, wish: Params| {
        let trial = Trial::new();
        trial.write("/etc/x", text);
        trial.assert_in_sync("ini", &wish);
    };
    check("[s]\n k = 1 \n", ini("s", "k", &["1"], &[]));
    check("k=1\n[s]\n", ini("", "k", &["1"], &[]));
    check("[s]\nk=0\n", ini("t", "k", &[], &[("state", "absent".into())]));
    check("[s]\nk=\n", ini("s", "k", &[""], &[]));
}

#[test]
fn bytes_that_are_no_text_stay() {
    let trial = Trial::new();
    trial.write("/etc/x", b"\xff=\xfe\n[s]\nk=\xfd\n");
    trial.laws("ini", &ini("s", "k", &["1"], &[]));
    assert_eq!(trial.read("/etc/x"), b"\xff=\xfe\n[s]\nk=1\n");
}

#[test]
fn mistakes_are_found_before_the_host() {
    let check = |params: Params, expected: &str| {
        let problems = Trial::new().problems("ini", &params);
        assert!(problems.iter().any(|problem| problem.message.contains(expected)), "{problems:?}");
    };
    check(ini("s", "", &["1"], &[]), "is missing");
    check(ini("s", "k", &[], &[]), "is missing");
    check(ini("s]", "k", &["1"], &[]), "must not contain a line end or a `]`");
    check(ini("s", "k=", &["1"], &[]), "not the name");
    check(ini("s", "k", &["a\nb"], &[]), "must be one line");
    check(ini("", "", &[], &[("state", "absent".into())]), "must have `section` or `option`");
}

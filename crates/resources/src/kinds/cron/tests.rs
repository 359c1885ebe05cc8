//! The file of a job, and the refused parameters.

use converge_model::{Params, Scalar, Shown, Value};

use crate::kind::Planned;
use crate::kinds::testing::{Trial, change, impossible, params, values};
use crate::overlay::{Effect, Version};

const KIND: &str = "cron";

fn job(more: &[(&str, &str)]) -> Params {
    let mut all = params([("name", "backup".into()), ("command", "true".into())]);
    more.iter().for_each(|(name, value)| all.set(name, Value::from(*value)));
    all
}

/// A host with cron.
fn host() -> Trial {
    let trial = Trial::new();
    trial.write("/usr/sbin/cron", "");
    std::fs::create_dir_all(trial.at("/etc/cron.d")).unwrap();
    trial
}

fn written(more: &[(&str, &str)]) -> String {
    let trial = host();
    trial.laws(KIND, &job(more));
    String::from_utf8(trial.read("/etc/cron.d/backup")).unwrap()
}

#[test]
fn a_job_is_one_line_with_its_user() {
    let head = "# Written by Converge.\n";
    assert_eq!(written(&[]), format!("{head}* * * * * root true\n"));
    assert_eq!(
        written(&[("minute", "*/10"), ("hour", "8-18/2"), ("weekday", "mon-fri"), ("user", "nobody")]),
        format!("{head}*/10 8-18/2 * * mon-fri nobody true\n")
    );
    assert_eq!(written(&[("special", "daily")]), format!("{head}@daily root true\n"));
    assert_eq!(written(&[("command", "date +%F")]), format!("{head}* * * * * root date +\\%F\n"));
}

/// The command that cron passes to the shell for this line, as in Debian's do_command.c.
fn as_cron_reads(command: &str) -> String {
    let mut read = String::new();
    let mut letters = command.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '%' => break,
            '\\' => match letters.next() {
                Some(next @ ('%' | '\\')) => read.push(next),
                next => read.extend(['\\'].into_iter().chain(next)),
            },
            letter => read.push(letter),
        }
    }
    read
}

#[test]
fn a_command_reaches_the_shell_as_it_is_written() {
    let check = |command: &str| {
        let text = written(&[("command", command)]);
        let (_, line) = text.trim_end().split_once("* * * * * root ").unwrap();
        assert_eq!(as_cron_reads(line), command);
    };
    check("date +%F");
    check("printf '%s%%' x");
    check(r"sed -i 's/\.old$/\\/' /srv/x");
    check(r"grep -E '^\s*\d+' /srv/x % \");
    check(r"a\\\b \n %");
}

#[test]
fn a_percent_sign_that_is_escaped_already_is_an_error_with_the_spelling() {
    let problems = host().problems(KIND, &job(&[("command", r"echo $(date +\%F) '\%'")]));
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("an escaped `%`"), "{problems:?}");
    assert!(problems[0].help.as_deref().unwrap().ends_with("`echo $(date +%F) '%'`"), "{problems:?}");
}

#[test]
fn a_disabled_job_stays_in_its_file() {
    let trial = host();
    let mut wish = job(&[]);
    wish.set("disabled", true.into());
    trial.laws(KIND, &wish);
    let text = String::from_utf8(trial.read("/etc/cron.d/backup")).unwrap();
    assert!(text.ends_with("# disabled: * * * * * root true\n"), "{text}");
    trial.laws(KIND, &job(&[("state", "absent")]));
}

#[test]
fn variables_come_first_and_a_secret_among_them_hides_the_file() {
    let trial = host();
    let mut wish = job(&[]);
    let env = |value: Scalar| {
        Value::Map(vec![("MAILTO".into(), vec!["a \"b\"".into()]), ("TOKEN".into(), vec![value])])
    };
    wish.set("env", env("x y".into()));
    trial.laws(KIND, &wish);
    let text = String::from_utf8(trial.read("/etc/cron.d/backup")).unwrap();
    assert!(text.contains("\nMAILTO='a \"b\"'\nTOKEN=\"x y\"\n* *"), "{text}");
    wish.set("env", env(trial.secret("hunter22")));
    let shown = change(trial.plan(KIND, &wish));
    assert!(!values(&shown).contains("bytes"), "a size tells of it: {shown:?}");
    assert!(shown.properties.iter().any(|p| p.property == "mode" && p.after == Shown::from("0600")));
}

#[test]
fn what_cron_would_not_read_is_refused() {
    let trial = host();
    let check = |more: &[(&str, &str)], message: &str| {
        let problems = trial.problems(KIND, &job(more));
        assert!(problems.len() == 1 && problems[0].message.contains(message), "{more:?}: {problems:?}");
    };
    check(&[("minute", "60")], "must be from 0 to 59");
    check(&[("minute", "")], "must be from 0 to 59");
    check(&[("minute", "+5")], "must be from 0 to 59");
    check(&[("month", "apr-3")], "must end after its start");
    check(&[("minute", "5/10")], "a range before its step");
    check(&[("minute", "*/0")], "a step from 1 to 59");
    check(&[("hour", "18-8")], "must end after its start");
    check(&[("hour", "1 2")], "must be from 0 to 23");
    check(&[("day", "0")], "must be from 1 to 31");
    check(&[("month", "january")], "must be from 1 to 12");
    check(&[("weekday", "8")], "must be from 0 to 7");
    check(&[("special", "daily"), ("hour", "3")], "together with the five fields");
    check(&[("special", "often")], "must be one of");
    check(&[("name", "a.b")], "cannot be the name of a job");
    check(&[("command", "a\nb")], "must be one line");
    check(&[("command", " ")], "is missing");
    check(&[("user", "a b")], "not the name of a user");
}

#[test]
fn fields_take_all_that_cron_takes() {
    let trial = host();
    for (field, text) in [
        ("minute", "0,15-30/5,59"),
        ("hour", "*/2"),
        ("month", "JAN,3-5"),
        ("month", "jan-1,4-apr,12-dec"),
        ("weekday", "7"),
        ("weekday", "Sun-Sat"),
    ] {
        assert_eq!(trial.problems(KIND, &job(&[(field, text)])), [], "{field} {text}");
    }
}

#[test]
fn without_cron_no_daemon_runs_it() {
    let trial = Trial::new();
    std::fs::create_dir_all(trial.at("/etc/cron.d")).unwrap();
    assert_eq!(impossible(trial.plan(KIND, &job(&[]))), "the program cron does not exist");
    let after = |effects: Vec<Effect>| trial.plan_after(effects, KIND, &job(&[]));
    let brings = |name: &str| vec![Effect::Package(name.to_owned(), Some(Version::Unknown)), Effect::Open];
    assert_eq!(impossible(after(vec![Effect::Open])), "the program cron does not exist");
    let Planned::Impossible { help, .. } = after(brings("sl")) else { panic!("sl brings no cron") };
    assert_eq!(help.as_deref(), Some("declare `package \"cron\"` before it"));
    for package in ["cron", "systemd-cron"] {
        assert_ne!(change(after(brings(package))).certainty, converge_model::Certainty::Exact);
    }
    trial.assert_in_sync(KIND, &job(&[("state", "absent")]));
}

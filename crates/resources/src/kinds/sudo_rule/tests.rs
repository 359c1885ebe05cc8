//! Rules of sudo: their text, and their apply on a trial host.

use super::rule::escaped;
use super::*;
use converge_model::{Params, Scalar, Value};

use crate::kinds::testing::{Trial, finished, impossible, params};

fn rule(more: &[(&str, Value)]) -> Params {
    let mut wish = params([("name", "ops".into())]);
    more.iter().for_each(|(name, value)| wish.set(name, value.clone()));
    wish
}

fn list(texts: &[&str]) -> Value {
    Value::List(texts.iter().map(|text| Scalar::from(*text)).collect())
}

#[test]
fn a_rule_is_a_line_of_sudoers() {
    let check = |more: &[(&str, Value)], lines: &str| {
        let wish = rule(more);
        let mut reader = Reader::new(&wish, None);
        let text = SudoRule::decode(&mut reader).text.unwrap();
        assert_eq!(reader.finish(), Ok(()), "{more:?}");
        assert_eq!(String::from_utf8(text).unwrap(), format!("# Kept by Converge.\n{lines}\n"));
    };
    check(&[("user", "ada".into())], "ada ALL = ALL");
    check(
        &[
            ("group", "operators".into()),
            ("commands", "/usr/bin/systemctl restart shop".into()),
            ("nopasswd", true.into()),
        ],
        "%operators ALL = NOPASSWD: /usr/bin/systemctl restart shop",
    );
    check(
        &[
            ("user", "ada".into()),
            ("commands", list(&["/bin/env A=b:c", "!/bin/su", "sha256:0aF= /bin/x 1,2"])),
            ("runas", "postgres:www-data".into()),
            ("noexec", true.into()),
            ("setenv", true.into()),
            ("defaults", list(&["!requiretty", "timestamp_timeout=0"])),
        ],
        "Defaults:ada !requiretty\nDefaults:ada timestamp_timeout=0\n\
         ada ALL = (postgres:www-data) NOEXEC: SETENV: /bin/env A\\=b\\:c, !/bin/su, sha256:0aF= /bin/x 1\\,2",
    );
    assert_eq!(escaped(r"a\=b=c\\,d"), r"a\=b\=c\\\,d", "what is escaped is left");
}

#[test]
fn sudo_never_passes_over_a_rule_for_its_name() {
    let check = |name: &str, file: &str| assert_eq!(path(name), Path::new(file));
    check("operators", "/etc/sudoers.d/operators");
    check("ada.lovelace", "/etc/sudoers.d/ada_lovelace");
    check("old~", "/etc/sudoers.d/old_");
}

#[test]
fn mistakes_are_found() {
    let trial = Trial::new();
    let check = |more: &[(&str, Value)], count: usize| {
        let problems = trial.problems("sudo-rule", &rule(more));
        assert_eq!(problems.len(), count, "{more:?}: {problems:?}");
    };
    check(&[], 1);
    check(&[("user", "a".into()), ("group", "b".into())], 1);
    check(&[("user", "a\nALL".into())], 1);
    check(&[("user", "a".into()), ("commands", "systemctl".into())], 1);
    check(&[("user", "a".into()), ("commands", "/bin/x\nb ALL = ALL".into())], 1);
    check(&[("user", "a".into()), ("runas", "x) NOPASSWD: (y".into())], 1);
    check(&[("user", "a".into()), ("name", ".hidden".into())], 1);
    for hostile in ["sha256:0aF=, /bin/x", "sha256:0aF= x", "shaming /bin/x"] {
        check(&[("user", "a".into()), ("commands", hostile.into())], 1);
    }
    for hostile in ["!requiretty, !authenticate", "!requiretty # x", "badpass_message=\"a"] {
        check(&[("user", "a".into()), ("defaults", hostile.into())], 1);
    }
    check(&[("user", "a".into()), ("defaults", "badpass_message=\"a, b # c\"".into())], 0);
    check(&[("state", "absent".into())], 0);
}

#[test]
fn the_rule_that_the_run_came_by_stays() {
    let trial = Trial::new();
    trial.write("/usr/sbin/visudo", "");
    trial.write("/etc/sudoers", "root ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n");
    trial.write("/etc/sudoers.d/ops", "ada ALL=(ALL) NOPASSWD: ALL\n");
    let gone = rule(&[("state", "absent".into())]);
    assert!(matches!(trial.plan("sudo-rule", &gone), Planned::Change(_)), "no login used it");
    trial.world().log_in("ada");
    let message = "removing the only rule that makes it root would lock out ada, whose login this run uses";
    assert_eq!(impossible(trial.plan("sudo-rule", &gone)), message);
    let less = rule(&[("user", "ada".into()), ("commands", "/bin/true".into())]);
    assert_eq!(impossible(trial.plan("sudo-rule", &less)), message);
    trial.write("/etc/passwd", "ada:x:7:7::/home/ada:/bin/sh\n");
    trial.write("/etc/group", "root:x:0:\nsudo:x:27:ada\n");
    assert!(matches!(trial.plan("sudo-rule", &gone), Planned::Change(_)), "the group sudo serves as well");
}

#[test]
fn a_rule_lands_only_when_visudo_agrees() {
    let trial = Trial::new();
    trial.write("/etc/sudoers.d/README", "");
    let ada = rule(&[("user", "ada".into())]);
    assert_eq!(impossible(trial.plan("sudo-rule", &ada)), "the program visudo does not exist");
    trial.write("/usr/sbin/visudo", "");
    let before = trial.image();
    trial.answer(|_| finished(1, ">>> syntax error"));
    trial.apply("sudo-rule", &ada).err().unwrap();
    assert_eq!(trial.image(), before);
    trial.answer(|command| finished(i32::from(command.words[..3] != ["visudo", "-c", "-f"]), ""));
    if rustix::process::geteuid().is_root() {
        trial.laws("sudo-rule", &ada);
        trial.laws("sudo-rule", &rule(&[("state", "absent".into())]));
    } else {
        // Only root may give a file to root. After the failure no file must be left.
        trial.apply("sudo-rule", &ada).err().unwrap();
        assert_eq!(trial.image(), before);
    }
}

#[test]
fn a_command_may_be_an_alias_by_the_shape_of_its_name() {
    let trial = Trial::new();
    let check = |command: &str, count: usize| {
        let problems =
            trial.problems("sudo-rule", &rule(&[("user", "a".into()), ("commands", command.into())]));
        assert_eq!(problems.len(), count, "{command}: {problems:?}");
    };
    for command in ["SHUTDOWN", "WEB_2", "!SHUTDOWN", "ALL"] {
        check(command, 0);
    }
    for command in ["SHUT-DOWN", "Web Server", "_WEB", "web"] {
        check(command, 1);
    }
}

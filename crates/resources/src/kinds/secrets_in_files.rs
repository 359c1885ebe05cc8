//! Secrets in files of any kind. Only the owner can read a new file. The plan warns if others can read a file.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use converge_model::value::Row;
use converge_model::{Cell, Content, Params, Scalar, Value};

use crate::kind::Planned;
use crate::kinds::testing::{Trial, params};
use crate::overlay::Effect;
use crate::registry;
use crate::view::{Body, Place};
use crate::wish::Filling;

/// Resources of the kinds that write a text with a secret, each with its file.
fn all(trial: &Trial) -> Vec<(&'static str, Params, &'static str)> {
    let secret = || trial.secret("hunter2");
    let content = || match secret() {
        Scalar::Secret(reference) => Content::Secret(reference),
        _ => unreachable!(),
    };
    let part =
        Row(vec![("name".into(), Cell::Scalar("x".into())), ("content".into(), Cell::Content(content()))]);
    fs::create_dir_all(trial.at("/etc/t")).unwrap();
    let path = |path: &str| ("path", Value::from(path));
    vec![
        ("file", params([path("/etc/f"), ("content", Value::Content(content()))]), "/etc/f"),
        (
            "line",
            params([path("/etc/l"), ("text", Value::Scalar(secret())), ("match", "^p=".into())]),
            "/etc/l",
        ),
        ("block", params([path("/etc/b"), ("content", Value::Scalar(secret()))]), "/etc/b"),
        (
            "ini",
            params([
                path("/etc/i"),
                ("section", "a".into()),
                ("option", "p".into()),
                ("value", Value::Scalar(secret())),
            ]),
            "/etc/i",
        ),
        ("tree", params([path("/etc/t"), ("file", Value::Rows(vec![part]))]), "/etc/t/x"),
    ]
}

fn warnings(trial: &Trial, kind: &str, params: &Params) -> Vec<String> {
    match trial.plan(kind, params) {
        Planned::Change(planned) => planned.warnings,
        other => panic!("{kind}: not a change: {other:?}"),
    }
}

fn mode(trial: &Trial, path: &str) -> u32 {
    fs::metadata(trial.at(path)).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_new_file_with_a_secret_is_for_its_owner_alone() {
    let trial = Trial::new();
    for (kind, params, path) in all(&trial) {
        assert_eq!(warnings(&trial, kind, &params), [""; 0], "{kind}");
        trial.laws(kind, &params);
        assert_eq!(mode(&trial, path), 0o600, "{kind}");
    }
}

#[test]
fn an_old_file_keeps_its_mode_and_the_plan_warns_of_one_that_others_can_read() {
    for (before, told) in [(0o644, true), (0o640, false)] {
        let trial = Trial::new();
        for (kind, params, path) in all(&trial) {
            trial.write(path, "old\n");
            fs::set_permissions(trial.at(path), fs::Permissions::from_mode(before)).unwrap();
            let warnings = warnings(&trial, kind, &params);
            assert_eq!(warnings.len(), usize::from(told), "{kind}: {warnings:?}");
            assert!(warnings.iter().all(|warning| warning.contains(&format!("{path}, whose mode is 0644"))));
            trial.apply(kind, &params).unwrap();
            assert_eq!(mode(&trial, path), before, "{kind}");
        }
    }
}

#[test]
fn a_mode_that_lets_everybody_read_a_secret_is_warned_of_without_a_host() {
    let check = |mode: i64, told: usize| {
        let trial = Trial::new();
        for (kind, mut params, _) in all(&trial) {
            if let Some(Value::Rows(rows)) =
                params.0.iter_mut().find(|(name, _)| name == "file").map(|(_, v)| v)
            {
                rows[0].0.push(("mode".into(), Cell::Scalar(mode.into())));
            } else {
                params.set("mode", mode.into());
            }
            let told_of = registry::kind(kind).unwrap().check(&params).unwrap().warnings;
            assert_eq!(told_of.len(), told, "{kind} {mode:o}: {told_of:?}");
            assert_eq!(warnings(&trial, kind, &params).len(), told, "{kind} {mode:o}");
        }
    };
    check(0o644, 1);
    check(0o640, 0);
}

#[test]
fn a_secret_in_a_unit_or_in_fstab_is_warned_of_with_the_way_out() {
    let trial = Trial::new();
    let check = |kind: &str, params: &Params, way: &str| {
        let told = registry::kind(kind).unwrap().check(params).unwrap().warnings;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].help.as_deref().is_some_and(|help| help.contains(way)), "{told:?}");
    };
    let unit = |options: Vec<(&str, Scalar)>| {
        let options = options.into_iter().map(|(key, value)| (key.to_owned(), vec![value])).collect();
        let section = Row(vec![
            ("name".into(), Cell::Scalar("Service".into())),
            ("options".into(), Cell::Map(options)),
        ]);
        params([("name", "app".into()), ("section", Value::Rows(vec![section]))])
    };
    check("systemd-unit", &unit(vec![("Environment", trial.secret("A=b"))]), "EnvironmentFile");
    check("systemd-unit", &unit(vec![("ExecStart", trial.secret("/bin/x --pw=b"))]), "LoadCredential");
    let plain = unit(vec![("ExecStart", "/bin/x".into())]);
    assert_eq!(registry::kind("systemd-unit").unwrap().check(&plain).unwrap().warnings, []);
    let mount = |option: Scalar| {
        params([
            ("path", "/mnt/x".into()),
            ("source", "//nas/x".into()),
            ("state", "present".into()),
            ("options", Value::List(vec![option])),
        ])
    };
    check("mount", &mount(trial.secret("password=b")), "credentials=");
    assert_eq!(registry::kind("mount").unwrap().check(&mount("ro".into())).unwrap().warnings, []);
    trial.write("/etc/fstab", "");
    assert_eq!(warnings(&trial, "mount", &mount(trial.secret("password=b"))).len(), 1, "said once");
}

/// A unit with a secret in an option, and its file.
fn unit(trial: &Trial) -> (&'static str, Params, &'static str) {
    let section = Row(vec![
        ("name".into(), Cell::Scalar("Service".into())),
        ("options".into(), Cell::Map(vec![("Environment".to_owned(), vec![trial.secret("A=hunter2")])])),
    ]);
    fs::create_dir_all(trial.at("/etc/systemd/system")).unwrap();
    let params = params([("name", "app".into()), ("section", Value::Rows(vec![section]))]);
    ("systemd-unit", params, "/etc/systemd/system/app.service")
}

#[test]
fn what_a_secret_takes_the_place_of_is_kept_in_memory_alone() {
    let trial = Trial::new();
    for (kind, params, path) in all(&trial).into_iter().chain([unit(&trial)]) {
        trial.write(path, "[Service]\np=older\n");
        let undo = trial.apply(kind, &params).unwrap();
        assert!(String::from_utf8(trial.read(path)).unwrap().contains("hunter2"), "{kind}");
        let kept = fs::read_dir(trial.at("/var/lib/converge/undo")).unwrap().count();
        assert_eq!(kept, 0, "{kind}: the old text may hold the secret of before");
        trial.restore(undo);
        assert_eq!(trial.read(path), b"[Service]\np=older\n", "{kind}");
    }
}

#[test]
fn a_unit_with_a_secret_that_its_mode_shows_to_everybody_is_warned_of_for_both() {
    let trial = Trial::new();
    let (kind, mut params, _) = unit(&trial);
    let warned = |params: &Params| trial.checked(kind, params).warnings.len();
    assert_eq!(warned(&params), 1, "systemctl shows it");
    params.set("mode", 0o644.into());
    assert_eq!(warned(&params), 2, "so does the file");
}

/// The agent shows a line of a file with a secret only if it is in the resource's text without secrets. So that text
/// must be the text of the file.
#[test]
fn the_text_that_a_resource_tells_of_is_what_it_writes() {
    let trial = Trial::new();
    trial.write("/usr/sbin/visudo", "");
    fs::create_dir(trial.at("/etc/sudoers.d")).unwrap();
    trial.write("/proc/sys/net/core/somaxconn", "128\n");
    let check = |kind: &str, params: &Params, told: Option<&str>| {
        let text = trial.text(kind, params).map(|text| String::from_utf8(text).unwrap());
        assert_eq!(text.as_deref(), told, "{kind}");
        let written = trial.look(kind, params).effects.into_iter().any(|effect| match effect {
            Effect::Path(_, Some(Place { body: Body::Text(text), .. })) => {
                String::from_utf8_lossy(&text).contains(told.unwrap_or_default())
            }
            Effect::Path(_, Some(Place { body: Body::Planned(Filling::Secret(text)), .. })) => {
                String::from_utf8_lossy(text.expose()).contains(told.unwrap_or_default())
            }
            _ => told.is_none_or(str::is_empty),
        });
        assert!(written, "{kind}");
    };
    let named = |name: &str, more: (&str, Value)| params([("name", name.into()), more]);
    check("line", &params([("path", "/etc/l".into()), ("text", "a = 1".into())]), Some("a = 1\n"));
    let rule = named("ops", ("user", "ada".into()));
    check("sudo-rule", &rule, Some("# Kept by Converge.\nada ALL = ALL\n"));
    let setting = named("net.core.somaxconn", ("value", 1024.into()));
    check("sysctl", &setting, Some("net.core.somaxconn = 1024\n"));
    let (kind, wish, _) = unit(&trial);
    let head = "# Kept by Converge: what is changed here is put back.\n\n[Service]\n";
    check(kind, &wish, Some(&format!("{head}Environment=A=hunter2\n")));
    let cache = [("path", "/srv/c".into()), ("source", "tmpfs".into()), ("fstype", "tmpfs".into())];
    let mut cache = params(cache);
    cache.set("state", "present".into());
    check("mount", &cache, Some("tmpfs /srv/c tmpfs defaults 0 0\n"));
    for (kind, params, _) in all(&trial).into_iter().filter(|(kind, ..)| ["file", "tree"].contains(kind)) {
        check(kind, &params, Some("hunter2"));
    }
    let Value::Content(plain) = trial.content("plain\n") else { unreachable!("content is content") };
    let part = Row(vec![("name".into(), Cell::Scalar("x".into())), ("content".into(), Cell::Content(plain))]);
    check("tree", &params([("path", "/etc/t".into()), ("file", Value::Rows(vec![part]))]), Some(""));
}

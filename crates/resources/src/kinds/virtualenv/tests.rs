//! Environments on a host with simulated interpreters and installers.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};

use converge_model::{Certainty, Change, Content, Params, Scalar, Shown, Value, Verb};

use sha2::{Digest as _, Sha256};

use crate::kinds::testing::{Trial, change, finished, impossible, params};
use crate::overlay::Effect;
use crate::system::files::Sort;
use crate::system::processes::{Command, Finished};
use crate::view::{Body, Place};
use crate::wish::{Filling, Text};

/// The environment of every test.
const VENV: &str = "/opt/venv";

/// A host with Python 3.11 and a simulated pip. The installer writes the metadata of the required distributions, and
/// installs `dep` together with `lib`.
fn host() -> Trial {
    let trial = Trial::new();
    python(&trial, "3.11");
    fs::create_dir_all(trial.at("/opt")).unwrap();
    let root = trial.at("/");
    trial.answer(move |command| run(&root, command));
    trial
}

fn python(trial: &Trial, version: &str) {
    trial.write(&format!("/usr/bin/python{version}"), "");
    trial.write(&format!("/usr/lib/python{version}/os.py"), "");
    trial.write(&format!("/usr/lib/python{version}/ensurepip/__init__.py"), "");
    let link = trial.at("/usr/bin/python3");
    let _ = fs::remove_file(&link);
    symlink(format!("python{version}"), link).unwrap();
}

fn run(root: &Path, command: &Command) -> Finished {
    let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
    match &words[..] {
        ["cp" | "find" | "/bin/sh", ..] => really(&words),
        [python, "-m", "venv", path] => make(root, python, Path::new(path)),
        [python, "-m", "ensurepip"] => {
            let venv = Path::new(python).ancestors().nth(2).unwrap();
            distribution(&site(venv), "pip", "23.0");
            finished(0, "")
        }
        [_, "-m", "pip", "install", "--no-cache-dir", "--no-deps", project] if project.ends_with("/app") => {
            let site = site(&root.join(VENV.trim_start_matches('/')));
            distribution(&site, "my-app", "0.1");
            note_origin(&site, "my-app", r#"{"url": "file:///srv/app", "dir_info": {}}"#);
            finished(0, "")
        }
        [_, "-m", "pip", "install", rest @ ..] => install(command.folder.as_deref().unwrap(), root, rest),
        [_, "-m", "pip", "uninstall", "--yes", names @ ..] => {
            let site = site(&root.join(VENV.trim_start_matches('/')));
            names.iter().for_each(|name| uninstall(&site, name));
            finished(0, "")
        }
        other => finished(127, &format!("no {other:?}")),
    }
}

fn really(words: &[&str]) -> Finished {
    let output = std::process::Command::new(words[0]).args(&words[1..]).output().unwrap();
    finished(output.status.code().unwrap(), &String::from_utf8_lossy(&output.stderr))
}

fn make(root: &Path, python: &str, path: &Path) -> Finished {
    let version = fs::read_link(root.join("usr/bin/python3")).unwrap();
    let version = version.to_str().unwrap().trim_start_matches("python").to_owned();
    fs::create_dir_all(path.join("bin")).unwrap();
    symlink(python, path.join("bin/python")).unwrap();
    let place = path.display();
    let config = format!(
        "home = /usr/bin\ninclude-system-site-packages = false\nversion = {version}.2\ncommand = {python} -m venv {place}\n"
    );
    fs::write(path.join("pyvenv.cfg"), config).unwrap();
    fs::write(path.join("bin/activate"), format!("VIRTUAL_ENV=\"{place}\"\nexport VIRTUAL_ENV\n")).unwrap();
    fs::write(path.join("bin/pip"), format!("#!{place}/bin/python3\nimport pip\n")).unwrap();
    distribution(&path.join(format!("lib/python{version}/site-packages")), "pip", "23.0");
    finished(0, "")
}

fn site(venv: &Path) -> std::path::PathBuf {
    let version = fs::read_dir(venv.join("lib")).unwrap().next().unwrap().unwrap();
    version.path().join("site-packages")
}

fn uninstall(site: &Path, name: &str) {
    for entry in fs::read_dir(site).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().starts_with(&format!("{name}-")) {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
}

fn distribution(site: &Path, name: &str, version: &str) {
    fs::create_dir_all(site).unwrap();
    uninstall(site, name);
    let folder = site.join(format!("{name}-{version}.dist-info"));
    fs::create_dir(&folder).unwrap();
    fs::write(
        folder.join("METADATA"),
        format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: no\n"),
    )
    .unwrap();
    // The undo store may keep the old file as a hard link, so do not write into it.
    let _ = fs::remove_file(site.join(format!("{name}.py")));
    fs::write(site.join(format!("{name}.py")), version).unwrap();
    fs::write(folder.join("RECORD"), format!("{name}.py,sha256={version},1\n__pycache__/{name}.pyc,,\n"))
        .unwrap();
}

/// The folder of a distribution's metadata.
fn metadata(site: &Path, name: &str) -> std::path::PathBuf {
    let mut names = fs::read_dir(site).unwrap().map(|entry| entry.unwrap().path());
    names.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&format!("{name}-"))).unwrap()
}

fn note_origin(site: &Path, name: &str, text: &str) {
    fs::write(metadata(site, name).join("direct_url.json"), text).unwrap();
}

/// pip's note for `name @ git+URL@REVISION`. The commit of a revision is made from its letters.
fn of_repository(place: &str) -> String {
    let (url, revision) = place.strip_prefix("git+").unwrap().rsplit_once('@').unwrap();
    let commit = commit(revision);
    format!(
        r#"{{"url": "{url}", "vcs_info": {{"vcs": "git", "requested_revision": "{revision}", "commit_id": "{commit}"}}}}"#
    )
}

fn commit(revision: &str) -> String {
    revision.bytes().map(|byte| format!("{byte:02x}")).collect::<String>().repeat(40)[..40].to_owned()
}

fn install(folder: &Path, root: &Path, words: &[&str]) -> Finished {
    let site = site(&root.join(folder.strip_prefix("/").unwrap()));
    let wheels = words.iter().filter_map(|word| word.rsplit('/').next()?.strip_suffix(".whl"));
    for wheel in wheels {
        let (name, rest) = wheel.split_once('-').unwrap();
        let version = rest.split('-').next().unwrap();
        // pip skips a version that is installed already.
        if site.join(format!("{name}-{version}.dist-info")).exists() {
            continue;
        }
        distribution(&site, name, version);
        let hash: String =
            Sha256::digest(fs::read(root.join("opt").join(wheel.to_owned() + ".whl")).unwrap())
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
        let origin =
            format!(r#"{{"url": "file:///opt/{wheel}.whl", "archive_info": {{"hash": "sha256={hash}"}}}}"#);
        note_origin(&site, name, &origin);
    }
    for (flag, file) in words.iter().zip(&words[1..]) {
        if *flag != "-r" {
            continue;
        }
        for line in fs::read_to_string(file).unwrap().lines().filter(|line| !line.starts_with('#')) {
            let place = line.split_once(" @ ").map(|(_, place)| place);
            let line = line.split(' ').next().unwrap();
            let (name, version) = line.split_once("==").unwrap_or((line, "9"));
            if name == "broken" {
                return finished(1, "ERROR: No matching distribution found for broken");
            }
            if site.join(format!("{name}-{version}.dist-info/RECORD")).exists() {
                continue;
            }
            distribution(&site, name, version);
            if let Some(place) = place {
                note_origin(&site, name, &of_repository(place));
            }
            if name == "lib" && !words.contains(&"--no-deps") {
                distribution(&site, "dep", "1");
            }
        }
    }
    finished(0, "")
}

fn venv(more: &[(&str, Value)]) -> Params {
    let mut params = params([("path", VENV.into())]);
    more.iter().for_each(|(name, value)| params.set(name, value.clone()));
    params
}

fn listed(names: &[&str]) -> Value {
    Value::List(names.iter().map(|name| Scalar::from(*name)).collect())
}

fn exactly(trial: &Trial, text: &str) -> Params {
    venv(&[("content", trial.content(text)), ("exact", true.into())])
}

/// The properties as a plan shows them.
fn shown(change: &Change) -> Vec<String> {
    let text = |shown: &Shown| match shown {
        Shown::Absent => "-".to_owned(),
        Shown::Text(text) => text.clone(),
        Shown::Masked => "masked".to_owned(),
        Shown::Unknown(_) => "?".to_owned(),
    };
    let properties = change.properties.iter();
    properties.map(|p| format!("{}: {} -> {}", p.property, text(&p.before), text(&p.after))).collect()
}

fn why(change: &Change) -> String {
    let unknown = |p: &converge_model::PropertyChange| match &p.after {
        Shown::Unknown(why) => Some(why.clone()),
        _ => None,
    };
    change.properties.iter().find_map(unknown).unwrap_or_default()
}

#[test]
fn a_plan_names_exactly_the_distributions_that_change() {
    let trial = host();
    let made = trial.laws("virtualenv", &exactly(&trial, "flask==3.0.0\njinja2==3.1\n"));
    assert_eq!(made.verb, Verb::Create);
    assert_eq!(shown(&made), ["python: - -> /usr/bin/python3.11", "flask: - -> 3.0.0", "jinja2: - -> 3.1"]);
    let changed = trial.laws("virtualenv", &exactly(&trial, "flask==3.0.1\nclick==8\n"));
    assert_eq!(changed.verb, Verb::Update);
    assert_eq!(shown(&changed), ["click: - -> 8", "flask: 3.0.0 -> 3.0.1", "jinja2: 3.1 -> -"]);
    trial.assert_in_sync("virtualenv", &exactly(&trial, "# other words\nClick==8.0\nFlask == 3.0.1\n"));
}

#[test]
fn hashes_make_a_plan_exact_and_leave_what_else_is_there() {
    let trial = host();
    let hashed = |text: &str| venv(&[("content", trial.content(text))]);
    trial.laws("virtualenv", &hashed("a==1 --hash=sha256:00\nb==1 --hash=sha256:00\n"));
    let next = hashed("a==2 --hash=sha256:00\n");
    assert_eq!(shown(&change(trial.plan("virtualenv", &next))), ["a: 1 -> 2"]);
    trial.apply("virtualenv", &next).unwrap();
    assert!(trial.at(&format!("{VENV}/lib/python3.11/site-packages/b-1.dist-info")).is_dir());
}

#[test]
fn what_may_bring_others_is_unknown_once_and_then_in_sync_until_it_changes() {
    let trial = host();
    let wish = |names: &[&str]| venv(&[("install", listed(names))]);
    let planned = change(trial.plan("virtualenv", &wish(&["lib==1"])));
    assert_eq!(shown(&planned)[1..], ["lib: - -> 1", "distributions: - -> ?"]);
    assert!(why(&planned).starts_with("lib may need packages"), "{}", why(&planned));
    trial.laws("virtualenv", &wish(&["lib==1"]));
    let planned = change(trial.plan("virtualenv", &wish(&["lib==1", "tool"])));
    assert_eq!(shown(&planned), ["tool: - -> ?", "distributions: 3 of them -> ?"]);
    trial.apply("virtualenv", &wish(&["lib==1", "tool"])).unwrap();
    trial.assert_in_sync("virtualenv", &wish(&["lib==1", "tool"]));
    fs::remove_dir_all(trial.at(&format!("{VENV}/lib/python3.11/site-packages/dep-1.dist-info"))).unwrap();
    let planned = change(trial.plan("virtualenv", &wish(&["lib==1", "tool"])));
    assert_eq!(shown(&planned), ["dep: - -> ?", "distributions: 3 of them -> ?"]);
}

#[test]
fn a_wheel_says_what_it_is_and_is_installed_after_what_has_a_hash() {
    let trial = host();
    let wheel = |name: &str, needs: &str| {
        trial.write(&format!("/opt/{name}"), name);
        venv(&[("project", format!("/opt/{name}").as_str().into()), ("content", trial.content(needs))])
    };
    let alone = wheel("My_App-1.0-py3-none-any.whl", "");
    let planned = change(trial.plan("virtualenv", &alone));
    assert_eq!(shown(&planned)[1..], ["my-app: - -> 1.0", "distributions: - -> ?"]);
    assert!(why(&planned).starts_with("my-app may need packages"), "{}", why(&planned));
    let locked = wheel("app-2.0-1-py3-none-any.whl", "lib==1 --hash=sha256:00\n");
    let planned = trial.laws("virtualenv", &locked);
    assert_eq!(shown(&planned)[1..], ["app: - -> 2.0", "lib: - -> 1"], "all that comes is named");
    trial.assert_in_sync("virtualenv", &locked);
    let odd = wheel("app.whl", "");
    assert_eq!(
        impossible(trial.plan("virtualenv", &odd)),
        "/opt/app.whl must be named `NAME-VERSION-PYTHON-ABI-PLATFORM.whl`"
    );
}

#[test]
fn files_on_the_host_name_others_and_limits() {
    let trial = host();
    trial.write("/srv/requirements.txt", "-r more/base.txt\n-c limits.txt\nplain\n");
    trial.write(
        "/srv/more/base.txt",
        "base==1 ; python_version >= '3.8'\nold==1 ; python_version < '3'\n-r ../requirements.txt\n",
    );
    trial.write("/srv/limits.txt", "plain==4\n");
    let wish = venv(&[("requirements", listed(&["/srv/requirements.txt"])), ("exact", true.into())]);
    let planned = change(trial.plan("virtualenv", &wish));
    assert_eq!(shown(&planned)[1..], ["base: - -> 1", "plain: - -> 4"]);
}

#[test]
fn a_file_that_comes_with_an_earlier_step_makes_it_conditional() {
    let trial = host();
    let wish = venv(&[("requirements", listed(&["/srv/app/requirements.txt"]))]);
    assert_eq!(
        impossible(trial.plan("virtualenv", &wish)),
        "the file /srv/app/requirements.txt does not exist"
    );
    let planned = change(trial.plan_after(vec![Effect::Open], "virtualenv", &wish));
    assert!(matches!(planned.certainty, Certainty::Conditional { .. }));
    assert_eq!(why(&planned), "/srv/app/requirements.txt comes with an earlier step");
}

#[test]
fn a_file_that_an_earlier_step_takes_from_the_controller_is_read_ahead() {
    let trial = host();
    let Value::Content(Content::Plain { digest, length }) = trial.content("flask==3 --hash=sha256:00\n")
    else {
        panic!("no content");
    };
    let place = Place {
        sort: Sort::File,
        mode: 0o644,
        owner: "root".into(),
        group: "root".into(),
        size: length,
        target: None,
        body: Body::Planned(Filling::Plain { digest, length }),
    };
    let effects = vec![Effect::Path("/srv/requirements.txt".into(), Some(place))];
    let wish = venv(&[("requirements", listed(&["/srv/requirements.txt"]))]);
    let planned = change(trial.plan_after(effects, "virtualenv", &wish));
    assert_eq!(shown(&planned)[1..], ["flask: - -> 3"]);
    assert_eq!(planned.certainty, Certainty::Exact);
}

#[test]
fn a_lock_is_installed_as_it_stands() {
    let trial = host();
    let package =
        |name: &str, more: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"1\"\n{more}\n");
    let lock = format!(
        "version = 1\n{}{}",
        package("app", "source = { virtual = \".\" }\ndependencies = [{ name = \"lib\" }]"),
        package("lib", "source = { registry = \"x\" }\nwheels = [{ url = \"x\", hash = \"sha256:aa\" }]")
    );
    trial.write("/srv/uv.lock", lock);
    let made = trial.laws("virtualenv", &venv(&[("lock", "/srv/uv.lock".into()), ("exact", true.into())]));
    assert_eq!(shown(&made)[1..], ["lib: - -> 1"]);
}

#[test]
fn another_interpreter_and_an_interrupted_change_make_it_anew() {
    let trial = host();
    let wish = exactly(&trial, "a==1\n");
    trial.apply("virtualenv", &wish).unwrap();
    python(&trial, "3.12");
    let replaced = trial.laws("virtualenv", &wish);
    assert_eq!(replaced.verb, Verb::Replace);
    assert_eq!(shown(&replaced), ["python: /usr/bin/python3.11 (3.11.2) -> /usr/bin/python3.12"]);
    assert!(!trial.at(&format!("{VENV}/lib/python3.11")).exists());
    trial.write(&format!("{VENV}/.converge-unfinished"), "");
    let replaced = trial.laws("virtualenv", &wish);
    assert_eq!(shown(&replaced), ["state: its last change was interrupted -> whole"]);
    let mut gone = wish.clone();
    gone.set("python", Value::from("3.13"));
    assert_eq!(impossible(trial.plan("virtualenv", &gone)), "the program python3.13 does not exist");
}

#[test]
fn half_an_environment_is_made_whole() {
    let trial = host();
    let wish = exactly(&trial, "a==1\n");
    trial.apply("virtualenv", &wish).unwrap();
    fs::remove_file(trial.at(&format!("{VENV}/pyvenv.cfg"))).unwrap();
    let replaced = trial.laws("virtualenv", &wish);
    assert_eq!(replaced.verb, Verb::Replace);
    assert_eq!(shown(&replaced)[0], "state: its pyvenv.cfg is missing -> whole");
    fs::remove_dir_all(trial.at(&format!("{VENV}/lib/python3.11/site-packages/pip-23.0.dist-info"))).unwrap();
    trial.assert_in_sync("virtualenv", &wish);
    trial.apply("virtualenv", &exactly(&trial, "a==2\n")).unwrap();
    assert!(trial.at(&format!("{VENV}/lib/python3.11/site-packages/pip-23.0.dist-info")).is_dir());
}

#[test]
fn what_cannot_be_is_told_before_anything_is_installed() {
    let trial = host();
    let check = |text: &str, limits: &str, said: &str| {
        trial.write("/srv/limits.txt", limits);
        let mut wish = exactly(&trial, text);
        wish.set("constraints", listed(&["/srv/limits.txt"]));
        assert_eq!(impossible(trial.plan("virtualenv", &wish)), said, "{text}");
    };
    check("a==1\nA==1.0\na==2\n", "", "asks for a 1 and 2");
    check("a==1\n", "a==2\n", "asks for a 1, but the constraints for 2");
    check(
        "-e /srv/app\n",
        "",
        "`exact` needs the name of every distribution: write `NAME @ -e /srv/app`, or append `#egg=NAME`",
    );
}

#[test]
fn a_project_is_installed_again_when_its_code_changes() {
    let trial = host();
    trial.write("/srv/app/pyproject.toml", "[project]\nname = \"My.App\"\nversion = \"0.1\"\n");
    trial.write("/srv/app/src/app.py", "1");
    let wish = venv(&[("project", "/srv/app".into()), ("exact", true.into())]);
    let made = change(trial.plan("virtualenv", &wish));
    assert_eq!(shown(&made)[1..], ["my-app: - -> 0.1"]);
    trial.laws("virtualenv", &wish);
    trial.write("/srv/app/build/lib/app.py", "made by an installer");
    trial.write("/srv/app/.git/index.py", "of no interest");
    trial.assert_in_sync("virtualenv", &wish);
    trial.write("/srv/app/src/app.py", "2");
    let changed = trial.laws("virtualenv", &wish);
    assert_eq!(shown(&changed), ["project: as it was installed -> as it is now"]);
}

/// The folder of the distributions in the environment of every test.
fn packages(trial: &Trial) -> std::path::PathBuf {
    trial.at(&format!("{VENV}/lib/python3.11/site-packages"))
}

#[test]
fn a_reference_that_changed_is_installed_in_its_place() {
    let trial = host();
    let wish = |line: &str| exactly(&trial, line);
    let first = "tool @ git+file:///srv/tool@v1\n";
    trial.laws("virtualenv", &wish(first));
    trial.assert_in_sync("virtualenv", &wish(&format!("# other words\n{first}")));
    let second = "tool @ git+file:///srv/tool@v2\n";
    let planned = trial.laws("virtualenv", &wish(second));
    assert_eq!(shown(&planned), [format!("tool: 9 from file:///srv/tool@v1 ({}) -> ?", &commit("v1")[..12])]);
    assert_eq!(why(&planned), "only the installer knows the version from file:///srv/tool@v2");
    let noted = fs::read_to_string(metadata(&packages(&trial), "tool").join("direct_url.json")).unwrap();
    assert!(noted.contains("\"v2\""), "{noted}");
    let planned = trial.laws("virtualenv", &wish("tool==9\n"));
    assert_eq!(
        shown(&planned),
        [format!("tool: 9 from file:///srv/tool@v2 ({}) -> from an index", &commit("v2")[..12])]
    );
    assert_eq!(shown(&trial.laws("virtualenv", &wish(second))), ["tool: 9 from an index -> ?"]);
}

#[test]
fn a_reference_that_the_installer_left_alone_is_not_in_sync() {
    let trial = host();
    let wish = |line: &str| exactly(&trial, line);
    trial.apply("virtualenv", &wish("tool @ git+file:///srv/tool@v1\n")).unwrap();
    // An installer that does nothing and reports success.
    let root = trial.at("/");
    trial.answer(move |command| match &command.words[..] {
        [program, ..] if program.ends_with("/bin/python") => finished(0, ""),
        _ => run(&root, command),
    });
    let second = wish("tool @ git+file:///srv/tool@v2\n");
    trial.apply("virtualenv", &second).unwrap();
    assert_eq!(change(trial.plan("virtualenv", &second)).properties[0].property, "tool");
}

#[test]
fn a_tag_that_was_moved_is_installed_again_and_a_branch_stays() {
    let trial = host();
    let wish = exactly(&trial, "tool @ git+file:///srv/tool@v1\n");
    trial.apply("virtualenv", &wish).unwrap();
    let root = trial.at("/");
    let says = |tags: String| {
        let root = root.clone();
        trial.answer(move |command| match command.words[0].as_str() {
            "git" => finished(0, &tags),
            _ => run(&root, command),
        });
    };
    let line = |revision: &str, name: &str| format!("{}\t{name}\n", commit(revision));
    says(line("v0", "refs/tags/v1") + &line("v1", "refs/tags/v1^{}"));
    trial.assert_in_sync("virtualenv", &wish);
    says(line("main", "refs/heads/v1"));
    trial.assert_in_sync("virtualenv", &wish);
    says(line("v7", "refs/tags/v1"));
    let planned = change(trial.plan("virtualenv", &wish));
    let expected =
        format!("only the installer knows the version from file:///srv/tool@v1 ({})", &commit("v7")[..12]);
    assert_eq!(why(&planned), expected);
}

#[test]
fn an_environment_that_was_moved_is_made_anew() {
    let trial = host();
    let wish = exactly(&trial, "a==1\n");
    let mut old = wish.clone();
    old.set("path", Value::from("/opt/old"));
    let check = |move_it: &dyn Fn()| {
        let _ = fs::remove_dir_all(trial.at(VENV));
        let _ = fs::remove_dir_all(trial.at("/opt/old"));
        trial.apply("virtualenv", &old).unwrap();
        move_it();
        let planned = trial.laws("virtualenv", &wish);
        assert_eq!(planned.verb, Verb::Replace);
        assert_eq!(shown(&planned), ["made for: /opt/old -> /opt/venv"]);
        let script = String::from_utf8(trial.read(&format!("{VENV}/bin/pip"))).unwrap();
        assert!(script.contains("/opt/venv/bin/python3"), "{script}");
    };
    let move_it = || fs::rename(trial.at("/opt/old"), trial.at(VENV)).unwrap();
    check(&move_it);
    // Older Pythons and uv do not note the command. After a copy the other path still exists.
    let without_command = |keep: &str| {
        let config = format!("{VENV}/pyvenv.cfg");
        let text = String::from_utf8(trial.read(&config)).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with("command")).collect();
        trial.write(&config, lines.join("\n"));
        fs::remove_file(trial.at(&format!("{VENV}/bin/{keep}"))).unwrap();
    };
    check(&|| {
        move_it();
        without_command("activate");
    });
    check(&|| {
        move_it();
        without_command("pip");
    });
    check(&|| {
        let copied =
            really(&["cp", "-a", trial.at("/opt/old").to_str().unwrap(), trial.at(VENV).to_str().unwrap()]);
        assert!(copied.success());
        without_command("activate");
    });
    trial.write(&format!("{VENV}/bin/mine"), "#!/usr/bin/python3\n");
    trial.assert_in_sync("virtualenv", &wish);
    fs::rename(trial.at(VENV), trial.at("/opt/behind")).unwrap();
    symlink("behind", trial.at(VENV)).unwrap();
    let mut behind = wish.clone();
    behind.set("path", Value::from("/opt/behind"));
    trial.assert_in_sync("virtualenv", &behind);
}

#[test]
fn what_is_there_by_half_is_not_believed() {
    let trial = host();
    let wish = exactly(&trial, "a==1\nb==1\n");
    let site = || packages(&trial);
    let check = |break_it: &dyn Fn(), verb: Verb, said: &str| {
        break_it();
        let planned = trial.laws("virtualenv", &wish);
        assert_eq!((planned.verb, shown(&planned).join("; ")), (verb, said.to_owned()));
    };
    trial.apply("virtualenv", &wish).unwrap();
    check(
        &|| fs::remove_file(metadata(&site(), "a").join("RECORD")).unwrap(),
        Verb::Replace,
        "state: a 1 is half-installed -> whole",
    );
    check(
        &|| {
            let other = site().join("a-2.dist-info");
            fs::create_dir(&other).unwrap();
            fs::write(other.join("METADATA"), "Name: a\nVersion: 2\n").unwrap();
            fs::write(other.join("RECORD"), "").unwrap();
        },
        Verb::Replace,
        "state: a is installed twice -> whole",
    );
    check(&|| fs::remove_file(site().join("a.py")).unwrap(), Verb::Update, "a: 1 (a.py is gone) -> 1");
    let config = format!("{VENV}/pyvenv.cfg");
    let text = || String::from_utf8(trial.read(&config)).unwrap();
    check(
        &|| trial.write(&config, text().replace("home = /usr/bin", "home = /nowhere")),
        Verb::Replace,
        "state: its pyvenv.cfg says `home = /nowhere`, but its interpreter is elsewhere -> whole",
    );
    check(
        &|| {
            trial.write(
                &config,
                text().replace("include-system-site-packages = false", "include-system-site-packages = true"),
            )
        },
        Verb::Replace,
        "system-site-packages: true -> false",
    );
    fs::create_dir(site().join("~-1.dist-info")).unwrap();
    fs::write(site().join("~-1.dist-info/METADATA"), "Name: ~\nVersion: 1\n").unwrap();
    trial.assert_in_sync("virtualenv", &wish);
}

#[test]
fn a_project_in_an_environment_that_another_program_replaced_is_installed_again() {
    let trial = host();
    trial.write("/srv/app/pyproject.toml", "[project]\nname = \"my-app\"\nversion = \"0.1\"\n");
    let wish = venv(&[("project", "/srv/app".into()), ("exact", true.into())]);
    trial.laws("virtualenv", &wish);
    fs::write(metadata(&packages(&trial), "my-app").join("RECORD"), "my-app.py,sha256=other,1\n").unwrap();
    assert_eq!(shown(&trial.laws("virtualenv", &wish)), ["project: as it was installed -> as it is now"]);
    note_origin(&packages(&trial), "my-app", r#"{"url": "file:///srv/other", "dir_info": {}}"#);
    assert_eq!(
        shown(&trial.laws("virtualenv", &wish)),
        ["my-app: 0.1 from file:///srv/other -> from /srv/app"]
    );
}

#[test]
fn a_wheel_that_was_built_again_is_installed_again() {
    let trial = host();
    trial.write("/opt/app-1.0-py3-none-any.whl", "one");
    let wish = venv(&[("project", "/opt/app-1.0-py3-none-any.whl".into()), ("exact", true.into())]);
    trial.laws("virtualenv", &wish);
    trial.write("/opt/app-1.0-py3-none-any.whl", "two");
    assert_eq!(shown(&trial.laws("virtualenv", &wish)), ["app: as it was installed -> as it is now"]);
}

#[test]
fn a_failed_change_is_restored_and_shows_what_the_installer_said() {
    let trial = host();
    trial.apply("virtualenv", &exactly(&trial, "a==1\n")).unwrap();
    let before = trial.image();
    let mut undo = trial.undo();
    let error =
        trial.apply_keeping("virtualenv", &exactly(&trial, "a==2\nbroken==1\n"), &mut undo).unwrap_err();
    assert!(error.output.contains("No matching distribution"), "{}", error.output);
    assert!(error.message.ends_with(": No matching distribution found for broken"), "{}", error.message);
    trial.restore(undo);
    assert_eq!(trial.image(), before);
}

#[test]
fn what_is_restored_goes_nowhere_else_whichever_user_puts_a_link_there() {
    let trial = host();
    trial.write("/victim/passwd", "root");
    trial.apply("virtualenv", &exactly(&trial, "a==1\n")).unwrap();
    let root = trial.at("/");
    trial.answer(move |command| match &command.words[..] {
        [_, module, pip, install, ..] if [module, pip, install] == ["-m", "pip", "install"] => {
            // A process of the environment's owner may do this.
            fs::rename(root.join("opt/venv"), root.join("opt/mine")).unwrap();
            symlink("../victim", root.join("opt/venv")).unwrap();
            finished(1, "")
        }
        _ => run(&root, command),
    });
    let mut undo = trial.undo();
    trial.apply_keeping("virtualenv", &exactly(&trial, "a==2\n"), &mut undo).unwrap_err();
    assert!(trial.try_restore(undo).is_err());
    let names: Vec<_> =
        fs::read_dir(trial.at("/victim")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["passwd"]);
}

#[test]
fn a_password_is_in_a_file_and_nowhere_else() {
    let trial = host();
    let root = trial.at("/");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    trial.answer(move |command| {
        let plain = |value: &Text| String::from_utf8_lossy(value.expose()).into_owned();
        let variable = |name: &str| {
            let found = command.environment.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| plain(value)).unwrap_or_default()
        };
        let everywhere =
            command.environment.iter().map(|(_, value)| plain(value)).chain(command.words.clone());
        assert!(everywhere.into_iter().all(|text| !text.contains("hunter2")));
        if command.words.iter().any(|word| word == "install") {
            let netrc = fs::read_to_string(variable("NETRC")).unwrap();
            log.lock().unwrap().push((variable("PIP_INDEX_URL"), netrc));
        }
        run(&root, command)
    });
    let index = trial.secret("https://ci:hunter2@pypi.example/simple");
    let mut wish = exactly(&trial, "a==1\n");
    wish.set("index", Value::Scalar(index));
    trial.apply("virtualenv", &wish).unwrap();
    let expected = (
        "https://pypi.example/simple".to_owned(),
        "machine pypi.example login ci password hunter2\n".to_owned(),
    );
    assert_eq!(*seen.lock().unwrap(), [expected]);
    assert!(trial.image().values().all(|text| !text.contains("hunter2")));
}

#[test]
fn what_is_in_the_way_or_missing_is_an_error_of_the_plan() {
    let trial = host();
    trial.write(&format!("{VENV}/mine"), "");
    assert_eq!(
        impossible(trial.plan("virtualenv", &venv(&[]))),
        "a directory that is not a virtual environment is in the way"
    );
    fs::remove_dir_all(trial.at(VENV)).unwrap();
    fs::remove_dir_all(trial.at("/usr/lib/python3.11/ensurepip")).unwrap();
    assert_eq!(impossible(trial.plan("virtualenv", &venv(&[]))), "ensurepip for Python 3.11 does not exist");
    let other = venv(&[("python", "3.13".into())]);
    assert_eq!(impossible(trial.plan("virtualenv", &other)), "the program python3.13 does not exist");
    python(&trial, "3.11");
    let loose = venv(&[("install", listed(&["flask"])), ("exact", true.into())]);
    assert!(impossible(trial.plan("virtualenv", &loose)).contains("flask has no version"));
}

#[test]
fn mistakes_are_found_without_a_host() {
    let trial = Trial::new();
    let check =
        |more: &[(&str, Value)]| assert!(!trial.problems("virtualenv", &venv(more)).is_empty(), "{more:?}");
    check(&[("lock", "/x".into()), ("install", listed(&["a"]))]);
    check(&[("groups", listed(&["dev"]))]);
    check(&[("index", "pypi.example".into())]);
    check(&[("python", "-c".into())]);
    for hostile in ["a\nb", "--index-url=https://x/", "-r x", "-e", "a \\", "# a", ""] {
        check(&[("install", listed(&[hostile]))]);
    }
    check(&[("extras", listed(&["a]"]))]);
    check(&[("path", "/".into())]);
}

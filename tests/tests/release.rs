//! The life of an application on a real host. It is released, then upgraded under load. A release that does not
//! answer is not activated. A release that stops answering is rolled back, and the user rolls back to an earlier one.
//! Also the sources of a release, and the state after a first failure.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::process::{Child, Command, Stdio};

use converge_tests::project::{Ended, Project};
use converge_tests::testbed::{Host, Testbed, or_skip};

const SERVER: &str = include_str!("../data/release/server.py");
const WHEEL: &str = include_str!("../data/release/wheel.py");
const LOAD: &str = include_str!("../data/release/load.py");

/// Two hosts and a project with an application in several versions.
struct Ground {
    testbed: Testbed,
    project: Project,
}

impl Ground {
    fn new() -> Option<Self> {
        let testbed = or_skip(Testbed::up(&["h1", "h2"]))?;
        let inventory = |more: &str| {
            format!(
                r#"
                connection user="admin" become="sudo"
                host "h1" "h2"
                vars {{ release "1.0"; rollback #null }}
                on "h1" "h2" {{
                    app-release "hello" {{
                        source "dist/hello-{{{{ release }}}}.tar.gz"
                        rollback (expr)"rollback"
                        keep 2
                        shared "media"
                        venv
                        env {{ GREETING "a \"quoted\" $word" }}
                        build "test -n \"$GREETING\" && touch built"
                        migrate "echo $PWD >> /srv/hello/shared/media/migrations"
                        service exec="python server.py" socket="/srv/hello/run/hello.sock"
                        health path="/health" timeout="5s" {more}
                    }}
                }}
                "#
            )
        };
        let project = Project::new(&inventory(""), Some(&testbed)).unwrap();
        project.write("project/untried.kdl", inventory("try=#false")).unwrap();
        let ground = Self { testbed, project };
        ground.pack("1.0", 200);
        ground.pack("1.1", 200);
        ground.pack("1.2", 503);
        Some(ground)
    }

    /// Packs a version whose `/health` has this status.
    fn pack(&self, version: &str, health: u16) {
        self.project.write(format!("work/{version}/server.py").as_str(), server(version, health)).unwrap();
        std::fs::create_dir_all(self.project.path("project/dist")).unwrap();
        let archive = self.project.path(format!("project/dist/hello-{version}.tar.gz"));
        let folder = self.project.path(format!("work/{version}"));
        let packed = Command::new("tar").arg("czf").arg(archive).arg("-C").arg(folder).arg(".").status();
        assert!(packed.unwrap().success());
    }

    fn host(&self) -> &Host {
        self.testbed.host("h1").unwrap()
    }

    fn converge(&self, arguments: &[&str]) -> Ended {
        self.project.converge(arguments).unwrap()
    }

    fn apply(&self, version: &str) -> Ended {
        self.converge(&["apply", "--yes", "--set", &format!("release={version}")])
    }

    fn root(&self, line: &str) -> String {
        self.host().exec_root(line).unwrap().ok().unwrap()
    }

    /// Returns the application's answer.
    fn answer(&self) -> String {
        answer(self.host(), "hello")
    }

    /// Starts to send requests to the application without a pause.
    fn load(&self) -> Load<'_> {
        self.root("touch /run/load");
        let mut ssh = self.host().ssh_command();
        ssh.arg("sudo python3 - /srv/hello/run/hello.sock /run/load");
        let mut child = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), LOAD.as_bytes()).unwrap();
        Load { ground: self, child }
    }
}

/// Returns the application in a version whose `/health` has this status.
fn server(version: &str, health: u16) -> String {
    SERVER.replace("VERSION-OF-THE-RELEASE", version).replace("HEALTH = 200", &format!("HEALTH = {health}"))
}

/// Returns the answer of an application on its socket.
fn answer(host: &Host, name: &str) -> String {
    let ask = format!(
        "import socket; c = socket.socket(socket.AF_UNIX); c.settimeout(9); \
         c.connect('/srv/{name}/run/{name}.sock'); c.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); \
         print(b''.join(iter(lambda: c.recv(4096), b'')).decode().split('\\r\\n\\r\\n')[1].strip())"
    );
    let ran = host.exec_root(&format!("python3 -c \"{ask}\"")).unwrap();
    ran.ok().unwrap().trim().to_owned()
}

/// A client that sends requests without a pause.
struct Load<'a> {
    ground: &'a Ground,
    child: Child,
}

impl Load<'_> {
    /// Ends it. Returns the answers, each with its count.
    fn answers(self) -> Vec<(u64, String)> {
        self.ground.root("rm /run/load");
        let output = self.child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let pair = |line: &str| {
            line.split_once(' ').map(|(count, answer)| (count.parse().unwrap(), answer.to_owned()))
        };
        text.lines().filter_map(pair).collect()
    }
}

#[test]
fn an_application_is_released_upgraded_and_gone_back_to() {
    let Some(ground) = Ground::new() else { return };
    let first = ground.apply("1.0");
    assert_eq!(first.code, 0, "{first}");
    let plan = ground.converge(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, 0, "law 3: {plan}");
    assert_eq!(ground.answer(), "1.0 a \"quoted\" $word");
    let release = ground.root("readlink /srv/hello/current");
    let other = ground.testbed.host("h2").unwrap().ssh("readlink /srv/hello/current").unwrap().ok().unwrap();
    assert_eq!(release, other, "a release is called the same on all hosts");
    let migrations = "cat /srv/hello/shared/media/migrations 2>/dev/null | wc -l";
    let on_other = ground.testbed.host("h2").unwrap().exec_root(migrations).unwrap().ok().unwrap();
    assert_eq!((ground.root(migrations).trim(), on_other.trim()), ("1", "0"), "one host migrates for both");
    let mode = ground.root("stat -c '%a %U' /srv/hello/current/.release/env");
    assert_eq!(mode.trim(), "600 hello");

    let load = ground.load();
    let announced = ground.converge(&["plan", "--set", "release=1.1"]);
    let upgrade = ground.apply("1.1");
    assert_eq!(upgrade.code, 0, "{upgrade}");
    for step in announced.stdout.lines().filter(|line| line.starts_with("  ")) {
        assert!(upgrade.stdout.contains(step), "{step:?} was announced: {upgrade}");
    }
    let refused = ground.apply("1.2");
    assert_eq!(refused.code, 3, "{refused}");
    let said = "it answers /health with HTTP/1.0 503 Service Unavailable: 1.2";
    assert!(refused.stdout.contains(said), "{refused}");
    assert!(refused.stdout.contains("serving 1.2"), "what the release printed is shown: {refused}");
    let answers = load.answers();
    let kinds: Vec<_> = answers.iter().map(|(_, answer)| answer.split(' ').next().unwrap()).collect();
    assert!(kinds.contains(&"1.0") && kinds.contains(&"1.1") && kinds.len() == 2, "{answers:?}");

    let back = ground.apply("1.0");
    assert_eq!(back.code, 0, "{back}");
    assert!(!back.stdout.contains(".archive[") && !back.stdout.contains(".virtualenv["), "{back}");
    assert!(ground.answer().starts_with("1.0 "));
    ground.pack("1.3", 200);
    assert_eq!(ground.apply("1.3").code, 0);
    let kept = ground.root("ls /srv/hello/releases");
    let versions: Vec<_> = kept.lines().map(|name| &name[..9]).collect();
    assert_eq!(versions, ["hello-1.0", "hello-1.3"], "the one before stays, whatever its age");
    goes_back_without_the_archive(&ground);
}

/// Rolls back from 1.3 to 1.0, whose archive is not in the project any more.
fn goes_back_without_the_archive(ground: &Ground) {
    std::fs::remove_dir_all(ground.project.path("project/dist")).unwrap();
    let gone = ground.converge(&["plan", "--set", "rollback=1.2"]);
    assert_eq!(gone.code, 3, "{gone}");
    assert!(gone.stdout.contains("no release 1.2 in /srv/hello/releases has been in use"), "{gone}");
    assert!(gone.stdout.contains("known releases: hello-1.3-"), "{gone}");
    let back = ground.converge(&["apply", "--yes", "--set", "rollback=1.0"]);
    assert_eq!(back.code, 0, "{back}");
    let plan = back.stdout.split("Plan:").next().unwrap();
    let steps: Vec<_> = plan.lines().filter_map(|line| line.trim_start().split('[').nth(1)).collect();
    assert_eq!(steps.len(), 3, "the link, the restart, and what is in use: {back}");
    assert!(ground.answer().starts_with("1.0 "));
    assert_eq!(ground.root("ls /srv/hello/releases | wc -l").trim(), "2", "nothing is removed");
    let plan = ground.converge(&["plan", "--detailed-exitcode", "--set", "rollback=1.0"]);
    assert_eq!(plan.code, 0, "law 3: {plan}");
}

#[test]
fn a_release_that_stops_to_answer_makes_way_for_the_one_before() {
    let Some(ground) = Ground::new() else { return };
    let apply = |version: &str| {
        let set = format!("release={version}");
        ground.converge(&["apply", "untried.kdl", "--yes", "--limit", "h1", "--set", &set])
    };
    assert_eq!(apply("1.0").code, 0);
    let load = ground.load();
    let failed = apply("1.2");
    assert_eq!(failed.code, 3, "{failed}");
    assert!(failed.stdout.contains("503 Service Unavailable: 1.2"), "the answer: {failed}");
    assert!(failed.stdout.contains("serving 1.2"), "the journal: {failed}");
    assert!(failed.stdout.contains("runs as before"), "{failed}");
    let answers = load.answers();
    assert!(answers.iter().all(|(_, answer)| answer.starts_with("1.")), "{answers:?}");
    assert!(ground.answer().starts_with("1.0 "));
    let left = ground.root("ls /srv/hello/releases; readlink /srv/hello/current");
    assert!(left.contains("hello-1.2-"), "the failed release stays to be looked at: {left}");
    assert!(left.lines().last().unwrap().starts_with("releases/hello-1.0-"), "{left}");
    let plan = ground.converge(&["plan", "untried.kdl", "--limit", "h1", "--detailed-exitcode"]);
    assert_eq!(plan.code, 0, "{plan}");
}

/// A host whose applications come from a repository, a wheel and a folder.
struct Sources {
    testbed: Testbed,
    project: Project,
}

impl Sources {
    fn new() -> Option<Self> {
        let testbed = or_skip(Testbed::up(&["h1"]))?;
        let project = Project::new("", Some(&testbed)).unwrap();
        Some(Self { testbed, project })
    }

    fn host(&self) -> &Host {
        self.testbed.host("h1").unwrap()
    }

    fn root(&self, line: &str) -> String {
        self.host().exec_root(line).unwrap().ok().unwrap()
    }

    /// Runs `converge` with an inventory of one application.
    fn with(&self, app: &str, words: &[&str], code: i32) -> Ended {
        let head = "connection user=\"admin\" become=\"sudo\"\nhost \"h1\"\n";
        self.project.write("project/inventory.kdl", format!("{head}on \"h1\" {{\n{app}\n}}\n")).unwrap();
        let ended = self.project.converge(words).unwrap();
        assert_eq!(ended.code, code, "{app}: {ended}");
        ended
    }

    /// Applies it and checks that nothing is left to do.
    fn apply(&self, app: &str) -> Ended {
        let applied = self.with(app, &["apply", "--yes"], 0);
        self.with(app, &["plan", "--detailed-exitcode"], 0);
        applied
    }

    /// Writes a wheel into `folder` of the project.
    fn wheel(&self, folder: &str, name: &str, version: &str, needs: &str) {
        let script = WHEEL.replace("\"THE-SERVER\"", &format!("{:?}", server(version, 200)));
        let mut ssh = self.host().ssh_command();
        ssh.arg(format!("python3 - {name} {version} {needs}")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = ssh.spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let path = format!("project/{folder}/{name}-{version}-py3-none-any.whl");
        self.project.write(&path, output.stdout).unwrap();
    }

    fn tags_of_a_repository_are_releases(&self) {
        self.apply("package \"git\"\nuser \"tagged\" system=#true\ndirectory \"/srv/repo\" owner=\"tagged\"");
        let git = |line: &str| {
            let line = format!("cd /srv/repo && {line}");
            let who =
                "env GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b";
            self.root(&format!("runuser -u tagged -- {who} sh -c {line:?}"));
        };
        let commit = |version: &str, then: &str| {
            self.root(&format!("cat >/srv/repo/server.py <<'END'\n{}END", server(version, 200)));
            git(&format!("git add . && git commit -q -m {version} && {then}"));
        };
        // The repository may also contain the files that all releases share.
        git(
            "mkdir -p media var/uploads/img config && touch media/.gitkeep var/uploads/img/.gitkeep config/local.py",
        );
        git("git init -q -b main .");
        commit("one", "git tag v1");
        let app = |version: &str| {
            format!(
                r#"app-release "tagged" create-owner=#false {{
                    git "file:///srv/repo/.git" version="{version}"
                    shared "media" "var/uploads/img" "new/deep"
                    shared-files "config/local.py" "config/more/other.py"
                    service exec="/usr/bin/python3 server.py" socket="/srv/tagged/run/tagged.sock"
                    health path="/health" timeout="20s"
                }}"#
            )
        };
        self.apply(&app("v1"));
        assert_eq!(answer(self.host(), "tagged"), "one");
        let links = "media var/uploads/img new/deep config/local.py config/more/other.py";
        let led = self.root(&format!("cd /srv/tagged/current && readlink {links}"));
        let shared: String = links.split(' ').map(|path| format!("/srv/tagged/shared/{path}\n")).collect();
        assert_eq!(led, shared.trim_end());
        let owners = self.root("cd /srv/tagged/current && stat -c %U var/uploads config/more new media");
        assert_eq!(owners.split_whitespace().collect::<Vec<_>>(), ["tagged"; 4]);
        commit("two", "git tag v2");
        self.apply(&app("v2"));
        assert_eq!(answer(self.host(), "tagged"), "two");
        commit("three", "git tag -f v2");
        self.with(&app("v2"), &["plan", "--detailed-exitcode"], 0);
        assert_eq!(answer(self.host(), "tagged"), "two", "a release stays what it was");
        for missing in ["v9", "main"] {
            let refused = self.with(&app(missing), &["plan"], 3);
            assert!(
                refused.stdout.contains(&format!("file:///srv/repo/.git has no tag {missing}")),
                "{refused}"
            );
        }
    }

    fn a_wheel_is_installed_with_what_it_needs(&self) {
        self.wheel("dist", "wheeled", "1.0", "needed");
        self.wheel("dist", "wheeled", "1.1", "needed");
        self.wheel("wheels", "needed", "7", "");
        let app = |version: &str| {
            format!(
                r#"app-release "wheeled" {{
                    source "dist/wheeled-{version}-py3-none-any.whl"
                    venv wheelhouse="wheels"
                    service exec="python -m wheeled" socket="/srv/wheeled/run/wheeled.sock"
                    health path="/health" timeout="20s"
                }}"#
            )
        };
        for version in ["1.0", "1.1"] {
            let plan = self.with(&app(version), &["plan"], 0);
            assert!(plan.stdout.contains(&format!("wheeled: {version}")), "{plan}");
            self.apply(&app(version));
            assert_eq!(answer(self.host(), "wheeled"), version);
        }
        let listed = self.root("/srv/wheeled/current/venv/bin/python -m pip list --format=freeze");
        assert!(listed.contains("needed==7") && listed.contains("wheeled==1.1"), "{listed}");
    }

    fn the_first_release_may_fail_and_the_next_one_mends_it(&self) {
        let app = |version: &str, health: u16, mode: &str| {
            self.project.write("project/app/server.py", server(version, health)).unwrap();
            format!(
                r#"app-release "first" {{
                    source "app"
                    service exec="/usr/bin/python3 server.py" socket="/srv/first/run/first.sock" socket-mode="{mode}"
                    health path="/health" timeout="2s" try=#false
                }}"#
            )
        };
        let failed = self.with(&app("bad", 503, "0666"), &["apply", "--yes"], 3);
        assert!(failed.stdout.contains("503 Service Unavailable: bad"), "{failed}");
        assert_eq!(self.state_of("first.service"), "inactive disabled");
        let again = self.with(&app("bad", 503, "0666"), &["plan", "--detailed-exitcode"], 2);
        assert!(again.stdout.contains("app-release[first].service[first]"), "{again}");
        self.apply(&app("good", 200, "0666"));
        assert_eq!(answer(self.host(), "first"), "good");
        assert_eq!(self.state_of("first.service"), "active enabled");
        let plan = self.apply(&app("good", 200, "0660")).stdout;
        for restarted in ["service[first.socket]  restart", "service[first]  restart"] {
            assert!(plan.contains(restarted), "{plan}");
        }
        assert_eq!(self.root("stat -c %a /srv/first/run/first.sock").trim(), "660");
        assert_eq!(answer(self.host(), "first"), "good");
    }

    fn state_of(&self, unit: &str) -> String {
        let state = self.root(&format!("systemctl is-active {unit}; systemctl is-enabled {unit}; true"));
        state.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A project that builds itself, twice with the same version.
const PROJECT: &str = include_str!("../data/release/project.sh");

impl Sources {
    /// pip keeps a package of the same version, but a changed revision must be installed.
    fn a_revision_that_changed_is_installed(&self) {
        self.apply("package \"git\"\npackage \"python3-venv\"");
        self.root(PROJECT);
        for (tag, value) in [("v1", "1"), ("v2", "2")] {
            let line = format!("mylib @ git+file://localhost/srv/lib@{tag}");
            self.apply(&format!("venv \"/opt/v\" {{ install \"{line}\" }}"));
            assert_eq!(self.root("/opt/v/bin/python -c 'import mylib; print(mylib.V)'").trim(), value);
        }
        self.root("mv /opt/v /opt/moved");
        let moved = "venv \"/opt/moved\" { install \"mylib @ git+file://localhost/srv/lib@v2\" }";
        let plan = self.apply(moved).stdout;
        assert!(plan.contains("made for: /opt/v -> /opt/moved"), "{plan}");
        self.root("/opt/moved/bin/pip --version");
    }
}

#[test]
fn a_release_comes_from_a_tag_a_wheel_or_a_folder() {
    let Some(sources) = Sources::new() else { return };
    sources.tags_of_a_repository_are_releases();
    sources.a_wheel_is_installed_with_what_it_needs();
    sources.the_first_release_may_fail_and_the_next_one_mends_it();
    sources.a_revision_that_changed_is_installed();
}

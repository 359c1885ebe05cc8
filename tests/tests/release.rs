//! The life of an application on a real host: released, upgraded under load, kept from a release that does not answer,
//! taken back from one that stops to, and gone back to an earlier one.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::process::{Child, Command, Stdio};

use converge_tests::project::{Ended, Project};
use converge_tests::testbed::{Host, Testbed, or_skip};

const SERVER: &str = include_str!("../data/release/server.py");
const LOAD: &str = include_str!("../data/release/load.py");

/// Two hosts and a project whose application has some versions.
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
                vars {{ release "1.0" }}
                on "h1" "h2" {{
                    app-release "hello" {{
                        source "dist/hello-{{{{ release }}}}.tar.gz"
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

    /// A version whose `/health` answers so.
    fn pack(&self, version: &str, health: u16) {
        let server = SERVER
            .replace("VERSION-OF-THE-RELEASE", version)
            .replace("HEALTH = 200", &format!("HEALTH = {health}"));
        self.project.write(format!("work/{version}/server.py").as_str(), server).unwrap();
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

    /// What the application answers.
    fn answer(&self) -> String {
        let ask = "import socket; c = socket.socket(socket.AF_UNIX); c.settimeout(9); \
                   c.connect('/srv/hello/run/hello.sock'); c.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); \
                   print(b''.join(iter(lambda: c.recv(4096), b'')).decode().split('\\r\\n\\r\\n')[1].strip())";
        let ran = self.host().ssh(&format!("python3 -c \"{ask}\"")).unwrap();
        ran.ok().unwrap().trim().to_owned()
    }

    /// Starts to ask the application without a pause.
    fn load(&self) -> Load<'_> {
        self.root("touch /run/load");
        let mut ssh = self.host().ssh_command();
        ssh.arg("sudo python3 - /srv/hello/run/hello.sock /run/load");
        let mut child = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), LOAD.as_bytes()).unwrap();
        Load { ground: self, child }
    }
}

/// Somebody who asks without a pause.
struct Load<'a> {
    ground: &'a Ground,
    child: Child,
}

impl Load<'_> {
    /// Ends it: what was answered, each with how often.
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

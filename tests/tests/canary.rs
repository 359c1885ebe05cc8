//! One secret through everything that a project can do with it, then searched for everywhere: in what was printed, the
//! history and the state on the controller, journals, logs, disks and temporary folders of the hosts, and the command
//! lines and environments of every process while the runs went on. It is found where it was to go, and nowhere else.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use converge_tests::project::{Ended, Project};
use converge_tests::testbed::{Host, Testbed, or_skip};

/// The secret. A test that prints it would find it in its own log.
const CANARY: &str = "c4n4ry-7f3d9a52-tweet";

const INVENTORY: &str = r##"
connection user="admin" become="sudo"
secrets "secrets.age"
vars { token (secret)"bird/token" }
host "h1"
host "h2"
on "h1" {
    file "/etc/plain" { content (secret)"bird/token" }
    file "/etc/filled" mode="0600" { content (template)"filled.j2" }
    file "/etc/lines" mode="0600"
    line "/etc/lines" "token = {{ token }}" match="^token"
    ini "/etc/settings.ini" section="bird" option="token" value="{{ token }}"
    user "bird" { password "$6$saltsalt${{ token }}" }
    command "/usr/local/bin/show" id="told by stdin" creates="/run/stdin" { stdin (secret)"bird/token" }
    command "/usr/local/bin/show" id="told by environment" creates="/run/env" { env { TOKEN (secret)"bird/token" } }
    systemd-unit "bird" {
        section "Service" {
            Type "oneshot"
            Environment "TOKEN={{ token }}"
            ExecStart "/bin/true"
        }
    }
    command "sh -c 'cat >&2; exit 3'" id="failing" always=#true may-fail=#true { stdin "the token is {{ token }}, is it not?" }
}
on "h2" { file "/etc/other" { content "no secret here\n" } }
"##;

/// Reads its input and its environment, says both, and leaves a mark of each.
const SHOW: &str = r#"#!/bin/sh
read -r word
[ -n "$word" ] && echo "stdin: $word" && touch /run/stdin
[ -n "$TOKEN" ] && echo "environment: $TOKEN" && touch /run/env
exit 0
"#;

/// Where it was to go, on h1.
const TARGETS: [&str; 6] = [
    "/etc/filled",
    "/etc/lines",
    "/etc/plain",
    "/etc/settings.ini",
    "/etc/shadow",
    "/etc/systemd/system/bird.service",
];

#[test]
fn a_secret_is_found_in_its_targets_alone() {
    let Some(testbed) = or_skip(Testbed::up(&["h1", "h2"])) else { return };
    let project = nest(&testbed);
    for host in testbed.hosts() {
        root(
            host,
            &format!(
                "printf '%s' '{}' >/usr/local/bin/show; chmod 755 /usr/local/bin/show",
                SHOW.replace('\'', "'\\''")
            ),
        );
    }
    let ended = watched(|| runs(&project));
    for (what, ended) in &ended {
        assert!(!ended.stdout.contains(CANARY) && !ended.stderr.contains(CANARY), "{what} told it");
    }
    for folder in [project.path(""), PathBuf::from("/tmp"), PathBuf::from("/dev/shm")] {
        assert_eq!(holding(&folder, &project), Vec::<String>::new(), "left on the controller");
    }
    let (h1, h2) = (testbed.host("h1").unwrap(), testbed.host("h2").unwrap());
    assert_eq!(found_on(h1), TARGETS.map(str::to_owned).into());
    assert_eq!(found_on(h2), BTreeSet::new(), "a host that needs no secret got one");
}

/// A project with the secret in its encrypted file.
fn nest(testbed: &Testbed) -> Project {
    let project = Project::new(INVENTORY, Some(testbed)).unwrap();
    project.write("project/templates/filled.j2", "a\n{{ token | upper }}{{ token }}\nb\n").unwrap();
    let made = project.converge(&["secrets", "keygen"]).unwrap();
    assert_eq!(made.code, 0, "{made}");
    let mut set = project.program("/bin/sh");
    let tool = converge_tests::converge_binary();
    let line = format!("printf %s \"$CANARY\" | {} secrets set bird/token secrets.age", tool.display());
    let ended: Ended = set.env("CANARY", CANARY).args(["-c", &line]).output().unwrap().into();
    assert_eq!(ended.code, 0, "{ended}");
    project
}

/// Everything that a user does with it, first from nothing, then over changes by hand, so that both sides of a
/// difference hold it.
fn runs(project: &Project) -> Vec<(String, Ended)> {
    let lines = [
        ("check", 0),
        ("plan --json", 0),
        ("plan -v", 0),
        ("apply --yes -v", 0),
        ("plan --detailed-exitcode", 2),
        ("apply --yes --json", 0),
        ("drift -v", 0),
        ("drift --json", 0),
        ("watch --once", 0),
        ("explain h1 token", 0),
        ("inventory --json", 0),
        ("history", 0),
        ("history last", 0),
        ("history last --json", 0),
    ];
    let run = |(line, code): &(&str, i32)| {
        let ended = project.converge(&line.split(' ').collect::<Vec<_>>()).unwrap();
        assert_eq!(ended.code, *code, "{line}: {}", format!("{ended}").replace(CANARY, "(the secret)"));
        ((*line).to_owned(), ended)
    };
    lines.iter().map(run).collect()
}

/// Runs `work` while every process of the machine, those of the hosts among them, is looked at over and over.
fn watched<T>(work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                processes(&mut seen);
            }
            seen
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert_eq!(looks.join().unwrap(), BTreeSet::new(), "processes that showed it");
        done
    })
}

/// Adds every process that shows the secret. The program that is given it by its environment may have it there.
fn processes(seen: &mut BTreeSet<String>) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let path = entry.path();
        let Ok(line) = fs::read(path.join("cmdline")) else { continue };
        let told =
            holds(&line) || (holds(&fs::read(path.join("environ")).unwrap_or_default()) && !is_told(&line));
        if told {
            seen.insert(String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
}

fn is_told(line: &[u8]) -> bool {
    let name = b"/usr/local/bin/show";
    line.windows(name.len()).any(|part| part == name)
}

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|part| part.eq_ignore_ascii_case(CANARY.as_bytes()))
}

/// The files below a folder that are newer than the project and hold the secret.
fn holding(folder: &Path, project: &Project) -> Vec<String> {
    let mut search = Command::new("find");
    search
        .arg(folder)
        .arg("-newer")
        .arg(project.path("project/converge.kdl"))
        .args(["-type", "f", "-size", "-64M"]);
    search.args(["-exec", "grep", "-l", "-a", "-i", "-F", CANARY, "{}", "+"]);
    let output = search.output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// The files of a host that hold the secret: its whole disk, its temporary folders, its journal.
fn found_on(host: &Host) -> BTreeSet<String> {
    let journal = root(
        host,
        &format!(
            "journalctl --sync; journalctl --quiet --output=export | grep --count --text --ignore-case {CANARY} || true"
        ),
    );
    assert_eq!(journal.trim(), "0", "the journal of {}", host.name());
    let skipped = "--exclude-dir=proc --exclude-dir=sys --exclude-dir=journal";
    let line = format!(
        "grep --recursive --files-with-matches --text --ignore-case --devices=skip {skipped} {CANARY} / 2>/dev/null || true"
    );
    root(host, &line).lines().map(|path| path.replace("//", "/")).collect()
}

fn root(host: &Host, line: &str) -> String {
    host.exec_root(line).unwrap().ok().unwrap()
}

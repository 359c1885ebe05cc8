//! Rollouts over real hosts: which hosts are not started after a loss, and steps that run once for all of them.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use converge_tests::project::{Ended, Project};
use converge_tests::testbed::{Host, Testbed, or_skip};

/// Three hosts. The first one is the canary.
const HOSTS: [&str; 3] = ["h1", "h2", "h3"];
const HEAD: &str = "connection user=\"admin\" become=\"sudo\"\nhost \"h[1..3]\"\n";

fn converge(project: &Project, arguments: &[&str]) -> Ended {
    project.converge(arguments).unwrap()
}

fn write(project: &Project, body: &str) {
    project.write("project/inventory.kdl", format!("{HEAD}on \"*\" {{\n{body}\n}}\n")).unwrap();
}

/// Runs a line on a host, which must succeed.
fn as_root(testbed: &Testbed, host: usize, line: &str) {
    let ran = testbed.hosts()[host].exec_root(line).unwrap();
    assert!(ran.status.success(), "{line}: {}", ran.stderr);
}

/// Returns the contents of a file on each host. Empty if it does not exist.
fn read(testbed: &Testbed, path: &str) -> Vec<String> {
    let line = format!("cat {path} 2>/dev/null || true");
    let read = |host: &Host| host.exec_root(&line).unwrap().stdout.trim().to_owned();
    testbed.hosts().iter().map(read).collect()
}

#[test]
fn a_canary_that_fails_leaves_the_others_untouched() {
    let Some(testbed) = or_skip(Testbed::up(&HOSTS)) else { return };
    let project = Project::new(HEAD, Some(&testbed)).unwrap();
    write(
        &project,
        "rollout canary=1 batch=1\nfile \"/etc/release-of-shop\" { content \"1\" }\ncommand \"false\" always=#true when=\"host.name == 'h1'\"",
    );
    let apply = converge(&project, &["apply", "--yes"]);
    assert_eq!(apply.code, 3, "{apply}");
    assert_eq!(read(&testbed, "/etc/release-of-shop"), ["1", "", ""], "{apply}");
    assert!(apply.stdout.contains("not started"), "{apply}");
    assert!(apply.stdout.contains("lost h1"), "{apply}");
}

/// Appends a line for each run. Fails if a file asks for that.
fn migration(release: &str) -> String {
    format!(
        "rollout canary=1\ncommand \"echo {release} >> /var/lib/runs; test ! -e /etc/broken\" id=\"migrate\" shell=#true once=\"{release}\"\nfile \"/etc/release-of-shop\" {{ content \"{release}\" }}"
    )
}

#[test]
fn what_runs_once_runs_on_one_host_and_is_remembered() {
    let Some(testbed) = or_skip(Testbed::up(&HOSTS)) else { return };
    let project = Project::new(HEAD, Some(&testbed)).unwrap();
    let apply = |code: i32| {
        let apply = converge(&project, &["apply", "--yes"]);
        assert_eq!(apply.code, code, "{apply}");
        apply
    };
    let empty = || {
        let plan = converge(&project, &["plan", "--detailed-exitcode"]);
        assert_eq!(plan.code, 0, "{plan}");
    };
    write(&project, &migration("1"));
    let plan = converge(&project, &["plan"]);
    assert!(plan.stdout.contains("it runs once for all hosts, on h1"), "{plan}");
    apply(0);
    assert_eq!(read(&testbed, "/var/lib/runs"), ["1", "", ""]);
    empty();
    // A controller without a record learns it from the hosts' ledgers.
    std::fs::remove_dir_all(project.path("home/.local")).unwrap();
    empty();
    // A failed step is run again.
    as_root(&testbed, 0, "touch /etc/broken");
    write(&project, &migration("2"));
    apply(3);
    assert_eq!(read(&testbed, "/etc/release-of-shop"), ["1", "1", "1"]);
    as_root(&testbed, 0, "rm /etc/broken");
    apply(0);
    assert_eq!(read(&testbed, "/var/lib/runs"), ["1\n2\n2", "", ""]);
    assert_eq!(read(&testbed, "/etc/release-of-shop"), ["2", "2", "2"]);
    // Without the ledger of a host, the controller's record is used.
    as_root(&testbed, 1, "rm -r /var/lib/converge");
    apply(0);
    assert_eq!(read(&testbed, "/var/lib/runs"), ["1\n2\n2", "", ""]);
    empty();
}

#[test]
fn what_is_done_around_a_host_stops_where_it_is_not_well() {
    let Some(testbed) = or_skip(Testbed::up(&HOSTS)) else { return };
    let project = Project::new(HEAD, Some(&testbed)).unwrap();
    let body = |release: &str| {
        let log = |word: &str| {
            format!("command \"echo {word} {{{{ host.name }}}} >> /var/lib/around\" shell=#true at=\"h3\"")
        };
        let rollout = format!(
            "rollout batch=1 {{\nbefore {{ {} }}\nhealth {{ command \"test ! -e /etc/broken\" shell=#true }}\nafter {{ {} }}\n}}",
            log("drain"),
            log("undrain")
        );
        format!(
            "{HEAD}on \"h1\" \"h2\" {{\n{rollout}\nfile \"/etc/release-of-shop\" {{ content \"{release}\" }}\n}}\n"
        )
    };
    let around = |release: &str, code: i32| {
        project.write("project/inventory.kdl", body(release)).unwrap();
        let apply = converge(&project, &["apply", "--yes", "--limit", "h1", "--limit", "h2"]);
        assert_eq!(apply.code, code, "{apply}");
        (apply, read(&testbed, "/var/lib/around")[2].clone())
    };
    let whole = "drain h1\nundrain h1\ndrain h2\nundrain h2";
    assert_eq!(around("1", 0).1, whole);
    assert_eq!(around("1", 0).1, whole, "nothing changes, and nothing is done around it");
    as_root(&testbed, 0, "touch /etc/broken");
    let (apply, done) = around("2", 3);
    assert_eq!(done, format!("{whole}\ndrain h1"), "{apply}");
    assert_eq!(read(&testbed, "/etc/release-of-shop")[..2], ["2", "1"], "{apply}");
    assert!(apply.stdout.contains("not started") && apply.stdout.contains("`health`"), "{apply}");
    // The daemon runs the same gates around a host as an apply.
    as_root(&testbed, 0, "rm /etc/broken; echo moved >/etc/release-of-shop");
    project
        .write("project/inventory.kdl", format!("drift every=\"1h\" mode=\"correct\"\n{}", body("2")))
        .unwrap();
    let watch = converge(&project, &["watch", "--once"]);
    assert_eq!(read(&testbed, "/etc/release-of-shop")[0], "2", "{watch}");
    assert_eq!(read(&testbed, "/var/lib/around")[2], format!("{done}\ndrain h1\nundrain h1"), "{watch}");
}

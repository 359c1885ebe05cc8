//! `converge drift` on a real host: what moved there apart from what is newly asked for, and nothing written.

#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use converge_model::catalog::DriftMode;
use converge_model::{Cause, Event, EventKind, HostPlan};
use converge_tests::demand::{converge, root};
use converge_tests::project::{Ended, Project};
use converge_tests::testbed::{Host, Testbed, or_skip};

/// The inventory, with the text of one of its files and what its last resource says of drift.
fn inventory(text: &str, option: &str) -> String {
    format!(
        r#"connection user="admin" become="sudo"
host "h1"
on "*" {{
    file "/etc/motd" {{ content "welcome" }}
    file "/etc/app" mode="0644" notify="service[app]" {{ content "{text}" }}
    group "wheel" members=(expr)"['admin']" {option}
    service "app" running=#true
}}
"#
    )
}

/// Looks for drift, and holds the host's disk to what it was.
fn drift(project: &Project, host: &Host, arguments: &[&str], code: i32) -> Ended {
    let before = host.snapshot().unwrap();
    let ended = converge(project, &[&["drift"], arguments].concat(), code);
    assert_eq!(host.changes_since(&before).unwrap(), [], "{ended}");
    ended
}

fn plan(ended: &Ended) -> HostPlan {
    let events = ended.stdout.lines().map(|line| serde_json::from_str::<Event>(line).unwrap().kind);
    let mut plans = events.filter_map(|kind| match kind {
        EventKind::Planned { plan, .. } => Some(plan),
        _ => None,
    });
    plans.next_back().unwrap()
}

#[test]
fn what_moved_is_told_from_what_is_newly_asked_for_and_nothing_is_written() {
    let Some(testbed) = or_skip(Testbed::up(&["h1"])) else { return };
    let host = testbed.host("h1").unwrap();
    let project = Project::new(&inventory("one", ""), Some(&testbed)).unwrap();
    let unit = "[Service]\\nExecStart=/bin/sleep infinity\\n";
    root(host, &format!("printf '{unit}' >/etc/systemd/system/app.service; systemctl daemon-reload"));

    // Brings the agent, which stays on the host.
    converge(&project, &["facts"], 0);
    let ended = drift(&project, host, &["--fail-on-drift"], 0);
    assert!(ended.stdout.contains("no host drifted; 4 resources wait for an apply"), "{ended}");
    converge(&project, &["apply", "--yes"], 0);
    let ended = drift(&project, host, &["--fail-on-drift"], 0);
    assert!(ended.stdout.starts_with("Drift: no host drifted; 4 resources in sync"), "{ended}");

    root(host, "echo by hand >/etc/motd; chmod 600 /etc/app; gpasswd --add nobody wheel; systemctl stop app");
    project.write("project/inventory.kdl", inventory("two", "")).unwrap();
    let ended = drift(&project, host, &[], 0);
    let (moved, asked) = ended.stdout.split_once("  the inventory asks for something new\n").unwrap();
    assert!(moved.starts_with("h1\n  the host moved\n"), "{ended}");
    for found in ["-by hand", "+welcome", "/etc/app]  mode: 0600 -> 0644", "group[wheel]", "service[app]"] {
        assert!(moved.contains(found) && !asked.contains(found), "{found}: {ended}");
    }
    assert!(asked.contains("-one") && asked.contains("+two") && !moved.contains("+two"), "{ended}");
    assert!(asked.contains("1 host drifted (4 resources); 1 resource waits for an apply"), "{ended}");
    drift(&project, host, &["--fail-on-drift"], 2);
    drift(&project, host, &["--fail-on-drift", "--only", "group[wheel]"], 2);

    let steps = plan(&drift(&project, host, &["--json"], 0)).steps;
    let cause =
        |address: &str| steps.iter().find(|step| step.address.as_str() == address).unwrap().drift.clone();
    assert_eq!(cause("file[/etc/motd]").cause, Cause::Corrective);
    assert!(matches!(cause("file[/etc/app]").cause, Cause::Both { .. }), "{steps:?}");
    assert_eq!(cause("group[wheel]").mode, DriftMode::Report);

    project.write("project/inventory.kdl", inventory("two", "drift=\"ignore\"")).unwrap();
    let only = ["--fail-on-drift", "--only", "group[wheel]"];
    let ended = drift(&project, host, &only, 0);
    assert!(ended.stdout.starts_with("Drift: no host drifted; 0 resources in sync"), "{ended}");
    let ended = drift(&project, host, &[&only[..], &["-v"]].concat(), 0);
    assert!(ended.stdout.contains("left alone: drift=\"ignore\"\n  ~ group[wheel]"), "{ended}");
}

//! `converge drift` on a real host. Drift is separated from what is new in the inventory, and nothing is written. It
//! also finds drift that only the program which owns the state can report.

#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use converge_model::catalog::DriftMode;
use converge_tests::demand::{ask, converge, root};
use converge_tests::json::{Plan, plans};
use converge_tests::project::{Ended, Project};
use converge_tests::testbed::{Host, Testbed, or_skip};

/// Returns the inventory with the text of one of its files and the `drift` option of its last resource.
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

/// Looks for drift, and checks that the host's disk did not change.
fn drift(project: &Project, host: &Host, arguments: &[&str], code: i32) -> Ended {
    let before = host.snapshot().unwrap();
    let ended = converge(project, &[&["drift"], arguments].concat(), code);
    assert_eq!(host.changes_since(&before).unwrap(), [], "{ended}");
    ended
}

fn plan(ended: &Ended) -> Plan {
    plans(&ended.stdout).last().unwrap()
}

#[test]
fn what_drifted_is_told_from_what_is_newly_asked_for_and_nothing_is_written() {
    let Some(testbed) = or_skip(Testbed::up(&["h1"])) else { return };
    let host = testbed.host("h1").unwrap();
    let project = Project::new(&inventory("one", ""), Some(&testbed)).unwrap();
    let unit = "[Service]\\nExecStart=/bin/sleep infinity\\n";
    root(host, &format!("printf '{unit}' >/etc/systemd/system/app.service; systemctl daemon-reload"));

    // Uploads the agent, which stays on the host.
    converge(&project, &["facts"], 0);
    let ended = drift(&project, host, &["--fail-on-drift"], 0);
    assert!(ended.stdout.contains("no host drifted; 4 resources wait for an apply"), "{ended}");
    converge(&project, &["apply", "--yes"], 0);
    let ended = drift(&project, host, &["--fail-on-drift"], 0);
    assert!(ended.stdout.starts_with("Drift: no host drifted; 4 resources in sync"), "{ended}");

    root(host, "echo by hand >/etc/motd; chmod 600 /etc/app; gpasswd --add nobody wheel; systemctl stop app");
    project.write("project/inventory.kdl", inventory("two", "")).unwrap();
    let ended = drift(&project, host, &[], 0);
    let (drifted, asked) = ended.stdout.split_once("  in the inventory, not yet applied\n").unwrap();
    assert!(drifted.starts_with("h1\n  changed on the host since the last apply\n"), "{ended}");
    for found in ["+by hand", "-welcome", "/etc/app]  mode: 0644 -> 0600", "group[wheel]", "service[app]"] {
        assert!(drifted.contains(found) && !asked.contains(found), "{found}: {ended}");
    }
    assert!(asked.contains("-one") && asked.contains("+two") && !drifted.contains("+two"), "{ended}");
    assert!(asked.contains("1 host drifted (4 resources); 1 resource waits for an apply"), "{ended}");
    drift(&project, host, &["--fail-on-drift"], 2);
    drift(&project, host, &["--fail-on-drift", "--only", "group[wheel]"], 2);

    let steps = plan(&drift(&project, host, &["--json"], 0)).steps;
    let drift_of = |address: &str| &steps.iter().find(|step| step.address == address).unwrap().drift;
    assert_eq!(drift_of("file[/etc/motd]").cause, "host");
    assert_eq!(drift_of("file[/etc/app]").cause, "both", "{steps:?}");
    assert_eq!(drift_of("group[wheel]").mode, DriftMode::Report);

    project.write("project/inventory.kdl", inventory("two", "drift=\"ignore\"")).unwrap();
    let only = ["--fail-on-drift", "--only", "group[wheel]"];
    let ended = drift(&project, host, &only, 0);
    assert!(ended.stdout.starts_with("Drift: no host drifted"), "{ended}");
    let ended = drift(&project, host, &[&only[..], &["-v"]].concat(), 0);
    assert!(ended.stdout.contains("left alone: drift=\"ignore\"\n  ~ group[wheel]"), "{ended}");

    what_counts_is_what_the_programs_say_that_own_it(&project, host);
    guards_answer_alike_in_a_look_and_in_an_act(&project, host);
}

/// A guard that writes a cache in a home counts as a read. A guard that writes elsewhere is reported. Neither one
/// changes the host.
fn guards_answer_alike_in_a_look_and_in_an_act(project: &Project, host: &Host) {
    let asks = |cache: &str| {
        let guard = format!("test -e /srv/initialised && date > {cache}");
        ask(project, &format!("command \"touch /srv/initialised\" unless=\"mkdir -p ~/.cache; {guard}\""));
    };
    asks("~/.cache/asked");
    converge(project, &["apply", "--yes"], 0);
    assert!(drift(project, host, &["--fail-on-drift"], 0).stdout.contains("in sync"));
    root(host, "test ! -e ~/.cache/asked; rm /srv/initialised");
    asks("/srv/cache");
    for arguments in [&["apply", "--yes"][..], &["plan"], &["apply", "--yes"]] {
        let ended = project.converge(arguments).unwrap();
        assert_eq!(ended.code, if arguments == ["plan"] { 0 } else { 3 }, "{arguments:?}: {ended}");
        let is_named = ended.stdout.contains("> /srv/cache") || arguments != ["plan"];
        assert!(is_named, "{ended}");
    }
    root(host, "test ! -e /srv/cache");
}

/// Resources whose text and whose effect on the host can differ.
const EFFECTIVE: &str = r#"
    mount "/srv/pool" source="tmpfs" fstype="tmpfs" { options "size=8m" }
    directory "/srv/pool/a"
    mount "/srv/view" source="/srv/pool/a" fstype="none" { options "bind" "ro" }
    systemd-unit "tick" {
        section "Service" {
            ExecStart "/bin/sleep infinity"
            Nice 3
        }
        section "Install" { WantedBy "multi-user.target" }
    }
    systemd-unit "tick" drop-in="10-nice" { section "Service" { Nice 5 } }
    file "/etc/systemd/system/tick.service.d/20-umask.conf" {
        content "[Service]\nUMask=0077\n"
    }
    service "tick" running=#true enabled=#true
    user "ticker" uid=4321 home="/srv/ticker"
"#;

/// Returns the output of findmnt(8), systemctl(1) and getent(1).
fn told(host: &Host) -> String {
    let mount = "findmnt --noheadings --raw --output OPTIONS --mountpoint";
    let unit = "systemctl show --property ActiveState,UnitFileState,Nice,UMask,NeedDaemonReload tick";
    let user = "getent passwd ticker";
    root(host, &format!("for at in /srv/pool /srv/view; do {mount} $at; done; {unit} | sort; {user}"))
}

fn what_counts_is_what_the_programs_say_that_own_it(project: &Project, host: &Host) {
    ask(project, EFFECTIVE);
    converge(project, &["apply", "--yes"], 0);
    let in_sync = || assert!(drift(project, host, &["--fail-on-drift"], 0).stdout.contains("in sync"));
    in_sync();
    let right = told(host);
    let (pool, rest) = right.split_once('\n').unwrap();
    let (view, rest) = rest.split_once('\n').unwrap();
    assert!(
        pool.starts_with("rw,relatime,size=8192k") && view.starts_with("ro,relatime,size=8192k"),
        "{right}"
    );
    let unit = "ActiveState=active\nNeedDaemonReload=no\nNice=5\nUMask=0077\nUnitFileState=enabled\n";
    assert!(rest.starts_with(unit) && rest.contains("ticker:x:4321:"), "{right}");

    // `systemctl disable` makes systemd read its files again, so the drop-in is touched after it. The unit keeps
    // running: systemd forgets an ended unit and reads it again on the next request.
    let move_all = "mount -o remount,ro /srv/pool; mount -t tmpfs over /srv/view; systemctl disable -q tick; \
                    touch /etc/systemd/system/tick.service.d/10-nice.conf";
    root(host, move_all);
    assert_ne!(told(host), right);
    let ended = drift(project, host, &["--fail-on-drift"], 2);
    for found in ["mount: mounted with rw -> mounted with ro", "under over (tmpfs)", "-> an older text"] {
        assert!(ended.stdout.contains(found), "{found}: {ended}");
    }
    converge(project, &["apply", "--yes"], 0);
    in_sync();
    assert_eq!(told(host), right);
    root(host, "touch /srv/pool/x; ! touch /srv/view/y");

    // A file that overrides another one is reported, and two names of one thing are found.
    let later = "/run/systemd/system/tick.service.d/90-later.conf";
    root(
        host,
        &format!("mkdir -p /run/systemd/system/tick.service.d; printf '[Service]\\nNice=7\\n' >{later}"),
    );
    let ended = converge(project, &["plan"], 3);
    assert!(ended.to_string().contains(&format!("{later} overrides Nice of [Service]")), "{ended}");
    root(
        host,
        &format!("rm {later}; ln -s tick.service /etc/systemd/system/tock.service; systemctl daemon-reload"),
    );
    ask(
        project,
        &format!(
            "{EFFECTIVE}\n    service \"tock\"\n    file \"/var/run/tick\" {{ content \"\" }}\n    file \"/run/tick\" {{ content \"\" }}"
        ),
    );
    let ended = converge(project, &["plan"], 3);
    for thing in ["unit:tick.service", "path:/run/tick"] {
        assert!(ended.to_string().contains(&format!("both own {thing} on this host")), "{thing}: {ended}");
    }
}

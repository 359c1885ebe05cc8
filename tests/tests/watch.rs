//! `converge watch` on real hosts. Drift is found with its difference, and corrected or reported as the policy says.
//! After any end of the daemon, nothing is lost and nothing is done twice.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic, and so may its helpers")]

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use converge_tests::demand::root;
use converge_tests::project::Project;
use converge_tests::testbed::{Testbed, or_skip};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const SUDO: &str = r#"connection user="admin" become="sudo""#;

fn apply(project: &Project) {
    let ended = project.converge(&["apply", "--yes"]).unwrap();
    assert_eq!(ended.code, 0, "{ended}");
}

/// How long the next news may take on a busy machine. The daemons here look every one or two seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// A daemon, and its output so far.
struct Daemon {
    child: Child,
    lines: Receiver<Value>,
    said: JoinHandle<String>,
    told: Vec<Value>,
}

impl Daemon {
    fn start(project: &Project) -> Self {
        let mut command = project.command();
        command.args(["watch", "--json", "--keep-connections", "0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (to, lines) = mpsc::channel();
        // A kill may cut the last line, which is then skipped.
        let values = |line: io::Result<String>| serde_json::from_str(&line.unwrap()).ok();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(values).try_for_each(|line| to.send(line))
        });
        let said = thread::spawn(move || {
            let mut said = String::new();
            stderr.read_to_string(&mut said).unwrap();
            said
        });
        Self { child, lines, said, told: Vec::new() }
    }

    /// Returns the next line. None at the end.
    fn next(&mut self) -> Option<Value> {
        let line = match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("it told nothing for {PATIENCE:?}, after\n{}", self.history())
            }
        };
        self.told.push(line.clone());
        Some(line)
    }

    fn history(&self) -> String {
        self.told.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Waits for news of this kind, about `host` or the daemon itself, that are `wanted`.
    fn until(&mut self, host: Option<&str>, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let since = Instant::now();
        while since.elapsed() < PATIENCE {
            let Some(line) = self.next() else {
                let said = std::mem::replace(&mut self.said, thread::spawn(String::new)).join().unwrap();
                panic!("it ended before {kind}: {said}\n{}", self.history());
            };
            if line["event"] == kind && line["host"].as_str() == host && wanted(&line) {
                return line;
            }
        }
        panic!("no {kind} that was waited for came in {PATIENCE:?}:\n{}", self.history());
    }

    fn until_in_sync(&mut self, host: &str) {
        self.until(Some(host), "looked", |looked| looked["state"] == "in-sync");
    }

    /// Returns all news of this kind about a host.
    fn news(&self, host: &str, kind: &str) -> Vec<Value> {
        let of_host = self.told.iter().filter(|line| line["host"].as_str() == Some(host));
        of_host.filter(|line| line["event"] == kind).cloned().collect()
    }

    fn kill(mut self) -> Vec<Value> {
        kill_process(Pid::from_child(&self.child), Signal::KILL).unwrap();
        self.child.wait().unwrap();
        // Reads the rest of its output.
        while self.next().is_some() {}
        std::mem::take(&mut self.told)
    }

    /// Ends it like a service manager.
    fn end(mut self) -> Vec<Value> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        while self.next().is_some() {}
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        assert!(self.told.iter().any(|line| line["event"] == "stopping"));
        std::mem::take(&mut self.told)
    }
}

impl Drop for Daemon {
    /// Kills the daemon if a test failed.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the runs whose end was reported.
fn runs_finished(told: &[Value]) -> Vec<String> {
    let ends = told.iter().filter(|line| line["type"] == "run-finished");
    ends.filter_map(|line| line["run"].as_str().map(str::to_owned)).collect()
}

fn addresses(news: &[Value]) -> Vec<&str> {
    let of_one = |one: &'_ Value| one["addresses"].as_array().unwrap().len();
    assert!(news.iter().all(|one| of_one(one) > 0));
    news.iter().flat_map(|one| one["addresses"].as_array().unwrap()).filter_map(Value::as_str).collect()
}

const DRIFTED: [&str; 5] =
    ["file[/etc/motd]", "firewall.firewall-policy[converge]", "group[sudo]", "package[tree]", "service[app]"];

#[test]
fn what_is_done_by_hand_is_corrected_or_reported_as_the_policy_says() {
    let Some(testbed) = or_skip(Testbed::up(&["h1", "h2", "h3"])) else { return };
    let inventory = format!(
        r#"{SUDO}
drift every="2s" mode="correct"
host "h1" "h2"
host "h3" {{ drift mode="report" }}
on "*" {{
    file "/etc/motd" {{ content "welcome" }}
    package "tree"
    group "sudo" members=(expr)"['admin']"
    service "app" running=#true
    firewall {{ allow "ssh" }}
}}
"#
    );
    let project = Project::new(&inventory, Some(&testbed)).unwrap();
    let unit = "[Service]\\nExecStart=/bin/sleep infinity\\n";
    for host in testbed.hosts() {
        root(host, &format!("printf '{unit}' >/etc/systemd/system/app.service; systemctl daemon-reload"));
    }
    apply(&project);

    let mut daemon = Daemon::start(&project);
    for host in testbed.hosts() {
        daemon.until_in_sync(host.name());
    }
    for host in testbed.hosts() {
        root(
            host,
            "echo by hand >/etc/motd; dpkg --purge tree; gpasswd --add nobody sudo; systemctl stop app",
        );
        root(host, "nft flush ruleset");
    }
    let reported = testbed.host("h3").unwrap();
    let before = reported.snapshot().unwrap();

    for host in ["h1", "h2"] {
        let all: BTreeSet<&str> = DRIFTED.into();
        while addresses(&daemon.news(host, "corrected")).into_iter().collect::<BTreeSet<_>>() != all {
            daemon.next().unwrap();
        }
        daemon.until_in_sync(host);
        assert_eq!(addresses(&daemon.news(host, "corrected")).len(), DRIFTED.len(), "each once");
        let host = testbed.host(host).unwrap();
        let found = root(
            host,
            "cat /etc/motd; systemctl is-active app; dpkg-query -Wf '${Status}\\n' tree; id -nG nobody",
        );
        assert_eq!(found, "welcome\nactive\ninstall ok installed\nnogroup");
        assert!(root(host, "nft list table inet converge").contains("policy drop"));
    }
    let all = |found: &Value| found["resources"].as_array().unwrap().len() == DRIFTED.len();
    if !daemon.news("h3", "drift-found").iter().any(all) {
        daemon.until(Some("h3"), "drift-found", all);
    }
    // Wait for one more look, so that no act is still running.
    daemon.until(Some("h3"), "looked", |looked| looked["drifted"] == DRIFTED.len());
    assert_eq!(reported.changes_since(&before).unwrap(), []);
    let found = daemon.news("h3", "drift-found").into_iter().rev().find(|found| all(found)).unwrap();
    assert!(found["resources"].as_array().unwrap().iter().all(|one| one["response"] == "reports"), "{found}");
    assert_eq!(daemon.news("h3", "corrected"), Vec::<Value>::new());
    let told = daemon.end();
    let plans: String = told.iter().filter(|line| line["type"] == "planned").map(Value::to_string).collect();
    for shown in ["-by hand\\n+welcome", "nobody", "service[app]", "package[tree]"] {
        assert!(plans.contains(&shown.replace('\n', "\\n")), "{shown} is in no plan");
    }

    let once = project.converge(&["watch", "--once"]).unwrap();
    assert_eq!(once.code, 2, "{once}");
    assert!(once.stdout.contains("h3  drift: reports ") && once.stdout.contains("+by hand"), "{once}");
    apply(&project);
    let once = project.converge(&["watch", "--once"]).unwrap();
    assert!(once.code == 0 && once.stdout.contains("h3  recovered: "), "{once}");
    what_waits_for_a_window_and_for_fewer_hosts_is_corrected_then(&testbed, &project);
}

/// Returns a window of one hour that begins in `hours` hours, in UTC.
fn window(hours: u64) -> String {
    let minutes = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 60;
    let at = |minutes: u64| format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60);
    format!("{}-{}", at(minutes + hours * 60), at(minutes + hours * 60 + 60))
}

/// Uses three hosts that are in sync.
fn what_waits_for_a_window_and_for_fewer_hosts_is_corrected_then(testbed: &Testbed, project: &Project) {
    let write = |policy: &str| {
        let drift = format!("drift every=\"3s\" mode=\"correct\" zone=\"UTC\" {policy}");
        let body = r#"on "*" { file "/etc/motd" { content "welcome" } }"#;
        let inventory = format!("{SUDO}\n{drift}\nhost \"h1\" \"h2\" \"h3\"\n{body}\n");
        project.write("project/inventory.kdl", inventory).unwrap();
    };
    write(&format!("window=\"{}\"", window(2)));
    let mut daemon = Daemon::start(project);
    let hosts = ["h1", "h2", "h3"];
    for host in hosts {
        daemon.until_in_sync(host);
        root(testbed.host(host).unwrap(), "echo by hand >/etc/motd");
    }
    let responds = |daemon: &mut Daemon, host: &str, response: &str| {
        let is_so = |found: &Value| found["resources"][0]["response"] == response;
        if !daemon.news(host, "drift-found").iter().any(is_so) {
            daemon.until(Some(host), "drift-found", is_so);
        }
    };
    for host in hosts {
        responds(&mut daemon, host, "waits-for-window");
    }

    // From an hour ago to an hour from now: open at any time of the day.
    write(&format!("max-share=\"50%\" {{ window \"{}\" \"{}\" \"{}\" }}", window(23), window(24), window(1)));
    for host in hosts {
        responds(&mut daemon, host, "too-many-drifted");
        assert_eq!(daemon.news(host, "corrected"), Vec::<Value>::new());
    }
    for host in ["h2", "h3"] {
        root(testbed.host(host).unwrap(), "echo welcome >/etc/motd");
    }
    if daemon.news("h1", "corrected").is_empty() {
        daemon.until(Some("h1"), "corrected", |_| true);
    }
    assert_eq!(root(testbed.host("h1").unwrap(), "cat /etc/motd"), "welcome");
    let told = daemon.end();
    let of_all = |kind: &str| told.iter().filter(|line| line["event"] == kind).count();
    assert_eq!((of_all("too-many-drifted"), of_all("correction-goes-on")), (1, 1));
    let corrected = |line: &&Value| line["event"] == "corrected" && line["host"] != "h1";
    assert_eq!(told.iter().find(corrected), None, "what people put right is not corrected");
}

#[test]
fn a_daemon_that_is_killed_at_any_moment_loses_nothing_and_does_nothing_twice() {
    let Some(testbed) = or_skip(Testbed::up(&["h1"])) else { return };
    let host = testbed.host("h1").unwrap();
    let inventory = format!(
        r#"{SUDO}
drift every="1s" mode="correct" fight-after=1000
host "h1"
on "*" {{
    file "/etc/motd" notify="command[count]" {{ content "welcome" }}
    command "echo once >>/root/count" id="count" shell=#true only-notified=#true
}}
"#
    );
    let project = Project::new(&inventory, Some(&testbed)).unwrap();
    apply(&project);
    root(host, "rm /root/count");
    let mut finished = BTreeSet::new();
    // The number of output lines before each kill: in looks, in acts, and between them.
    let moments = [1, 3, 5, 7, 8, 9, 10, 11, 12, 13, 15, 18];
    for lines in moments {
        root(host, "echo by hand >/etc/motd");
        let mut daemon = Daemon::start(&project);
        for _ in 0..lines {
            daemon.next().unwrap();
        }
        finished.extend(runs_finished(&daemon.kill()));
        let mut daemon = Daemon::start(&project);
        daemon.until_in_sync("h1");
        finished.extend(runs_finished(&daemon.end()));
        assert_eq!(root(host, "cat /etc/motd"), "welcome");
    }
    let history = project.converge(&["history", "--json", "--limit-runs", "10000"]).unwrap();
    assert_eq!(history.code, 0, "{history}");
    let lost: Vec<_> = finished.iter().filter(|run| !history.stdout.contains(run.as_str())).collect();
    assert!(finished.len() > moments.len() && lost.is_empty(), "{lost:?} of {finished:?}");
    assert_eq!(root(host, "wc -l </root/count"), moments.len().to_string());
}

#[test]
fn a_broken_inventory_leaves_the_last_good_one_in_force_and_a_fight_is_given_up() {
    let Some(testbed) = or_skip(Testbed::up(&["h1"])) else { return };
    let host = testbed.host("h1").unwrap();
    let inventory = |text: &str| {
        format!(
            "{SUDO}\ndrift every=\"1s\" mode=\"correct\" fight-after=2\nhost \"h1\"\n\
             on \"*\" {{ file \"/etc/motd\" {{ content \"{text}\" }} }}\n"
        )
    };
    let project = Project::new(&inventory("one"), Some(&testbed)).unwrap();
    apply(&project);
    let mut daemon = Daemon::start(&project);
    // From here on the first daemon has the project.
    daemon.until_in_sync("h1");
    let second = project.converge(&["watch"]).unwrap();
    assert!(second.code == 5 && second.stderr.contains("another daemon watches this project"), "{second}");

    project.write("project/inventory.kdl", inventory("one").replace('}', "")).unwrap();
    let broken = daemon.until(None, "inventory-broken", |_| true);
    assert!(broken["mistakes"][0].as_str().unwrap().contains("inventory.kdl:"), "{broken}");
    root(host, "echo by hand >/etc/motd");
    daemon.until(Some("h1"), "corrected", |_| true);
    assert_eq!(root(host, "cat /etc/motd"), "one");

    // New parts of the inventory wait for an apply, even on a host with drift.
    project.write("project/inventory.kdl", inventory("two")).unwrap();
    daemon.until(None, "inventory-reloaded", |_| true);
    daemon.until(Some("h1"), "looked", |looked| looked["pending"] == 1);
    root(host, "echo by hand >/etc/motd");
    daemon.until(Some("h1"), "looked", |looked| looked["pending"] == 1);
    assert_eq!(root(host, "cat /etc/motd"), "by hand");
    apply(&project);
    daemon.until_in_sync("h1");

    root(host, "echo again >/etc/motd");
    daemon.until(Some("h1"), "corrected", |_| true);
    root(host, "echo and again >/etc/motd");
    let fight = daemon.until(Some("h1"), "fight", |_| true);
    assert_eq!(
        (fight["address"].as_str(), fight["corrections"].as_u64()),
        (Some("file[/etc/motd]"), Some(2))
    );
    daemon.until(Some("h1"), "looked", |looked| looked["drifted"] == 1);
    assert_eq!(root(host, "cat /etc/motd"), "and again");
    root(host, "echo two >/etc/motd");
    daemon.until(Some("h1"), "recovered", |_| true);
    daemon.end();
}

//! Runs without catalogs on simulated hosts: how many work at the same time, which output is masked, and how each
//! host ends.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use converge_engine::hosts::Learn;
use converge_engine::run::ad_hoc;
use converge_engine::{AdHocHosts, AdHocRun, Errand, Observer, Outcome, SeenFacts, Stop, start};
use converge_fleet::{Ask, HostError};
use converge_lang::{Loader, MemorySources};
use converge_model::{AdHoc, Answer, Event, EventKind, Exit, Facts, HostName, HostState, Ran, Stream, exit};
use tokio::sync::watch;

const CANARY: &str = "canary-hunter2";

/// Hosts on which a command ends as their names say. Most commands end at once.
#[derive(Default)]
struct Pretence {
    at_work: AtomicUsize,
    most: AtomicUsize,
    order: Mutex<Vec<String>>,
}

impl AdHocHosts for Pretence {
    async fn exec(
        &self,
        host: &HostName,
        mut ask: Ask,
        asked: AdHoc,
        learn: Learn,
    ) -> Result<Option<Ran>, HostError> {
        self.order.lock().unwrap().push(host.to_string());
        self.most.fetch_max(self.at_work.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let masker = learn(&Facts::default());
        let _ = ask.events.send(EventKind::HostState { phase: "running".to_owned() }).await;
        let line = masker.mask(asked.words.join(" ").as_bytes());
        let _ = ask.events.send(EventKind::CommandOutput { stream: Stream::Stdout, line }).await;
        let exit = match host.as_str() {
            "away" => return Err(HostError::Start("no route".to_owned())),
            "bad" => Exit::Code(2),
            "endless" => {
                let _ = ask.stop.wait_for(|stop| *stop).await;
                Exit::Stopped
            }
            _ => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Exit::Code(0)
            }
        };
        self.at_work.fetch_sub(1, Ordering::SeqCst);
        Ok(Some(Ran { exit, lines: 1, took: 1 }))
    }

    async fn ping(&self, host: &HostName, _: Ask) -> Result<Answer, HostError> {
        match host.as_str() {
            "away" => Err(HostError::Start("no route".to_owned())),
            _ => Ok(Answer { user: "root".to_owned(), ..Answer::default() }),
        }
    }
}

/// Keeps the events. Stops the run at the first output line of the host `endless`.
struct Watcher {
    events: Vec<Event>,
    stop: watch::Sender<Stop>,
}

impl Observer for Watcher {
    fn event(&mut self, event: &Event) {
        let is_endless = event.host.as_ref().is_some_and(|host| host.as_str() == "endless");
        if is_endless && matches!(event.kind, EventKind::CommandOutput { .. }) {
            self.stop.send_replace(Stop::AfterStep);
        }
        self.events.push(event.clone());
    }

    async fn confirm(&mut self) -> bool {
        false
    }
}

struct Told {
    outcome: Outcome,
    events: Vec<Event>,
    hosts: Arc<Pretence>,
}

impl Told {
    fn states(&self) -> HashMap<String, HostState> {
        let ends = self.events.iter().filter_map(|event| match &event.kind {
            EventKind::HostFinished { report } => Some((report.host.to_string(), report.state)),
            _ => None,
        });
        ends.collect()
    }
}

/// Runs `errand` on `names`, `serial` at a time, in a project with a secret and this body.
async fn run(names: &[&str], serial: usize, errand: Errand, body: &str) -> Told {
    let hosts: Vec<_> = names.iter().map(|name| HostName::new(*name).unwrap()).collect();
    let defined: String = names.iter().map(|name| format!("host \"{name}\"\n")).collect();
    let memory = MemorySources::new()
        .file("inventory.kdl", format!("secrets \"s.age\"\n{defined}{body}"))
        .secret_file("s.age", format!("db \"{CANARY}\""));
    let loaded = Loader::new(Arc::new(memory), Vec::new(), Vec::new()).load("inventory.kdl", &[]);
    let inventory = Arc::new(loaded.inventory.or(loaded.mistaken).unwrap());
    let (sender, stop) = watch::channel(Stop::No);
    let (id, by, seen) = (start::run_id().unwrap(), "ada@laptop".to_owned(), SeenFacts::nowhere());
    let run = AdHocRun { id, by, errand, inventory, hosts, serial, seen, stop };
    let mut watcher = Watcher { events: Vec::new(), stop: sender };
    let hosts = Arc::new(Pretence::default());
    let outcome = ad_hoc::run(run, hosts.clone(), &mut watcher).await;
    Told { outcome, events: watcher.events, hosts }
}

fn command(line: &str) -> Errand {
    let asked = AdHoc { words: vec![line.to_owned()], script: None, timeout: None };
    Errand::Exec { asked, script: None, quote: str::to_owned }
}

#[tokio::test]
async fn each_host_ends_as_its_command_and_the_run_as_the_worst_of_them() {
    let told = run(&["a", "bad", "away"], 9, command("true"), "").await;
    let states = told.states();
    let state = |host: &str| states[host];
    assert_eq!(
        (state("a"), state("bad"), state("away")),
        (HostState::Done, HostState::Failed, HostState::Unreachable)
    );
    assert_eq!(told.outcome.exit, exit::FAILED);
    assert_eq!(run(&["a", "away"], 9, command("true"), "").await.outcome.exit, exit::UNREACHABLE);
    assert_eq!(run(&["a"], 9, command("true"), "").await.outcome.exit, exit::OK);
    assert_eq!(run(&["a", "away"], 9, Errand::Ping, "").await.outcome.exit, exit::UNREACHABLE);
    assert_eq!(run(&["a"], 9, Errand::Ping, "").await.outcome.exit, exit::OK);
}

#[tokio::test]
async fn so_many_hosts_are_at_work_at_a_time_in_the_order_of_the_inventory() {
    let names = ["a", "b", "c", "d", "e"];
    let told = run(&names, 2, command("true"), "").await;
    assert_eq!(told.hosts.most.load(Ordering::SeqCst), 2);
    assert_eq!(*told.hosts.order.lock().unwrap(), names);
}

#[tokio::test]
async fn a_run_that_is_stopped_ends_its_commands_and_begins_no_other() {
    let told = run(&["endless", "later"], 1, command("sleep"), "").await;
    let states = told.states();
    assert_eq!((states["endless"], states["later"]), (HostState::Interrupted, HostState::NotStarted));
    assert_eq!(told.outcome.exit, exit::INTERRUPTED);
}

#[tokio::test]
async fn secrets_are_masked_in_the_command_and_its_output_whatever_the_catalog_is() {
    for body in ["", "on \"a\" { no-such-kind \"x\" }\n"] {
        let told = run(&["a"], 1, command(&format!("echo {CANARY}")), body).await;
        let json: String = told.events.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        assert!(!json.contains(CANARY), "{json}");
        assert_eq!(json.matches("echo ********").count(), 2, "{json}");
    }
}

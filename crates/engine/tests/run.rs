//! Runs over hosts that only pretend: in which order they are looked at and acted on, who waits for whom, and how each
//! host ends.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex};

use converge_engine::hosts::Compile;
use converge_engine::{Goal, Hosts, Observer, Outcome, ProjectSources, Run, SeenFacts, Stop, run, start};
use converge_fleet::{Ask, HostError};
use converge_lang::{Loader, MemorySources, Selection};
use converge_model::schema::Checked;
use converge_model::wire::Refusal;
use converge_model::{
    Address, Certainty, Change, Digest, Event, EventKind, Facts, HostName, HostPlan, HostReport, HostState,
    KindInfo, KindSchema, Param, ParamProblem, Params, Problem, Step, Type, Verb,
};
use tokio::sync::watch;

/// How a host behaves; one that is not named has changes and takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Temper {
    InSync,
    Unrecorded,
    Unreachable,
    Unplannable,
    Stale,
    Fails,
    /// The user stops the run while it acts; it ends when the agent is told.
    Stopped,
    /// It never answers.
    Hangs,
    /// Its task breaks down.
    Panics,
}

struct Pretence {
    tempers: HashMap<String, Temper>,
    /// What was asked of whom, and when it was answered.
    log: Arc<Mutex<Vec<String>>>,
    stop: watch::Sender<Stop>,
}

impl Pretence {
    fn temper(&self, host: &HostName) -> Option<Temper> {
        self.tempers.get(host.as_str()).copied()
    }

    fn note(&self, words: String) {
        self.log.lock().unwrap().push(words);
    }
}

fn facts(host: &HostName) -> Facts {
    Facts { hostname: format!("{host}.local"), ..Facts::default() }
}

fn token(host: &HostName) -> Digest {
    Digest::of(host.as_str().as_bytes())
}

impl Hosts for Pretence {
    async fn look(&self, host: &HostName, ask: Ask, compile: Compile) -> Result<HostPlan, HostError> {
        self.note(format!("look {host}"));
        let _ = ask.events.send(EventKind::HostState { phase: "looking".to_owned() }).await;
        match self.temper(host) {
            Some(Temper::Unreachable) => return Err(HostError::Start("no route".to_owned())),
            Some(Temper::Panics) => panic!("a defect"),
            Some(Temper::Hangs) => {
                self.stop.send_replace(Stop::AfterStep);
                std::future::pending::<()>().await;
            }
            _ => {}
        }
        let prepared = compile(&facts(host)).map_err(HostError::Compile)?;
        assert_eq!(prepared.catalog.project, "owner");
        self.note(format!("looked {host}"));
        let step = Step {
            resource: 0,
            address: Address::new(None, "file", "/x"),
            kind: "file".to_owned(),
            change: Change { certainty: Certainty::Exact, ..Change::new(Verb::Create) },
            because: Vec::new(),
            owed: false,
            drift: converge_model::plan::Drift::default(),
        };
        let temper = self.temper(host);
        let has_steps = !matches!(temper, Some(Temper::InSync | Temper::Unrecorded | Temper::Unplannable));
        let problem = Problem { address: None, message: "impossible".to_owned(), help: None };
        Ok(HostPlan {
            token: token(host),
            steps: has_steps.then_some(step).into_iter().collect(),
            in_sync: 1,
            problems: (temper == Some(Temper::Unplannable)).then_some(problem).into_iter().collect(),
            ledger_complete: temper != Some(Temper::Unrecorded),
            busy: None,
            interrupted: None,
        })
    }

    async fn act(
        &self,
        host: &HostName,
        mut ask: Ask,
        shown: Digest,
        compile: Compile,
    ) -> Result<HostReport, HostError> {
        self.note(format!("act {host}"));
        assert_eq!(shown, token(host), "the token is that of the plan that was shown");
        compile(&facts(host)).map_err(HostError::Compile)?;
        let state = match self.temper(host) {
            Some(Temper::Stale) => return Err(HostError::Refused(Refusal::Stale("it moved".to_owned()))),
            Some(Temper::Fails) => HostState::Failed,
            Some(Temper::Unrecorded) => HostState::InSync,
            Some(Temper::Stopped) => {
                self.stop.send_replace(Stop::AfterStep);
                let _ = ask.stop.wait_for(|stop| *stop).await;
                HostState::Changed
            }
            _ => HostState::Changed,
        };
        // Others get their turn, if they may have one.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.note(format!("acted {host}"));
        Ok(HostReport { host: host.clone(), state, results: Vec::new(), in_sync: 0, problems: Vec::new() })
    }
}

#[derive(Default)]
struct Watcher {
    events: Vec<Event>,
    agrees: bool,
    asked: usize,
}

impl Observer for Watcher {
    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }

    async fn confirm(&mut self) -> bool {
        self.asked += 1;
        self.agrees
    }
}

/// What came of a run.
struct Told {
    outcome: Outcome,
    states: BTreeMap<String, HostState>,
    log: Vec<String>,
    asked: usize,
    events: Vec<Event>,
}

impl Told {
    fn check(&self, states: &[(&str, HostState)], exit: u8) {
        let expected: BTreeMap<_, _> =
            states.iter().map(|(host, state)| ((*host).to_owned(), *state)).collect();
        assert_eq!((&self.states, self.outcome.exit), (&expected, exit), "{:?}", self.log);
    }

    fn at(&self, words: &str) -> usize {
        self.log
            .iter()
            .position(|noted| noted == words)
            .unwrap_or_else(|| panic!("no {words} in {:?}", self.log))
    }

    fn never(&self, words: &str) {
        assert!(!self.log.iter().any(|noted| noted == words), "{words} in {:?}", self.log);
    }
}

async fn carry_out(goal: Goal, inventory: &str, tempers: &[(&str, Temper)], agrees: bool) -> Told {
    let sources = Arc::new(MemorySources::new().file("inventory.kdl", inventory));
    let loader = Loader { sources, kinds: vec![probe()], builtins: Vec::new() };
    let loaded = loader.load("inventory.kdl", &[]);
    let inventory = loaded.inventory.unwrap_or_else(|| {
        panic!("{}", loaded.diagnostics.render(&loaded.files, converge_lang::diagnostic::Style::PLAIN))
    });
    let (stop, stopped) = watch::channel(Stop::No);
    let log = Arc::new(Mutex::new(Vec::new()));
    let tempers = tempers.iter().map(|(host, temper)| ((*host).to_owned(), *temper)).collect();
    let hosts = Arc::new(Pretence { tempers, log: log.clone(), stop });
    let mut watcher = Watcher { agrees, ..Watcher::default() };
    let the_run = Run {
        id: start::run_id().unwrap(),
        by: "ada@laptop".to_owned(),
        goal,
        owner: "owner".to_owned(),
        hosts: inventory.hosts().cloned().collect(),
        inventory: Arc::new(inventory),
        sources: Arc::new(ProjectSources::new("/nowhere".into())),
        selection: Selection::default(),
        seen: SeenFacts::nowhere(),
        stop: stopped,
    };
    let outcome = run::run(the_run, hosts, &mut watcher).await;
    let states = watcher.events.iter().filter_map(|event| match &event.kind {
        EventKind::HostFinished { report } => Some((report.host.to_string(), report.state)),
        _ => None,
    });
    let told: Vec<_> = states.collect();
    let states: BTreeMap<_, _> = told.iter().cloned().collect();
    assert_eq!(told.len(), states.len(), "every host ends once: {told:?}");
    let log = log.lock().unwrap().clone();
    Told { outcome, states, log, asked: watcher.asked, events: watcher.events }
}

/// A kind with a text and no meaning.
struct Probe(KindSchema);

impl KindInfo for Probe {
    fn schema(&self) -> &KindSchema {
        &self.0
    }

    fn check(&self, _: &Params) -> Result<Checked, Vec<ParamProblem>> {
        Ok(Checked::default())
    }
}

fn probe() -> &'static dyn KindInfo {
    static PROBE: LazyLock<Probe> = LazyLock::new(|| {
        let name = Param::new("name", Type::Name, "").argument(0).required();
        Probe(KindSchema::new("probe", "").param(name).param(Param::new("text", Type::Text, "")))
    });
    &*PROBE
}

const READS_B: &str = "host \"a\" \"b\"\non \"a\" { probe \"x\" text=\"{{ hosts.b.facts.hostname }}\" }\n";

#[tokio::test]
async fn who_reads_facts_of_another_host_of_the_run_is_looked_at_after_it() {
    let told = carry_out(Goal::Plan { detailed: false }, READS_B, &[], true).await;
    told.check(&[("a", HostState::Pending), ("b", HostState::Pending)], 0);
    assert!(told.at("looked b") < told.at("looked a"), "{:?}", told.log);
}

#[tokio::test]
async fn facts_of_a_host_that_was_never_seen_are_an_error_that_names_it() {
    let told = carry_out(Goal::Plan { detailed: false }, READS_B, &[("b", Temper::Unreachable)], true).await;
    told.check(&[("a", HostState::Unplannable), ("b", HostState::Unreachable)], 3);
    let named = told.events.iter().any(|event| match &event.kind {
        EventKind::HostFinished { report } if report.state == HostState::Unplannable => {
            report.problems.iter().any(|problem| problem.message.contains("`b`"))
        }
        _ => false,
    });
    assert!(named, "{:?}", told.events);
}

const TWO: &str = "host \"a\" \"b\"\n";

#[tokio::test]
async fn a_plan_touches_nobody_and_says_what_is_pending() {
    for (detailed, exit) in [(true, 2), (false, 0)] {
        let told = carry_out(Goal::Plan { detailed }, TWO, &[("b", Temper::Unrecorded)], true).await;
        told.check(&[("a", HostState::Pending), ("b", HostState::InSync)], exit);
        told.never("act a");
        told.never("act b");
        assert_eq!(told.asked, 0);
    }
}

#[tokio::test]
async fn nobody_is_acted_on_before_everybody_was_looked_at() {
    let told = carry_out(Goal::Apply, "host \"h[1..20]\"\n", &[("h7", Temper::Unreachable)], true).await;
    let first_act = told.log.iter().position(|noted| noted.starts_with("act ")).unwrap();
    let last_look = told.log.iter().rposition(|noted| noted.starts_with("look")).unwrap();
    assert!(last_look < first_act, "{:?}", told.log);
    assert_eq!(told.outcome.exit, 4);
    assert_eq!(told.states["h7"], HostState::Unreachable);
}

#[tokio::test]
async fn who_says_no_leaves_all_as_it_is() {
    let told = carry_out(Goal::Apply, TWO, &[("b", Temper::InSync)], false).await;
    told.check(&[("a", HostState::Pending), ("b", HostState::InSync)], 0);
    assert_eq!(told.asked, 1);
    told.never("act a");
}

#[tokio::test]
async fn what_was_found_is_recorded_without_a_question() {
    let tempers = [("a", Temper::InSync), ("b", Temper::Unrecorded)];
    let told = carry_out(Goal::Apply, TWO, &tempers, false).await;
    told.check(&[("a", HostState::InSync), ("b", HostState::InSync)], 0);
    assert_eq!(told.asked, 0);
    told.at("acted b");
    told.never("act a");
}

#[tokio::test]
async fn each_host_ends_in_one_state_and_the_others_go_on() {
    let inventory = "host \"ok\" \"fails\" \"stale\" \"impossible\" \"gone\" \"broken\"\n";
    let tempers = [
        ("fails", Temper::Fails),
        ("stale", Temper::Stale),
        ("impossible", Temper::Unplannable),
        ("gone", Temper::Unreachable),
        ("broken", Temper::Panics),
    ];
    let told = carry_out(Goal::Apply, inventory, &tempers, true).await;
    told.check(
        &[
            ("ok", HostState::Changed),
            ("fails", HostState::Failed),
            ("stale", HostState::Stale),
            ("impossible", HostState::Unplannable),
            ("gone", HostState::Unreachable),
            ("broken", HostState::Failed),
        ],
        3,
    );
    told.never("act impossible");
}

const WEB_AFTER_DB: &str = "host \"web\" \"db\" \"mon\"\non \"web\" after=\"db\" { }\n";

#[tokio::test]
async fn who_waits_starts_when_the_other_is_done() {
    let told = carry_out(Goal::Apply, WEB_AFTER_DB, &[], true).await;
    assert!(told.at("acted db") < told.at("act web"), "{:?}", told.log);
    assert!(told.at("act mon") < told.at("acted db"), "the others do not wait: {:?}", told.log);
    assert_eq!(told.outcome.exit, 0);
}

#[tokio::test]
async fn who_waits_for_a_host_that_is_lost_is_not_started() {
    for temper in [Temper::Fails, Temper::Unreachable, Temper::Unplannable, Temper::Stale] {
        let told = carry_out(Goal::Apply, WEB_AFTER_DB, &[("db", temper)], true).await;
        assert_eq!(told.states["web"], HostState::NotStarted, "{temper:?}");
        assert_eq!(told.states["mon"], HostState::Changed, "{temper:?}");
        told.never("act web");
    }
}

#[tokio::test]
async fn who_waits_for_a_host_in_sync_need_not_wait() {
    let told = carry_out(Goal::Apply, WEB_AFTER_DB, &[("db", Temper::InSync)], true).await;
    told.at("acted web");
    assert_eq!(told.outcome.exit, 0);
}

#[tokio::test]
async fn a_rollout_stops_at_its_first_loss() {
    let inventory = "host \"w[1..4]\" \"db\"\non \"w*\" { rollout canary=1 batch=\"50%\" }\n";
    let told = carry_out(Goal::Apply, inventory, &[], true).await;
    assert!(told.at("acted db") < told.at("act w1"), "{:?}", told.log);
    assert!(
        told.at("acted w1") < told.at("act w2") && told.at("acted w3") < told.at("act w4"),
        "{:?}",
        told.log
    );
    let told = carry_out(Goal::Apply, inventory, &[("w2", Temper::Fails)], true).await;
    told.check(
        &[
            ("db", HostState::Changed),
            ("w1", HostState::Changed),
            ("w2", HostState::Failed),
            ("w3", HostState::Changed),
            ("w4", HostState::NotStarted),
        ],
        3,
    );
}

#[tokio::test]
async fn a_first_interruption_ends_the_steps_in_hand_and_starts_nobody() {
    let told = carry_out(Goal::Apply, WEB_AFTER_DB, &[("db", Temper::Stopped)], true).await;
    assert_eq!((told.states["db"], told.states["web"]), (HostState::Changed, HostState::NotStarted));
    assert_eq!(told.outcome.exit, 130);
}

#[tokio::test]
async fn an_interrupted_look_acts_on_nobody() {
    let told = carry_out(Goal::Apply, TWO, &[("a", Temper::Hangs), ("b", Temper::Hangs)], true).await;
    told.check(&[("a", HostState::NotStarted), ("b", HostState::NotStarted)], 130);
    assert_eq!(told.asked, 0);
}

#[tokio::test]
async fn events_are_numbered_a_host_without_a_gap() {
    let told = carry_out(Goal::Apply, TWO, &[], true).await;
    let mut next: HashMap<Option<HostName>, u64> = HashMap::new();
    for event in &told.events {
        let expected = next.entry(event.host.clone()).or_default();
        assert_eq!(event.sequence, *expected, "{event:?}");
        *expected += 1;
    }
    assert!(matches!(told.events[0].kind, EventKind::RunStarted { hosts: 2, .. }));
}

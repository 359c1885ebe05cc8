//! Runs on simulated hosts: the order of looks and acts, which host waits for which, and how each host ends.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use converge_engine::hosts::Compile;
use converge_engine::secrets::Identities;
use converge_engine::{
    DoneOnce, Goal, Hosts, Observer, Outcome, ProjectSources, Run, SeenFacts, StateFolder, Stop, run, start,
};
use converge_fleet::{Ask, HostError};
use converge_lang::{Loader, MemorySources, Selection};
use converge_model::plan::Holder;
use converge_model::schema::Checked;
use converge_model::wire::Refusal;
use converge_model::{
    Address, Blocked, Catalog, Certainty, Change, Claim, Digest, Event, EventKind, Facts, HostName, HostPlan,
    HostReport, HostState, KindInfo, KindSchema, Param, ParamProblem, Params, Problem, Restoration, Scalar,
    Settled, Stands, Step, StepOutcome, StepResult, Type, Value, Verb,
};
use tokio::sync::watch;

/// How a host behaves. A host without an entry has changes and takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Temper {
    InSync,
    Unrecorded,
    Unreachable,
    Unplannable,
    /// One of its resources cannot be planned; another one changes.
    FallsShort,
    /// One of its resources cannot be planned, and that one may fail.
    MayFallShort,
    Stale,
    Fails,
    /// The user stops the run while it acts. It ends when the agent is told.
    Stopped,
    /// The user stops the run while it acts. It never ends.
    Deaf,
    /// It never answers.
    Hangs,
    /// Its task panics.
    Panics,
    /// Its ledger knows the once-step.
    Knows,
    /// The once-step fails there.
    FailsOnce,
    /// Another run works there until the second look.
    Busy,
    /// Its task panics in the middle of the once-step.
    PanicsOnce,
    /// It fails before the once-step.
    FailsBefore,
    /// The gates of a rollout fail on it.
    Unwell,
}

struct Pretence {
    tempers: HashMap<String, Temper>,
    /// The requests to hosts and their answers, in order.
    log: Arc<Mutex<Vec<String>>>,
    stop: watch::Sender<Stop>,
}

impl Pretence {
    fn temper(&self, host: &HostName) -> Option<Temper> {
        self.tempers.get(host.as_str()).copied()
    }

    fn was_looked_at_again(&self, host: &HostName) -> bool {
        let looks = format!("look {host}");
        self.log.lock().unwrap().iter().filter(|line| **line == looks).count() > 1
    }

    fn note(&self, words: String) {
        self.log.lock().unwrap().push(words);
    }
}

impl Pretence {
    /// Acts on once-steps as the agent does.
    async fn act_once(
        &self,
        host: &HostName,
        ask: &Ask,
        place: u32,
        address: Address,
        settled: &[(u32, Settled)],
    ) -> HostReport {
        let report = |state| HostReport {
            host: host.clone(),
            state,
            results: Vec::new(),
            in_sync: 0,
            problems: Vec::new(),
        };
        let failed = |why: &str| StepOutcome::Failed {
            why: why.to_owned(),
            output: String::new(),
            restored: Restoration::Nothing,
            stands: Stands::Unknown,
        };
        let temper = self.temper(host);
        let outcome = match settled.first() {
            Some((_, Settled::Known)) => return report(HostState::InSync),
            Some((_, Settled::Done)) => StepOutcome::AlreadySo,
            Some((_, Settled::Failed(why))) => failed(why),
            None if temper == Some(Temper::FailsBefore) => return report(HostState::Failed),
            None => {
                self.note(format!("run {host}"));
                let started = EventKind::StepStarted { address: address.clone(), step: 0, of: 1 };
                let _ = ask.events.send(started).await;
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                match temper {
                    Some(Temper::PanicsOnce) => panic!("a defect"),
                    Some(Temper::FailsOnce) => failed("ended with 1"),
                    _ => StepOutcome::Done,
                }
            }
        };
        let state = if outcome.failed() { HostState::Failed } else { HostState::Changed };
        let change = Change::new(Verb::Act);
        let result = StepResult {
            resource: place,
            address,
            change,
            outcome,
            unforeseen: Vec::new(),
            may_fail: false,
            took: 0,
        };
        let _ = ask.events.send(EventKind::StepFinished { result: result.clone() }).await;
        HostReport { results: vec![result], ..report(state) }
    }
}

/// Whether a catalog belongs to the gates of a rollout.
fn is_gate(catalog: &Catalog) -> bool {
    catalog.bodies.iter().any(|body| ["before", "health", "after"].contains(&body.name.as_str()))
}

fn plan_of(host: &HostName, steps: Vec<Step>) -> HostPlan {
    HostPlan {
        token: token(host),
        steps,
        in_sync: 0,
        known_once: Vec::new(),
        problems: Vec::new(),
        blocked: Vec::new(),
        ledger_complete: true,
        busy: None,
        interrupted: None,
        damaged: 0,
        reverted: None,
    }
}

/// Returns the once-steps of a catalog.
fn once(catalog: &Catalog) -> impl Iterator<Item = (u32, Address)> {
    let places = (0..).zip(&catalog.resources);
    places
        .filter(|(_, resource)| resource.once().is_some())
        .map(|(at, resource)| (at, resource.address.clone()))
}

/// A host `web-on-vm` is the machine `vm`. Any other host is its own machine.
fn facts(host: &HostName) -> Facts {
    let machine = host.as_str().split_once("-on-").map_or(host.as_str(), |(_, machine)| machine);
    Facts {
        hostname: format!("{host}.local"),
        machine_id: format!("machine of {machine}"),
        boot_id: "boot".to_owned(),
        ..Facts::default()
    }
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
        if is_gate(&prepared.catalog) {
            return Ok(plan_of(host, Vec::new()));
        }
        self.note(format!("looked {host}"));
        let step = Step {
            resource: 0,
            address: Address::new(None, "file", "/x"),
            kind: "file".to_owned(),
            change: Change { certainty: Certainty::Exact, ..Change::new(Verb::Create) },
            because: Vec::new(),
            owed: false,
            drift: converge_model::plan::Drift::default(),
            guarded: false,
            warning: None,
        };
        let temper = self.temper(host);
        let known = temper == Some(Temper::Knows)
            || prepared.catalog.settled.iter().any(|(_, how)| *how == Settled::Known);
        let once: Vec<u32> = once(&prepared.catalog).map(|(place, _)| place).collect();
        if !once.is_empty() {
            let steps = if known { Vec::new() } else { vec![step] };
            return Ok(HostPlan {
                token: token(host),
                steps,
                in_sync: 0,
                known_once: if known { once } else { Vec::new() },
                problems: Vec::new(),
                blocked: Vec::new(),
                ledger_complete: temper == Some(Temper::Knows),
                busy: None,
                interrupted: None,
                damaged: 0,
                reverted: None,
            });
        }
        let has_steps = !matches!(temper, Some(Temper::InSync | Temper::Unrecorded | Temper::Unplannable));
        let problem = Problem { address: None, message: "impossible".to_owned(), help: None };
        Ok(HostPlan {
            token: token(host),
            steps: has_steps.then_some(step).into_iter().collect(),
            in_sync: 1,
            known_once: Vec::new(),
            problems: (temper == Some(Temper::Unplannable)).then_some(problem).into_iter().collect(),
            blocked: match temper {
                Some(Temper::FallsShort) => vec![impossible(false)],
                Some(Temper::MayFallShort) => vec![impossible(true)],
                _ => Vec::new(),
            },
            ledger_complete: temper != Some(Temper::Unrecorded),
            busy: (temper == Some(Temper::Busy) && !self.was_looked_at_again(host)).then(holder),
            interrupted: None,
            damaged: 0,
            reverted: None,
        })
    }

    fn skew(&self, host: &HostName) -> i64 {
        if host.as_str() == "late" { -90 } else { 0 }
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
        let prepared = compile(&facts(host)).map_err(HostError::Compile)?;
        if is_gate(&prepared.catalog) {
            let step = prepared.catalog.resources[0].address.to_string();
            self.note(format!("gate {host}: {}", step.trim_start_matches("probe[").trim_end_matches(']')));
            let is_unwell = self.temper(host) == Some(Temper::Unwell);
            let state = if is_unwell { HostState::Failed } else { HostState::Changed };
            let problems = Vec::new();
            return Ok(HostReport { host: host.clone(), state, results: Vec::new(), in_sync: 0, problems });
        }
        if let Some((place, address)) = once(&prepared.catalog).next() {
            return Ok(self.act_once(host, &ask, place, address, &prepared.catalog.settled).await);
        }
        let state = match self.temper(host) {
            Some(Temper::Stale) => return Err(HostError::Refused(Refusal::Stale("it changed".to_owned()))),
            Some(Temper::Fails | Temper::FallsShort) => HostState::Failed,
            Some(Temper::Unrecorded) => HostState::InSync,
            Some(Temper::Deaf) => {
                self.stop.send_replace(Stop::AfterStep);
                std::future::pending().await
            }
            Some(Temper::Stopped) => {
                self.stop.send_replace(Stop::AfterStep);
                let _ = ask.stop.wait_for(|stop| *stop).await;
                HostState::Changed
            }
            _ => HostState::Changed,
        };
        // Gives other tasks the chance to run.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.note(format!("acted {host}"));
        Ok(HostReport { host: host.clone(), state, results: Vec::new(), in_sync: 0, problems: Vec::new() })
    }
}

/// The run that holds the lock of a busy host.
fn holder() -> Holder {
    Holder { run: "other".to_owned(), by: "bob@laptop".to_owned(), since: 1, held: 1 }
}

fn impossible(may_fail: bool) -> Blocked {
    Blocked {
        resource: 0,
        address: Address::new(None, "probe", "bob"),
        because: None,
        why: "a folder is in the way".to_owned(),
        help: None,
        may_fail,
    }
}

/// Picks an event.
type At = fn(&EventKind) -> bool;

#[derive(Default)]
struct Watcher {
    events: Vec<Event>,
    agrees: bool,
    asked: usize,
    /// Interrupts the run once, at the first event that the filter picks.
    interrupts: Option<(At, watch::Sender<Stop>)>,
}

impl Observer for Watcher {
    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
        if let Some((_, stop)) = self.interrupts.take_if(|(at, _)| at(&event.kind)) {
            stop.send_replace(Stop::AfterStep);
        }
    }

    async fn confirm(&mut self) -> bool {
        self.asked += 1;
        self.agrees
    }
}

/// The result of a run.
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

/// Marks an inventory with hosts that declare nothing.
const BARE: &str = "// bare\n";

async fn carry_out(goal: Goal, inventory: &str, tempers: &[(&str, Temper)], agrees: bool) -> Told {
    remembering(&DoneOnce::nowhere(), goal, inventory, tempers, agrees).await
}

/// Runs an apply that is interrupted at the first event that `at` picks.
async fn interrupted(inventory: &str, tempers: &[(&str, Temper)], at: At) -> Told {
    watched(&DoneOnce::nowhere(), Goal::Apply, inventory, tempers, (true, Some(at), false)).await
}

/// The same with a controller that remembers once-steps.
async fn remembering(
    done_once: &DoneOnce,
    goal: Goal,
    inventory: &str,
    tempers: &[(&str, Temper)],
    agrees: bool,
) -> Told {
    watched(done_once, goal, inventory, tempers, (agrees, None, false)).await
}

/// Runs an apply that does not change hosts with a resource that cannot be planned.
async fn strictly(inventory: &str, tempers: &[(&str, Temper)]) -> Told {
    watched(&DoneOnce::nowhere(), Goal::Apply, inventory, tempers, (true, None, true)).await
}

async fn watched(
    done_once: &DoneOnce,
    goal: Goal,
    inventory: &str,
    tempers: &[(&str, Temper)],
    watcher: (bool, Option<At>, bool),
) -> Told {
    let controller = (done_once, &SeenFacts::nowhere());
    started(Selection::default(), controller, goal, inventory, tempers, watcher).await
}

/// Runs with a controller that remembers facts.
async fn seeing(seen: &SeenFacts, goal: Goal, inventory: &str) -> Told {
    let controller = (&DoneOnce::nowhere(), seen);
    started(Selection::default(), controller, goal, inventory, &[], (true, None, false)).await
}

/// Runs with a selection of resources.
async fn chosen(selection: Selection, inventory: &str) -> Told {
    let controller = (&DoneOnce::nowhere(), &SeenFacts::nowhere());
    started(selection, controller, Goal::Apply, inventory, &[], (true, None, false)).await
}

async fn started(
    selection: Selection,
    (done_once, seen): (&DoneOnce, &SeenFacts),
    goal: Goal,
    inventory: &str,
    tempers: &[(&str, Temper)],
    (agrees, interrupts, strict): (bool, Option<At>, bool),
) -> Told {
    // A host that declares nothing is left alone. So all hosts declare something, unless the test is about that.
    let asked = if inventory.contains(BARE) { "" } else { "on \"*\" { probe \"asked\" }\n" };
    let sources = Arc::new(MemorySources::new().file("inventory.kdl", format!("{inventory}{asked}")));
    let loader = Loader::new(sources, vec![probe()], Vec::new());
    let loaded = loader.load("inventory.kdl", &[]);
    let inventory = loaded.inventory.unwrap_or_else(|| {
        panic!("{}", loaded.diagnostics.render(&loaded.files, converge_lang::diagnostic::Style::PLAIN))
    });
    let (stop, stopped) = watch::channel(Stop::No);
    let log = Arc::new(Mutex::new(Vec::new()));
    let tempers = tempers.iter().map(|(host, temper)| ((*host).to_owned(), *temper)).collect();
    let interrupts = interrupts.map(|at| (at, stop.clone()));
    let hosts = Arc::new(Pretence { tempers, log: log.clone(), stop });
    let mut watcher = Watcher { agrees, interrupts, ..Watcher::default() };
    let the_run = Run {
        id: start::run_id().unwrap(),
        by: "ada@laptop".to_owned(),
        goal,
        owner: "owner".to_owned(),
        hosts: inventory.hosts().cloned().collect(),
        inventory: Arc::new(inventory),
        sources: Arc::new(ProjectSources::new("/nowhere".into(), Arc::new(Identities::only(Vec::new())))),
        selection,
        seen: seen.clone(),
        done_once: done_once.clone(),
        stop: stopped,
        guard: converge_model::wire::Guard::default(),
        strict,
        wait: Duration::from_secs(60),
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

/// A kind with one text parameter, which may run once.
struct Probe(KindSchema);

impl KindInfo for Probe {
    fn schema(&self) -> &KindSchema {
        &self.0
    }

    fn check(&self, params: &Params) -> Result<Checked, Vec<ParamProblem>> {
        let once = match params.get("once") {
            Some(Value::Scalar(Scalar::Text(key))) => vec![Claim::once(key)],
            _ => Vec::new(),
        };
        Ok(Checked { claims: once, suffix: None, warnings: Vec::new() })
    }
}

fn probe() -> &'static dyn KindInfo {
    static PROBE: LazyLock<Probe> = LazyLock::new(|| {
        let name = Param::new("name", Type::Name, "").argument(0).required();
        let text = |name| Param::new(name, Type::Text, "");
        Probe(KindSchema::new("probe", "").param(name).param(text("text")).param(text("once")))
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
async fn selection_that_no_host_has_ends_the_run_before_a_host_is_acted_on() {
    let inventory = "host \"a\" \"b\"\non \"*\" { probe \"x-{{ facts.os.family }}\" tags=\"web\" }\n";
    let only = |address: &str| Selection { only: vec![address.to_owned()], ..Selection::default() };
    let tags = |tag: &str| Selection { tags: vec![tag.to_owned()], ..Selection::default() };
    let run = |selection| chosen(selection, inventory);
    for selection in [only("probe[x-dbian]"), tags("wbe")] {
        let told = run(selection).await;
        told.check(&[("a", HostState::Unplannable), ("b", HostState::Unplannable)], 3);
        told.never("acted a");
        let helped = told.events.iter().any(|event| match &event.kind {
            EventKind::HostFinished { report } => report
                .problems
                .iter()
                .any(|problem| problem.message.starts_with("no resource has the") && problem.help.is_some()),
            _ => false,
        });
        assert!(helped, "{:?}", told.events);
    }
    let told = run(tags("web")).await;
    told.check(&[("a", HostState::Changed), ("b", HostState::Changed)], 0);
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
async fn a_host_without_resources_is_not_contacted_unless_its_facts_are_read() {
    let inventory = format!("{BARE}host \"a\" \"b\"\non \"a\" {{ probe \"x\" }}\n");
    let told = carry_out(Goal::Apply, &inventory, &[("b", Temper::Unreachable)], true).await;
    told.check(&[("a", HostState::Changed), ("b", HostState::InSync)], 0);
    told.never("look b");
    let reads = format!("{BARE}{READS_B}");
    let told = carry_out(Goal::Plan { detailed: false }, &reads, &[], true).await;
    assert!(told.at("look b") < told.at("looked a"), "{:?}", told.log);
}

#[tokio::test]
async fn a_host_that_may_still_own_something_is_contacted() {
    let folder = tempfile::tempdir().unwrap();
    let seen = StateFolder::at(folder.path().join("state")).unwrap().facts("shop");
    let one = "host \"a\"\non \"a\" { probe \"x\" }\n";
    for (goal, is_looked_at) in [(Goal::Plan { detailed: false }, false), (Goal::Apply, true)] {
        seeing(&seen, goal, one).await;
        let told = seeing(&seen, Goal::Plan { detailed: false }, &format!("{BARE}host \"a\"\n")).await;
        assert_eq!(told.log.contains(&"look a".to_owned()), is_looked_at, "after {goal:?}: {:?}", told.log);
    }
}

#[tokio::test]
async fn two_names_of_one_machine_are_told_and_only_the_first_is_acted_on() {
    let inventory = "host \"web-on-vm\" \"db-on-vm\" \"other\"\non \"*\" { probe \"x\" }\n";
    for _ in 0..20 {
        let told = carry_out(Goal::Apply, inventory, &[], true).await;
        assert_eq!(told.states["web-on-vm"], HostState::Changed, "{:?}", told.log);
        assert!(is_refused(told.states["db-on-vm"]) && told.outcome.exit == 3, "{:?}", told.states);
        assert_eq!(told.states["other"], HostState::Changed);
        told.never("act db-on-vm");
        let problem = told.problem("db-on-vm");
        assert!(problem.contains("web-on-vm and db-on-vm are one machine"), "{problem}");
        let told = carry_out(Goal::Plan { detailed: false }, inventory, &[], true).await;
        assert_eq!(told.outcome.exit, 3, "{:?}", told.states);
    }
}

fn is_refused(state: HostState) -> bool {
    matches!(state, HostState::Unplannable | HostState::NotStarted)
}

#[tokio::test]
async fn folders_that_stand_for_hosts_are_not_one_machine() {
    let hosts = "connection \"local\" root=\"x\"\nhost \"web-on-vm\" \"db-on-vm\"\n";
    let inventory = format!("{hosts}on \"*\" {{ probe \"x\" }}\n");
    let told = carry_out(Goal::Apply, &inventory, &[], true).await;
    told.check(&[("web-on-vm", HostState::Changed), ("db-on-vm", HostState::Changed)], 0);
}

#[tokio::test]
async fn the_clock_of_a_host_is_told_with_its_plan() {
    let inventory = "host \"late\"\non \"*\" { probe \"x\" }\n";
    let told = carry_out(Goal::Plan { detailed: false }, inventory, &[], true).await;
    let skew = told.events.iter().find_map(|event| match &event.kind {
        EventKind::Planned { skew, .. } => Some(*skew),
        _ => None,
    });
    assert_eq!(skew, Some(-90));
}

#[tokio::test]
async fn a_plan_touches_no_host_and_says_what_is_pending() {
    for (detailed, exit) in [(true, 2), (false, 0)] {
        let told = carry_out(Goal::Plan { detailed }, TWO, &[("b", Temper::Unrecorded)], true).await;
        told.check(&[("a", HostState::Pending), ("b", HostState::InSync)], exit);
        told.never("act a");
        told.never("act b");
        assert_eq!(told.asked, 0);
    }
}

#[tokio::test]
async fn no_host_is_acted_on_before_all_were_looked_at() {
    let told = carry_out(Goal::Apply, "host \"h[1..20]\"\n", &[("h7", Temper::Unreachable)], true).await;
    let first_act = told.log.iter().position(|noted| noted.starts_with("act ")).unwrap();
    let last_look = told.log.iter().rposition(|noted| noted.starts_with("look")).unwrap();
    assert!(last_look < first_act, "{:?}", told.log);
    assert_eq!(told.outcome.exit, 4);
    assert_eq!(told.states["h7"], HostState::Unreachable);
}

#[tokio::test]
async fn an_apply_waits_for_another_run_and_a_plan_does_not() {
    let tempers = [("a", Temper::Busy)];
    let told = carry_out(Goal::Apply, "host \"a\"\n", &tempers, true).await;
    let looks = |told: &Told| told.log.iter().filter(|line| *line == "look a").count();
    assert_eq!((looks(&told), told.states["a"]), (2, HostState::Changed), "{:?}", told.log);
    let waits = |event: &Event| matches!(&event.kind, EventKind::HostState { phase } if phase.contains("another run"));
    assert!(told.events.iter().any(waits));
    let told = carry_out(Goal::Plan { detailed: false }, "host \"a\"\n", &tempers, true).await;
    assert_eq!((looks(&told), told.states["a"]), (1, HostState::Pending));
}

#[tokio::test]
async fn who_says_no_leaves_all_as_it_is() {
    let told = carry_out(Goal::Apply, TWO, &[("b", Temper::InSync)], false).await;
    told.check(&[("a", HostState::Pending), ("b", HostState::InSync)], 1);
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

#[tokio::test]
async fn a_resource_that_cannot_be_planned_stops_its_host_only_if_that_is_asked_for() {
    let inventory = "host \"short\" \"may\"\n";
    let tempers = [("short", Temper::FallsShort), ("may", Temper::MayFallShort)];
    let plan = carry_out(Goal::Plan { detailed: false }, inventory, &tempers, true).await;
    plan.check(&[("short", HostState::Unplannable), ("may", HostState::Pending)], 3);
    let apply = carry_out(Goal::Apply, inventory, &tempers, true).await;
    apply.check(&[("short", HostState::Failed), ("may", HostState::Changed)], 3);
    apply.at("acted short");
    let declined = carry_out(Goal::Apply, inventory, &tempers, false).await;
    declined.check(&[("short", HostState::Unplannable), ("may", HostState::Pending)], 3);
    let strict = strictly(inventory, &tempers).await;
    strict.check(&[("short", HostState::Unplannable), ("may", HostState::Changed)], 3);
    strict.never("act short");
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
async fn a_first_interruption_ends_the_steps_in_hand_and_starts_no_host() {
    let told = carry_out(Goal::Apply, WEB_AFTER_DB, &[("db", Temper::Stopped)], true).await;
    assert_eq!((told.states["db"], told.states["web"]), (HostState::Changed, HostState::NotStarted));
    assert_eq!(told.outcome.exit, 130);
}

#[tokio::test(start_paused = true)]
async fn a_first_interruption_ends_a_run_within_a_bound_whatever_a_host_does() {
    let began = tokio::time::Instant::now();
    let told = carry_out(Goal::Apply, WEB_AFTER_DB, &[("db", Temper::Deaf)], true).await;
    assert_eq!((told.states["db"], told.states["web"]), (HostState::Interrupted, HostState::NotStarted));
    assert_eq!(told.outcome.exit, 130);
    assert_eq!(began.elapsed().as_secs(), run::STOPPING.as_secs());
}

#[tokio::test]
async fn an_interrupted_look_acts_on_no_host() {
    let told = carry_out(Goal::Apply, TWO, &[("a", Temper::Hangs), ("b", Temper::Hangs)], true).await;
    told.check(&[("a", HostState::NotStarted), ("b", HostState::NotStarted)], 130);
    assert_eq!(told.asked, 0);
}

#[tokio::test]
async fn an_interruption_after_the_first_plan_asks_no_user_and_acts_on_no_host() {
    let planned = |kind: &EventKind| matches!(kind, EventKind::Planned { .. });
    let unrecorded = [("a", Temper::Unrecorded), ("b", Temper::Unrecorded)];
    for (tempers, ends) in [(&[][..], HostState::Pending), (&unrecorded, HostState::InSync)] {
        // If two events have both happened, the order in which the run sees them is random. So try several times.
        for _ in 0..20 {
            let told = interrupted(TWO, tempers, planned).await;
            told.never("act a");
            told.never("act b");
            assert_eq!((told.asked, told.outcome.exit), (0, 130));
            assert!(told.states.values().any(|state| *state == ends), "{:?}", told.states);
        }
    }
}

#[tokio::test]
async fn an_interruption_between_two_batches_begins_none() {
    let inventory = "host \"a\" \"b\"\non \"*\" { rollout batch=1 wait=\"1h\" }\n";
    let ended = |kind: &EventKind| matches!(kind, EventKind::HostFinished { .. });
    let told = interrupted(inventory, &[], ended).await;
    told.check(&[("a", HostState::Changed), ("b", HostState::NotStarted)], 130);
    told.never("act b");
}

#[tokio::test]
async fn an_interruption_does_not_wait_for_another_try_of_a_health_check() {
    let inventory = GATES.replace("every=\"1ms\"", "every=\"1h\"");
    let health = |kind: &EventKind| matches!(kind, EventKind::HostState { phase } if phase == "health");
    let told = interrupted(&inventory, &[("w1", Temper::Unwell)], health).await;
    assert_eq!(acts(&told), ["lb1", "lb1: drain-w1", "w1", "w1: well"], "{:?}", told.log);
    assert_eq!((told.states["w2"], told.outcome.exit), (HostState::NotStarted, 130));
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

const ONCE: &str = "host \"w[1..3]\"\non \"w*\" { probe \"migrate\" once=\"1.5.0\" }\n";

impl Told {
    /// Returns the hosts that ran it, in order.
    fn runs(&self) -> Vec<&str> {
        self.log.iter().filter_map(|noted| noted.strip_prefix("run ")).collect()
    }

    /// Returns the certainty of the only step in the plan of `host`. None if the plan has no step.
    fn planned(&self, host: &str) -> Option<String> {
        let of_it = |event: &&Event| event.host.as_ref().is_some_and(|of| of.as_str() == host);
        let plan = self.events.iter().filter(of_it).find_map(|event| match &event.kind {
            EventKind::Planned { plan, .. } => Some(plan),
            _ => None,
        });
        plan?.steps.first().map(|step| match &step.change.certainty {
            Certainty::Exact => String::new(),
            Certainty::Conditional { why, .. } => why.clone(),
        })
    }

    fn problem(&self, host: &str) -> String {
        let ended = self.events.iter().find_map(|event| match &event.kind {
            EventKind::HostFinished { report } if report.host.as_str() == host => Some(report),
            _ => None,
        });
        format!("{:?}", ended.unwrap())
    }
}

#[tokio::test]
async fn what_runs_once_runs_on_the_first_host_and_the_others_say_where() {
    let told = carry_out(Goal::Plan { detailed: true }, ONCE, &[], true).await;
    assert_eq!(told.planned("w1").as_deref(), Some(""));
    for host in ["w2", "w3"] {
        assert_eq!(told.planned(host).as_deref(), Some("it runs once for all hosts, on w1"));
    }
    let told = carry_out(Goal::Apply, ONCE, &[("w1", Temper::Unreachable)], true).await;
    assert_eq!(told.planned("w3").as_deref(), Some("it runs once for all hosts, on w2"));
    assert_eq!(told.runs(), ["w2"]);
    let inventory = format!("{ONCE}on \"w1\" after=\"w2\" {{ }}\n");
    let told = carry_out(Goal::Apply, &inventory, &[], true).await;
    assert_eq!(told.planned("w1").as_deref(), Some("it runs once for all hosts, on w2"));
    assert_eq!((told.runs(), told.outcome.exit), (vec!["w2"], 0));
}

#[tokio::test]
async fn what_failed_on_one_host_fails_on_those_that_waited() {
    let told = carry_out(Goal::Apply, ONCE, &[("w1", Temper::FailsOnce)], true).await;
    assert_eq!(told.runs(), ["w1"]);
    assert_eq!((told.states["w2"], told.outcome.exit), (HostState::Failed, 3));
    assert!(told.problem("w2").contains("it failed on w1: ended with 1"), "{}", told.problem("w2"));
    let told = carry_out(Goal::Apply, ONCE, &[("w1", Temper::PanicsOnce)], true).await;
    assert_eq!(told.runs(), ["w1"], "nobody knows how far it came");
    assert!(told.problem("w3").contains("its result on w1 is unknown"), "{}", told.problem("w3"));
    let told = carry_out(Goal::Apply, ONCE, &[("w1", Temper::FailsBefore)], true).await;
    assert_eq!(told.runs(), ["w2"], "who did not come to it leaves it to the next");
}

#[tokio::test]
async fn what_a_host_or_the_controller_knows_is_not_run_again() {
    let told = carry_out(Goal::Apply, ONCE, &[("w2", Temper::Knows)], true).await;
    assert_eq!(told.runs(), [""; 0]);
    assert_eq!(told.planned("w1"), None, "the plan does not list it");
    told.check(&[("w1", HostState::InSync), ("w2", HostState::InSync), ("w3", HostState::InSync)], 0);
    told.at("act w3");
    let folder = tempfile::tempdir().unwrap();
    let state = StateFolder::at(folder.path().join("state")).unwrap();
    let run = async |inventory: &str, tempers: &[(&str, Temper)]| {
        let done = state.done_once("owner");
        remembering(&done, Goal::Apply, inventory, tempers, true).await
    };
    let failed = run(ONCE, &[("w1", Temper::FailsOnce)]).await;
    assert_eq!(failed.runs(), ["w1"]);
    assert_eq!(run(ONCE, &[]).await.runs(), ["w1"], "what failed is run again");
    assert_eq!(run(ONCE, &[]).await.runs(), [""; 0]);
    let other = ONCE.replace("1.5.0", "1.5.1");
    assert_eq!(run(&other, &[]).await.runs(), ["w1"]);
    let elsewhere = ONCE.replace("w[1..3]", "v[1..3]").replace("w*", "v*");
    assert_eq!(run(&elsewhere, &[]).await.runs(), ["v1"], "other hosts have their own");
}

#[tokio::test]
async fn each_rollout_runs_it_once() {
    let inventory = "host \"w[1..3]\" \"e[1..2]\"\n\
        on \"*\" { probe \"migrate\" once=\"1.5.0\" }\n\
        on \"w*\" { rollout canary=1 }\non \"e*\" { rollout batch=1 }\n";
    let told = carry_out(Goal::Apply, inventory, &[], true).await;
    assert_eq!(told.runs(), ["w1", "e1"]);
    let told = carry_out(Goal::Apply, inventory, &[("w1", Temper::FailsOnce)], true).await;
    assert_eq!((told.runs(), told.states["w2"]), (vec!["w1"], HostState::NotStarted));
}

const GATES: &str = "host \"w[1..3]\" \"lb1\"\non \"w*\" {\n\
    rollout canary=1 batch=1 {\n\
        before { probe \"drain-{{ host.name }}\" at=\"lb1\" }\n\
        health retries=2 every=\"1ms\" { probe \"well\" }\n\
        after { probe \"undrain-{{ host.name }}\" at=\"lb1\" }\n\
    }\n}\n";

/// Returns the log without the looks.
fn acts(told: &Told) -> Vec<&str> {
    told.log
        .iter()
        .filter_map(|noted| noted.strip_prefix("gate ").or_else(|| noted.strip_prefix("acted ")))
        .collect()
}

#[tokio::test]
async fn what_is_done_around_a_host_is_done_around_those_that_change() {
    let told = carry_out(Goal::Apply, GATES, &[("w2", Temper::InSync), ("lb1", Temper::InSync)], true).await;
    let around = |host: &str| {
        [
            format!("lb1: drain-{host}"),
            host.to_owned(),
            format!("{host}: well"),
            format!("lb1: undrain-{host}"),
        ]
    };
    assert_eq!(acts(&told), [around("w1"), around("w3")].concat(), "{:?}", told.log);
    assert_eq!((told.states["w3"], told.outcome.exit), (HostState::Changed, 0));
    let plan = carry_out(Goal::Plan { detailed: false }, GATES, &[], true).await;
    let steps = plan.events.iter().find_map(|event| match &event.kind {
        EventKind::Planned { plan, .. } if event.host.as_ref().is_some_and(|of| of.as_str() == "w1") => {
            Some(plan.steps.iter().map(|step| step.address.to_string()).collect::<Vec<_>>())
        }
        _ => None,
    });
    assert_eq!(steps.unwrap(), ["probe[drain-w1]", "file[/x]", "probe[well]", "probe[undrain-w1]"]);
}

#[tokio::test]
async fn a_host_that_is_not_well_is_lost_and_stops_the_rollout() {
    let told = carry_out(Goal::Apply, GATES, &[("w1", Temper::Unwell)], true).await;
    let expected = ["lb1", "lb1: drain-w1", "w1", "w1: well", "w1: well", "w1: well"];
    assert_eq!(acts(&told), expected, "tried three times, and not restored: {:?}", told.log);
    assert_eq!((told.states["w1"], told.states["w2"]), (HostState::Failed, HostState::NotStarted));
    assert!(told.problem("w1").contains("`health` of its rollout, on w1"), "{}", told.problem("w1"));
    assert!(told.problem("w2").contains("lost w1"), "{}", told.problem("w2"));
    assert_eq!(told.outcome.exit, 3);
    let told = carry_out(Goal::Apply, GATES, &[("lb1", Temper::Unwell)], true).await;
    assert_eq!(acts(&told), ["lb1", "lb1: drain-w1"], "{:?}", told.log);
    assert!(told.problem("w1").contains("the host itself was not changed"), "{}", told.problem("w1"));
    let told = carry_out(Goal::Apply, GATES, &[("w1", Temper::Fails)], true).await;
    assert_eq!(acts(&told), ["lb1", "lb1: drain-w1", "w1"], "{:?}", told.log);
    assert!(told.problem("w1").contains("the changes of `before` remain"), "{}", told.problem("w1"));
}

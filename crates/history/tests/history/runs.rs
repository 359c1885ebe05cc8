//! Test runs: their events, as a run sends them.

use std::collections::HashMap;

use converge_model::event::VERSION;
use converge_model::{
    Address, Change, Digest, Event, EventKind, HostName, HostPlan, HostReport, HostState, PropertyChange,
    RunId, Step, StepOutcome, StepResult, TextDiff, Verb,
};

/// Builds the events of a run.
pub(crate) struct Told {
    run: RunId,
    sequences: HashMap<Option<HostName>, u64>,
    /// The events so far.
    pub(crate) events: Vec<Event>,
}

/// Returns the id of the `n`th run.
pub(crate) fn id(n: u64) -> RunId {
    RunId::new(format!("20261121T{n:06}-{n:08x}")).unwrap()
}

pub(crate) fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

/// A change of `file[/x]` from `before` to `after`.
pub(crate) fn edit(path: &str, before: &str, after: &str) -> Change {
    let diff = TextDiff { unified: format!("@@ -1,1 +1,1 @@\n-{before}\n+{after}\n"), cut: false };
    let content = PropertyChange { diff: Some(diff), ..PropertyChange::new("content", before, after) };
    Change::new(Verb::Update).property(content).irreversible(path)
}

pub(crate) fn plan(in_sync: u32, changes: &[(&str, Change)]) -> HostPlan {
    let step = |(place, (path, change)): (u32, &(&str, Change))| Step {
        resource: place,
        address: Address::new(None, "file", path),
        kind: "file".to_owned(),
        change: change.clone(),
        because: Vec::new(),
        owed: false,
        drift: converge_model::plan::Drift::default(),
        guarded: false,
        warning: None,
    };
    HostPlan {
        token: Digest::of(&in_sync.to_le_bytes()),
        steps: (0..).zip(changes).map(step).collect(),
        in_sync,
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

pub(crate) fn result(resource: u32, path: &str, change: &Change, outcome: StepOutcome) -> StepResult {
    StepResult {
        resource,
        address: Address::new(None, "file", path),
        change: change.clone(),
        outcome,
        unforeseen: Vec::new(),
        may_fail: false,
        took: u64::from(resource) + 3,
    }
}

impl Told {
    /// Starts the `n`th run, of `verb`, over `hosts`.
    pub(crate) fn begin(n: u64, verb: &str, hosts: &[&str]) -> Self {
        let mut told = Self { run: id(n), sequences: HashMap::new(), events: Vec::new() };
        let (verb, by, at) = (verb.to_owned(), "ada@laptop".to_owned(), n * 1000);
        told.tell("", EventKind::RunStarted { verb, hosts: hosts.len() as u32, by, at });
        for host in hosts {
            told.tell(host, EventKind::HostState { phase: "waiting".to_owned() });
        }
        told
    }

    pub(crate) fn tell(&mut self, name: &str, kind: EventKind) {
        let host = HostName::new(name).ok();
        let next = self.sequences.entry(host.clone()).or_default();
        let event = Event { version: VERSION, run: self.run.clone(), host, sequence: *next, kind };
        *next += 1;
        self.events.push(event);
    }

    pub(crate) fn plan(&mut self, name: &str, plan: &HostPlan) {
        self.tell(
            name,
            EventKind::Planned { plan: plan.clone(), machine: format!("machine of {name}"), skew: 0 },
        );
    }

    pub(crate) fn end(&mut self, name: &str, state: HostState, in_sync: u32, results: &[StepResult]) {
        let report =
            HostReport { host: host(name), state, results: results.to_vec(), in_sync, problems: Vec::new() };
        self.tell(name, EventKind::HostFinished { report });
    }

    pub(crate) fn finish(mut self, states: &[(HostState, u32)], exit: u8) -> Vec<Event> {
        self.tell("", EventKind::RunFinished { states: states.to_vec(), changed: 0, exit, took: 4321 });
        self.events
    }
}

/// A run in which `name` is in sync.
pub(crate) fn in_sync(n: u64, name: &str) -> Vec<Event> {
    let mut told = Told::begin(n, "apply", &[name]);
    told.plan(name, &plan(40, &[]));
    told.end(name, HostState::InSync, 40, &[]);
    told.finish(&[(HostState::InSync, 1)], 0)
}

/// A run of `verb` in which `path` of `name` is changed.
pub(crate) fn changed(n: u64, verb: &str, name: &str, path: &str) -> Vec<Event> {
    let change = edit(path, "old", "new");
    let done = result(0, path, &change, StepOutcome::Done);
    let mut told = Told::begin(n, verb, &[name]);
    told.tell(name, EventKind::HostState { phase: "looking".to_owned() });
    told.plan(name, &plan(7, &[(path, change)]));
    let address = done.address.clone();
    told.tell(name, EventKind::StepStarted { address: address.clone(), step: 0, of: 1 });
    told.tell(name, EventKind::Output { address, line: "one line".to_owned() });
    told.tell(name, EventKind::StepFinished { result: done.clone() });
    told.end(name, HostState::Changed, 7, &[done]);
    told.finish(&[(HostState::Changed, 1)], 0)
}

/// Returns the events that a history keeps: all except phases and starts of steps.
pub(crate) fn kept(events: &[Event]) -> Vec<Event> {
    let kept = |event: &&Event| match &event.kind {
        EventKind::HostState { phase } => phase == "waiting",
        kind => !matches!(kind, EventKind::StepStarted { .. }),
    };
    events.iter().filter(kept).cloned().collect()
}

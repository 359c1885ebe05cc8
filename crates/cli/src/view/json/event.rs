//! The events of a run.

use std::collections::BTreeMap;

use converge_model::{Event, EventKind, HostName, HostState, Stream};
use jiff::Timestamp;
use serde::Serialize;

use super::ad_hoc::{Answered, Ended};
use super::plan::{Holder, Plan, PlanProblem, problems};
use super::result::Outcome;
use super::{text, time};

/// One event: its run, its host, and what happened.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    run: &'a str,
    host: Option<&'a str>,
    sequence: u64,
    #[serde(flatten)]
    what: What<'a>,
}

/// The kind, with its details.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
enum What<'a> {
    RunStarted {
        verb: &'a str,
        hosts: u32,
        by: Option<&'a str>,
        at: Option<Timestamp>,
    },
    HostPhase {
        phase: String,
    },
    Planned {
        #[serde(flatten)]
        plan: Plan<'a>,
        machine_id: Option<&'a str>,
        clock_ahead_seconds: i64,
    },
    StepStarted {
        address: &'a str,
        step: u32,
        steps: u32,
    },
    Output {
        address: &'a str,
        line: &'a str,
    },
    StepFinished(Outcome<'a>),
    Owed {
        address: &'a str,
    },
    Paid {
        address: &'a str,
    },
    Armed {
        seconds: u32,
    },
    Confirmed,
    Reverted,
    Command {
        line: &'a str,
        script: Option<&'a str>,
    },
    Busy {
        holder: Holder<'a>,
    },
    CommandOutput {
        stream: Stream,
        line: &'a str,
    },
    CommandFinished(Ended<'a>),
    Answered(Answered<'a>),
    HostFinished {
        state: HostState,
        results: Vec<Outcome<'a>>,
        in_sync: u32,
        problems: Vec<PlanProblem<'a>>,
    },
    RunFinished {
        states: BTreeMap<HostState, u32>,
        changed_hosts: u32,
        exit_code: u8,
        took_ms: u64,
    },
}

impl<'a> From<&'a Event> for Line<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            run: event.run.as_str(),
            host: event.host.as_ref().map(HostName::as_str),
            sequence: event.sequence,
            what: What::from(&event.kind),
        }
    }
}

impl<'a> From<&'a EventKind> for What<'a> {
    fn from(kind: &'a EventKind) -> Self {
        match kind {
            EventKind::RunStarted { verb, hosts, by, at } => {
                Self::RunStarted { verb, hosts: *hosts, by: text(by), at: time(*at) }
            }
            // The model has words for people: `waiting for another run`.
            EventKind::HostState { phase } => Self::HostPhase { phase: phase.replace(' ', "-") },
            EventKind::Planned { plan, machine, skew } => Self::Planned {
                plan: Plan::from(plan),
                machine_id: text(machine),
                clock_ahead_seconds: *skew,
            },
            EventKind::StepStarted { address, step, of } => {
                Self::StepStarted { address: address.as_str(), step: step.saturating_add(1), steps: *of }
            }
            EventKind::Output { address, line } => Self::Output { address: address.as_str(), line },
            EventKind::StepFinished { result } => Self::StepFinished(Outcome::from(result)),
            EventKind::Owed { address } => Self::Owed { address: address.as_str() },
            EventKind::Paid { address } => Self::Paid { address: address.as_str() },
            EventKind::Armed { seconds } => Self::Armed { seconds: *seconds },
            EventKind::Confirmed => Self::Confirmed,
            EventKind::Reverted => Self::Reverted,
            EventKind::Command { line, script } => Self::Command { line, script: script.as_deref() },
            EventKind::Busy { holder } => Self::Busy { holder: Holder::from(holder) },
            EventKind::CommandOutput { stream, line } => Self::CommandOutput { stream: *stream, line },
            EventKind::CommandFinished { ran } => Self::CommandFinished(Ended::from(ran)),
            EventKind::Answered { answer } => Self::Answered(Answered::from(answer)),
            EventKind::HostFinished { report } => Self::HostFinished {
                state: report.state,
                results: report.results.iter().map(Outcome::from).collect(),
                in_sync: report.in_sync,
                problems: problems(&report.problems),
            },
            EventKind::RunFinished { states, changed, exit, took } => Self::RunFinished {
                states: states.iter().copied().collect(),
                changed_hosts: *changed,
                exit_code: *exit,
                took_ms: *took,
            },
        }
    }
}

//! The one stream of events that feeds every view: the terminal, `--json`, the history.
//!
//! The serialised form is what the history keeps, versioned by [`VERSION`]; fields are added, never renamed. What happened
//! is the key beside `version`, `run`, `host` and `sequence`: `{"version":1,…,"step-started":{"address":…}}`. `--json` prints
//! a form of its own.

use serde::{Deserialize, Serialize};

use crate::ad_hoc::{Answer, Ran, Stream};
use crate::id::{Address, HostName, RunId};
use crate::plan::{Holder, HostPlan};
use crate::report::{HostReport, HostState, StepResult};

/// The version of the event format.
pub const VERSION: u16 = 1;

/// One event. Order is kept per host, by `sequence`; the run's own events have no host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The version of the format.
    pub version: u16,
    /// The run.
    pub run: RunId,
    /// The host that it speaks of.
    pub host: Option<HostName>,
    /// Its place among the events of its host, from 0.
    pub sequence: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A run begins over so many hosts.
    RunStarted {
        /// `plan`, `apply`, `drift`, `exec`, `ping`.
        verb: String,
        /// How many hosts it selects.
        hosts: u32,
        /// Who started it, and from where: `ada@laptop`.
        #[serde(default)]
        by: String,
        /// When, in milliseconds since the epoch, by the controller's clock.
        #[serde(default)]
        at: u64,
    },
    /// A host enters a phase: `connecting`, `uploading`, `looking`, `waiting`, `applying`, `closing`,
    /// `running`.
    HostState {
        /// The phase.
        phase: String,
    },
    /// A host's plan is there.
    Planned {
        /// The plan, masked.
        plan: HostPlan,
        /// The identity of the host's installation (machine-id(5)); empty where it has none.
        #[serde(default)]
        machine: String,
        /// The seconds by which the host's clock is ahead of the controller's; negative where it is behind.
        #[serde(default)]
        skew: i64,
    },
    /// A step begins.
    StepStarted {
        /// Its resource.
        address: Address,
        /// Its place in the plan.
        step: u32,
        /// How many steps the plan has.
        of: u32,
    },
    /// A line of output of a step, masked.
    Output {
        /// Its resource.
        address: Address,
        /// The line.
        line: String,
    },
    /// A step ended.
    StepFinished {
        /// How.
        result: StepResult,
    },
    /// A notified action is owed.
    Owed {
        /// Whom it is owed to.
        address: Address,
    },
    /// A notified action that was owed is paid.
    Paid {
        /// Whom it was owed to.
        address: Address,
    },
    /// An access-critical group is armed with its revert.
    Armed {
        /// After how many seconds the host takes the changes back.
        seconds: u32,
    },
    /// An access-critical group was confirmed over a fresh connection.
    Confirmed,
    /// An access-critical group took itself back.
    Reverted,
    /// The command that a run executes on each of its hosts.
    Command {
        /// As a person would type it, masked.
        line: String,
        /// The name of the script that it runs, if it runs one.
        script: Option<String>,
    },
    /// Another run is at work on a host where a command is run.
    Busy {
        /// Which.
        holder: Holder,
    },
    /// A line of output of the command, masked.
    CommandOutput {
        /// Where it was printed.
        stream: Stream,
        /// The line.
        line: String,
    },
    /// The command ended on a host.
    CommandFinished {
        /// How.
        ran: Ran,
    },
    /// A host answers.
    Answered {
        /// What it says.
        answer: Answer,
    },
    /// A host is done.
    HostFinished {
        /// What became of it.
        report: HostReport,
    },
    /// The run is done.
    RunFinished {
        /// How many hosts ended in each state.
        states: Vec<(HostState, u32)>,
        /// How many hosts were changed, however they ended.
        #[serde(default)]
        changed: u32,
        /// The exit code.
        exit: u8,
        /// Milliseconds, by the monotonic clock.
        took: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{FromAgent, decode, encode};

    #[test]
    fn events_of_before_a_field_was_added_are_read() {
        let json =
            r#"{"version":1,"run":"r","host":null,"sequence":0,"run-started":{"verb":"apply","hosts":2}}"#;
        let event: Event = serde_json::from_str(json).unwrap();
        let (verb, by) = ("apply".to_owned(), String::new());
        assert_eq!(event.kind, EventKind::RunStarted { verb, hosts: 2, by, at: 0 });
    }

    #[test]
    fn events_travel_in_frames_and_read_well_as_json() {
        let kind = EventKind::StepStarted { address: Address::new(None, "file", "/a"), step: 1, of: 2 };
        let sent = FromAgent::Event(Box::new(kind.clone()));
        assert_eq!(decode::<FromAgent>(&encode(&sent).unwrap()[4..]).unwrap(), sent);
        let run = RunId::new("20260101T000000-00000000").unwrap();
        let event = Event { version: VERSION, run, host: None, sequence: 7, kind };
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(
            json,
            r#"{"version":1,"run":"20260101T000000-00000000","host":null,"sequence":7,"step-started":{"address":"file[/a]","step":1,"of":2}}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }
}

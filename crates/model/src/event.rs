//! The events of a run. All views are made of them: the terminal, `--json`, the history.
//!
//! The history keeps the serialised form. [`VERSION`] is its version; fields are added, never renamed. The kind of
//! event is a key beside `version`, `run`, `host` and `sequence`: `{"version":1,…,"step-started":{"address":…}}`.
//! `--json` prints a format of its own.

use serde::{Deserialize, Serialize};

use crate::ad_hoc::{Answer, Ran, Stream};
use crate::id::{Address, HostName, RunId};
use crate::plan::{Holder, HostPlan};
use crate::report::{HostReport, HostState, StepResult};

/// The version of the event format.
pub const VERSION: u16 = 1;

/// One event. `sequence` orders the events of one host. Events of the run itself have no host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The version of the format.
    pub version: u16,
    /// The run.
    pub run: RunId,
    /// The host of the event. None if it concerns the whole run.
    pub host: Option<HostName>,
    /// The position among the events of its host, from 0.
    pub sequence: u64,
    /// The kind of event.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// The kind of event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A run begins.
    RunStarted {
        /// `plan`, `apply`, `drift`, `exec`, `ping`.
        verb: String,
        /// The number of selected hosts.
        hosts: u32,
        /// The user who started the run, and the controller: `ada@laptop`.
        #[serde(default)]
        by: String,
        /// The time, in milliseconds since the epoch, by the controller's clock.
        #[serde(default)]
        at: u64,
    },
    /// A host enters a phase: `connecting`, `uploading`, `looking`, `waiting`, `applying`, `closing`,
    /// `running`.
    HostState {
        /// The phase.
        phase: String,
    },
    /// The plan of a host is made.
    Planned {
        /// The plan, masked.
        plan: HostPlan,
        /// The identity of the host's installation (machine-id(5)); empty if the host has none.
        #[serde(default)]
        machine: String,
        /// The seconds by which the host's clock is ahead of the controller's; negative if it is behind.
        #[serde(default)]
        skew: i64,
    },
    /// A step begins.
    StepStarted {
        /// Its resource.
        address: Address,
        /// Its index in the plan.
        step: u32,
        /// The number of steps in the plan.
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
        /// The step and how it ended.
        result: StepResult,
    },
    /// A notified action is owed.
    Owed {
        /// The resource that is notified.
        address: Address,
    },
    /// An owed action was carried out.
    Paid {
        /// The resource that was notified.
        address: Address,
    },
    /// An access-critical group is armed: its revert is prepared.
    Armed {
        /// After this many seconds the host reverts the changes.
        seconds: u32,
    },
    /// An access-critical group was confirmed over a new connection.
    Confirmed,
    /// The host reverted an access-critical group.
    Reverted,
    /// The command that the run executes on each of its hosts.
    Command {
        /// The command line as a user would type it, masked.
        line: String,
        /// The name of its script, if it has one.
        script: Option<String>,
    },
    /// Another run holds the lock of a host on which a command is run.
    Busy {
        /// The other run.
        holder: Holder,
    },
    /// A line of output of the command, masked.
    CommandOutput {
        /// The stream on which it was printed.
        stream: Stream,
        /// The line.
        line: String,
    },
    /// The command ended on a host.
    CommandFinished {
        /// The way it ended.
        ran: Ran,
    },
    /// A host answers.
    Answered {
        /// The answer.
        answer: Answer,
    },
    /// A host is finished.
    HostFinished {
        /// The result.
        report: HostReport,
    },
    /// The run is finished.
    RunFinished {
        /// The number of hosts in each state.
        states: Vec<(HostState, u32)>,
        /// The number of changed hosts, whatever their state.
        #[serde(default)]
        changed: u32,
        /// The exit code.
        exit: u8,
        /// Duration in milliseconds, by the monotonic clock.
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

//! Sends the events of a run to its observer. The events of each host, and those of the run, are numbered from 0.

use std::collections::HashMap;

use converge_model::event::VERSION;
use converge_model::{Event, EventKind, HostName, RunId};

use super::Observer;

/// The observer, and the next numbers.
pub(super) struct Telling<'a, O> {
    pub(super) observer: &'a mut O,
    run: RunId,
    /// The next event number of each host, and of the run itself.
    sequences: HashMap<Option<HostName>, u64>,
}

impl<'a, O: Observer> Telling<'a, O> {
    pub(super) fn new(run: &RunId, observer: &'a mut O) -> Self {
        Self { observer, run: run.clone(), sequences: HashMap::new() }
    }

    /// Sends an event of `host`, or of the run.
    pub(super) fn tell(&mut self, host: Option<HostName>, kind: EventKind) {
        let next = self.sequences.entry(host.clone()).or_default();
        let event = Event { version: VERSION, run: self.run.clone(), host, sequence: *next, kind };
        *next += 1;
        self.observer.event(&event);
    }
}

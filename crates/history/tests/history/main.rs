//! The history on a real disk: the runs that were recorded can be read, also after errors.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod questions;
mod runs;
mod told_again;

use std::path::Path;

use converge_history::{History, Places, Recorder, Retention};
use converge_model::{Event, RunId};

pub(crate) fn places(folder: &Path) -> Places {
    Places { folder: folder.to_owned(), elsewhere: None }
}

/// Records runs as a process does: with one recorder, and everything on disk at the end.
pub(crate) fn record(folder: &Path, events: &[Event]) {
    let recorder = Recorder::start(places(folder), Retention::default());
    events.iter().for_each(|event| recorder.event(event));
    assert_eq!(recorder.close(), None);
}

/// Returns a run's replayed events.
pub(crate) async fn told(folder: &Path, run: &RunId) -> Vec<Event> {
    let mut events = Vec::new();
    let mut history = History::open(folder).await.unwrap();
    history.replay(run, |event| events.push(event)).await.unwrap();
    events
}

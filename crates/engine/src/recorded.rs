//! Records a run in the history while an observer watches it. The history decides what is kept and how.

use converge_history::Recorder;
use converge_model::{Event, EventKind};

use crate::run::Observer;

/// The observer of a run, with a recorder.
pub struct Recorded<'a, O> {
    /// The observer.
    pub watcher: O,
    /// The recorder. None if the run is not recorded.
    pub recorder: Option<&'a Recorder>,
}

impl<O: Observer> Observer for Recorded<'_, O> {
    /// Writes the run to disk before the observer gets the last event.
    fn event(&mut self, event: &Event) {
        if let Some(recorder) = self.recorder {
            recorder.event(event);
            if matches!(event.kind, EventKind::RunFinished { .. }) {
                recorder.flush();
            }
        }
        self.watcher.event(event);
    }

    async fn confirm(&mut self) -> bool {
        self.watcher.confirm().await
    }
}

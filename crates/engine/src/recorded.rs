//! A run that goes into the history while somebody watches it. What is kept, and how, is the history's.

use converge_history::Recorder;
use converge_model::{Event, EventKind};

use crate::run::Observer;

/// Who watches a run, with a recorder beside.
pub struct Recorded<'a, O> {
    /// Who watches.
    pub watcher: O,
    /// The recorder; none where the run is not to be kept.
    pub recorder: Option<&'a Recorder>,
}

impl<O: Observer> Observer for Recorded<'_, O> {
    /// A run is on disk before anybody hears that it is finished.
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

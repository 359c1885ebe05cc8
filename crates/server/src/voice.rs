//! Sends all news and events of the daemon: to the listeners, in one order, and to the history.

use std::sync::{Arc, Mutex, PoisonError};

use converge_history::Recorder;
use converge_model::{Event, EventKind, HostName, RunId};
use jiff::Timestamp;

use crate::events::{Listener, News, NewsKind, VERSION};

/// The sender of the daemon's news.
pub(crate) struct Voice {
    listeners: Mutex<Vec<Box<dyn Listener>>>,
    recorder: Option<Arc<Recorder>>,
}

impl Voice {
    pub(crate) fn new(listeners: Vec<Box<dyn Listener>>, recorder: Option<Arc<Recorder>>) -> Self {
        Self { listeners: Mutex::new(listeners), recorder }
    }

    /// Sends news of `host`, or of the daemon itself.
    pub(crate) fn tell(&self, host: Option<&HostName>, run: Option<&RunId>, watch: NewsKind) {
        let at = Timestamp::now();
        let news = News { version: VERSION, at, host: host.cloned(), run: run.cloned(), watch };
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter_mut().for_each(|listener| listener.hear(&news));
    }

    /// Passes on an event of a run. A run is on disk before the listeners receive its end.
    pub(crate) fn event(&self, event: &Event) {
        if let Some(recorder) = &self.recorder {
            recorder.event(event);
            if matches!(event.kind, EventKind::RunFinished { .. }) {
                tokio::task::block_in_place(|| recorder.flush());
            }
        }
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter_mut().for_each(|listener| listener.event(event));
    }
}

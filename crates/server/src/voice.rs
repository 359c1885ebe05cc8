//! Where everything goes that the daemon and its runs tell: to the listeners, in one order, and to the history.

use std::sync::{Arc, Mutex, PoisonError};

use converge_history::Recorder;
use converge_model::{Event, EventKind, HostName, RunId};
use jiff::Timestamp;

use crate::events::{Listener, News, NewsKind, VERSION};

/// The voice of the daemon.
pub(crate) struct Voice {
    listeners: Mutex<Vec<Box<dyn Listener>>>,
    recorder: Option<Arc<Recorder>>,
}

impl Voice {
    pub(crate) fn new(listeners: Vec<Box<dyn Listener>>, recorder: Option<Arc<Recorder>>) -> Self {
        Self { listeners: Mutex::new(listeners), recorder }
    }

    /// Tells news of `host`, or of the daemon itself.
    pub(crate) fn tell(&self, host: Option<&HostName>, run: Option<&RunId>, watch: NewsKind) {
        let at = Timestamp::now();
        let news = News { version: VERSION, at, host: host.cloned(), run: run.cloned(), watch };
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter_mut().for_each(|listener| listener.hear(&news));
    }

    /// Passes on an event of a run. A run is on disk before anybody hears that it is finished.
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

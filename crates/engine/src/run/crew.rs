//! Works on many hosts at once: one task for each host. Their events and results become one stream, in order for each
//! host.

use std::collections::HashMap;
use std::future::Future;

use converge_model::{EventKind, HostName};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};

/// How many events may wait to be shown. A task with more events waits.
const QUEUE: usize = 256;

/// The tasks of one phase of a run. Dropping it aborts the tasks that still run.
pub(super) struct Crew<T> {
    tasks: JoinSet<T>,
    hosts: HashMap<Id, HostName>,
    outgoing: mpsc::Sender<(HostName, EventKind)>,
    incoming: mpsc::Receiver<(HostName, EventKind)>,
}

/// A message from a crew.
pub(super) enum News<T> {
    /// Something happened on a host.
    Event(HostName, Box<EventKind>),
    /// A host's task is done. All its events came before. None if the task panicked.
    Done(HostName, Option<T>),
}

impl<T: Send + 'static> Crew<T> {
    pub(super) fn new() -> Self {
        let (outgoing, incoming) = mpsc::channel(QUEUE);
        Self { tasks: JoinSet::new(), hosts: HashMap::new(), outgoing, incoming }
    }

    /// Starts the task of a host. `work` gets the channel for events and returns the task's future.
    pub(super) fn start<F>(&mut self, host: &HostName, work: impl FnOnce(mpsc::Sender<EventKind>) -> F)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (events, mut said) = mpsc::channel(QUEUE);
        let (work, outgoing, name) = (work(events), self.outgoing.clone(), host.clone());
        let forward = async move {
            while let Some(event) = said.recv().await {
                let _ = outgoing.send((name.clone(), event)).await;
            }
        };
        let task = self.tasks.spawn(async { tokio::join!(work, forward).0 });
        self.hosts.insert(task.id(), host.clone());
    }

    /// Returns the next message. None if all tasks are done.
    pub(super) async fn next(&mut self) -> Option<News<T>> {
        if self.tasks.is_empty() {
            // A task sends its events before it ends, so the rest of them is in the channel.
            return self.incoming.try_recv().ok().map(|(host, event)| News::Event(host, event.into()));
        }
        tokio::select! {
            biased;
            Some((host, event)) = self.incoming.recv() => Some(News::Event(host, event.into())),
            Some(done) = self.tasks.join_next_with_id() => {
                let (id, result) = match done {
                    Ok((id, result)) => (id, Some(result)),
                    Err(error) => (error.id(), None),
                };
                self.hosts.remove(&id).map(|host| News::Done(host, result))
            }
            else => None,
        }
    }

    /// Whether no task is running.
    pub(super) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(word: &str) -> EventKind {
        EventKind::HostState { phase: word.to_owned() }
    }

    #[tokio::test]
    async fn events_of_a_host_come_in_order_before_its_end_and_the_stream_ends() {
        let mut crew = Crew::new();
        let (a, b) = (HostName::new("a").unwrap(), HostName::new("b").unwrap());
        crew.start(&a, |events| async move {
            for n in 0..1000 {
                events.send(phase(&n.to_string())).await.unwrap();
            }
            7
        });
        crew.start(&b, |_events| async { panic!("a defect") });
        let (mut heard, mut ended) = (0, Vec::new());
        while let Some(news) = crew.next().await {
            match news {
                News::Event(host, kind) => {
                    assert_eq!((host, *kind), (a.clone(), phase(&heard.to_string())));
                    heard += 1;
                }
                News::Done(host, result) => ended.push((host, result, heard)),
            }
        }
        ended.sort();
        assert_eq!(ended[0], (a, Some(7), 1000));
        assert_eq!((&ended[1].0, ended[1].1), (&b, None));
    }
}

//! The queue between a run and the writer of its history. It is bounded. While there is room, adding does not wait.
//!
//! The writer decides what to do with the items.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most items that wait.
const ROOM: usize = 1024;
/// The most items that are taken at once.
const BATCH: usize = 256;
/// How long the first item waits for more. Each batch costs a flush of the disk.
const GATHERING: Duration = Duration::from_millis(100);

/// A queue of `T` with one reader.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    waiting: VecDeque<T>,
    /// How many items were added, and how many of them are written.
    came: u64,
    written: u64,
    /// The highest count that a flush waits for.
    wanted: u64,
    /// How many items were rejected.
    lost: u64,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        let (waiting, closed) = (VecDeque::new(), false);
        let state = State { waiting, came: 0, written: 0, wanted: 0, lost: 0, closed };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds `item`. Waits for room for at most `patience`. After one item was rejected, no caller waits any more,
    /// because the reader is stuck.
    pub(crate) fn push(&self, item: T, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        while state.waiting.len() >= ROOM && state.lost == 0 && !state.closed {
            match deadline.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => state = self.wait(state, left),
                _ => break,
            }
        }
        if state.waiting.len() >= ROOM || state.closed {
            state.lost += 1;
        } else {
            state.waiting.push_back(item);
            state.came += 1;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Returns the waiting items in order. Waits for the first one, and then a short time for more. None if the queue
    /// is closed and empty.
    pub(crate) fn take(&self) -> Option<Vec<T>> {
        let mut state = self.lock();
        while state.waiting.is_empty() && !state.closed {
            state = self.wait(state, Duration::MAX);
        }
        let deadline = Instant::now() + GATHERING;
        while !state.is_urgent() {
            match deadline.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => state = self.wait(state, left),
                _ => break,
            }
        }
        let some = state.waiting.len().min(BATCH);
        let batch: Vec<T> = state.waiting.drain(..some).collect();
        drop(state);
        self.changed.notify_all();
        (!batch.is_empty()).then_some(batch)
    }

    /// Records that `count` of the taken items are written.
    pub(crate) fn written(&self, count: usize) {
        self.lock().written += count as u64;
        self.changed.notify_all();
    }

    /// Waits until all items so far are written, for at most `patience`. Returns whether they are.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        let wanted = state.came;
        state.wanted = state.wanted.max(wanted);
        self.changed.notify_all();
        while state.written < wanted {
            match deadline.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => state = self.wait(state, left),
                _ => return false,
            }
        }
        true
    }

    /// Rejects new items. The waiting ones can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Returns how many items were rejected so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lock().lost
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>, patience: Duration) -> MutexGuard<'a, State<T>> {
        // A wait of centuries would overflow the clocks of some systems.
        let patience = patience.min(Duration::from_secs(3600));
        self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl<T> State<T> {
    /// Whether the waiting items should be written now, without waiting for more.
    fn is_urgent(&self) -> bool {
        self.closed || self.waiting.len() >= BATCH || self.wanted > self.written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn what_goes_in_comes_out_in_order_and_a_flush_waits_for_it() {
        let queue = Arc::new(Queue::new());
        let reader = thread::spawn({
            let queue = queue.clone();
            move || {
                let mut read: Vec<i32> = Vec::new();
                while let Some(batch) = queue.take() {
                    read.extend(&batch);
                    queue.written(batch.len());
                }
                read
            }
        });
        (0..10_000).for_each(|n| queue.push(n, Duration::from_secs(60)));
        assert!(queue.flush(Duration::from_secs(60)));
        queue.close();
        assert_eq!(reader.join().unwrap(), (0..10_000).collect::<Vec<_>>());
        assert_eq!(queue.lost(), 0);
    }

    #[test]
    fn a_reader_that_is_stuck_holds_no_run_up_for_long() {
        let queue = Queue::new();
        (0..ROOM + 10_000).for_each(|n| queue.push(n, Duration::from_millis(20)));
        assert_eq!(queue.lost(), 10_000);
        assert!(!queue.flush(Duration::from_millis(1)));
    }
}

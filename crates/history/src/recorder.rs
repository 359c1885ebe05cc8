//! Consumes events. The run hands them over without waiting, and a separate thread writes them.
//!
//! An error here never fails a run. Events that the database cannot store are written to a file beside it. The caller
//! can ask for the reason at the end.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use converge_model::{Event, EventKind, RunId};
use tokio::runtime::Builder;

use crate::database::HistoryError;
use crate::queue::Queue;
use crate::retention::Retention;
use crate::spill::{Entry, Left, Spill};
use crate::store::Store;

/// How long a run waits for room in the queue. It waits only once.
const PUSH_PATIENCE: Duration = Duration::from_secs(5);
/// How long a flush waits for the disk.
const FLUSH_PATIENCE: Duration = Duration::from_secs(15);
/// How many entries of a left file are imported at once.
const LEFT_AT_ONCE: usize = 256;

/// The message if there is no place to write.
const LOST: &str = "the unwritten part is lost";

/// The folders for the history of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The folder of the database.
    pub folder: PathBuf,
    /// Another folder, on another file system, for events that the first one cannot store.
    pub elsewhere: Option<PathBuf>,
}

/// Writes the events of runs into the history of their project. Several runs may be active at the same time.
pub struct Recorder {
    shared: Arc<Shared>,
    runs: Mutex<HashMap<RunId, Course>>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    queue: Queue<Entry>,
    troubles: Mutex<Troubles>,
}

/// Why a run is not recorded as usual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The mistake, as a part of a sentence.
    pub message: String,
    /// The advice for the user.
    pub help: Option<String>,
    /// Where the run is recorded instead.
    pub kept: Kept,
}

/// Where a run is that is not recorded as usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In a file beside the database. A later run imports it.
    Beside,
    /// Nowhere, or only a part of it.
    Lost,
    /// It is still being written.
    Unknown,
}

/// The first trouble since the last success, and whether it was reported.
#[derive(Default)]
struct Troubles {
    first: Option<Trouble>,
    is_told: bool,
}

/// A run that is being recorded.
struct Course {
    began: Instant,
    next: u64,
}

impl Recorder {
    /// Starts recording. The writer thread opens the database while the run goes on.
    pub fn start(places: Places, retention: Retention) -> Self {
        let shared = Arc::new(Shared { queue: Queue::new(), troubles: Mutex::default() });
        let writer =
            Writer { places, retention, shared: shared.clone(), sink: Sink::Beside(None), is_new: true };
        let spawned = thread::Builder::new().name("history".to_owned()).spawn(move || writer.work());
        if let Err(error) = &spawned {
            shared.trouble(Trouble::plain(error, Kept::Lost));
            shared.queue.close();
        }
        Self { shared, runs: Mutex::default(), writer: spawned.ok() }
    }

    /// Records an event.
    pub fn event(&self, event: &Event) {
        // The start of a step is not kept, because it does not show the result.
        if matches!(event.kind, EventKind::StepStarted { .. }) {
            return;
        }
        let (place, at) = {
            let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
            let course = runs.entry(event.run.clone()).or_insert_with(Course::new);
            let (place, at) = (course.next, course.began.elapsed().as_millis() as u64);
            course.next += 1;
            if matches!(event.kind, EventKind::RunFinished { .. }) {
                runs.remove(&event.run);
            }
            (place, at)
        };
        self.shared.queue.push(Entry { place, at, event: event.clone() }, PUSH_PATIENCE);
    }

    /// Waits until all recorded events are on disk, for at most 15 seconds. Blocks.
    pub fn flush(&self) {
        let is_written = self.shared.queue.flush(FLUSH_PATIENCE);
        let lost = self.shared.queue.lost();
        if !is_written {
            self.shared.trouble(Trouble::plain("the disk is too slow", Kept::Unknown));
        } else if lost > 0 {
            self.shared.trouble(Trouble::plain(format_args!("{lost} events are lost"), Kept::Lost));
        }
    }

    /// Returns why the history has a problem. Each problem is returned once, until recording worked again.
    pub fn trouble(&self) -> Option<Trouble> {
        let mut troubles = self.shared.troubles();
        let untold = !std::mem::replace(&mut troubles.is_told, true);
        troubles.first.clone().filter(|_| untold)
    }

    /// Ends: writes everything and closes the database. Returns the trouble that was not reported yet.
    pub fn close(mut self) -> Option<Trouble> {
        self.flush();
        self.shared.queue.close();
        // A writer that did not reach the end of the queue is stuck, so do not wait for it.
        if let Some(writer) = self.writer.take().filter(|_| self.shared.queue.flush(Duration::ZERO)) {
            let _ = writer.join();
        }
        self.trouble()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

impl Course {
    fn new() -> Self {
        Self { began: Instant::now(), next: 0 }
    }
}

impl Shared {
    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trouble(&self, trouble: Trouble) {
        let mut troubles = self.troubles();
        if troubles.first.is_none() {
            *troubles = Troubles { first: Some(trouble), is_told: false };
        }
    }

    /// Records that even the file beside the database could not be written.
    fn lost(&self, error: &io::Error) {
        let mut troubles = self.troubles();
        let first = troubles.first.as_ref();
        let why = first.map_or_else(String::new, |first| format!("{}; ", first.message));
        if !why.contains(LOST) {
            let message = format!("{why}{LOST}: {error}");
            *troubles = Troubles { first: Some(Trouble::plain(message, Kept::Lost)), is_told: false };
        }
    }
}

impl Trouble {
    fn plain(error: impl ToString, kept: Kept) -> Self {
        Self { message: error.to_string(), help: None, kept }
    }
}

impl From<HistoryError> for Trouble {
    fn from(error: HistoryError) -> Self {
        Self { message: error.to_string(), help: error.help(), kept: Kept::Beside }
    }
}

/// The writer thread.
struct Writer {
    places: Places,
    retention: Retention,
    shared: Arc<Shared>,
    sink: Sink,
    /// Whether nothing was written yet. Then the database was tried a moment ago.
    is_new: bool,
}

/// The destination of entries.
enum Sink {
    /// The database.
    Database(Box<Store>),
    /// A file beside the database, because the database does not accept entries. It is created when there is an
    /// entry.
    Beside(Option<Spill>),
}

impl Writer {
    fn work(mut self) {
        let runtime = match Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                self.shared.trouble(Trouble::plain(error, Kept::Lost));
                return self.shared.queue.close();
            }
        };
        runtime.block_on(self.open());
        while let Some(batch) = self.shared.queue.take() {
            runtime.block_on(self.write(&batch));
            self.shared.queue.written(batch.len());
        }
        if let Sink::Database(store) = self.sink {
            runtime.block_on(store.database.close());
        }
    }

    /// Opens the database, imports the left files, and removes runs that are too old.
    async fn open(&mut self) {
        let opened = async {
            let mut store = Store::open(&self.places.folder).await?;
            // This writer's own file is imported too, so it must not be written any more.
            self.sink = Sink::Beside(None);
            self.take_in(&mut store).await?;
            store.clear(self.retention, now()).await?;
            Ok::<_, HistoryError>(store)
        };
        match opened.await {
            Ok(store) => {
                self.sink = Sink::Database(Box::new(store));
                *self.shared.troubles() = Troubles::default();
            }
            Err(error) => self.shared.trouble(error.into()),
        }
    }

    async fn take_in(&self, store: &mut Store) -> Result<(), HistoryError> {
        for mut left in Left::all(&self.places.spills()) {
            // A file that cannot be read is left in its place.
            while let Ok(entries) = left.next(LEFT_AT_ONCE) {
                if entries.is_empty() {
                    let _ = left.done();
                    break;
                }
                store.write(&entries).await?;
            }
        }
        Ok(())
    }

    async fn write(&mut self, batch: &[Entry]) {
        let begins = |entry: &Entry| matches!(entry.event.kind, EventKind::RunStarted { .. });
        let is_new = std::mem::take(&mut self.is_new);
        if !is_new && !matches!(self.sink, Sink::Database(_)) && batch.iter().any(begins) {
            self.open().await;
        }
        if let Sink::Database(store) = &mut self.sink {
            match store.write(batch).await {
                Ok(()) if batch.iter().any(begins) => return self.clear().await,
                Ok(()) => return,
                Err(error) => self.shared.trouble(error.into()),
            }
        }
        if let Err(error) = self.write_beside(batch) {
            self.sink = Sink::Beside(None);
            self.shared.lost(&error);
        }
    }

    /// A daemon records for months, so old runs are also removed during recording. After an error, the next run tries
    /// again.
    async fn clear(&mut self) {
        if let Sink::Database(store) = &mut self.sink
            && let Err(error) = store.clear(self.retention, now()).await
        {
            self.shared.trouble(error.into());
            self.sink = Sink::Beside(None);
        }
    }

    fn write_beside(&mut self, batch: &[Entry]) -> io::Result<()> {
        let spill = match &mut self.sink {
            Sink::Beside(Some(spill)) => return spill.write(batch),
            _ => Spill::create(&self.places.spills())?,
        };
        self.sink = Sink::Beside(Some(spill));
        self.write_beside(batch)
    }
}

impl Places {
    /// Returns the folders for entries that the database does not accept.
    fn spills(&self) -> Vec<PathBuf> {
        [Some(self.folder.clone()), self.elsewhere.clone()].into_iter().flatten().collect()
    }
}

/// Returns the current time in milliseconds since the epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

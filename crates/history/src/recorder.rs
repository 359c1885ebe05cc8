//! The consumer of events: it takes them without waiting, a thread of its own writes them.
//!
//! Nothing here breaks a run. What the database cannot take is written beside it, and whoever asks at the end is told
//! why.

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

/// How long a run waits for room in the queue, once.
const PUSH_PATIENCE: Duration = Duration::from_secs(5);
/// How long an end waits for the disk.
const FLUSH_PATIENCE: Duration = Duration::from_secs(15);
/// How many entries of a file that was left are taken in at once.
const LEFT_AT_ONCE: usize = 256;

/// How it is said that there is nowhere to write.
const LOST: &str = "what could not be written is lost";

/// Where the history of a project is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The folder of the database.
    pub folder: PathBuf,
    /// Another folder, on another file system, for what the first cannot take.
    pub elsewhere: Option<PathBuf>,
}

/// Writes the events of runs into the history of their project, of several runs at a time where there are.
pub struct Recorder {
    shared: Arc<Shared>,
    runs: Mutex<HashMap<RunId, Course>>,
    writer: Option<JoinHandle<()>>,
}

struct Shared {
    queue: Queue<Entry>,
    troubles: Mutex<Troubles>,
}

/// Why a run is not in the history as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong, as a fragment.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Where the run is instead.
    pub kept: Kept,
}

/// Where a run is that is not in the history as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In a file beside the database, which a later run takes in.
    Beside,
    /// Nowhere, or not as a whole.
    Lost,
    /// It is still being written.
    Unknown,
}

/// The first trouble since all was well, and whether it was told.
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
    /// Begins to record. The database is opened by the writer, while the run goes on.
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

    /// Takes in an event.
    pub fn event(&self, event: &Event) {
        // How far a step is says nothing of how it ends.
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

    /// Waits until all that was taken in is on disk, for 15 seconds at most. It blocks.
    pub fn flush(&self) {
        let is_written = self.shared.queue.flush(FLUSH_PATIENCE);
        let lost = self.shared.queue.lost();
        if !is_written {
            self.shared.trouble(Trouble::plain("the disk does not take it in time", Kept::Unknown));
        } else if lost > 0 {
            self.shared.trouble(Trouble::plain(format_args!("{lost} events are lost"), Kept::Lost));
        }
    }

    /// Why the history is not as it should be: once for each time that something goes wrong after all was well.
    pub fn trouble(&self) -> Option<Trouble> {
        let mut troubles = self.shared.troubles();
        let untold = !std::mem::replace(&mut troubles.is_told, true);
        troubles.first.clone().filter(|_| untold)
    }

    /// Ends: everything is written, the database closed. The trouble that was not told yet.
    pub fn close(mut self) -> Option<Trouble> {
        self.flush();
        self.shared.queue.close();
        // A writer that did not get to the end of the queue is stuck.
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

    /// Not even what stands beside the database could be written.
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

/// The thread that writes.
struct Writer {
    places: Places,
    retention: Retention,
    shared: Arc<Shared>,
    sink: Sink,
    /// Whether nothing was written yet: the database was tried a moment ago.
    is_new: bool,
}

/// Where entries go.
enum Sink {
    /// Where they should.
    Database(Box<Store>),
    /// Beside it: the database does not take them. The file is made when there is something to write.
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

    /// Opens the database, takes in what could not be written before, and clears it of what is too old.
    async fn open(&mut self) {
        let opened = async {
            let mut store = Store::open(&self.places.folder).await?;
            // What was written beside it by this one is taken in, too: nobody writes there any more.
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
            // What cannot be read stays where it is.
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

    /// A daemon records for months: what became too old meanwhile goes as well. What cannot be cleared is tried again with the next run.
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
    /// The folders for what the database does not take.
    fn spills(&self) -> Vec<PathBuf> {
        [Some(self.folder.clone()), self.elsewhere.clone()].into_iter().flatten().collect()
    }
}

/// Now, in milliseconds since the epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

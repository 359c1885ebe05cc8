//! What every run did, kept: append-only, in SQLite, one database a project.
//!
//! A [`Recorder`] is a consumer of the one stream of events of a run, off the run's way: nothing that goes wrong with it
//! breaks a run, and what the database cannot take goes to a file beside it that the next recorder takes in. A
//! [`History`] answers questions: which runs there were, one of them event by event, what became of each host last, how
//! often a resource was corrected.
//!
//! Nothing here knows how a run is carried out or how one is shown. What is kept is what the events say, and they are
//! masked before they come here.

mod database;
mod query;
mod queue;
mod recorder;
mod replay;
mod retention;
mod spill;
mod store;

pub use database::{FILE, HistoryError, VERSION};
pub use query::{Correction, Filter, FindError, History, HostSummary, RunSummary};
pub use recorder::{Kept, Places, Recorder, Trouble};
pub use retention::Retention;

//! Keeps the events of every run in SQLite. The history is append-only, with one database for each project.
//!
//! A [`Recorder`] consumes the events of a run beside the run, so an error in it never fails the run. Events that the
//! database cannot store go to a file beside it. The next recorder reads that file. A [`History`] answers questions:
//! which runs there were, the events of one run, the last result of each host, how often a resource was corrected.
//!
//! This crate does not carry out or show runs. It keeps what the events contain. Their secrets are masked before they
//! come here.

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

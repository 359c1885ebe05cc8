//! The daemon: looks at hosts on schedule, reports drift, and corrects it if the inventory says so.
//!
//! [`Keeper`] decides, from the results and the time. [`daemon`] carries the decisions out with ordinary runs of the
//! engine. [`events`] has its news. This crate shows nothing to the user. It never deploys what is new in an
//! inventory: that is left to people.

pub mod charge;
pub mod daemon;
pub mod events;
pub mod http;
mod inputs;
pub mod install;
pub mod keeper;
pub mod memory;
pub mod metrics;
pub mod notify;
pub mod schedule;
mod target;
mod visit;
mod voice;
mod webhook;

pub use charge::{Charge, Pace, Reading};
pub use daemon::{WatchError, run};
pub use events::{Drifted, Listener, News, NewsKind, Response, responses, span};
pub use keeper::Keeper;
pub use memory::{Keep, MemoryError};
pub use schedule::{Schedule, ScheduleError};

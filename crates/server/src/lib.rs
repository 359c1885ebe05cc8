//! The daemon: hosts looked at on schedule, what moved there told, and put back where the inventory says so.
//!
//! [`Keeper`] decides, from what was found and what time it is; [`daemon`] carries that out, through ordinary runs of the
//! engine; [`events`] is what it tells. It draws nothing, and what is new in an inventory it leaves to people: it never
//! deploys.

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

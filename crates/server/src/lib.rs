//! The daemon that looks for drift on schedule.

pub mod events;
pub mod schedule;

pub use events::{Drifted, Listener, News, NewsKind, Response};
pub use schedule::{Schedule, ScheduleError};

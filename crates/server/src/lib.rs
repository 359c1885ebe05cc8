//! The daemon that looks for drift on schedule.

pub mod events;

pub use events::{Drifted, Listener, News, NewsKind, Response};

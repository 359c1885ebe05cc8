//! The kinds of resource: what they observe on a host, what they plan, and how they change it.
//!
//! Each kind is a folder of [`kinds`] and a row of the [`registry`](registry()). It reads the host only through a
//! [`View`]. So the same code plans over the effects of earlier steps, and verifies over the real state. It writes
//! only through an [`Actor`], which keeps what it replaces. The common code of kinds is in [`kit`]. The order of
//! steps, notifications, journal and ledger belong to the agent.

pub mod access;
pub mod actor;
mod apply_error;
pub mod brought;
pub mod claims;
pub mod contents;
pub mod diff;
pub mod kind;
pub mod kinds;
pub mod kit;
pub mod overlay;
mod registry;
pub mod system;
pub mod view;
pub mod wish;

pub use actor::Actor;
pub use apply_error::ApplyError;
pub use kind::{AnyKind, Kind, Look, Planned, Wanted};
pub use overlay::{Effect, Overlay};
pub use registry::{kind, registry};
pub use system::System;
pub use view::{LookError, Seen, View};
pub use wish::Reader;

//! A run, from the files of a project to its result. The command line and the daemon share this code.
//!
//! The engine finds the project, reads it through the language and reaches hosts through the fleet. It keeps the
//! order among the hosts and merges their events into one stream. It prints nothing and asks the user nothing: views
//! and questions belong to the caller, behind [`Observer`].

pub mod hosts;
pub mod modules;
pub mod order;
mod packed;
pub mod project;
pub mod recorded;
pub mod run;
pub mod secrets;
pub mod sources;
pub mod start;
pub mod state;

pub use hosts::{AdHocHosts, FleetHosts, Hosts};
pub use project::{Project, ProjectError};
pub use recorded::Recorded;
pub use run::ad_hoc::{AdHocRun, Errand};
pub use run::{Goal, Observer, Outcome, Run, Stop};
pub use sources::ProjectSources;
pub use state::{DoneOnce, LastUsed, SeenFacts, StateError, StateFolder, UsedProject};

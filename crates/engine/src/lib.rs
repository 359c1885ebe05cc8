//! A run, from the files of a project to its result: what the command line and a daemon share.
//!
//! It finds the project, reads it through the language, reaches hosts through the fleet, keeps the order among them and
//! merges what they tell into one stream of events. It draws nothing and asks nobody: views and questions are the
//! caller's, behind [`Observer`].

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

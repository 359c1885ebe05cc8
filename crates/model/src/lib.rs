//! The plain data that all parts of Converge agree on.
//!
//! The data are: a host and its facts, the catalog of its resources, the plan, the events of a run, and its report. The
//! frames of the protocol are here too. This crate opens no file, reads no clock and opens no socket. It does not know
//! how any kind of resource works.

pub mod ad_hoc;
pub mod catalog;
pub mod change;
pub mod claim;
pub mod escalation;
pub mod event;
pub mod exit;
pub mod facts;
pub mod id;
pub mod plan;
pub mod report;
pub mod schema;
pub mod secret;
pub mod value;
pub mod wire;

pub use ad_hoc::{AdHoc, Answer, Exit, Ran, Stream};
pub use catalog::{Catalog, Notify, NotifyHow, Options, Resource, Settled};
pub use change::{Certainty, Change, PropertyChange, Shown, TextDiff, Verb};
pub use claim::{Claim, Extent};
pub use escalation::Become;
pub use event::{Event, EventKind};
pub use facts::Facts;
pub use id::{Address, Digest, HostName, RunId};
pub use plan::{Blocked, Cause, HostPlan, Problem, Step};
pub use report::{HostReport, HostState, Restoration, Stands, StepOutcome, StepResult};
pub use schema::{KindInfo, KindSchema, Param, ParamProblem, Type};
pub use secret::{Masker, Secret, SecretRef, SecretTable};
pub use value::{Cell, Content, Params, Row, Scalar, Tree, Value};

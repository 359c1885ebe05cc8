//! Reaches hosts from the controller and talks to the agent on them.
//!
//! A [`Fleet`] hands out [`Host`]s. A host answers [`Host::facts`], [`Host::look`], [`Host::act`], [`Host::exec`] and
//! [`Host::ping`], over SSH or as a child of this process. The caller passes a closure that makes the desired state
//! from the facts, and the agents as bytes. The caller decides which hosts to use, in which order, and what to do
//! with the answers.

mod ad_hoc;
mod agent;
mod bootstrap;
mod confirm;
mod content;
mod counters;
mod deadline;
mod fleet;
mod gates;
mod host;
mod job;
mod link;
mod options;
mod pack;
mod session;
mod ssh;
mod target;

pub use agent::{Agent, AgentSet, BUILT, PLATFORMS, Packed, Platform};
pub use bootstrap::BootstrapError;
pub use content::{ContentStore, Opened};
pub use counters::Traffic;
pub use fleet::{Fleet, FleetError};
pub use host::{Connection, Host, HostError};
pub use job::{Ask, CompileError, Phase, Prepared};
pub use options::{Options, Patience};
pub use session::SessionError;
pub use ssh::ConnectError;
pub use target::{Reach, SshSettings, Target, TargetError};

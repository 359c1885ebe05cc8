//! The agent: the program that runs on a host. It reports facts, looks at the host under a catalog, and applies
//! plans.
//!
//! It holds one conversation over standard input and output ([`serve`]), then it ends. It has no inventory, renders
//! nothing and opens no connection of its own.

mod act;
mod ad_hoc;
pub mod channel;
mod critical;
mod decoded;
mod drift;
pub mod environment;
pub mod facts;
pub mod fence;
#[cfg(test)]
mod laws;
mod look;
mod notification;
mod owners;
mod planner;
pub mod revert;
pub mod serve;
mod state;
#[cfg(test)]
mod testing;
mod veil;
pub mod work;

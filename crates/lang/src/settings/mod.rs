//! The settings of runs and hosts in an inventory, in the form that the engine uses.

pub(crate) mod connection;
pub(crate) mod drift;
pub mod rollout;

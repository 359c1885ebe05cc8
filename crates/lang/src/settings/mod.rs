//! What an inventory says of runs and hosts, as the engine takes it.

pub(crate) mod connection;
pub(crate) mod drift;
pub mod rollout;

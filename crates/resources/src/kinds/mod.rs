//! The kinds of resource, a folder each: its table and its wish (`mod.rs`), what it reads (`observe.rs`), what it plans
//! (`plan.rs`), what it does (`apply.rs`).

pub mod attributes;
pub mod command;
pub mod directory;
pub mod file;
pub mod package;
pub mod rendered;
pub mod service;
#[cfg(test)]
pub(crate) mod testing;

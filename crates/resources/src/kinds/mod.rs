//! The kinds of resource, one folder each. A small kind is `mod.rs` alone. A larger one has schema and wish in `mod.rs`,
//! the look in `observe.rs`, the plan in `plan.rs` and the apply in `apply.rs`.

pub mod apt_repository;
pub mod archive;
pub mod authorized_key;
pub mod autoremove;
pub mod block;
pub mod command;
pub mod cron;
pub mod directory;
pub mod download;
pub mod file;
pub mod firewall_policy;
pub mod git;
pub mod group;
pub mod hostname;
pub mod ini;
pub mod line;
pub mod link;
pub mod mount;
#[cfg(test)]
mod ownership;
pub mod package;
pub mod retention;
#[cfg(test)]
mod secrets_in_files;
pub mod service;
pub mod sudo_rule;
pub mod sysctl;
pub mod systemd_unit;
#[cfg(test)]
pub(crate) mod testing;
pub mod timezone;
pub mod tree;
pub mod user;
pub mod virtualenv;

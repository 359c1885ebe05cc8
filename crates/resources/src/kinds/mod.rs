//! The kinds of resource, a folder each: its table and its wish (`mod.rs`), what it reads (`observe.rs`), what it plans
//! (`plan.rs`), what it does (`apply.rs`).
pub mod accounts;
pub mod apt_repository;
pub mod archive;
pub mod attributes;
pub mod authorized_key;
pub mod autoremove;
pub mod block;
pub mod command;
pub mod cron;
pub mod directory;
pub mod download;
pub mod edited;
pub mod file;
pub mod firewall_policy;
pub mod git;
pub mod group;
pub mod hostname;
pub mod ini;
pub mod kernel;
pub mod line;
pub mod lines;
pub mod link;
pub mod mount;
pub mod new_folder;
#[cfg(test)]
mod ownership;
pub mod package;
pub mod programs;
pub mod rendered;
pub mod replacing;
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

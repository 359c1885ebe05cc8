//! The parts of a host: files, packages, accounts, units, processes. Kinds never use them directly. They read through
//! a [`View`](crate::View) and change through an [`Actor`](crate::Actor).
//!
//! Files are always real, below a root that may be a folder. Each other part is a trait with its back ends beside it:
//! [`packages::apt`], [`services::systemd`], [`accounts::shadow_utils`]. [`real`] assembles those of a host. `fake`
//! is a trial host in memory whose packages bring files, users and running units.

pub mod accounts;
pub mod backend;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod files;
pub mod firewall;
pub mod packages;
pub mod processes;
pub mod real;
pub mod receipts;
#[cfg(test)]
mod second;
pub mod services;

use accounts::Accounts;
use files::Files;
use firewall::Firewall;
use packages::Packages;
use processes::Processes;
use receipts::Receipts;
use services::Units;

/// A host.
pub trait System: Send + Sync {
    /// Its file system.
    fn files(&self) -> &Files;
    /// Its users and groups.
    fn accounts(&self) -> &dyn Accounts;
    /// Its package manager.
    fn packages(&self) -> &dyn Packages;
    /// Its service manager.
    fn units(&self) -> &dyn Units;
    /// Its packet filter, or the one to use if it has none.
    fn firewall(&self) -> &'static dyn Firewall;
    /// Its processes.
    fn processes(&self) -> &dyn Processes;
    /// Notes of Converge about what cannot be read back from the host.
    fn receipts(&self) -> &Receipts;
}

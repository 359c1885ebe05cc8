//! The system that the agent runs on, assembled from the back ends that the host has.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::system::System;
use crate::system::accounts::{self, Accounts, shadow_utils::LocalAccounts};
use crate::system::backend::{Backend, Parts};
use crate::system::files::Files;
use crate::system::firewall::{self, Firewall};
use crate::system::packages::{self, NoPackages, Packages};
use crate::system::processes::local::LocalProcesses;
use crate::system::processes::{Fence, Processes};
use crate::system::receipts::Receipts;
use crate::system::services::systemd::FolderUnits;
use crate::system::services::{self, Units};

/// The system of the agent's machine, or of a folder on it that stands for a host.
pub struct RealSystem {
    files: Arc<Files>,
    accounts: Box<dyn Accounts>,
    packages: Box<dyn Packages>,
    units: Box<dyn Units>,
    firewall: &'static dyn Firewall,
    processes: Arc<LocalProcesses>,
    receipts: Receipts,
}

/// The tables of back ends to look for on a host.
#[derive(Clone, Copy)]
pub struct Tables {
    /// The package managers.
    pub packages: &'static [Backend<packages::Open>],
    /// The service managers.
    pub services: &'static [Backend<services::Open>],
    /// The suites of programs for accounts.
    pub accounts: &'static [Backend<accounts::Open>],
    /// The packet filters.
    pub firewalls: &'static [Backend<&'static dyn Firewall>],
}

impl Tables {
    /// The back ends that Converge has.
    pub const OWN: Self = Self {
        packages: &packages::backends::BACKENDS,
        services: &services::backends::BACKENDS,
        accounts: &accounts::backends::BACKENDS,
        firewalls: &firewall::backends::BACKENDS,
    };
}

impl RealSystem {
    /// Makes the system with files below `root`. It has packages and units only if `root` is `/`.
    pub fn new(root: impl Into<PathBuf>, receipts: Receipts) -> io::Result<Self> {
        let files = Arc::new(files_below(root.into())?);
        if !files.is_folder() {
            return Ok(Self::assemble(files, receipts, Tables::OWN));
        }
        let processes = Arc::new(LocalProcesses::new(files.clone()));
        let accounts = Box::new(LocalAccounts::new(files.clone(), processes.clone()));
        let (packages, units) = (Box::new(NoPackages), Box::new(FolderUnits));
        let firewall = firewall::backends::DEFAULT;
        Ok(Self { files, accounts, packages, units, firewall, processes, receipts })
    }

    /// Makes the system with these files and the back ends of `tables` that the host has.
    pub(crate) fn assemble(files: Arc<Files>, receipts: Receipts, tables: Tables) -> Self {
        let processes = Arc::new(LocalProcesses::new(files.clone()));
        let parts = Parts { files: files.clone(), processes: processes.clone() };
        let packages = parts.recognise(tables.packages).and_then(|row| row.open);
        let units = parts.recognise(tables.services).and_then(|row| row.open);
        // The files of accounts are the same everywhere. If a program is missing, the resource that needs it reports
        // that.
        let accounts = parts.recognise(tables.accounts).and_then(|row| row.open);
        let accounts = accounts.unwrap_or(accounts::backends::DEFAULT);
        let firewall = parts.recognise(tables.firewalls).and_then(|row| row.open);
        Self {
            firewall: firewall.unwrap_or(firewall::backends::DEFAULT),
            accounts: accounts(parts.clone()),
            packages: packages.unwrap_or(packages::backends::NONE)(parts.clone()),
            units: units.unwrap_or(services::backends::NONE)(parts),
            processes,
            files,
            receipts,
        }
    }

    /// Puts commands that only ask behind a fence.
    pub fn fenced(self, fence: Fence) -> Self {
        self.processes.fence(fence);
        self
    }
}

/// Returns the files below `root`. A folder need not exist yet.
fn files_below(root: PathBuf) -> io::Result<Files> {
    match Files::new(&root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Files::not_yet(root)),
        files => files,
    }
}

impl System for RealSystem {
    fn files(&self) -> &Files {
        &self.files
    }

    fn accounts(&self) -> &dyn Accounts {
        &*self.accounts
    }

    fn packages(&self) -> &dyn Packages {
        &*self.packages
    }

    fn units(&self) -> &dyn Units {
        &*self.units
    }

    fn firewall(&self) -> &'static dyn Firewall {
        self.firewall
    }

    fn processes(&self) -> &dyn Processes {
        &*self.processes
    }

    fn receipts(&self) -> &Receipts {
        &self.receipts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::packages::PackageError;
    use crate::system::services::{Load, UnitError, Verb};

    #[test]
    fn a_folder_has_files_and_accounts_and_neither_units_nor_packages() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/passwd"), "ada:x:7:7::/home/ada:/bin/sh\n").unwrap();
        std::fs::create_dir_all(folder.path().join("run/systemd/system")).unwrap();
        let system =
            RealSystem::new(folder.path(), Receipts::in_folder(folder.path().join("receipts"))).unwrap();
        assert_eq!(system.accounts().table().unwrap().user_name(7), Some("ada"));
        assert!(matches!(system.packages().installed(), Err(PackageError::Unsupported)));
        let nginx = ["nginx.service".to_owned()];
        assert_eq!(system.units().states(&nginx).unwrap()[0].load, Load::NotFound);
        assert!(matches!(system.units().act(Verb::Start, &nginx[0]), Err(UnitError::Unsupported)));
    }
}

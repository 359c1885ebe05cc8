//! The system that the agent runs on: dpkg and apt, systemd over D-Bus, processes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::system::accounts::shadow_utils::LocalAccounts;
use crate::system::packages::apt::Apt;
use crate::system::processes::local::LocalProcesses;
use crate::system::services::systemd::{FolderUnits, NoUnits, Systemd};

use crate::system::System;
use crate::system::accounts::Accounts;
use crate::system::files::Files;
use crate::system::packages::{
    Allowance, PackageError, PackageRequest, PackageTable, Packages, Providers, Simulation, Upkeep,
};
use crate::system::processes::{Fence, Processes};
use crate::system::receipts::Receipts;
use crate::system::services::Units;

/// The system of the agent's machine, or of a folder on it that stands for a host.
pub struct RealSystem {
    files: Arc<Files>,
    accounts: LocalAccounts,
    packages: Box<dyn Packages>,
    units: Box<dyn Units>,
    processes: Arc<LocalProcesses>,
    receipts: Receipts,
}

/// For a folder that stands for a host.
struct NoPackages;

impl RealSystem {
    /// The system whose files are below `root`. Only at `/` does it have packages and units.
    pub fn new(root: impl Into<PathBuf>, receipts: Receipts) -> io::Result<Self> {
        let files = Arc::new(files_below(root.into())?);
        let processes = Arc::new(LocalProcesses::new(files.clone()));
        let units: Box<dyn Units> = if files.is_folder() {
            Box::new(FolderUnits)
        } else if Systemd::is_running(&files) {
            Box::new(Systemd::new(files.clone(), processes.clone()))
        } else {
            Box::new(NoUnits)
        };
        let packages: Box<dyn Packages> = if files.is_folder() {
            Box::new(NoPackages)
        } else {
            Box::new(Apt::new(files.clone(), processes.clone()))
        };
        let accounts = LocalAccounts::new(files.clone(), processes.clone());
        Ok(Self { accounts, packages, units, processes, files, receipts })
    }

    /// The same, with commands that only ask behind a fence.
    pub fn fenced(self, fence: Fence) -> Self {
        self.processes.fence(fence);
        self
    }
}

/// The files below `root`, which may not be there yet where it is a folder.
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
        &self.accounts
    }

    fn packages(&self) -> &dyn Packages {
        &*self.packages
    }

    fn units(&self) -> &dyn Units {
        &*self.units
    }

    fn processes(&self) -> &dyn Processes {
        &*self.processes
    }

    fn receipts(&self) -> &Receipts {
        &self.receipts
    }
}

impl Packages for NoPackages {
    fn installed(&self) -> Result<Arc<PackageTable>, PackageError> {
        Err(PackageError::Unsupported)
    }

    fn architecture(&self) -> Result<String, PackageError> {
        Err(PackageError::Unsupported)
    }

    fn candidates(&self, _: &[String]) -> Result<BTreeMap<String, String>, PackageError> {
        Err(PackageError::Unsupported)
    }

    fn providers(&self, _: &str) -> Result<Providers, PackageError> {
        Err(PackageError::Unsupported)
    }

    fn simulate(&self, _: &[PackageRequest]) -> Result<Simulation, PackageError> {
        Err(PackageError::Unsupported)
    }

    fn transact(
        &self,
        _: &[PackageRequest],
        _: &Allowance,
        _: &mut dyn FnMut(&[u8]),
    ) -> Result<(), PackageError> {
        Err(PackageError::Unsupported)
    }

    fn upkeep(&self) -> Result<Upkeep, PackageError> {
        Err(PackageError::Unsupported)
    }

    fn unneeded(&self, _: &[PackageRequest]) -> Result<Vec<String>, PackageError> {
        Err(PackageError::Unsupported)
    }

    fn remove_unneeded(&self, _: &Allowance, _: &mut dyn FnMut(&[u8])) -> Result<(), PackageError> {
        Err(PackageError::Unsupported)
    }

    fn refresh(&self, _: Option<&Path>, _: &mut dyn FnMut(&[u8])) -> Result<(), PackageError> {
        Err(PackageError::Unsupported)
    }

    fn compare(&self, one: &str, other: &str) -> std::cmp::Ordering {
        one.cmp(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

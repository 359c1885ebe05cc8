//! The packages of a host without a package manager that Converge can use, or of a folder that stands for a host.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{
    Allowance, EntryPackages, Features, Manager, PackageError, PackageRequest, PackageTable, Packages,
    Providers, Simulation, Upkeep,
};

/// A package manager that answers every question with an error.
pub struct NoPackages;

static NO_MANAGER: Manager = Manager {
    name: "this host",
    features: Features::ALL,
    sources: &[],
    entry: EntryPackages { server: &[], escalation: &[] },
    is_name: |_| true,
    matches: |pattern, version| pattern == version,
    compare: |one, other| one.cmp(other),
};

impl Packages for NoPackages {
    fn manager(&self) -> &'static Manager {
        &NO_MANAGER
    }

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
}

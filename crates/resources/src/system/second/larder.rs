//! A package manager in memory. It offers the packages in `/usr/share/larder` (`NAME VERSION`), and can only install
//! and remove.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::system::backend::{Backend, Parts};
use crate::system::packages::{
    Allowance, EntryPackages, Features, Installed, Manager, Open, PackageError, PackageGoal, PackageRequest,
    PackageTable, Packages, Providers, Simulation, Upkeep,
};

pub(super) const BACKEND: Backend<Open> = Backend {
    name: "larder",
    marks: &["/usr/bin/larder"],
    open: Some(|parts| Box::new(Larder { parts, installed: Mutex::default() })),
};

static MANAGER: Manager = Manager {
    name: "larder",
    features: Features::NONE,
    sources: &["/etc/larder"],
    entry: EntryPackages { server: &["Sshd"], escalation: &[] },
    is_name: |name| name.starts_with(|c: char| c.is_ascii_uppercase()),
    matches: |asked, version| asked == version,
    compare: |one, other| one.cmp(other),
};

struct Larder {
    parts: Parts,
    installed: Mutex<PackageTable>,
}

impl Larder {
    fn offers(&self) -> Result<BTreeMap<String, String>, PackageError> {
        let text = self.parts.files.read(Path::new("/usr/share/larder"), 64 * 1024)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let offers = text.lines().filter_map(|line| line.split_once(' '));
        Ok(offers.map(|(name, version)| (name.to_owned(), version.to_owned())).collect())
    }
}

impl Packages for Larder {
    fn manager(&self) -> &'static Manager {
        &MANAGER
    }

    fn installed(&self) -> Result<Arc<PackageTable>, PackageError> {
        Ok(Arc::new(self.installed.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }

    fn upkeep(&self) -> Result<Upkeep, PackageError> {
        Ok(Upkeep { lists_age: Some(Duration::ZERO), ..Upkeep::default() })
    }

    fn architecture(&self) -> Result<String, PackageError> {
        Ok("any".to_owned())
    }

    fn candidates(&self, names: &[String]) -> Result<BTreeMap<String, String>, PackageError> {
        Ok(self.offers()?.into_iter().filter(|(name, _)| names.contains(name)).collect())
    }

    fn providers(&self, _: &str) -> Result<Providers, PackageError> {
        Ok(Providers::default())
    }

    fn simulate(&self, requests: &[PackageRequest]) -> Result<Simulation, PackageError> {
        let (offers, installed) = (self.offers()?, self.installed()?);
        let mut simulation = Simulation::default();
        for PackageRequest { name, goal, .. } in requests {
            match (goal, offers.get(name)) {
                (PackageGoal::Absent { .. }, _) if installed.contains_key(name) => {
                    simulation.removed.push(name.clone());
                }
                (PackageGoal::Absent { .. } | PackageGoal::Kept, _) => {}
                (_, Some(version)) => simulation.installed.push((name.clone(), version.clone())),
                (_, None) => simulation.unknown.push(name.clone()),
            }
        }
        Ok(simulation)
    }

    fn transact(
        &self,
        requests: &[PackageRequest],
        allowed: &Allowance,
        _: &mut dyn FnMut(&[u8]),
    ) -> Result<(), PackageError> {
        let simulation = self.simulate(requests)?;
        allowed.check(&simulation)?;
        let mut installed = self.installed.lock().unwrap_or_else(PoisonError::into_inner);
        installed.retain(|name, _| !simulation.removed.contains(name));
        let come = simulation.installed.into_iter();
        installed.extend(come.map(|(name, version)| (name, Installed { version, held: false, whole: true })));
        Ok(())
    }

    fn unneeded(&self, _: &[PackageRequest]) -> Result<Vec<String>, PackageError> {
        Err(PackageError::Unsupported)
    }

    fn remove_unneeded(&self, _: &Allowance, _: &mut dyn FnMut(&[u8])) -> Result<(), PackageError> {
        Err(PackageError::Unsupported)
    }

    fn refresh(&self, _: Option<&Path>, _: &mut dyn FnMut(&[u8])) -> Result<(), PackageError> {
        Ok(())
    }
}

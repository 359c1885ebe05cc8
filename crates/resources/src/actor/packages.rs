//! How a step changes packages: within what the plan allows. It reports everything beyond that.

use super::{Actor, ApplyError};
use crate::system::packages::{Allowance, PackageError, PackageRequest, Simulation};

impl Actor<'_> {
    /// Carries out `requests` in one transaction.
    pub fn transact(&mut self, requests: &[PackageRequest]) -> Result<(), ApplyError> {
        // The plan may have had a request in sync that an open step changed since. Such a request is allowed what it
        // asks for.
        let mut allowed = self.allowance.clone();
        allowed.allow(requests, &Simulation::default());
        self.within(&allowed, |actor| actor.system.packages().transact(requests, &allowed, actor.output))
    }

    /// Removes packages that are no longer needed.
    pub fn remove_unneeded(&mut self) -> Result<(), ApplyError> {
        let allowed = self.allowance.clone();
        self.within(&allowed, |actor| actor.system.packages().remove_unneeded(&allowed, actor.output))
    }

    /// Notes what `work` did beyond what is allowed, also if it fails midway.
    fn within(
        &mut self,
        allowed: &Allowance,
        work: impl FnOnce(&mut Self) -> Result<(), PackageError>,
    ) -> Result<(), ApplyError> {
        let before = self.system.packages().installed().map_err(failed)?;
        let done = work(self);
        let after = self.system.packages().installed().map_err(failed)?;
        self.unforeseen.extend(allowed.unforeseen(&before, &after));
        done.map_err(failed)
    }
}

fn failed(error: PackageError) -> ApplyError {
    ApplyError::new(error.to_string())
}

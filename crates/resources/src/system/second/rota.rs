//! A service manager in memory. It has a unit for each file of `/run/rota`, and no clock.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::system::backend::{Backend, Parts};
use crate::system::services::clock::Clock;
use crate::system::services::{Active, Enabled, Ended, Load, Open, UnitError, UnitState, Units, Verb};

pub(super) const BACKEND: Backend<Open> = Backend {
    name: "rota",
    marks: &["/run/rota"],
    open: Some(|parts| Box::new(Rota { parts, units: Mutex::default() })),
};

struct Rota {
    parts: Parts,
    units: Mutex<BTreeMap<String, UnitState>>,
}

impl Rota {
    fn is_known(&self, unit: &str) -> bool {
        let name = unit.trim_end_matches(".service");
        self.parts.files.outside(&Path::new("/run/rota").join(name)).exists()
    }
}

impl Units for Rota {
    fn states(&self, units: &[String]) -> Result<Vec<UnitState>, UnitError> {
        let known = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        let state = |unit: &String| match known.get(unit) {
            Some(state) => state.clone(),
            None if self.is_known(unit) => UnitState { load: Load::Loaded, ..UnitState::default() },
            None => UnitState::default(),
        };
        Ok(units.iter().map(state).collect())
    }

    fn act(&self, verb: Verb, unit: &str) -> Result<(), UnitError> {
        let mut state = self.states(&[unit.to_owned()])?.remove(0);
        match verb {
            Verb::Start | Verb::Restart | Verb::Reload => state.active = Active::Active,
            Verb::Stop => state.active = Active::Inactive,
            Verb::Enable => state.enabled = Enabled::Yes,
            Verb::Disable => state.enabled = Enabled::No,
            Verb::Mask => state.load = Load::Masked,
            Verb::Unmask => state.load = Load::Loaded,
        }
        self.units.lock().unwrap_or_else(PoisonError::into_inner).insert(unit.to_owned(), state);
        Ok(())
    }

    fn ended(&self, _: &str) -> Option<Ended> {
        None
    }

    fn reload_files(&self) -> Result<(), UnitError> {
        Ok(())
    }

    fn journal(&self, _: &str, _: u32) -> String {
        String::new()
    }

    fn clock(&self) -> Option<Box<dyn Clock + '_>> {
        None
    }
}

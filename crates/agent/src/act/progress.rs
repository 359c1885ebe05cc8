//! The progress of an act, by resource: its places in the plan, its fate, and what was done to it. Each resource has
//! one state. Which failure stops which resources is in [`Stops`].

use converge_model::Resource;
use converge_resources::kind::Action;

use super::fates::{Fate, Stops};
use crate::planner::DraftStep;

/// The progress of one resource.
#[derive(Default)]
pub(super) struct Progress {
    /// The place of its own step in the draft.
    pub(super) step: Option<usize>,
    /// The place of its notified action in the draft.
    pub(super) action: Option<usize>,
    fate: Fate,
    /// The places of its results, in order.
    pub(super) results: Vec<usize>,
    /// Whether its own step started its unit.
    pub(super) is_started: bool,
    /// The action that ran because of a notification.
    pub(super) acted: Option<Acted>,
}

/// An action that ran because of a notification.
pub(super) struct Acted {
    pub(super) action: Action,
    /// The resources that notified it.
    pub(super) because: Vec<u32>,
}

impl Progress {
    /// Returns the fate of the resource.
    pub(super) fn fate(&self) -> Fate {
        self.fate
    }
}

/// The progress of all resources of a catalog, by their places.
pub(super) struct Course {
    all: Vec<Progress>,
    stops: Stops,
}

impl Course {
    /// Begins a course over `count` resources that carries out `steps`.
    pub(super) fn new(count: usize, steps: &[DraftStep]) -> Self {
        let mut all: Vec<Progress> = std::iter::repeat_with(Progress::default).take(count).collect();
        for (place, step) in steps.iter().enumerate() {
            let Some(progress) = all.get_mut(step.step.resource as usize) else { continue };
            let part = if step.action.is_some() { &mut progress.action } else { &mut progress.step };
            *part = Some(place);
        }
        Self { all, stops: Stops::default() }
    }

    /// Returns the progress of the resource at `index`.
    pub(super) fn of(&self, index: u32) -> &Progress {
        &self.all[index as usize]
    }

    pub(super) fn of_mut(&mut self, index: u32) -> &mut Progress {
        &mut self.all[index as usize]
    }

    /// Returns the progress of all resources, in catalog order.
    pub(super) fn all(&self) -> &[Progress] {
        &self.all
    }

    /// Sets the fate of `resource`, which is at `index`.
    pub(super) fn settle(&mut self, index: u32, resource: &Resource, fate: Fate) {
        self.of_mut(index).fate = fate;
        self.stops.settle(index, resource, fate);
    }

    /// Returns the first resource in one of `bodies` that is before `index` and stops it.
    pub(super) fn stopper(&self, bodies: &[u32], index: u32) -> Option<u32> {
        self.stops.stopper(bodies, index)
    }
}

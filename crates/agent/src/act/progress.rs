//! How far an act has come with each resource: its places in the plan, what became of it, and what was done to it. One state
//! a resource; which failure stands in whose way is left to [`Stops`].

use converge_model::Resource;
use converge_resources::kind::Action;

use super::fates::{Fate, Stops};
use crate::planner::DraftStep;

/// How far an act has come with one resource.
#[derive(Default)]
pub(super) struct Progress {
    /// The place of its own step in the draft.
    pub(super) step: Option<usize>,
    /// The place, in the draft, of the action that others notify it of.
    pub(super) action: Option<usize>,
    fate: Fate,
    /// The places of its results, in order.
    pub(super) results: Vec<usize>,
    /// Whether a step of its own started its unit.
    pub(super) is_started: bool,
    /// What was done to it because of a notification.
    pub(super) acted: Option<Acted>,
}

/// What was done because of a notification.
pub(super) struct Acted {
    pub(super) action: Action,
    /// The resources that notified.
    pub(super) because: Vec<u32>,
}

impl Progress {
    /// What became of the resource.
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
    /// The beginning of a course over `count` resources that carries out `steps`.
    pub(super) fn new(count: usize, steps: &[DraftStep]) -> Self {
        let mut all: Vec<Progress> = std::iter::repeat_with(Progress::default).take(count).collect();
        for (place, step) in steps.iter().enumerate() {
            let Some(progress) = all.get_mut(step.step.resource as usize) else { continue };
            let part = if step.action.is_some() { &mut progress.action } else { &mut progress.step };
            *part = Some(place);
        }
        Self { all, stops: Stops::default() }
    }

    /// The resource at `index`.
    pub(super) fn of(&self, index: u32) -> &Progress {
        &self.all[index as usize]
    }

    pub(super) fn of_mut(&mut self, index: u32) -> &mut Progress {
        &mut self.all[index as usize]
    }

    /// All of them, in the order of the catalog.
    pub(super) fn all(&self) -> &[Progress] {
        &self.all
    }

    /// Settles the fate of `resource`, the one at `index`.
    pub(super) fn settle(&mut self, index: u32, resource: &Resource, fate: Fate) {
        self.of_mut(index).fate = fate;
        self.stops.settle(index, resource, fate);
    }

    /// The first resource in one of `bodies` that stands before `index` and stops it.
    pub(super) fn stopper(&self, bodies: &[u32], index: u32) -> Option<u32> {
        self.stops.stopper(bodies, index)
    }
}

//! The fate of each resource, and which failure stops which resources. Both are looked up and not searched for. So
//! the cost per resource does not grow with the number of resources. The planner uses all of it; the act shares `Stops`
//! and keeps its fates in `progress::Course`.

use std::collections::{BTreeMap, BTreeSet};

use converge_model::Resource;

/// The fate of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its turn has not come, or the selection leaves it out.
    #[default]
    Waiting,
    InSync,
    Changed,
    /// It was created; nothing was there before.
    Created,
    Failed,
    Skipped,
}

impl Fate {
    /// Whether the resource failed or was skipped.
    pub(crate) fn is_trouble(self) -> bool {
        matches!(self, Self::Failed | Self::Skipped)
    }

    /// Whether the resource is in sync.
    pub(crate) fn is_settled(self) -> bool {
        matches!(self, Self::InSync | Self::Changed | Self::Created)
    }
}

/// The fates of the resources of a catalog, by their places.
pub(crate) struct Fates {
    all: Vec<Fate>,
    stops: Stops,
}

impl Fates {
    pub(crate) fn new(count: usize) -> Self {
        Self { all: vec![Fate::Waiting; count], stops: Stops::default() }
    }

    pub(crate) fn of(&self, index: u32) -> Fate {
        self.all[index as usize]
    }

    /// Sets the fate of `resource`, which is at `index`.
    pub(crate) fn settle(&mut self, index: u32, resource: &Resource, fate: Fate) {
        self.all[index as usize] = fate;
        self.stops.settle(index, resource, fate);
    }

    /// Returns the first resource in one of `bodies` that is before `index` and stops it.
    pub(crate) fn stopper(&self, bodies: &[u32], index: u32) -> Option<u32> {
        self.stops.stopper(bodies, index)
    }
}

/// By body: the resources in it that stop the rest of the body.
#[derive(Default)]
pub(crate) struct Stops(BTreeMap<u32, BTreeSet<u32>>);

impl Stops {
    /// Sets the fate of the resource at `index`.
    pub(crate) fn settle(&mut self, index: u32, resource: &Resource, fate: Fate) {
        for body in &resource.bodies {
            if fate.is_trouble() && !resource.options.may_fail {
                self.0.entry(*body).or_default().insert(index);
            } else if let Some(body) = self.0.get_mut(body) {
                body.remove(&index);
            }
        }
    }

    /// Returns the first resource in one of `bodies` that is before `index` and stops it.
    pub(crate) fn stopper(&self, bodies: &[u32], index: u32) -> Option<u32> {
        let first = |body: &u32| self.0.get(body)?.first().copied();
        bodies.iter().filter_map(first).filter(|first| *first < index).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::resource;

    #[test]
    fn a_body_is_stopped_by_its_first_failure_and_goes_on_when_that_is_made_good() {
        let mut fates = Fates::new(4);
        let mut of = |index: u32, fate: Fate, may_fail: bool| {
            let mut one = resource("file", "/a");
            one.bodies = vec![7];
            one.options.may_fail = may_fail;
            fates.settle(index, &one, fate);
            (fates.stopper(&[7], 3), fates.stopper(&[8], 3))
        };
        assert_eq!(of(0, Fate::Failed, true), (None, None), "it may fail");
        assert_eq!(of(2, Fate::Skipped, false), (Some(2), None));
        assert_eq!(of(1, Fate::Failed, false), (Some(1), None));
        assert_eq!(of(1, Fate::Changed, false), (Some(2), None));
        assert_eq!(of(3, Fate::Failed, false), (Some(2), None), "what comes later stops nothing before");
        of(0, Fate::InSync, true);
        of(2, Fate::InSync, false);
        assert_eq!(of(3, Fate::InSync, false), (None, None));
    }
}

//! Compares the change of a step at its turn with its plan.

use std::collections::HashSet;

use converge_model::{Change, PropertyChange, Shown};

use super::Act;

impl Act<'_> {
    /// Returns an error if a binding property would get another value than the planned one.
    pub(super) fn is_as_planned(&self, index: u32, place: Option<usize>, now: &Change) -> Result<(), String> {
        let Some(place) = place else { return Ok(()) };
        let binding = self.decoded.wanted[index as usize].binding();
        differing(binding, &self.draft.steps[place].step.change, now).map_or(Ok(()), Err)
    }

    /// Notes what the step did to properties that its plan does not name.
    pub(super) fn note_beyond(&mut self, place: Option<usize>, now: &Change) {
        let Some(place) = place else { return };
        let planned = &self.draft.steps[place].step.change;
        // A set, because a step may have a property for each of a hundred thousand folders.
        let named: HashSet<&str> = planned.properties.iter().map(|known| known.property.as_str()).collect();
        let is_new = |one: &&PropertyChange| !named.contains(one.property.as_str());
        self.unforeseen.extend(now.properties.iter().filter(is_new).cloned());
    }
}

/// Returns why `now` differs from the plan in the properties of `binding`.
fn differing(binding: &[&str], planned: &Change, now: &Change) -> Option<String> {
    let value = |change: &Change, name: &str| {
        let found = change.properties.iter().find(|one| one.property == name)?;
        if let Shown::Text(text) = &found.after { Some(text.clone()) } else { None }
    };
    binding.iter().find_map(|name| {
        let (was, is) = (value(planned, name)?, value(now, name)?);
        (was != is).then(|| format!("{name} would now be {is}, but the plan says {was}: plan again"))
    })
}

//! Neighbours that are applied together, as one transaction of the package manager.

use std::ops::Range;
use std::time::Instant;

use converge_model::Verb;
use converge_resources::ApplyError;
use converge_resources::kind::{Look, Planned};
use converge_resources::system::packages::PackageRequest;

use super::Act;
use super::outcome::{Attempt, Failure};

impl Act<'_> {
    /// Returns the end of the run of packages that starts at `index`. Neighbours are one transaction, but an action
    /// due between them ends it.
    pub(super) fn transaction_end(&self, index: u32) -> u32 {
        let resources = &self.decoded.catalog.resources;
        let is_batched = |at: u32| self.decoded.wanted[at as usize].is_batched();
        let joins =
            |at: u32| resources.get(at as usize).is_some_and(|one| !one.options.selected || is_batched(at));
        if !is_batched(index) {
            return index + 1;
        }
        let mut end = index + 1;
        while joins(end) && self.decoded.notifications.due(end - 1).is_empty() {
            end += 1;
        }
        end
    }

    /// Applies a run of packages as one transaction. Afterwards each package is judged by its own state.
    pub(super) fn transaction(&mut self, run: Range<u32>) {
        let mut batch: Vec<(u32, PackageRequest, Look)> = Vec::new();
        // Packages that are in sync now have their turn after the transaction, which may install an unwanted one.
        let mut others = Vec::new();
        for index in run {
            let place = self.course.of(index).step;
            let blocked = self.draft.blocked.contains_key(&index)
                || self.stopped_by(index).is_some()
                || !self.resource(index).options.selected;
            match self.look(index) {
                Ok(look)
                    if !blocked && matches!(look.planned, Planned::Change(_)) && look.request.is_some() =>
                {
                    if place.is_none() && self.open.is_empty() {
                        let address = &self.resource(index).address;
                        return self.stale(format!("{address} changed since the plan, but not by this run"));
                    }
                    let request = look.request.clone();
                    batch.extend(request.map(|request| (index, request, look)));
                }
                _ => others.push(index),
            }
        }
        if batch.len() < 2 {
            batch.into_iter().for_each(|(index, ..)| self.turn(index));
        } else {
            self.transact(batch);
        }
        for index in others {
            if self.halt.is_none() {
                self.turn(index);
            }
        }
    }

    fn transact(&mut self, batch: Vec<(u32, PackageRequest, Look)>) {
        let started = Instant::now();
        let indices: Vec<u32> = batch.iter().map(|(index, ..)| *index).collect();
        for index in &indices {
            self.announce(*index, self.course.of(*index).step);
        }
        if let Err(error) = batch.iter().try_for_each(|(index, _, look)| self.note(*index, verb_of(look))) {
            for index in indices {
                let place = self.course.of(index).step;
                let attempt = Attempt::Failed(Failure::untouched(error.to_string()));
                self.finish(index, place, None, attempt, started);
            }
            return;
        }
        let requests: Vec<_> = batch.iter().map(|(_, request, _)| request.clone()).collect();
        let first = batch[0].0;
        let done = self.with_actor(first, |actor| actor.transact(&requests));
        // As in the plan, packages that come along are shown at the last one.
        let mut beyond = std::mem::take(&mut self.unforeseen);
        let mut failed = false;
        for (index, _, look) in batch {
            // The time is that of the whole transaction, so it is reported once.
            let mut since = Instant::now();
            if Some(&index) == indices.last() {
                self.unforeseen.append(&mut beyond);
                since = started;
            }
            let change = match look.planned {
                Planned::Change(planned) => Some(planned.change),
                _ => None,
            };
            let attempt = match self.verify(index) {
                Ok(()) => Attempt::Done,
                Err(error) => {
                    let why = done.as_ref().err().map_or(error.message, |error| error.message.clone());
                    Attempt::Failed(self.failed(index, change.as_ref(), ApplyError::new(why)))
                }
            };
            failed |= matches!(attempt, Attempt::Failed { .. });
            self.note_effects(index, &look.effects, &attempt);
            let place = self.course.of(index).step;
            self.finish(index, place, change, attempt, since);
        }
        if let (Err(error), Some(last), false) = (&done, indices.last(), failed) {
            self.done_despite(*last, error);
        }
    }
}

/// Returns the verb of a look.
fn verb_of(look: &Look) -> Verb {
    match &look.planned {
        Planned::Change(planned) => planned.change.verb,
        Planned::InSync(_) | Planned::Impossible { .. } => Verb::Update,
    }
}

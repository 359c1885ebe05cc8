//! The end of an act. It has the closing look over the whole catalog, resources that did not stay in sync, the
//! report, and the record in the ledger.

use std::path::Path;

use converge_model::{HostReport, HostState, Problem, Restoration, Stands, StepOutcome, StepResult, Verb};
use converge_resources::kind::Planned;
use converge_resources::system::services::Ended;
use converge_resources::view::Base;
use converge_resources::{ApplyError, View};

use super::fates::Fate;
use super::outcome::{Failure, names};
use super::progress::Acted;
use super::{Act, Halt};
use crate::decoded::problem;
use crate::planner::warm;
use crate::state::armed::has_all_rights;
use crate::state::ledger::{Ledger, Origin, applied, holds_secret};
use crate::state::{State, StateError};

impl Act<'_> {
    /// Runs the closing look and makes the report.
    pub(crate) fn close(&mut self) -> HostReport {
        if self.halt.is_none() && self.results.iter().any(|result| result.outcome.changed()) {
            if !self.settle.is_zero() {
                std::thread::sleep(self.settle);
            }
            self.closing_look();
        }
        let failed = |result: &StepResult| result.outcome.failed() && !result.may_fail;
        let state = match &self.halt {
            Some(Halt::Stale(why)) => {
                self.problems.push(Problem {
                    address: None,
                    message: why.clone(),
                    help: Some("plan again".into()),
                });
                HostState::Stale
            }
            Some(Halt::Stopped) => HostState::Interrupted,
            Some(Halt::Reverted(what)) => {
                self.problems.push(reverted(what));
                HostState::Reverted
            }
            Some(Halt::Stuck(why)) => {
                self.problems.push(stuck(why));
                HostState::Failed
            }
            None if self.results.iter().any(failed) || !self.problems.is_empty() => {
                self.problems.extend(want_of_rights(&self.results, has_all_rights(self.system)));
                HostState::Failed
            }
            None if self.results.iter().any(|result| result.outcome.changed()) => HostState::Changed,
            None => HostState::InSync,
        };
        HostReport {
            host: self.decoded.catalog.host.clone(),
            state,
            results: self.results.clone(),
            in_sync: self.course.all().iter().filter(|one| one.fate() == Fate::InSync).count() as u32,
            problems: std::mem::take(&mut self.problems),
        }
    }

    /// Looks at all resources that should be in sync now. One that is not was undone by a later step, or did not
    /// last.
    fn closing_look(&mut self) {
        let base = self.decoded.base(self.system);
        warm(self.decoded, &base);
        let course = (0_u32..).zip(self.course.all());
        let all: Vec<_> = course.filter(|(_, one)| one.fate().is_settled()).map(|(index, _)| index).collect();
        let broken: Vec<_> =
            all.into_iter().filter_map(|index| Some((index, self.pending(index, &base)?))).collect();
        for (index, pending) in broken {
            self.did_not_stay(index, pending);
        }
    }

    /// Returns what is still pending for the resource at `index`.
    fn pending(&self, index: u32, base: &Base<'_>) -> Option<String> {
        match self.decoded.wanted[index as usize].look(&View::bare(base)) {
            Ok(look) => match &look.planned {
                Planned::InSync(_) => {
                    let proof = self.decoded.wanted[index as usize].prove(self.system);
                    proof.err().map(|error| error.message)
                }
                Planned::Change(planned) if planned.always => None,
                Planned::Change(planned) => {
                    let words = self.decoded.wanted[index as usize].unsettled(&look);
                    Some(words.unwrap_or_else(|| format!("it differs again: {}", names(&planned.change))))
                }
                Planned::Impossible { message, .. } => Some(message.clone()),
            },
            Err(error) => Some(error.to_string()),
        }
    }

    /// Handles a resource that was in sync and is not any more. A service shows the reason in its journal. If a
    /// notification broke it, its old configuration is restored.
    fn did_not_stay(&mut self, index: u32, pending: String) {
        self.set_fate(index, Fate::Failed);
        let journal = |unit: String| self.system.units().journal(&unit, JOURNAL);
        let units = self.decoded.wanted[index as usize].units();
        let output = units.into_iter().next().map(journal).unwrap_or_default();
        let error = ApplyError { message: pending, output };
        if let Some(Acted { action, because }) = self.course.of_mut(index).acted.take() {
            let outcome = self.restore_causes(index, &action, &because, error);
            if let StepOutcome::Failed { why, output, restored, stands } = outcome {
                self.revise(index, Failure { why, output, restored, stands });
            }
            return;
        }
        if !error.output.is_empty() {
            let (why, output) = (error.message.clone(), error.output.clone());
            let stands = Stands::Differs { properties: Vec::new() };
            self.revise(index, Failure { why, output, restored: Restoration::Nothing, stands });
        }
        if !self.resource(index).options.may_fail {
            let message = format!("{}{}", error.message, self.undone_by(index));
            let message = self.masker.mask(message.as_bytes());
            self.problems.push(problem(&self.resource(index).address, message, None));
        }
    }

    /// Returns what undid the resource at `index`. The open steps after it are suspects, except if a process ended by
    /// itself.
    fn undone_by(&self, index: u32) -> String {
        let suspects: Vec<_> =
            self.open.iter().filter(|step| **step > index).map(|step| self.name(*step)).collect();
        let names = suspects.join(" or ");
        let unit = self.decoded.wanted[index as usize].units().into_iter().next();
        let ended = unit.as_ref().and_then(|unit| self.system.units().ended(unit));
        let perhaps = |how: &str| match suspects.len() {
            0 => String::new(),
            _ => format!(", perhaps {how} {names}"),
        };
        match ended {
            Some(Ended { after, by_signal: false }) => {
                format!("; it ended by itself {:.0} s after it was started", after.as_secs_f64())
            }
            Some(Ended { after, by_signal: true }) => {
                let after = after.as_secs_f64();
                format!("; a signal ended it {after:.0} s after it was started{}", perhaps("sent by"))
            }
            None if unit.is_some_and(|unit| self.was_revived(unit)) => {
                "; it ended by itself, and systemd started it again".to_owned()
            }
            None => match suspects.len() {
                0 => String::new(),
                1 => format!("; undone by {names}"),
                _ => format!("; perhaps undone by {names}"),
            },
        }
    }

    fn was_revived(&self, unit: String) -> bool {
        let states = self.system.units().states(&[unit]);
        states.is_ok_and(|states| states.iter().any(|state| state.revived.is_some()))
    }

    /// Records in the ledger everything that is in sync, and what failed steps may have left.
    pub(crate) fn record(&self, mut ledger: Ledger, state: &State) -> Result<(), StateError> {
        let catalog = self.decoded.catalog;
        let mut places = Vec::new();
        for ((index, resource), one) in (0_u32..).zip(&catalog.resources).zip(self.course.all()) {
            let fate = one.fate();
            if fate.is_settled() {
                let applied = applied(resource, &self.key, &catalog.secrets);
                let origin = if fate == Fate::Created { Origin::Created } else { Origin::Found };
                let clean = self.draft.veil.clean_digests(index, &self.lines);
                ledger.record(resource, &catalog.project, &applied, (origin, &clean));
                match self.draft.owned.get(&index) {
                    Some(owned) if !holds_secret(resource) => ledger.clear_places(owned),
                    _ => places.extend(self.secret_places(index)),
                }
            } else if let Some(verb) = self.left_by(index) {
                ledger.take_in(&[self.intent(index, verb)]);
            }
        }
        ledger.add_places(places, |path| !matches!(self.system.files().entry(Path::new(path)), Ok(None)));
        ledger.write(state)
    }

    /// Returns the verb of a failed step of the resource at `index` that may have left something on the host.
    fn left_by(&self, index: u32) -> Option<Verb> {
        let mut results = self.course.of(index).results.iter().map(|place| &self.results[*place]);
        let stays = |result: &&StepResult| match &result.outcome {
            StepOutcome::Failed { restored, stands, .. } => {
                *restored != Restoration::Done && *stands != Stands::Unchanged
            }
            outcome => outcome.changed(),
        };
        results.find(stays).map(|result| result.change.verb)
    }
}

/// Returns the problem of changes that the host reverted, and what the user can do next.
fn reverted(what: &str) -> Problem {
    Problem {
        address: None,
        message: format!("no new connection confirmed it in time; the host reverted {what}"),
        help: Some(
            "these steps are undone: correct the change that blocks a new connection, then plan again".into(),
        ),
    }
}

/// Returns the problem of changes that the host could not revert. No revert tries again: a person has to look.
pub(crate) fn stuck(why: &str) -> Problem {
    Problem {
        address: None,
        message: format!("the host could not revert the guarded steps: {why}"),
        help: Some("restore by hand what it names, from the copies there; then remove that folder: until then every apply is refused".into()),
    }
}

/// The number of journal lines to show of a service that did not stay up.
const JOURNAL: u32 = 20;

/// Returns advice if steps failed for lack of rights. It appears once, and only if the run does not have all rights.
fn want_of_rights(results: &[StepResult], has_all: bool) -> Option<Problem> {
    let refused =
        |result: &StepResult| matches!(&result.outcome, StepOutcome::Failed { why, .. } if lacks_rights(why));
    (!has_all && results.iter().any(refused)).then(|| Problem {
        address: None,
        message: "the user of this run does not have the rights that the host's resources need".to_owned(),
        help: Some("write `become=\"sudo\"` in the connection of the host".to_owned()),
    })
}

/// Whether a step failed for lack of rights. The words are those of the system and of D-Bus, in their own language.
fn lacks_rights(why: &str) -> bool {
    let words = ["Permission denied", "Operation not permitted", "Access denied", "authentication required"];
    words.iter().any(|word| why.contains(word))
}

#[cfg(test)]
mod tests;

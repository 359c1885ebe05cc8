//! The result of a step.

use converge_model::{Restoration, Stands, StepOutcome, StepResult, Verb};
use serde::Serialize;

use super::change::{Property, Sureness, properties};
use super::text;

/// A step and its result.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Outcome<'a> {
    address: &'a str,
    verb: Verb,
    properties: Vec<Property<'a>>,
    irreversible: Option<&'a str>,
    outcome: Word,
    why: Option<&'a str>,
    output: Option<&'a str>,
    #[serde(rename = "put-back")]
    restored: Option<Restored>,
    stands: Option<Standing>,
    wrong_properties: Vec<&'a str>,
    unforeseen: Vec<Property<'a>>,
    may_fail: bool,
    took_ms: u64,
}

/// The result.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Done,
    AlreadySo,
    Unforeseen,
    Failed,
    Skipped,
    Owed,
}

/// The fate of the old state after a failed step.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Restored {
    Restored,
    Stuck,
}

/// The state of a resource after a failed step.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Standing {
    Unchanged,
    AsAsked,
    Differs,
}

impl<'a> From<&'a StepResult> for Outcome<'a> {
    fn from(result: &'a StepResult) -> Self {
        let outcome = Self {
            address: result.address.as_str(),
            verb: result.change.verb,
            properties: properties(&result.change),
            irreversible: result.change.irreversible.as_deref(),
            outcome: Word::Done,
            why: None,
            output: None,
            restored: None,
            stands: None,
            wrong_properties: Vec::new(),
            unforeseen: result
                .unforeseen
                .iter()
                .map(|change| Property::new(change, Sureness::Exact))
                .collect(),
            may_fail: result.may_fail,
            took_ms: result.took,
        };
        outcome.ended(&result.outcome)
    }
}

impl<'a> Outcome<'a> {
    /// Sets the result.
    fn ended(self, outcome: &'a StepOutcome) -> Self {
        match outcome {
            StepOutcome::Done => self,
            StepOutcome::AlreadySo => Self { outcome: Word::AlreadySo, ..self },
            StepOutcome::Unforeseen => Self { outcome: Word::Unforeseen, ..self },
            StepOutcome::Owed => Self { outcome: Word::Owed, ..self },
            StepOutcome::Skipped { why } => Self { outcome: Word::Skipped, why: Some(why), ..self },
            StepOutcome::Failed { why, output, restored, stands } => Self {
                outcome: Word::Failed,
                why: Some(why),
                output: text(output),
                restored: match restored {
                    Restoration::Nothing => None,
                    Restoration::Done => Some(Restored::Restored),
                    Restoration::Stuck => Some(Restored::Stuck),
                },
                ..self.standing(stands)
            },
        }
    }

    fn standing(self, stands: &'a Stands) -> Self {
        let (stands, wrong): (_, &[String]) = match stands {
            Stands::Unknown => (None, &[]),
            Stands::Unchanged => (Some(Standing::Unchanged), &[]),
            Stands::AsAsked => (Some(Standing::AsAsked), &[]),
            Stands::Differs { properties } => (Some(Standing::Differs), properties),
        };
        Self { stands, wrong_properties: wrong.iter().map(String::as_str).collect(), ..self }
    }
}

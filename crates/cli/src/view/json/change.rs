//! The changes of a step, property by property.

use converge_model::{Certainty, Change, PropertyChange, Shown};
use serde::Serialize;

use super::SECRET;

/// One property before and after.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Property<'a> {
    /// The name of the parameter: `mode`, `content`, `version`.
    property: &'a str,
    /// The value found; null if the property is absent or not known.
    before: Option<&'a str>,
    /// The value after the step; null if the property will be absent or is not known.
    after: Option<&'a str>,
    /// Whether it happens as listed.
    certainty: Sureness,
    /// Why a value is not known.
    why: Option<&'a str>,
    /// Whether a value holds a secret. It is shown as `********`.
    secret: bool,
    /// The difference of two texts, in unified form.
    diff: Option<&'a str>,
    /// Whether the difference was cut at its limit.
    diff_cut: bool,
}

/// The certainty of a change.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Sureness {
    /// It happens as listed.
    Exact,
    /// It depends on the result of earlier steps.
    Conditional,
    /// A value is known only after the step.
    Unknown,
}

impl From<&Certainty> for Sureness {
    fn from(certainty: &Certainty) -> Self {
        match certainty {
            Certainty::Exact => Self::Exact,
            Certainty::Conditional { .. } => Self::Conditional,
        }
    }
}

/// The properties of a change.
pub(super) fn properties(change: &Change) -> Vec<Property<'_>> {
    let certainty = Sureness::from(&change.certainty);
    change.properties.iter().map(|property| Property::new(property, certainty)).collect()
}

impl<'a> Property<'a> {
    /// Creates a property of a step with this certainty.
    pub(super) fn new(change: &'a PropertyChange, certainty: Sureness) -> Self {
        let PropertyChange { property, before, after, diff } = change;
        let why = [before, after].into_iter().find_map(|value| match value {
            Shown::Unknown(why) => Some(why.as_str()),
            _ => None,
        });
        Self {
            property,
            before: value(before),
            after: value(after),
            certainty: if why.is_some() { Sureness::Unknown } else { certainty },
            why,
            secret: [before, after].contains(&&Shown::Masked),
            diff: diff.as_ref().map(|diff| diff.unified.as_str()),
            diff_cut: diff.as_ref().is_some_and(|diff| diff.cut),
        }
    }
}

fn value(shown: &Shown) -> Option<&str> {
    match shown {
        Shown::Text(text) => Some(text),
        Shown::Masked => Some(SECRET),
        Shown::Absent | Shown::Unknown(_) => None,
    }
}

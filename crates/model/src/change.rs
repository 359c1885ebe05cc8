//! A change: the state before, the state after, and how certain the plan is.

use serde::{Deserialize, Serialize};

/// The change of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The sort of change.
    pub verb: Verb,
    /// The changed properties; for an action, what it runs.
    pub properties: Vec<PropertyChange>,
    /// The certainty of the plan.
    pub certainty: Certainty,
    /// The reason why it cannot be restored, if it cannot.
    pub irreversible: Option<String>,
}

/// The sort of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// The resource does not exist and is created: `+`.
    Create,
    /// The resource differs and is updated: `~`.
    Update,
    /// The resource exists and is removed: `-`.
    Remove,
    /// An object of another sort is replaced by the resource: `±`.
    Replace,
    /// A command or an action runs: `>`.
    Act,
}

impl Verb {
    /// Returns the sign that the plan prints.
    pub const fn symbol(self) -> char {
        match self {
            Self::Create => '+',
            Self::Update => '~',
            Self::Remove => '-',
            Self::Replace => '±',
            Self::Act => '>',
        }
    }
}

/// One property before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PropertyChange {
    /// The name of its parameter: `mode`, `content`, `version`.
    pub property: String,
    /// The value found on the host.
    pub before: Shown,
    /// The value after the step.
    pub after: Shown,
    /// For text: the difference by lines.
    pub diff: Option<TextDiff>,
}

/// A value in the form that may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shown {
    /// The value does not exist.
    Absent,
    /// The value as text.
    Text(String),
    /// A value that holds a secret.
    Masked,
    /// A value that is unknown until the step has run, and the reason.
    Unknown(String),
}

/// The difference of two texts in unified form, without the file header. Its limit is 64 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextDiff {
    /// Hunks: a line `@@ -1,2 +1,2 @@`, then lines that start with a blank, `-` or `+`.
    pub unified: String,
    /// Whether the end was cut off.
    pub cut: bool,
}

/// The most bytes of a difference.
pub const DIFF_LIMIT: usize = 64 * 1024;

/// The certainty of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Certainty {
    /// The step will happen as listed.
    Exact,
    /// The step depends on earlier steps.
    Conditional {
        /// The earlier steps, as indices into the plan.
        on: Vec<u32>,
        /// The things that the earlier steps may bring.
        why: String,
    },
}

impl Change {
    /// Returns an exact, reversible change without properties.
    pub fn new(verb: Verb) -> Self {
        Self { verb, properties: Vec::new(), certainty: Certainty::Exact, irreversible: None }
    }

    /// Adds a property.
    pub fn property(mut self, property: PropertyChange) -> Self {
        self.properties.push(property);
        self
    }

    /// Sets the reason why it cannot be restored.
    pub fn irreversible(mut self, why: impl Into<String>) -> Self {
        self.irreversible = Some(why.into());
        self
    }
}

impl PropertyChange {
    /// Returns a property with the found value and the new value.
    pub fn new(property: &str, before: impl Into<Shown>, after: impl Into<Shown>) -> Self {
        Self { property: property.to_owned(), before: before.into(), after: after.into(), diff: None }
    }
}

impl From<&str> for Shown {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Shown {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Self>> From<Option<T>> for Shown {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

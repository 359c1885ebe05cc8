//! A change: what is there, what will be, and how sure the plan is of it.

use serde::{Deserialize, Serialize};

/// What one step changes on its resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What happens to it.
    pub verb: Verb,
    /// Property by property; for an action, what it runs.
    pub properties: Vec<PropertyChange>,
    /// How sure the plan is.
    pub certainty: Certainty,
    /// Why it cannot be put back, if it cannot.
    pub irreversible: Option<String>,
}

/// What happens to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// It was not there: `+`.
    Create,
    /// It differs: `~`.
    Update,
    /// It should not be there: `-`.
    Remove,
    /// It is of another sort and makes way: `±`.
    Replace,
    /// Something runs: `>`.
    Act,
}

impl Verb {
    /// The sign of the plan.
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
    /// Its name, as the parameter is called: `mode`, `content`, `version`.
    pub property: String,
    /// What was found.
    pub before: Shown,
    /// What it will be.
    pub after: Shown,
    /// For text: the difference, line by line.
    pub diff: Option<TextDiff>,
}

/// A value as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Shown {
    /// Nothing is there.
    Absent,
    /// This text.
    Text(String),
    /// A value that holds a secret.
    Masked,
    /// A value that nobody can compute before the step ran, and why.
    Unknown(String),
}

/// A difference of two texts in unified form, without the file header; capped at 64 KiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextDiff {
    /// Hunks as `@@ -1,2 +1,2 @@` lines followed by lines that start with a blank, `-` or `+`.
    pub unified: String,
    /// Whether it was cut.
    pub cut: bool,
}

/// The longest difference that travels, in bytes.
pub const DIFF_LIMIT: usize = 64 * 1024;

/// How sure the plan is of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Certainty {
    /// It will happen as listed.
    Exact,
    /// It depends on what earlier steps bring: their places in the plan, and why.
    Conditional {
        /// Places of steps in the plan.
        on: Vec<u32>,
        /// What they may bring.
        why: String,
    },
}

impl Change {
    /// An exact, reversible change without properties.
    pub fn new(verb: Verb) -> Self {
        Self { verb, properties: Vec::new(), certainty: Certainty::Exact, irreversible: None }
    }

    /// Adds a property.
    pub fn property(mut self, property: PropertyChange) -> Self {
        self.properties.push(property);
        self
    }

    /// Says why it cannot be put back.
    pub fn irreversible(mut self, why: impl Into<String>) -> Self {
        self.irreversible = Some(why.into());
        self
    }
}

impl PropertyChange {
    /// A property with what was found and what it will be.
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

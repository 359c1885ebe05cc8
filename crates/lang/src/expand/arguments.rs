//! The arguments of one node for the parameters of its schema. They are typed, but not merged with defaults yet.

use std::fmt;
use std::sync::Arc;

use converge_model::secret::MASK;
use converge_model::{Content, Scalar};

use crate::schema::Schema;
use crate::source::content::ContentSource;
use crate::source::diagnostic::Span;
use crate::source::ids::{ChildId, ParamId, Table};
use crate::template::{GivenAt, StandIns};

/// The arguments for one schema: an entry for each parameter and each child.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) params: Table<ParamId, Option<Argument>>,
    pub(crate) children: Table<ChildId, Vec<Row>>,
    /// Keys that are not in the schema.
    pub(crate) free: Vec<MapEntry>,
    pub(crate) at: Span,
}

/// One repeated child.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) given: Arguments,
    /// Whether it exists only if an unknown condition is true.
    pub(crate) maybe: bool,
}

/// The value of a parameter.
#[derive(Clone, Debug)]
pub(crate) struct Argument {
    pub(crate) held: Bound,
    pub(crate) at: Span,
    /// Where callers of modules gave it, as far out as possible. Empty for a default.
    pub(crate) given: GivenAt,
    pub(crate) maybe: bool,
}

/// The content of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Bound {
    One(Atom),
    Many(Vec<Atom>),
    Map(Vec<MapEntry>),
    /// A value that depends on unknown facts.
    Unknown,
}

/// One key of a map with its value.
#[derive(Clone, Debug)]
pub(crate) struct MapEntry {
    pub(crate) key: Arc<str>,
    pub(crate) value: Nested,
    pub(crate) at: Span,
    /// The same as in [`Argument`].
    pub(crate) given: GivenAt,
}

/// Adds keys to a map. Maps below one key are merged. For other values that differ, `clash` is called.
pub(crate) fn join_keys(
    into: &mut Vec<MapEntry>,
    more: Vec<MapEntry>,
    clash: &mut impl FnMut(&mut MapEntry, MapEntry),
) {
    for entry in more {
        match into.iter_mut().find(|known| known.key == entry.key) {
            None => into.push(entry),
            Some(known) => match (&mut known.value, entry) {
                (Nested::Map(entries), MapEntry { value: Nested::Map(more), .. }) => {
                    join_keys(entries, more, clash);
                }
                (value, entry) if *value == entry.value => {}
                (_, entry) => clash(known, entry),
            },
        }
    }
}

/// The value of a key in a map. In a flat map it is a single value or a list of single values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Nested {
    One(Atom),
    List(Vec<Self>),
    Map(Vec<MapEntry>),
}

impl Nested {
    /// Whether a part of it is unknown.
    pub(crate) fn has_unknown(&self) -> bool {
        match self {
            Self::One(atom) => *atom == Atom::Unknown,
            Self::List(items) => items.iter().any(Self::has_unknown),
            Self::Map(entries) => entries.iter().any(|entry| entry.value.has_unknown()),
        }
    }

    /// Returns the single values in it, without those inside maps.
    pub(crate) fn atoms(&self) -> Vec<&Atom> {
        match self {
            Self::One(atom) => vec![atom],
            Self::List(items) => items.iter().flat_map(Self::atoms).collect(),
            Self::Map(_) => Vec::new(),
        }
    }
}

/// One typed value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Atom {
    Plain(Scalar),
    /// A text that holds a secret.
    Secret(SecretText),
    /// The content of a file.
    Content(Content, ContentSource),
    /// A value that depends on unknown facts.
    Unknown,
}

/// A text that is a secret or contains one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretText {
    pub(crate) text: Arc<str>,
    /// The text with other secrets in place of the real ones. None if the whole text is secret.
    pub(crate) stand_ins: Option<StandIns>,
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl PartialEq for MapEntry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.value == other.value
    }
}

impl Arguments {
    /// Returns arguments without values.
    pub(crate) fn empty(schema: &Schema, at: Span) -> Self {
        Self {
            params: schema.params.iter().map(|_| None).collect(),
            children: schema.children.iter().map(|_| Vec::new()).collect(),
            free: Vec::new(),
            at,
        }
    }

    /// Whether it has the same content as `other`, whatever their places.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let held = |argument: &Option<Argument>| argument.as_ref().map(|argument| argument.held.clone());
        self.params.iter().map(held).eq(other.params.iter().map(held))
            && self.free == other.free
            && self
                .children
                .iter()
                .zip(&other.children)
                .all(|(a, b)| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.given.same(&b.given)))
    }

    /// Whether a part of it is unknown.
    pub(crate) fn has_unknown(&self) -> bool {
        let unknown = |entry: &MapEntry| entry.value.has_unknown();
        self.params.iter().flatten().any(|argument| argument.maybe || argument.held.has_unknown())
            || self.free.iter().any(unknown)
            || self.children.iter().flatten().any(|row| row.maybe || row.given.has_unknown())
    }

    /// Returns the single value of a parameter, if it is known and plain.
    pub(crate) fn scalar(&self, param: ParamId) -> Option<&Scalar> {
        match &self.params.get(param)?.as_ref()?.held {
            Bound::One(Atom::Plain(scalar)) => Some(scalar),
            _ => None,
        }
    }
}

impl Bound {
    /// Whether a part of it is unknown.
    pub(crate) fn has_unknown(&self) -> bool {
        match self {
            Self::One(atom) => *atom == Atom::Unknown,
            Self::Many(items) => items.contains(&Atom::Unknown),
            Self::Map(entries) => entries.iter().any(|entry| entry.value.has_unknown()),
            Self::Unknown => true,
        }
    }
}

/// Returns the text of a scalar that is used as a name.
pub(crate) fn name_of(scalar: &Scalar) -> Option<Arc<str>> {
    match scalar {
        Scalar::Text(text) => Some(text.as_str().into()),
        Scalar::Int(number) => Some(number.to_string().into()),
        _ => None,
    }
}

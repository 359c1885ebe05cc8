//! The values that one node gives to the parameters of its schema, typed but not yet merged with defaults.

use std::fmt;
use std::sync::Arc;

use converge_model::secret::MASK;
use converge_model::{Content, Scalar};

use crate::schema::Schema;
use crate::source::content::ContentSource;
use crate::source::diagnostic::Span;
use crate::source::ids::{ChildId, ParamId, Table};
use crate::template::{GivenAt, StandIns};

/// What is given to one schema: an entry for each parameter and each child.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) params: Table<ParamId, Option<Argument>>,
    pub(crate) children: Table<ChildId, Vec<Row>>,
    /// Keys that are in no table.
    pub(crate) free: Vec<MapEntry>,
    pub(crate) at: Span,
}

/// One repeated child.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) given: Arguments,
    /// Whether it is there only if an unknown condition holds.
    pub(crate) maybe: bool,
}

/// The value of a parameter.
#[derive(Clone, Debug)]
pub(crate) struct Argument {
    pub(crate) held: Bound,
    pub(crate) at: Span,
    /// Where callers of modules gave it, as far out as possible; a default is given nowhere.
    pub(crate) given: GivenAt,
    pub(crate) maybe: bool,
}

/// What a parameter holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Bound {
    One(Atom),
    Many(Vec<Atom>),
    Map(Vec<MapEntry>),
    /// Something that depends on unknown facts.
    Unknown,
}

/// One key of a map with what it holds.
#[derive(Clone, Debug)]
pub(crate) struct MapEntry {
    pub(crate) key: Arc<str>,
    pub(crate) value: Nested,
    pub(crate) at: Span,
    /// As of an [`Argument`].
    pub(crate) given: GivenAt,
}

/// Adds keys to a map. Maps below one key add up as well; of anything else that meets and differs, `clash` is told.
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

/// What a key of a map holds. Below a flat map there are single values and lists of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Nested {
    One(Atom),
    List(Vec<Self>),
    Map(Vec<MapEntry>),
}

impl Nested {
    /// Whether any of it is unknown.
    pub(crate) fn has_unknown(&self) -> bool {
        match self {
            Self::One(atom) => *atom == Atom::Unknown,
            Self::List(items) => items.iter().any(Self::has_unknown),
            Self::Map(entries) => entries.iter().any(|entry| entry.value.has_unknown()),
        }
    }

    /// The single values in it, those of maps aside.
    pub(crate) fn atoms(&self) -> Vec<&Atom> {
        match self {
            Self::One(atom) => vec![atom],
            Self::List(items) => items.iter().flat_map(Self::atoms).collect(),
            Self::Map(_) => Vec::new(),
        }
    }
}

/// One value, typed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Atom {
    Plain(Scalar),
    /// A text that holds a secret.
    Secret(SecretText),
    /// A file as content.
    Content(Content, ContentSource),
    /// It depends on unknown facts.
    Unknown,
}

/// A text that holds a secret, or is one.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretText {
    pub(crate) text: Arc<str>,
    /// What it would be with other secrets; none where all of it is secret.
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
    /// Nothing given yet.
    pub(crate) fn empty(schema: &Schema, at: Span) -> Self {
        Self {
            params: schema.params.iter().map(|_| None).collect(),
            children: schema.children.iter().map(|_| Vec::new()).collect(),
            free: Vec::new(),
            at,
        }
    }

    /// Whether it says the same as `other`, wherever either stands.
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

    /// Whether any of it is unknown.
    pub(crate) fn has_unknown(&self) -> bool {
        let unknown = |entry: &MapEntry| entry.value.has_unknown();
        self.params.iter().flatten().any(|argument| argument.maybe || argument.held.has_unknown())
            || self.free.iter().any(unknown)
            || self.children.iter().flatten().any(|row| row.maybe || row.given.has_unknown())
    }

    /// The one value of a parameter, where it is known and plain.
    pub(crate) fn scalar(&self, param: ParamId) -> Option<&Scalar> {
        match &self.params.get(param)?.as_ref()?.held {
            Bound::One(Atom::Plain(scalar)) => Some(scalar),
            _ => None,
        }
    }
}

impl Bound {
    /// Whether any of it is unknown.
    pub(crate) fn has_unknown(&self) -> bool {
        match self {
            Self::One(atom) => *atom == Atom::Unknown,
            Self::Many(items) => items.contains(&Atom::Unknown),
            Self::Map(entries) => entries.iter().any(|entry| entry.value.has_unknown()),
            Self::Unknown => true,
        }
    }
}

/// The text of a scalar, as the name of something.
pub(crate) fn name_of(scalar: &Scalar) -> Option<Arc<str>> {
    match scalar {
        Scalar::Text(text) => Some(text.as_str().into()),
        Scalar::Int(number) => Some(number.to_string().into()),
        _ => None,
    }
}

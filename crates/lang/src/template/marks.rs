//! What is known of a value beside the value: whether it holds a secret, depends on unknown facts, or was given by the
//! caller of a module.

use std::ops::BitOr;
use std::sync::Arc;

use minijinja::Value;

use super::stand_ins::{StandIns, stand_in};
use crate::source::diagnostic::Span;

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// A secret: all that comes of it is a secret.
    pub(crate) tainted: bool,
    /// A fact that no host has told yet: what comes of it is not to be used.
    pub(crate) unknown: bool,
    /// Parameters of a module: a mistake in what comes of them is mended where they are given.
    pub(crate) given: GivenAt,
    /// Of a tainted value: what it would be with other secrets. None where it is a secret as a whole.
    pub(crate) stand_ins: Option<StandIns>,
}

/// Where callers of a module gave what was read: a few spans, in the order read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GivenAt(Option<Arc<[Span]>>);

/// How many spans are worth showing.
const SPANS: usize = 4;

/// `value` as the rendering under way sees it.
pub(crate) fn seen(value: &Value, marks: &Marks) -> Value {
    if marks.tainted && !marks.unknown { stand_in(value, marks.stand_ins.as_ref()) } else { value.clone() }
}

/// The marks of what is tainted, with its stand-ins.
pub(super) fn with_stand_ins(
    marks: Marks,
    again: impl Fn(Option<usize>) -> Option<(Value, Vec<String>)>,
) -> Marks {
    let stand_ins = if marks.tainted && !marks.unknown { StandIns::of(again) } else { None };
    Marks { stand_ins, ..marks }
}

impl Marks {
    /// A secret.
    pub(crate) const TAINTED: Self =
        Self { tainted: true, unknown: false, given: GivenAt(None), stand_ins: None };
    /// Something unknown.
    pub(crate) const UNKNOWN: Self =
        Self { tainted: false, unknown: true, given: GivenAt(None), stand_ins: None };

    /// Something that a caller gave there.
    pub(crate) fn given(given: GivenAt) -> Self {
        Self { given, ..Self::default() }
    }
}

impl GivenAt {
    /// One span.
    pub(crate) fn one(span: Span) -> Self {
        Self(Some([span].into()))
    }

    /// The spans.
    pub(crate) fn spans(&self) -> &[Span] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl BitOr for GivenAt {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        match (&self.0, &other.0) {
            (_, None) => self,
            (None, _) => other,
            (Some(some), Some(more)) => {
                let new = more.iter().filter(|span| !some.contains(span));
                let all: Vec<Span> = some.iter().chain(new).take(SPANS).copied().collect();
                if all.len() == some.len() { self } else { Self(Some(all.into())) }
            }
        }
    }
}

impl BitOr for Marks {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self {
            tainted: self.tainted || other.tainted,
            unknown: self.unknown || other.unknown,
            given: self.given | other.given,
            // Of two tainted values nobody knows what they would be together.
            stand_ins: match (self.tainted, other.tainted) {
                (true, true) => None,
                (true, false) => self.stand_ins,
                (false, _) => other.stand_ins,
            },
        }
    }
}

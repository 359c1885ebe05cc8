//! Marks of a value: whether it contains a secret, depends on unknown facts, or was given by the caller of a module.

use std::ops::BitOr;
use std::sync::Arc;

use minijinja::Value;

use super::stand_ins::{StandIns, stand_in};
use crate::source::diagnostic::Span;

/// Marks of the values that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// A secret was read: every result is a secret.
    pub(crate) tainted: bool,
    /// An unknown fact was read: the result must not be used.
    pub(crate) unknown: bool,
    /// Parameters of a module were read: the user corrects a mistake in the result where they were given.
    pub(crate) given: GivenAt,
    /// For a tainted value: its result with other secrets. None if it is a secret as a whole.
    pub(crate) stand_ins: Option<StandIns>,
}

/// The places where callers of a module gave the values: a few spans, in the order of reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GivenAt(Option<Arc<[Span]>>);

/// The most spans that are kept.
const SPANS: usize = 4;

/// Returns `value` as the current rendering sees it.
pub(crate) fn seen(value: &Value, marks: &Marks) -> Value {
    if marks.tainted && !marks.unknown { stand_in(value, marks.stand_ins.as_ref()) } else { value.clone() }
}

/// Returns the marks with stand-ins, if they are tainted.
pub(super) fn with_stand_ins(
    marks: Marks,
    again: impl Fn(Option<usize>) -> Option<(Value, Vec<String>)>,
) -> Marks {
    let stand_ins = if marks.tainted && !marks.unknown { StandIns::of(again) } else { None };
    Marks { stand_ins, ..marks }
}

impl Marks {
    /// The marks of a secret.
    pub(crate) const TAINTED: Self =
        Self { tainted: true, unknown: false, given: GivenAt(None), stand_ins: None };
    /// The marks of an unknown value.
    pub(crate) const UNKNOWN: Self =
        Self { tainted: false, unknown: true, given: GivenAt(None), stand_ins: None };

    /// Returns the marks of a value that a caller gave at these places.
    pub(crate) fn given(given: GivenAt) -> Self {
        Self { given, ..Self::default() }
    }
}

impl GivenAt {
    /// Returns a single span.
    pub(crate) fn one(span: Span) -> Self {
        Self(Some([span].into()))
    }

    /// Returns the spans.
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
            // The result of two tainted values with other secrets is not known.
            stand_ins: match (self.tainted, other.tainted) {
                (true, true) => None,
                (true, false) => self.stand_ins,
                (false, _) => other.stand_ins,
            },
        }
    }
}

//! The stand-in for a fact that is not known yet.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr};

use super::marks::Marks;
use super::recording::mark;

/// Returns an unknown value of any shape: the value of a variable whose definition reads unknown facts.
pub(crate) fn unknown() -> Value {
    unknown_within(DEPTH)
}

fn unknown_within(levels: u8) -> Value {
    Value::from_object(Unknown { levels })
}

/// Whether `value` is unknown, or was made from an unknown value.
pub(super) fn is_unknown(value: &Value) -> bool {
    value.downcast_object_ref::<Unknown>().is_some() || value.as_str().is_some_and(|text| text.contains(TEXT))
}

/// The stand-in for an unknown text. No fact contains control characters, so no fact is equal to it.
pub(super) const TEXT: &str = "\u{1}unknown\u{1}";

/// The most nested loops over an unknown value.
const DEPTH: u8 = 8;

/// An unknown value. Its keys are unknown, and it is a list with one unknown item.
///
/// The item can be walked one level less. So filters and templates that walk a value to its leaves come to an end.
struct Unknown {
    levels: u8,
}

impl Object for Unknown {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Iterable
    }

    fn get_value(self: &Arc<Self>, _key: &Value) -> Option<Value> {
        mark(Marks::UNKNOWN);
        Some(unknown_within(self.levels))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        mark(Marks::UNKNOWN);
        match self.levels.checked_sub(1) {
            Some(levels) => Enumerator::Values(vec![unknown_within(levels)]),
            None => Enumerator::Empty,
        }
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        mark(Marks::UNKNOWN);
        other.downcast_ref::<Self>().map(|_| Ordering::Equal)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        mark(Marks::UNKNOWN);
        f.write_str(TEXT)
    }
}

/// minijinja prints items of its own lists with this.
impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        mark(Marks::UNKNOWN);
        f.write_str(TEXT)
    }
}

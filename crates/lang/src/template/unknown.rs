//! What stands for a fact that no host has told yet.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr};

use super::marks::Marks;
use super::recording::mark;

/// Something unknown of any shape: what a variable is whose definition reads unknown facts.
pub(crate) fn unknown() -> Value {
    unknown_within(DEPTH)
}

fn unknown_within(levels: u8) -> Value {
    Value::from_object(Unknown { levels })
}

/// Whether `value` is, or was made with, something unknown.
pub(super) fn is_unknown(value: &Value) -> bool {
    value.downcast_object_ref::<Unknown>().is_some() || value.as_str().is_some_and(|text| text.contains(TEXT))
}

/// What stands for an unknown text. No fact holds a control character that would make it the same.
pub(super) const TEXT: &str = "\u{1}unknown\u{1}";

/// How many loops inside each other may walk something unknown.
const DEPTH: u8 = 8;

/// Something unknown: its keys are unknown too, and it is a list of one unknown item.
///
/// The item may be walked one level less: filters and templates walk a value to its leaves, and must get there.
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

/// minijinja prints with this what stands in a list of its own.
impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        mark(Marks::UNKNOWN);
        f.write_str(TEXT)
    }
}

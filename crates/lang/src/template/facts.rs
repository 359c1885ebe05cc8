//! Facts in templates: those of a host, and those of a host that nobody has seen yet.

use converge_model::Facts;
use minijinja::Value;

/// The facts of a host. A key that no host has is an error at once.
pub(crate) fn known_facts(facts: &Facts) -> Value {
    let _ = facts;
    Value::UNDEFINED
}

/// Facts of which only the shape is known: a wrong key is an error at once, a right one gives something unknown.
pub(crate) fn unknown_facts() -> Value {
    Value::UNDEFINED
}

/// Something unknown of any shape: what a variable is whose definition reads unknown facts.
pub(crate) fn unknown() -> Value {
    Value::UNDEFINED
}

//! Maps and lists as templates see them: looking up a key folds dashes, and a secret inside is seen only by those who
//! read it.

use minijinja::Value;

use super::recording::Marks;

/// A map in the order written. `limits.open_files` and `limits['open-files']` both find `open-files`.
#[derive(Debug)]
pub(crate) struct Map {
    entries: Vec<(String, Value, Marks)>,
}

/// Two keys that fold to one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` and `{1}` are one key, because `-` reads as `_` in an expression")]
pub(crate) struct Clash(pub(crate) String, pub(crate) String);

/// A list.
#[derive(Debug)]
pub(crate) struct List {
    items: Vec<(Value, Marks)>,
}

impl Map {
    /// A map whose keys fold.
    pub(crate) fn folding(entries: Vec<(String, Value, Marks)>) -> Result<Value, Clash> {
        let _ = entries;
        Ok(Value::UNDEFINED)
    }

    /// A map whose keys are looked up as they are written.
    pub(crate) fn exact(entries: Vec<(String, Value, Marks)>) -> Value {
        let _ = entries;
        Value::UNDEFINED
    }

    /// The entries, without reading them.
    pub(crate) fn entries(&self) -> &[(String, Value, Marks)] {
        &self.entries
    }
}

impl List {
    /// A list.
    pub(crate) fn new(items: Vec<(Value, Marks)>) -> Value {
        let _ = items;
        Value::UNDEFINED
    }

    /// The items, without reading them.
    pub(crate) fn items(&self) -> &[(Value, Marks)] {
        &self.items
    }
}

/// `key` as an expression spells it.
pub(crate) fn fold(key: &str) -> String {
    key.replace('-', "_")
}

/// What a value is to Rust code that walks it without reading: use [`super::observe`] to read.
pub(crate) enum Raw<'a> {
    /// Null.
    Null,
    /// A scalar: bool, number, text.
    Scalar(&'a Value),
    /// A map.
    Map(&'a Map),
    /// A list.
    List(&'a List),
    /// An object of the scope, or something unknown.
    Other(&'a Value),
}

/// What `value` is.
pub(crate) fn raw(value: &Value) -> Raw<'_> {
    Raw::Other(value)
}

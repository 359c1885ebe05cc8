//! Maps and lists as templates see them: looking up a key folds dashes, and a secret inside is seen only by those who
//! read it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use minijinja::Value;
use minijinja::value::{Enumerator, Object, ObjectRepr, ValueKind};

use super::marks::{Marks, seen};
use super::recording::{Miss, mark, miss};
use super::unknown::{is_unknown, unknown};
use crate::source::suggest::did_you_mean;

/// A map in the order written. `limits.open_files` and `limits['open-files']` both find `open-files`.
pub(crate) struct Map {
    entries: Vec<(String, Value, Marks)>,
    /// Places in `entries` by key, folded if the keys fold.
    places: HashMap<String, usize>,
    folds: bool,
}

/// A list.
pub(crate) struct List {
    items: Vec<(Value, Marks)>,
}

/// Two keys that fold to one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` and `{1}` are one key, because `-` reads as `_` in an expression")]
pub(crate) struct Clash(pub(crate) String, pub(crate) String);

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
    match value.kind() {
        ValueKind::None => Raw::Null,
        ValueKind::Bool | ValueKind::Number | ValueKind::String => Raw::Scalar(value),
        _ => match (value.downcast_object_ref::<Map>(), value.downcast_object_ref::<List>()) {
            (Some(map), _) => Raw::Map(map),
            (_, Some(list)) => Raw::List(list),
            _ => Raw::Other(value),
        },
    }
}

/// `key` as an expression spells it.
pub(crate) fn fold(key: &str) -> String {
    key.replace('-', "_")
}

impl Map {
    /// A map whose keys fold. Of two equal keys the later counts.
    pub(crate) fn folding(entries: Vec<(String, Value, Marks)>) -> Result<Value, Clash> {
        let mut places: HashMap<String, usize> = HashMap::with_capacity(entries.len());
        for (place, (key, ..)) in entries.iter().enumerate() {
            if let Some(earlier) = places.insert(fold(key), place)
                && entries[earlier].0 != *key
            {
                return Err(Clash(entries[earlier].0.clone(), key.clone()));
            }
        }
        Ok(Value::from_object(Self { entries, places, folds: true }))
    }

    /// A map whose keys are looked up as they are written. Of two equal keys the later counts.
    pub(crate) fn exact(entries: Vec<(String, Value, Marks)>) -> Value {
        let places = entries.iter().enumerate().map(|(place, (key, ..))| (key.clone(), place)).collect();
        Value::from_object(Self { entries, places, folds: false })
    }

    /// The entries, without reading them.
    pub(crate) fn entries(&self) -> &[(String, Value, Marks)] {
        &self.entries
    }

    /// The entry for `key` as an expression spells it, without reading it.
    pub(crate) fn entry(&self, key: &str) -> Option<&(String, Value, Marks)> {
        let place = if self.folds { self.places.get(&fold(key)) } else { self.places.get(key) };
        place.map(|place| &self.entries[*place])
    }

    fn missed(&self, key: &str) {
        let keys = || self.entries.iter().map(|(key, ..)| key.as_str()).take(200);
        let dashed = keys().filter(|key| key.contains('-')).map(str::to_owned).collect();
        miss(Miss { key: key.to_owned(), help: did_you_mean(key, keys()), dashed });
    }
}

impl List {
    /// A list.
    #[expect(clippy::new_ret_no_self, reason = "a list is only ever used as a value")]
    pub(crate) fn new(items: Vec<(Value, Marks)>) -> Value {
        Value::from_object(Self { items })
    }

    /// The items, without reading them.
    pub(crate) fn items(&self) -> &[(Value, Marks)] {
        &self.items
    }
}

impl Object for Map {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        if is_unknown(key) {
            mark(Marks::UNKNOWN);
            return Some(unknown());
        }
        match key.as_str() {
            Some(key) => self.get_value_by_str(key),
            None => self.get_value_by_str(&key.to_string()),
        }
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let Some((_, value, marks)) = self.entry(key) else {
            self.missed(key);
            return None;
        };
        mark(marks.clone());
        Some(seen(value, marks))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.entries.iter().map(|(key, ..)| Value::from(key.as_str())).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.entries.len())
    }
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let (value, marks) = self.items.get(key.as_usize()?)?;
        mark(marks.clone());
        Some(seen(value, marks))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.items.len())
    }
}

/// Keys only: minijinja prints with this, and what it prints was not read.
impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entries.iter().map(|(key, ..)| key)).finish()
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "list of {}", self.items.len())
    }
}

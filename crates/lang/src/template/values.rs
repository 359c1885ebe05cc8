//! Maps and lists for templates. A lookup of a key folds dashes. A nested secret taints only the code that reads it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object, ObjectRepr, ValueKind};
use minijinja::{Error, Value};

use super::error::{Failure, ScopeError};
use super::marks::{Marks, seen};
use super::recording::{Miss, mark, miss};
use super::scope::Found;
use super::unknown::{is_unknown, unknown};
use crate::source::suggest::did_you_mean;

/// A map in the order written. Both `limits.open_files` and `limits['open-files']` find `open-files`.
pub(crate) struct Map {
    keys: Vec<String>,
    values: Values,
    /// The indices of the keys, folded if the keys fold.
    by_key: HashMap<String, usize>,
    folds: bool,
}

/// The values of a map.
enum Values {
    /// Values that are already made.
    Ready(Vec<Found>),
    /// Values that are made on first reading.
    Later(Arc<dyn Later>),
}

/// Values that are made on first reading. Variables need this, because they may be made of each other.
pub(crate) trait Later: Send + Sync {
    /// Returns the value of the key at `index`, from 0. It is made once.
    fn value(&self, index: usize) -> Result<Found, ScopeError>;

    /// Returns all values, or the first mistake.
    fn values(&self) -> Result<Vec<Found>, ScopeError>;
}

/// A list.
pub(crate) struct List {
    items: Vec<(Value, Marks)>,
}

/// The error for two keys that fold to one name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` and `{1}` are the same key: expressions read `-` as `_`")]
pub(crate) struct Clash(pub(crate) String, pub(crate) String);

/// The structure of a value, for Rust code that walks it without reading. To read, use [`super::observe`].
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

/// Returns the structure of `value`.
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

/// Returns `key` as an expression spells it.
pub(crate) fn fold(key: &str) -> String {
    key.replace('-', "_")
}

impl Map {
    /// Returns a map whose keys fold. Of two equal keys the later one wins.
    pub(crate) fn folding(entries: Vec<(String, Value, Marks)>) -> Result<Value, Clash> {
        let (keys, values) = parted(entries);
        let by_key = folded(&keys)?;
        Ok(Value::from_object(Self { keys, values: Values::Ready(values), by_key, folds: true }))
    }

    /// Returns a map whose keys fold and whose values are made on first reading.
    pub(crate) fn later(keys: Vec<String>, values: Arc<dyn Later>) -> Result<Value, Clash> {
        let by_key = folded(&keys)?;
        Ok(Value::from_object(Self { keys, values: Values::Later(values), by_key, folds: true }))
    }

    /// Returns a map whose keys are looked up as written. Of two equal keys the later one wins.
    pub(crate) fn exact(entries: Vec<(String, Value, Marks)>) -> Value {
        let (keys, values) = parted(entries);
        let by_key = keys.iter().enumerate().map(|(index, key)| (key.clone(), index)).collect();
        Value::from_object(Self { keys, values: Values::Ready(values), by_key, folds: false })
    }

    /// Returns the keys with their values, without reading them, or the first mistake.
    pub(crate) fn entries(&self) -> Result<Vec<(&str, Found)>, ScopeError> {
        let values = match &self.values {
            Values::Ready(values) => values.clone(),
            Values::Later(later) => later.values()?,
        };
        Ok(self.keys.iter().map(String::as_str).zip(values).collect())
    }

    fn missed(&self, key: &str) {
        let keys = || self.keys.iter().map(String::as_str).take(200);
        let dashed = keys().filter(|key| key.contains('-')).map(str::to_owned).collect();
        miss(Miss { key: key.to_owned(), help: did_you_mean(key, keys()), dashed });
    }
}

fn parted(entries: Vec<(String, Value, Marks)>) -> (Vec<String>, Vec<Found>) {
    entries.into_iter().map(|(key, value, marks)| (key, Found { value, marks })).unzip()
}

/// Returns the indices of keys as an expression spells them.
fn folded(keys: &[String]) -> Result<HashMap<String, usize>, Clash> {
    let mut by_key: HashMap<String, usize> = HashMap::with_capacity(keys.len());
    for (index, key) in keys.iter().enumerate() {
        if let Some(earlier) = by_key.insert(fold(key), index)
            && keys[earlier] != *key
        {
            return Err(Clash(keys[earlier].clone(), key.clone()));
        }
    }
    Ok(by_key)
}

impl List {
    /// Returns a list.
    #[expect(clippy::new_ret_no_self, reason = "a list is only ever used as a value")]
    pub(crate) fn new(items: Vec<(Value, Marks)>) -> Value {
        Value::from_object(Self { items })
    }

    /// Returns the items, without reading them.
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
        let index = if self.folds { self.by_key.get(&fold(key)) } else { self.by_key.get(key) };
        let Some(index) = index.copied() else {
            self.missed(key);
            return None;
        };
        let made;
        let Found { value, marks } = match &self.values {
            Values::Ready(values) => &values[index],
            Values::Later(later) => match later.value(index) {
                Ok(found) => {
                    made = found;
                    &made
                }
                Err(error) => return Some(Value::from(Error::from(Failure::Scope(error)))),
            },
        };
        mark(marks.clone());
        Some(seen(value, marks))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.keys.iter().map(|key| Value::from(key.as_str())).collect())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.keys.len())
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

/// Prints only the keys: minijinja prints with this, and the values were not read.
impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(&self.keys).finish()
    }
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "list of {}", self.items.len())
    }
}

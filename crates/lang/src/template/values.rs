//! Maps and lists as templates see them: looking up a key folds dashes, and a secret inside is seen only by those who
//! read it.

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

/// A map in the order written. `limits.open_files` and `limits['open-files']` both find `open-files`.
pub(crate) struct Map {
    keys: Vec<String>,
    values: Values,
    /// The indexes of the keys, folded if the keys fold.
    by_key: HashMap<String, usize>,
    folds: bool,
}

/// What the keys of a map hold.
enum Values {
    /// Values.
    Ready(Vec<Found>),
    /// Values that are made when they are read.
    Later(Arc<dyn Later>),
}

/// Values that are made when they are read: those of variables, which may be made of each other.
pub(crate) trait Later: Send + Sync {
    /// The value of the key at `index`, from 0; made once.
    fn value(&self, index: usize) -> Result<Found, ScopeError>;

    /// All values, or the first mistake.
    fn values(&self) -> Result<Vec<Found>, ScopeError>;
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
        let (keys, values) = parted(entries);
        let by_key = folded(&keys)?;
        Ok(Value::from_object(Self { keys, values: Values::Ready(values), by_key, folds: true }))
    }

    /// A map whose keys fold and whose values are made when they are read.
    pub(crate) fn later(keys: Vec<String>, values: Arc<dyn Later>) -> Result<Value, Clash> {
        let by_key = folded(&keys)?;
        Ok(Value::from_object(Self { keys, values: Values::Later(values), by_key, folds: true }))
    }

    /// A map whose keys are looked up as they are written. Of two equal keys the later counts.
    pub(crate) fn exact(entries: Vec<(String, Value, Marks)>) -> Value {
        let (keys, values) = parted(entries);
        let by_key = keys.iter().enumerate().map(|(index, key)| (key.clone(), index)).collect();
        Value::from_object(Self { keys, values: Values::Ready(values), by_key, folds: false })
    }

    /// The keys with their values, without reading them; the mistake of one where it has none.
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

/// The indexes of keys as an expression spells them.
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

/// Keys only: minijinja prints with this, and what it prints was not read.
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

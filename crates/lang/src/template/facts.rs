//! Facts in templates: known facts of a host, and stand-ins for facts that are not known yet.

use std::fmt;
use std::sync::Arc;

use converge_model::Facts;
use converge_model::facts::{FactShape, SHAPE};
use minijinja::Value;
use minijinja::value::{Enumerator, Object};

use super::error::Failure;
use super::marks::Marks;
use super::recording::mark;
use super::unknown::{TEXT, is_unknown, unknown};
use super::values::{List, Map};
use crate::source::suggest::did_you_mean;

/// Returns the facts of a host. A key that no host has is an error.
pub(crate) fn known_facts(facts: &Facts) -> Value {
    // Our own plain data can always be serialised. If it could not, the facts would count as unknown.
    let Ok(mut json) = serde_json::to_value(facts) else {
        return unknown_facts();
    };
    json["own"] = serde_json::Value::Null;
    let own = Map::exact(
        facts.own.iter().map(|(name, text)| (name.clone(), own(name, text), Marks::default())).collect(),
    );
    shaped(SHAPE, &json, "facts", &own)
}

/// Returns facts of which only the shape is known. A wrong key is an error; a correct key gives an unknown value.
pub(crate) fn unknown_facts() -> Value {
    stand_in(SHAPE, "facts")
}

/// The deepest nesting of a host's custom facts.
const OWN_DEPTH: usize = 32;

/// A map of facts whose keys are fixed.
struct Shaped {
    path: String,
    keys: &'static [(&'static str, FactShape)],
    /// The values in the order of `keys`. None if the facts are not known yet.
    values: Option<Vec<Value>>,
}

fn shaped(shape: FactShape, json: &serde_json::Value, path: &str, own: &Value) -> Value {
    match shape {
        FactShape::Map(keys) => {
            let value =
                |(key, shape): &(&str, FactShape)| shaped(*shape, &json[*key], &format!("{path}.{key}"), own);
            let values = Some(keys.iter().map(value).collect());
            Value::from_object(Shaped { path: path.to_owned(), keys, values })
        }
        FactShape::List(of) => {
            let items = json.as_array().into_iter().flatten();
            List::new(items.map(|item| (shaped(*of, item, path, own), Marks::default())).collect())
        }
        FactShape::Any => own.clone(),
        FactShape::Text | FactShape::Number => from_json(json, 0).unwrap_or(Value::from(())),
    }
}

/// Returns a custom fact of the host from its JSON text.
fn own(name: &str, text: &str) -> Value {
    let refuse = |why: String| {
        let help = format!("it comes from /etc/converge/facts.d/{name}.json on the host");
        Value::from(Failure::definite(format!("the host's own fact `{name}` {why}"), Some(help)))
    };
    if text.len() > converge_model::facts::LIMIT {
        return refuse("is too large".to_owned());
    }
    match serde_json::from_str(text) {
        Ok(json) => from_json(&json, 0)
            .unwrap_or_else(|| refuse(format!("is nested more than {OWN_DEPTH} levels deep"))),
        Err(error) => refuse(format!("is not JSON: {error}")),
    }
}

fn from_json(json: &serde_json::Value, depth: usize) -> Option<Value> {
    use serde_json::Value as Json;
    if depth > OWN_DEPTH {
        return None;
    }
    Some(match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Value::from(whole),
            (_, Some(whole)) => Value::from(whole),
            _ => Value::from(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => {
            let items = items.iter().map(|item| Some((from_json(item, depth + 1)?, Marks::default())));
            List::new(items.collect::<Option<_>>()?)
        }
        Json::Object(map) => {
            let entries = map
                .iter()
                .map(|(key, item)| Some((key.clone(), from_json(item, depth + 1)?, Marks::default())));
            let entries: Vec<_> = entries.collect::<Option<_>>()?;
            // A host may have keys that fold to one name. They are then found only as written.
            Map::folding(entries.clone()).unwrap_or_else(|_| Map::exact(entries))
        }
    })
}

/// Returns the stand-in for a fact of this shape.
fn stand_in(shape: FactShape, path: &str) -> Value {
    match shape {
        FactShape::Map(keys) => Value::from_object(Shaped { path: path.to_owned(), keys, values: None }),
        FactShape::List(of) => List::new(vec![(stand_in(*of, path), Marks::UNKNOWN)]),
        FactShape::Text => Value::from(TEXT),
        FactShape::Number => Value::from(1),
        FactShape::Any => unknown(),
    }
}

impl Object for Shaped {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let Some(name) = key.as_str().filter(|_| !is_unknown(key)) else {
            mark(Marks::UNKNOWN);
            return is_unknown(key).then(unknown);
        };
        self.get_value_by_str(name)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let Some(index) = self.keys.iter().position(|(name, _)| *name == key) else {
            let help = did_you_mean(key, self.keys.iter().map(|(name, _)| *name));
            let all = || self.keys.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
            let help = help.unwrap_or_else(|| format!("the names here are {}", all()));
            return Some(Value::from(Failure::definite(
                format!("there is no fact `{}.{key}`", self.path),
                Some(help),
            )));
        };
        let (name, shape) = self.keys[index];
        Some(match &self.values {
            Some(values) => values[index].clone(),
            None => {
                if !matches!(shape, FactShape::Map(_)) {
                    mark(Marks::UNKNOWN);
                }
                stand_in(shape, &format!("{}.{name}", self.path))
            }
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.keys.iter().map(|(name, _)| Value::from(*name)).collect())
    }
}

impl fmt::Debug for Shaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

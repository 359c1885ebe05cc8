//! Converts the result of an expression to our own maps and lists.

use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use super::bounds::DEPTH;
use super::error::Failure;
use super::marks::Marks;
use super::values::{Clash, List, Map, Raw, raw};

/// Converts the result of an expression to [`Map`] and [`List`]. None if a part of it is undefined.
///
/// Our own maps and lists stay as they are, and their entries are not read. The same applies to objects of the scope.
pub(super) fn settle(value: Value, depth: usize) -> Option<Result<Value, Error>> {
    if depth > DEPTH {
        return Some(Err(Failure::definite(
            format!("the result is nested more than {DEPTH} levels deep"),
            None,
        )));
    }
    match value.kind() {
        ValueKind::Undefined => None,
        ValueKind::Seq | ValueKind::Iterable if is_native(&value) => settle_list(&value, depth),
        ValueKind::Map if is_native(&value) => settle_map(&value, depth),
        _ => Some(Ok(value)),
    }
}

fn settle_list(value: &Value, depth: usize) -> Option<Result<Value, Error>> {
    let items = match value.try_iter() {
        Ok(items) => items,
        Err(error) => return Some(Err(error)),
    };
    let mut list = Vec::new();
    for item in items.checked() {
        match item.map(|item| settle(item, depth + 1)) {
            Ok(Some(Ok(item))) => list.push((item, Marks::default())),
            Ok(None) => return None,
            Ok(Some(Err(error))) | Err(error) => return Some(Err(error)),
        }
    }
    Some(Ok(List::new(list)))
}

fn settle_map(value: &Value, depth: usize) -> Option<Result<Value, Error>> {
    let keys = match value.try_iter() {
        Ok(keys) => keys,
        Err(error) => return Some(Err(error)),
    };
    let mut entries = Vec::new();
    for key in keys {
        match value.get_item(&key).map(|item| settle(item, depth + 1)) {
            Ok(Some(Ok(item))) => entries.push((key.to_string(), item, Marks::default())),
            Ok(None) => return None,
            Ok(Some(Err(error))) | Err(error) => return Some(Err(error)),
        }
    }
    let clash = |clash: Clash| Failure::definite(clash.to_string(), None);
    Some(Map::folding(entries).map_err(clash))
}

/// Whether the expression itself made the list or map.
fn is_native(value: &Value) -> bool {
    let name = value.as_object().map_or("", |object| object.type_name());
    name.starts_with("minijinja::") || name.starts_with("alloc::") || name.starts_with("indexmap::")
}

/// Returns a scalar as its text in a catalog.
pub(super) fn scalar_text(value: &Value) -> Option<String> {
    matches!(raw(value), Raw::Scalar(_)).then(|| value.to_string())
}

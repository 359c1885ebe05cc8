//! Merges the pieces of one module instance. Lists and children are collected, children with one key are merged, and
//! single values must agree. Children with `join=#false` are never merged: those with one key must be equal.

use std::collections::HashMap;

use converge_model::schema::Param;
use converge_model::{Type, Value};

use crate::source::diagnostic::{Code, Diagnostic, Diagnostics};

use crate::expand::arguments::{Argument, Arguments, Atom, Bound, MapEntry, Nested, Row, join_keys, name_of};
use crate::schema::Schema;
use crate::schema::mismatch::missing;
use crate::template::GivenAt;

/// Merges the pieces of a module instance, in the order written.
pub(crate) fn merge(
    schema: &Schema,
    first: Arguments,
    others: impl Iterator<Item = Arguments>,
    diagnostics: &mut Diagnostics,
) -> Arguments {
    let mut merged = first;
    collapse(schema, &mut merged, diagnostics);
    for piece in others {
        join(schema, &mut merged, piece, diagnostics);
    }
    merged
}

/// Reports missing parameters in the merged result, including its children.
pub(crate) fn required(schema: &Schema, given: &Arguments, diagnostics: &mut Diagnostics) {
    for ((id, param), argument) in schema.params.entries().zip(&given.params) {
        // A keyed child must have its key.
        if (param.required || schema.key() == Some(id)) && argument.is_none() {
            diagnostics.push(missing(schema, param, given.at));
        }
    }
    for (schema, rows) in schema.children.iter().zip(&given.children) {
        rows.iter().for_each(|row| required(schema, &row.given, diagnostics));
    }
}

fn join(schema: &Schema, into: &mut Arguments, piece: Arguments, diagnostics: &mut Diagnostics) {
    for ((param, into), argument) in schema.params.iter().zip(into.params.iter_mut()).zip(piece.params) {
        match (into.as_mut(), argument) {
            (_, None) => {}
            (None, argument) => *into = argument,
            (Some(into), Some(argument)) => agree(param, into, argument, diagnostics),
        }
    }
    for ((schema, into), rows) in schema.children.iter().zip(into.children.iter_mut()).zip(piece.children) {
        rows.into_iter().for_each(|row| add(schema, into, row, diagnostics));
    }
    keys(&mut into.free, piece.free, false, diagnostics);
}

/// Adds the keys of another place. Two known values of one key must agree. `maybe` means: one of the places may not
/// exist.
fn keys(into: &mut Vec<MapEntry>, more: Vec<MapEntry>, maybe: bool, diagnostics: &mut Diagnostics) {
    join_keys(into, more, &mut |known, entry| {
        if maybe || known.value.has_unknown() || entry.value.has_unknown() {
            known.value = Nested::One(Atom::Unknown);
        } else {
            differ(&entry.key, known.at, entry.at, diagnostics);
        }
    });
}

fn agree(param: &Param, into: &mut Argument, argument: Argument, diagnostics: &mut Diagnostics) {
    if into.held == argument.held {
        return;
    }
    into.given = std::mem::take(&mut into.given) | argument.given.clone();
    match (&mut into.held, argument.held) {
        (Bound::Many(items), Bound::Many(more)) if matches!(param.ty, Type::List(_)) => {
            // An item that two pieces ask for is added once.
            more.into_iter().for_each(|item| {
                if !items.contains(&item) {
                    items.push(item)
                }
            });
        }
        (Bound::Map(entries), Bound::Map(more)) => {
            keys(entries, more, into.maybe || argument.maybe, diagnostics);
        }
        (held, other) if into.maybe || argument.maybe || held.has_unknown() || other.has_unknown() => {
            *held = Bound::Unknown;
        }
        _ => differ(&param.name, into.at, argument.at, diagnostics),
    }
}

fn differ(
    name: &str,
    one: crate::source::diagnostic::Span,
    other: crate::source::diagnostic::Span,
    diagnostics: &mut Diagnostics,
) {
    diagnostics.push(
        Diagnostic::error(Code::Merge, format!("two places of one module give `{name}` different values"))
            .label(other, "one")
            .label(one, "the other")
            .help("no body overrides another: use a variable that groups or hosts set"),
    );
}

/// Adds a child. It is merged into the child with the same key, dropped if an equal child exists, or else added.
fn add(schema: &Schema, into: &mut Vec<Row>, row: Row, diagnostics: &mut Diagnostics) {
    let key = key_of(schema, &row.given);
    let known = match &key {
        Some(key) => into.iter_mut().find(|known| key_of(schema, &known.given).as_ref() == Some(key)),
        None => into.iter_mut().find(|known| known.given.same(&row.given)),
    };
    match known {
        None => into.push(row),
        Some(known) => {
            if key.is_some() {
                meet(schema, known, row, diagnostics);
            } else {
                known.maybe &= row.maybe;
            }
        }
    }
}

/// Merges two children with one key.
fn meet(schema: &Schema, known: &mut Row, row: Row, diagnostics: &mut Diagnostics) {
    let is_open = known.maybe || row.maybe || known.given.has_unknown() || row.given.has_unknown();
    known.maybe &= row.maybe;
    if !schema.apart || is_open {
        join(schema, &mut known.given, row.given, diagnostics);
    } else if !known.given.same(&row.given) {
        let key = key_of(schema, &row.given).unwrap_or_default();
        diagnostics.push(
            Diagnostic::error(
                Code::Merge,
                format!("two places of one module write `{} \"{key}\"` differently", schema.name),
            )
            .label(row.given.at, "one")
            .label(known.given.at, "the other")
            .help("halves of one rule are not merged: write the whole rule in one place"),
        );
    }
}

fn key_of(schema: &Schema, given: &Arguments) -> Option<std::sync::Arc<str>> {
    match &given.params[schema.key()?].as_ref()?.held {
        Bound::One(Atom::Plain(scalar)) => name_of(scalar),
        _ => None,
    }
}

/// Merges children with one key inside one piece.
fn collapse(schema: &Schema, given: &mut Arguments, diagnostics: &mut Diagnostics) {
    for (schema, rows) in schema.children.iter().zip(given.children.iter_mut()) {
        let mut keys: HashMap<std::sync::Arc<str>, usize> = HashMap::new();
        let mut kept: Vec<Row> = Vec::with_capacity(rows.len());
        for mut row in std::mem::take(rows) {
            collapse(schema, &mut row.given, diagnostics);
            match key_of(schema, &row.given) {
                None => add(schema, &mut kept, row, diagnostics),
                Some(key) => match keys.get(&key) {
                    Some(first) => meet(schema, &mut kept[*first], row, diagnostics),
                    None => {
                        keys.insert(key, kept.len());
                        kept.push(row);
                    }
                },
            }
        }
        *rows = kept;
    }
}

/// Sets the defaults of parameters without a value. A default never conflicts.
pub(crate) fn defaults(schema: &Schema, given: &mut Arguments) {
    let at = given.at;
    for (param, argument) in schema.params.iter().zip(given.params.iter_mut()) {
        if argument.is_none() {
            let held = param.default.as_ref().and_then(held_of);
            *argument = held.map(|held| Argument { held, at, given: GivenAt::default(), maybe: false });
        }
    }
    for (schema, rows) in schema.children.iter().zip(given.children.iter_mut()) {
        rows.iter_mut().for_each(|row| defaults(schema, &mut row.given));
    }
}

fn held_of(default: &Value) -> Option<Bound> {
    match default {
        Value::Scalar(scalar) => Some(Bound::One(Atom::Plain(scalar.clone()))),
        Value::List(scalars) => Some(Bound::Many(scalars.iter().cloned().map(Atom::Plain).collect())),
        Value::Map(_) | Value::Content(_) | Value::Rows(_) | Value::Tree(_) => None,
    }
}

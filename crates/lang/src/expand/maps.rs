//! Maps as parameters: walks their keys and reads their values, which may be single values, lists or maps.

use std::collections::HashMap;
use std::sync::Arc;

use converge_model::schema::Param;
use converge_model::{Tree, Type};

use crate::evaluate::control_flow::{self, Visitor};
use crate::evaluate::evaluator::Evaluator;
use crate::expand::arguments::{Atom, Bound, MapEntry, Nested};
use crate::expand::binder::Binder;
use crate::resolve::mistakes::{nested, no_map};
use crate::resolve::statement::{Key, KeyValue, Statement, Term};

use crate::schema::Target;
use crate::schema::types::Limits;
use crate::source::diagnostic::{Code, Diagnostic, Span};
use crate::template::{self, Evaluated, Found, GivenAt, Map, Marks, Raw};

/// The values that a map may have.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// Single values and lists of them.
    Flat,
    /// Also lists and maps, nested at most so deep.
    Nested(usize),
}

impl Shape {
    /// Returns the shape of a parameter.
    pub(super) fn of(param: &Param) -> Self {
        if param.ty == Type::Tree { Self::Nested(Tree::DEPTH) } else { Self::Flat }
    }
}

/// The keys of a map while they are walked.
struct Keys<'b, 'a> {
    binder: &'b mut Binder<'a>,
    shape: Shape,
    entries: Vec<MapEntry>,
    /// The index of each key in `entries`.
    indices: HashMap<Arc<str>, usize>,
}

impl<'k> Visitor<'k, Key> for Keys<'_, '_> {
    fn one(&mut self, key: &'k Key, evaluator: &Evaluator, _maybe: bool) {
        let Some(entry) = self.binder.entry(self.shape, key, evaluator) else { return };
        match self.indices.get(&entry.key) {
            Some(first) => {
                let first = self.entries[*first].at;
                self.binder.diagnostics.push(Diagnostic::given_twice(&entry.key, entry.at, first));
            }
            None => {
                self.indices.insert(entry.key.clone(), self.entries.len());
                self.entries.push(entry);
            }
        }
    }

    fn tell(&mut self, report: Diagnostic) {
        self.binder.diagnostics.push(report);
    }
}

impl Binder<'_> {
    /// Reads keys written in braces.
    pub(super) fn keys(
        &mut self,
        shape: Shape,
        keys: &[Statement<Key>],
        evaluator: &Evaluator,
    ) -> Vec<MapEntry> {
        let mut visitor = Keys { binder: self, shape, entries: Vec::new(), indices: HashMap::new() };
        control_flow::walk(keys, evaluator, false, &mut visitor);
        visitor.entries
    }

    /// Returns one key with its value; `None` if the value is null or wrong.
    pub(super) fn entry(&mut self, shape: Shape, key: &Key, evaluator: &Evaluator) -> Option<MapEntry> {
        let mut given = GivenAt::default();
        let value = self.value(shape, key.at, &key.value, evaluator, &mut given);
        Some(MapEntry { key: key.key.clone(), value: or_empty(shape, value)?, at: key.at, given })
    }

    fn value(
        &mut self,
        shape: Shape,
        at: Span,
        value: &KeyValue,
        evaluator: &Evaluator,
        given: &mut GivenAt,
    ) -> Option<Nested> {
        match value {
            KeyValue::One(term) => self.term(shape, term, evaluator, given),
            KeyValue::List(items) => {
                let inner = self.deeper(shape, at)?;
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    match (shape, self.value(inner, at, item, evaluator, given)) {
                        // In a flat map nested lists are flattened.
                        (Shape::Flat, Some(Nested::List(items))) => list.extend(items),
                        (_, value) => list.extend(value),
                    }
                }
                Some(Nested::List(list))
            }
            KeyValue::Keys(keys) => {
                let inner = self.deeper(shape, at)?;
                Some(Nested::Map(self.keys(inner, keys, evaluator)))
            }
        }
    }

    fn term(
        &mut self,
        shape: Shape,
        term: &Term,
        evaluator: &Evaluator,
        given: &mut GivenAt,
    ) -> Option<Nested> {
        let outer = std::mem::take(&mut self.read);
        let (value, at) = match term {
            Term::Constant(scalar, at) => (Some(Nested::One(Atom::Plain(scalar.clone()))), *at),
            Term::Open(written) => {
                let value = self.evaluated(written, evaluator);
                (value.and_then(|value| self.nested(shape, value, written.at)), written.at)
            }
        };
        let own = self.given_at(at);
        self.read = outer | own.clone();
        *given = std::mem::take(given) | own;
        value
    }

    /// Returns a value below a key; `None` if it is null or wrong.
    fn nested(&mut self, shape: Shape, value: Evaluated, at: Span) -> Option<Nested> {
        if value.marks.unknown {
            return Some(Nested::One(Atom::Unknown));
        }
        match (template::raw(&value.value), shape) {
            (Raw::Null, _) => None,
            (Raw::List(list), Shape::Flat) => {
                let mut items = Vec::new();
                for (item, marks) in list.items() {
                    let marks = marks.clone() | value.marks.clone();
                    let atom = self.scalar(&Type::Any, Limits::default(), item, marks, at);
                    items.extend(atom.map(Nested::One));
                }
                Some(Nested::List(items))
            }
            (Raw::List(list), Shape::Nested(_)) => {
                let inner = self.deeper(shape, at)?;
                let mut items = Vec::new();
                for (item, marks) in list.items() {
                    let marks = marks.clone() | value.marks.clone();
                    items.extend(self.nested(inner, Evaluated { value: item.clone(), marks }, at));
                }
                Some(Nested::List(items))
            }
            (Raw::Map(map), Shape::Nested(_)) => {
                let inner = self.deeper(shape, at)?;
                self.entries(inner, map, &value.marks, at).map(Nested::Map)
            }
            _ => {
                let atom = self.scalar(&Type::Any, Limits::default(), &value.value, value.marks, at);
                atom.map(Nested::One)
            }
        }
    }

    /// Reads a map that is the result of an expression.
    pub(super) fn map_of(&mut self, of: &Param, value: &Evaluated, at: Span) -> Option<Bound> {
        if value.marks.unknown {
            return Some(Bound::Unknown);
        }
        let shape = Shape::of(of);
        match template::raw(&value.value) {
            Raw::Null => None,
            Raw::Map(map) => {
                if matches!(shape, Shape::Flat) && self.refuse_nested(of, map, at)? {
                    return Some(Bound::Map(Vec::new()));
                }
                self.entries(shape, map, &value.marks, at).map(Bound::Map)
            }
            _ => {
                self.diagnostics.push(no_map(at));
                None
            }
        }
    }

    /// Refuses maps, and lists of lists or maps, as values of a flat map. Returns whether there were any.
    fn refuse_nested(&mut self, of: &Param, map: &Map, at: Span) -> Option<bool> {
        let mut has_nested = false;
        for (key, Found { value, marks }) in self.diagnostics.told(map.entries().map_err(|error| *error.0))? {
            if holds_map(&value) {
                self.diagnostics.push(nested(of, key, at).given(marks.given.spans()));
                has_nested = true;
            }
        }
        Some(has_nested)
    }

    fn entries(&mut self, shape: Shape, map: &Map, read: &Marks, at: Span) -> Option<Vec<MapEntry>> {
        let mut entries = Vec::new();
        for (key, Found { value, marks }) in self.diagnostics.told(map.entries().map_err(|error| *error.0))? {
            let marks = marks | read.clone();
            let given = if self.target == Target::Module && marks.given.spans().is_empty() {
                GivenAt::one(at)
            } else {
                marks.given.clone()
            };
            let value = self.nested(shape, Evaluated { value, marks }, at);
            let entry = |value| MapEntry { key: key.into(), value, at, given };
            entries.extend(or_empty(shape, value).map(entry));
        }
        Some(entries)
    }

    fn deeper(&mut self, shape: Shape, at: Span) -> Option<Shape> {
        match shape {
            Shape::Flat => Some(Shape::Flat),
            Shape::Nested(0) => {
                let message = format!("lists and maps are nested more than {} levels deep", Tree::DEPTH);
                self.diagnostics.push(Diagnostic::error(Code::Limit, message).label(at, "here"));
                None
            }
            Shape::Nested(left) => Some(Shape::Nested(left - 1)),
        }
    }
}

/// In a flat map a key without a value is kept with an empty list.
fn or_empty(shape: Shape, value: Option<Nested>) -> Option<Nested> {
    match shape {
        Shape::Flat => Some(value.unwrap_or(Nested::List(Vec::new()))),
        Shape::Nested(_) => value,
    }
}

/// Whether a value is a map, or a list that contains lists or maps.
fn holds_map(value: &minijinja::Value) -> bool {
    match template::raw(value) {
        Raw::Map(_) => true,
        Raw::List(list) => {
            list.items().iter().any(|(item, _)| matches!(template::raw(item), Raw::Map(_) | Raw::List(_)))
        }
        _ => false,
    }
}

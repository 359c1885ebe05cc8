//! The resolved, typed values of parameters in a catalog.
//!
//! Only a [`Tree`] is recursive. Reading stops at [`Tree::DEPTH`], so that no received value can overflow the stack.

use std::cell;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::id::Digest;
use crate::secret::SecretRef;

/// One plain value. The [`Type`](crate::schema::Type) of the parameter gives its meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Scalar {
    /// `#true` or `#false`.
    Bool(bool),
    /// A whole number; also a mode, a duration in milliseconds, a size in bytes.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Text(String),
    /// A secret text: a reference into the table of the catalog.
    Secret(SecretRef),
}

/// The content of a file. The bytes are never in the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Content with a known digest. The host requests it if it does not have it.
    Plain {
        /// The BLAKE3 digest.
        digest: Digest,
        /// Its length in bytes.
        length: u64,
    },
    /// Content that is, or holds, a secret.
    Secret(SecretRef),
}

/// A value of a nested map. At most [`Tree::DEPTH`] lists and maps may be nested.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Tree {
    /// One value.
    Scalar(Scalar),
    /// Several values, in order.
    #[serde(deserialize_with = "deeper")]
    List(Vec<Tree>),
    /// Keys with one value each, in the order written.
    #[serde(deserialize_with = "deeper")]
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// The deepest nesting of lists and maps. The map of the parameter itself is not counted. A deeper value is an
    /// error.
    pub const DEPTH: usize = 32;
}

thread_local! {
    /// The current nesting depth of the reader.
    static DEPTH: cell::Cell<usize> = const { cell::Cell::new(0) };
}

/// Reads the items of a list or a map in a tree. The depth is a thread-local, because a derived reader has no field for
/// it.
fn deeper<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    let depth = DEPTH.get();
    if depth == Tree::DEPTH {
        return Err(D::Error::custom("lists and maps are nested too deep"));
    }
    DEPTH.set(depth + 1);
    let inner = T::deserialize(deserializer);
    DEPTH.set(depth);
    inner
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// One value.
    Scalar(Scalar),
    /// Several values, in order.
    List(Vec<Scalar>),
    /// Free keys with one or several values each, in the order written.
    Map(Vec<(String, Vec<Scalar>)>),
    /// The content of a file.
    Content(Content),
    /// Repeated children, in order.
    Rows(Vec<Row>),
    /// Keys with nested values, in the order written.
    Tree(Vec<(String, Tree)>),
}

/// One repeated child: its parameters by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Row(pub Vec<(String, Cell)>);

/// The value of a parameter of a child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Cell {
    /// One value.
    Scalar(Scalar),
    /// Several values.
    List(Vec<Scalar>),
    /// Free keys with their values.
    Map(Vec<(String, Vec<Scalar>)>),
    /// The content of a file.
    Content(Content),
    /// Keys with nested values.
    Tree(Vec<(String, Tree)>),
}

/// The parameters of a resource by name, in the order of the kind's schema. A parameter without a value and without a
/// default is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Params(pub Vec<(String, Value)>);

impl Params {
    /// Returns the value of the parameter `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Sets the parameter `name`.
    pub fn set(&mut self, name: &str, value: Value) {
        match self.0.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

impl Row {
    /// Returns the value of the child's parameter `name`.
    pub fn get(&self, name: &str) -> Option<&Cell> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<T: Into<Scalar>> From<T> for Value {
    fn from(scalar: T) -> Self {
        Self::Scalar(scalar.into())
    }
}

impl<T: Into<Scalar>> From<T> for Tree {
    fn from(scalar: T) -> Self {
        Self::Scalar(scalar.into())
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Scalar {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{self, WireError};

    /// Returns a parameter whose value is `depth` nested lists and maps, alternating.
    fn nested(depth: usize) -> Value {
        let within = |inner, at| match at % 2 {
            0 => Tree::List(vec![inner]),
            _ => Tree::Map(vec![("key".into(), inner)]),
        };
        Value::Tree(vec![("top".into(), (0..depth).fold(Tree::from("x"), within))])
    }

    #[test]
    fn tree_round_trips() {
        let map = Tree::Map(vec![("secret".into(), Tree::Scalar(Scalar::Secret(SecretRef(3))))]);
        let list = Tree::List(vec![Tree::from(1), Tree::List(Vec::new()), map]);
        let tree = vec![("list".to_owned(), list), ("text".to_owned(), Tree::from("x"))];
        let row = Row(vec![("cell".into(), Cell::Tree(tree.clone()))]);
        for value in [Value::Tree(tree), Value::Rows(vec![row]), nested(Tree::DEPTH)] {
            let bytes = postcard::to_allocvec(&value).unwrap();
            assert_eq!(wire::decode::<Value>(&bytes).unwrap(), value);
            let json = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
        }
    }

    #[test]
    fn tree_that_is_too_deep_is_an_error() {
        let deep = postcard::to_allocvec(&nested(Tree::DEPTH + 1)).unwrap();
        assert!(matches!(wire::decode::<Value>(&deep), Err(WireError::Malformed(_))));
        // Lists in lists, as many as fit into a catalog.
        let mut bytes = vec![5, 1, 0];
        bytes.resize(wire::CATALOG_LIMIT, 1);
        assert!(matches!(wire::decode::<Value>(&bytes), Err(WireError::Malformed(_))));
        // After an error the count starts at zero again.
        let good = postcard::to_allocvec(&nested(Tree::DEPTH)).unwrap();
        assert_eq!(wire::decode::<Value>(&good).unwrap(), nested(Tree::DEPTH));
    }

    #[test]
    fn older_variants_keep_their_numbers_on_the_wire() {
        let check = |bytes: Vec<u8>, first: u8| assert_eq!(bytes[0], first);
        let content = Content::Secret(SecretRef(0));
        let values = [
            Value::from(true),
            Value::List(Vec::new()),
            Value::Map(Vec::new()),
            Value::Content(content),
            Value::Rows(Vec::new()),
            Value::Tree(Vec::new()),
        ];
        let cells = [
            Cell::Scalar(true.into()),
            Cell::List(Vec::new()),
            Cell::Map(Vec::new()),
            Cell::Content(content),
            Cell::Tree(Vec::new()),
        ];
        (0..).zip(&values).for_each(|(first, value)| check(postcard::to_allocvec(value).unwrap(), first));
        (0..).zip(&cells).for_each(|(first, cell)| check(postcard::to_allocvec(cell).unwrap(), first));
    }
}

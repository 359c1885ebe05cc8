//! The resolved values of parameters: flat and typed, as a catalog carries them to a host.
//!
//! Nothing here contains itself, so that no value from the wire can be nested deeply enough to overflow a stack.

use serde::{Deserialize, Serialize};

use crate::id::Digest;
use crate::secret::SecretRef;

/// One plain value. The [`Type`](crate::schema::Type) of the parameter says what it stands for.
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
    /// A secret text, in the table of the catalog.
    Secret(SecretRef),
}

/// What fills a file: never in the catalog itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// Content known by its digest; the host asks for it when it lacks it.
    Plain {
        /// The BLAKE3 digest.
        digest: Digest,
        /// Its length in bytes.
        length: u64,
    },
    /// Content that is, or holds, a secret.
    Secret(SecretRef),
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
    /// What fills a file.
    Content(Content),
    /// Repeated children, in order.
    Rows(Vec<Row>),
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
    /// What fills a file.
    Content(Content),
}

/// The parameters of a resource by name, in the order of the kind's schema; what was not written and has no default is
/// not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Params(pub Vec<(String, Value)>);

impl Params {
    /// The value of the parameter `name`.
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
    /// The value of the child's parameter `name`.
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

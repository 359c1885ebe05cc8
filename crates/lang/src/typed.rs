//! Reading values as the type of their parameter asks: strictly, and into what a catalog carries.
//!
//! Where a value comes from, and where its mistake is shown, is the caller's.

use converge_model::{Param, Scalar, Type};

/// A value before it is read: a KDL scalar, the text of a template, the result of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// `#true` or `#false`.
    Bool(bool),
    /// A whole number, and how it was written if it stands in a file: `0o644`.
    Int(i128, Option<String>),
    /// A number with a fraction, and how it was written if it stands in a file: `1.10`.
    Float(f64, Option<String>),
    /// Text.
    Text(String),
}

/// What a type allows beyond itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits<'a> {
    /// The values that are allowed, if only some are.
    pub(crate) one_of: &'a [String],
    /// The smallest number.
    pub(crate) min: Option<i64>,
    /// The largest number.
    pub(crate) max: Option<i64>,
    /// A regular expression that the whole text must match.
    pub(crate) pattern: Option<&'a str>,
}

/// A value that its type does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct TypeError {
    /// What is wrong, as a lowercase fragment. It never quotes a value if the caller reads a secret with [`read_secret`].
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) help: Option<String>,
}

/// Reads one value. For `Command`, `ShellLine` and `Content` the value is their text; a list reads one item; a map is
/// the caller's to walk, with `Any` for what it holds.
pub(crate) fn read(ty: &Type, input: &Input, limits: Limits<'_>) -> Result<Scalar, TypeError> {
    let _ = (ty, input, limits);
    Err(TypeError { message: String::new(), help: None })
}

/// Reads a secret, which stays text whatever its type: checks it without quoting it in an error.
pub(crate) fn read_secret(ty: &Type, text: &str, limits: Limits<'_>) -> Result<(), TypeError> {
    let _ = (ty, text, limits);
    Ok(())
}

/// Reads the result of an expression that is a scalar; none for null, maps, lists and other objects.
pub(crate) fn input_of(value: &minijinja::Value) -> Option<Input> {
    let _ = value;
    None
}

/// Checks that a module's own declaration makes sense: its pattern is a regular expression.
pub(crate) fn check_param(param: &Param) -> Result<(), TypeError> {
    let _ = param;
    Ok(())
}

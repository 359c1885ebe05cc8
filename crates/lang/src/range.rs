//! Ranges in names: `web[01..20]`, `[1..9..2]`, `[a,b,9]`, and addresses that walk along.
//!
//! What a host name may look like is left to those who define hosts.

use std::ops::Range;

/// The most names one range, and so one host node, may stand for.
pub(crate) const LIMIT: usize = 10_000;

/// A range that cannot be read, with its place in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct RangeError {
    /// The bytes of the text at fault.
    pub(crate) span: Range<usize>,
    /// What is wrong, as a lowercase fragment.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

/// An address that cannot go with its names: which of the two texts is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PairError {
    /// The name.
    Name(RangeError),
    /// The address.
    Address(RangeError),
}

/// All names that `text` stands for, in order, the last bracket fastest. A text without brackets stands for itself.
pub(crate) fn expand(text: &str) -> Result<Vec<String>, RangeError> {
    let _ = text;
    Err(RangeError { span: 0..0, message: String::new(), help: None })
}

/// The names that `name` stands for, each with its address.
///
/// `address` has as many brackets as `name`, each of the same count, or a single one that walks along; with one name it
/// may have none.
pub(crate) fn expand_pair(name: &str, address: &str) -> Result<Vec<(String, String)>, PairError> {
    let _ = (name, address);
    Ok(Vec::new())
}

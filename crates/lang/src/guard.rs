//! The look that every file gets before the KDL parser sees it: kdl 6.7 takes 2^n time on nested `/-` and overflows
//! the stack on deep nesting. One pass over the bytes, no recursion.
//!
//! Whether a file is KDL at all is the parser's to say.

/// The largest file, in bytes.
pub(crate) const SIZE: usize = 1 << 20;
/// How deep children may be nested.
pub(crate) const DEPTH: usize = 64;
/// How deep one `/-` may stand inside what another removes.
pub(crate) const SLASHDASH: usize = 2;
/// How many nodes a file may have.
pub(crate) const NODES: usize = 100_000;

/// Why a file is refused before it is parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct GuardError {
    /// The first byte at fault.
    pub(crate) start: usize,
    /// How many bytes.
    pub(crate) len: usize,
    /// What is wrong, as a lowercase fragment.
    pub(crate) message: String,
}

/// Refuses text that would take the parser too long or too deep.
pub(crate) fn check(text: &str) -> Result<(), GuardError> {
    let _ = text;
    Ok(())
}

/// A hint for text that the parser refused at `offset`: what to write instead of KDL v1's bare `true`, of `5m`,
/// `10.0.0.1`, `/path`.
pub(crate) fn v1_hint(text: &str, offset: usize) -> Option<String> {
    let _ = (text, offset);
    None
}

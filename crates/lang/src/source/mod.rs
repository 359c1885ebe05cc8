//! Sources of text, and reports of mistakes in them.

mod code;
mod colors;
pub(crate) mod content;
pub mod diagnostic;
pub(crate) mod foreign_terms;
pub(crate) mod ids;
mod report;
pub(crate) mod sources;
pub(crate) mod suggest;
mod window;

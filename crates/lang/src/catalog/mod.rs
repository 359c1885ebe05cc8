//! Builds the catalog of one host: addresses, owners, references, order.

pub(crate) mod build;
pub(crate) mod compile;
pub(crate) mod compiler;
mod entry;
pub(crate) mod gates;
mod lower;
mod order;
mod ownership;
mod references;
pub(crate) mod selection;

//! Expands the bodies of a host into its resources: walks the bodies, binds values to parameters, instantiates modules.

pub(crate) mod arguments;
pub(crate) mod bind;
mod binder;
pub(crate) mod constants;
pub(crate) mod instantiate;
mod maps;
pub(crate) mod merge;
pub(crate) mod options;
pub(crate) mod walk;

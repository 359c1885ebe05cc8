//! From the bodies of a host to its resources: they are walked, what is given is bound to parameters, modules are
//! instantiated.

pub(crate) mod arguments;
pub(crate) mod bind;
mod binder;
pub(crate) mod constants;
pub(crate) mod instantiate;
mod maps;
pub(crate) mod merge;
pub(crate) mod options;
pub(crate) mod walk;

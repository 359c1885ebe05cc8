//! Evaluates written values: names, facts, `for` and `when`.

pub(crate) mod control_flow;
pub(crate) mod evaluator;
pub(crate) mod explain;
pub(crate) mod facts;
pub(crate) mod host_scope;
pub(crate) mod host_settings;
pub(crate) mod problems;
pub(crate) mod session;
pub(crate) mod variables;

//! Modules: their schema, their variables and their body, read from `module.kdl`.

use std::sync::Arc;

use converge_model::schema::{Child, Param};

/// A module as its reference page shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleInfo {
    /// Its name.
    pub name: String,
    /// One line about it.
    pub summary: String,
    /// `version=` of its `module` node.
    pub version: Option<String>,
    /// Whether it comes with Converge, and whether the project replaces one that does.
    pub origin: ModuleOrigin,
    /// Its parameters.
    pub params: Vec<Param>,
    /// Its children, which nest.
    pub children: Vec<Child>,
    /// What it demands of them: expression and the text of the error.
    pub asserts: Vec<(String, String)>,
    /// The text of its `README.md`, where it has one.
    pub readme: Option<Arc<str>>,
}

/// Where a module comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleOrigin {
    /// It comes with Converge.
    Builtin,
    /// It is the project's own.
    Project,
    /// It is the project's own and stands in the place of a built-in one.
    Replacement,
}

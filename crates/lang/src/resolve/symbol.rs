//! Named things, and the places that name them.

use crate::source::diagnostic::Span;

/// A thing that has a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Symbol {
    /// A kind of resource.
    Kind(String),
    /// A module.
    Module(String),
    /// A parameter or child of a kind or a module, with the path of children: `nginx.site`.
    Parameter {
        /// The kind or module, followed by the path of children.
        of: String,
        /// Its name.
        name: String,
    },
    /// An option that every resource has.
    Option(String),
    /// A variable, spelled as in expressions.
    Variable {
        /// Its module. None for variables of hosts and groups.
        module: Option<String>,
        /// Its name.
        name: String,
    },
    /// A host.
    Host(String),
    /// A group.
    Group(String),
}

/// A place that names something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) at: Span,
    pub(crate) symbol: Symbol,
}

//! What has a name, and where it is named.

use crate::source::diagnostic::Span;

/// Something that has a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Symbol {
    /// A kind of resource.
    Kind(String),
    /// A module.
    Module(String),
    /// A parameter or child of a kind or a module, with the children that it stands in: `nginx.site`.
    Parameter {
        /// The kind or module, and the children below it.
        of: String,
        /// Its name.
        name: String,
    },
    /// An option that every resource has.
    Option(String),
    /// A variable, as expressions spell it.
    Variable {
        /// The module that it belongs to; none for those of hosts and groups.
        module: Option<String>,
        /// Its name.
        name: String,
    },
    /// A host.
    Host(String),
    /// A group.
    Group(String),
}

/// A place where something is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) at: Span,
    pub(crate) symbol: Symbol,
}

//! The schema of a node: the parameters and children of a kind, a module or a child. All three use the same type.

pub(crate) mod mismatch;
pub(crate) mod types;

use std::sync::Arc;

use converge_model::schema::{Child, KindSchema, Param};

use crate::source::diagnostic::Span;
use crate::source::ids::{ChildId, ParamId, Table};

/// The parameters and children of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    pub(crate) name: String,
    pub(crate) params: Table<ParamId, Param>,
    pub(crate) children: Table<ChildId, Schema>,
    /// The name of the map that collects undeclared keys.
    pub(crate) free_keys: Option<String>,
    /// Whether the first scalar argument identifies it among its siblings.
    pub(crate) keyed: bool,
    /// Whether two nodes with one key must be equal. Otherwise they are merged.
    pub(crate) apart: bool,
    /// The assertions about its parameters.
    pub(crate) asserts: Vec<Assert>,
    pub(crate) doc: String,
    /// The places of the declarations of its parameters and children, if it is of a module.
    pub(crate) declared: Vec<(String, Span)>,
}

/// The purpose for which values are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A kind: values are converted by their type.
    Catalog,
    /// A module: values are kept in a form that expressions can use.
    Module,
}

/// An assertion: an expression that must be true, and the message if it is not.
#[derive(Clone, Debug)]
pub(crate) struct Assert {
    pub(crate) expression: Arc<str>,
    pub(crate) message: Arc<str>,
    pub(crate) at: Span,
}

impl Schema {
    /// Returns the schema of a kind.
    pub(crate) fn of_kind(kind: &KindSchema) -> Self {
        Self {
            name: kind.name.clone(),
            params: kind.params.iter().cloned().collect(),
            children: kind.children.iter().map(Self::of_child).collect(),
            ..Self::default()
        }
    }

    fn of_child(child: &Child) -> Self {
        Self {
            name: child.name.clone(),
            params: child.params.iter().cloned().collect(),
            children: child.children.iter().map(Self::of_child).collect(),
            free_keys: child.free_keys.clone(),
            keyed: child.keyed,
            apart: false,
            asserts: Vec::new(),
            doc: child.doc.clone(),
            declared: Vec::new(),
        }
    }

    /// Returns the schema as the reference page shows a child.
    pub(crate) fn to_child(&self) -> Child {
        Child {
            name: self.name.clone(),
            params: self.params.as_slice().to_vec(),
            children: self.children.iter().map(Self::to_child).collect(),
            free_keys: self.free_keys.clone(),
            keyed: self.keyed,
            doc: self.doc.clone(),
        }
    }

    /// Returns the id of the parameter `name`.
    pub(crate) fn param(&self, name: &str) -> Option<ParamId> {
        self.params.find(|param| param.name == name)
    }

    /// Returns the id of the child `name`.
    pub(crate) fn child(&self, name: &str) -> Option<ChildId> {
        self.children.find(|child| child.name == name)
    }

    /// Returns the parameter of the argument at `index`, from 0. The last parameter may take all further arguments.
    pub(crate) fn argument(&self, index: usize) -> Option<ParamId> {
        let at = |index: usize| self.params.find(|param| param.argument == Some(index));
        at(index).or_else(|| {
            let last = (0..index).rev().find_map(at)?;
            let takes_rest = takes_several(&self.params[last]);
            takes_rest.then_some(last)
        })
    }

    /// Returns the parameter that identifies a keyed child.
    pub(crate) fn key(&self) -> Option<ParamId> {
        self.key_param().filter(|_| self.keyed)
    }

    /// Returns the first argument, if it is a single value. It names a module instance.
    pub(crate) fn key_param(&self) -> Option<ParamId> {
        let first = self.params.find(|param| param.argument == Some(0))?;
        (!takes_several(&self.params[first])).then_some(first)
    }

    /// Returns all names that may be written in it, to suggest the nearest.
    pub(crate) fn names(&self) -> Vec<&str> {
        let children = self.children.iter().map(|child| child.name.as_str());
        self.params.iter().map(|param| param.name.as_str()).chain(children).collect()
    }
}

/// Whether a parameter that is written twice is merged.
pub(crate) fn grows(param: &Param) -> bool {
    use converge_model::Type;
    matches!(param.ty, Type::List(_) | Type::Map | Type::Tree)
}

/// Whether a parameter takes several values: a list, or the words of a command.
pub(crate) fn takes_several(param: &Param) -> bool {
    use converge_model::Type;
    matches!(param.ty, Type::List(_) | Type::Command)
}

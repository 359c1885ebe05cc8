//! What may stand in a node: parameters and children, of a kind, of a module, of a child. One shape for all three.

pub(crate) mod mismatch;
pub(crate) mod types;

use std::sync::Arc;

use converge_model::schema::{Child, KindSchema, Param};

use crate::source::diagnostic::Span;
use crate::source::ids::{ChildId, ParamId, Table};

/// The parameters and children of something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schema {
    pub(crate) name: String,
    pub(crate) params: Table<ParamId, Param>,
    pub(crate) children: Table<ChildId, Schema>,
    /// The map that gathers keys which are in no table.
    pub(crate) free_keys: Option<String>,
    /// Whether the first scalar argument identifies it among its siblings.
    pub(crate) keyed: bool,
    /// Whether two of one key must be equal, instead of adding up.
    pub(crate) apart: bool,
    /// What it demands of its parameters.
    pub(crate) asserts: Vec<Assert>,
    pub(crate) doc: String,
    /// Where its parameters and children are declared, those of a module.
    pub(crate) declared: Vec<(String, Span)>,
}

/// What values are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A kind: what its type makes of them.
    Catalog,
    /// A module: what it can go on working with.
    Module,
}

/// A demand: an expression that must be true, and what to say where it is not.
#[derive(Clone, Debug)]
pub(crate) struct Assert {
    pub(crate) expression: Arc<str>,
    pub(crate) message: Arc<str>,
    pub(crate) at: Span,
}

impl Schema {
    /// The schema of a kind.
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

    /// As the reference shows a child.
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

    /// A parameter, by its name.
    pub(crate) fn param(&self, name: &str) -> Option<ParamId> {
        self.params.find(|param| param.name == name)
    }

    /// The index of a child, by its name.
    pub(crate) fn child(&self, name: &str) -> Option<ChildId> {
        self.children.find(|child| child.name == name)
    }

    /// The parameter that the argument at `index`, from 0, sets; the last may take the rest.
    pub(crate) fn argument(&self, index: usize) -> Option<ParamId> {
        let at = |index: usize| self.params.find(|param| param.argument == Some(index));
        at(index).or_else(|| {
            let last = (0..index).rev().find_map(at)?;
            let takes_rest = takes_several(&self.params[last]);
            takes_rest.then_some(last)
        })
    }

    /// The parameter by which a keyed child is known.
    pub(crate) fn key(&self) -> Option<ParamId> {
        self.key_param().filter(|_| self.keyed)
    }

    /// The first argument, where it is a single value: what names a module instance.
    pub(crate) fn key_param(&self) -> Option<ParamId> {
        let first = self.params.find(|param| param.argument == Some(0))?;
        (!takes_several(&self.params[first])).then_some(first)
    }

    /// Everything that may be written in it, for the nearest name.
    pub(crate) fn names(&self) -> Vec<&str> {
        let children = self.children.iter().map(|child| child.name.as_str());
        self.params.iter().map(|param| param.name.as_str()).chain(children).collect()
    }
}

/// Whether a parameter that is written twice adds up.
pub(crate) fn grows(param: &Param) -> bool {
    use converge_model::Type;
    matches!(param.ty, Type::List(_) | Type::Map | Type::Tree)
}

/// Whether a parameter takes several values: a list, or a command, whose words they are.
pub(crate) fn takes_several(param: &Param) -> bool {
    use converge_model::Type;
    matches!(param.ty, Type::List(_) | Type::Command)
}

//! Resolves all names of a project once: kinds, modules, parameters, options, filters. It also recognises `for` and
//! `when`.
//!
//! It finds every mistake that is visible without a host. This includes code that no host uses. Examples are a
//! `when` that is always false, an `on` for an empty group, and a module that is never called.

mod binding;
mod body;
mod calls;
mod control;
mod gates;
pub(crate) mod mistakes;
mod resolver;
pub(crate) mod scope;
pub(crate) mod statement;
pub(crate) mod symbol;
mod texts;
pub(crate) mod uses;
pub(crate) mod values;

use std::sync::Arc;

use crate::project::Data;
use crate::resolve::gates::Gates;
use crate::resolve::resolver::Resolver;
use crate::resolve::statement::{Item, Statement};
use crate::resolve::symbol::Use;
use crate::resolve::uses::Index;
use crate::source::diagnostic::Diagnostics;
use crate::source::ids::{BlockId, ModuleId, Table};

/// A project with all names resolved.
pub(crate) struct Resolved {
    pub(crate) data: Arc<Data>,
    /// The bodies of `on` blocks.
    pub(crate) blocks: Table<BlockId, Vec<Statement<Item>>>,
    /// The actions of their rollouts around a host.
    pub(crate) gates: Table<BlockId, Gates>,
    /// The bodies of modules.
    pub(crate) modules: Table<ModuleId, Vec<Statement<Item>>>,
    /// The modules, each before those that it calls.
    pub(crate) order: Vec<ModuleId>,
    /// The number of resources and calls that are equal on every host.
    pub(crate) constants: usize,
}

impl Resolved {
    /// Resolves every body and every variable of a project.
    pub(crate) fn new(data: Arc<Data>, diagnostics: &mut Diagnostics) -> Self {
        Self::noting(data, diagnostics, None).0
    }

    /// Returns all names in a project, and their places.
    pub(crate) fn index(data: Arc<Data>) -> Index {
        let (resolved, uses) = Self::noting(data, &mut Diagnostics::default(), Some(Vec::new()));
        Index::new(&resolved.data, uses.unwrap_or_default())
    }

    fn noting(
        data: Arc<Data>,
        diagnostics: &mut Diagnostics,
        uses: Option<Vec<Use>>,
    ) -> (Self, Option<Vec<Use>>) {
        let mut resolver = Resolver::new(&data, diagnostics);
        resolver.uses = uses;
        let own = data.declarations.hosts.iter().flat_map(|host| &host.vars);
        for layer in data.declarations.vars.iter().chain(own) {
            resolver.variables(&layer.entries);
        }
        let (mut blocks, mut gates) = (Table::default(), Table::default());
        for block in &data.declarations.blocks {
            blocks.push(resolver.body(&block.body));
            gates.push(resolver.gates(block.rollout.as_ref()));
        }
        let (mut modules, mut calls) = (Table::default(), Table::default());
        for module in &data.library.modules {
            let (body, called) = resolver.module(module);
            modules.push(body);
            calls.push(called);
        }
        let (constants, uses) = (resolver.constants, resolver.uses);
        let order = calls::order(&data.library, &calls, diagnostics);
        (Self { data, blocks, gates, modules, order, constants }, uses)
    }
}

//! Compiles an inventory and the facts of a host into its catalog. The steps: walk the bodies, expand module instances
//! (`instantiate`), put the resources in order (`build`).

use std::collections::BTreeSet;
use std::sync::Arc;

use converge_model::{Catalog, HostName};

use crate::evaluate::facts::FactsOf;
use crate::source::content::Contents;
use crate::source::ids::HostId;

use crate::catalog::build::{self, Arranged, Built};
use crate::catalog::compiler::Compiler;
use crate::catalog::entry::Parts;
use crate::catalog::selection::{Choices, Selection};
use crate::evaluate::host_scope::HostScope;
use crate::evaluate::host_settings::HostSettings;
use crate::evaluate::session::ScopeId;
use crate::expand::instantiate;
use crate::expand::options::Options;
use crate::expand::walk::{Bodies, Position, Walk};
use crate::source::diagnostic::Diagnostics;

/// A host's catalog and its contents.
pub struct Compiled {
    /// The catalog, in its final order.
    pub catalog: Catalog,
    /// Every plain content that the catalog refers to.
    pub contents: Contents,
    /// The other hosts whose facts the catalog reads.
    pub reads_facts_of: BTreeSet<HostName>,
    /// The names that could be selected; empty if there was no selection.
    pub choices: Choices,
}

/// Compiles the catalog of one host.
pub(crate) fn compile(
    compiler: &Compiler,
    host: HostId,
    settings: &HostSettings,
    facts: &Arc<dyn FactsOf>,
    selection: &Selection,
) -> (Option<Compiled>, Diagnostics) {
    let (arranged, diagnostics) = arrange(compiler, host, settings, facts);
    let compiled = arranged.map(|(arranged, reads_facts_of)| {
        let Built { catalog, contents, choices } = arranged.build(selection);
        Compiled { catalog, contents, reads_facts_of, choices }
    });
    (compiled, diagnostics)
}

/// Returns the number of resources of a host (0 if there are mistakes), and all diagnostics of compiling its catalog.
pub(crate) fn check(
    compiler: &Compiler,
    host: HostId,
    settings: &HostSettings,
    facts: &Arc<dyn FactsOf>,
) -> (usize, Diagnostics) {
    let (arranged, diagnostics) = arrange(compiler, host, settings, facts);
    (arranged.map_or(0, |(arranged, _)| arranged.len()), diagnostics)
}

/// Returns the resources of one host, and the other hosts whose facts they read.
fn arrange<'a>(
    compiler: &'a Compiler,
    host: HostId,
    settings: &HostSettings,
    facts: &Arc<dyn FactsOf>,
) -> (Option<(Arranged<'a>, BTreeSet<HostName>)>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let resolved = &compiler.resolved;
    let data = &resolved.data;
    let host_scope = HostScope::new(Arc::clone(data), host, Arc::clone(facts));
    let mut bodies = Bodies::new(data, &compiler.bound, &mut diagnostics);
    let evaluator = host_scope.evaluator();
    for id in data.blocks.of(host) {
        let block = &data.declarations.blocks[*id];
        let body = bodies.add(block.name());
        let mut walk = Walk {
            body,
            module: None,
            called: None,
            passed: Options::default(),
            position: Position::of(*id),
            next: 0,
            maybe: false,
        };
        bodies.walk(&resolved.blocks[*id], &evaluator, &mut walk);
    }
    instantiate::all(&mut bodies, resolved, &host_scope);
    // Take these now: the check of unread keys below must not count as a use of secrets or facts.
    let (used, reads_facts_of) = (host_scope.session.used(), host_scope.reads());
    host_scope.session.tell_unread(ScopeId::Host(host), bodies.diagnostics);
    host_scope.session.tell_noted(bodies.diagnostics);
    if bodies.full {
        return (None, diagnostics);
    }
    let parts = Parts::of(compiler, bodies, host, settings, used);
    let arranged = build::arrange(parts, &mut diagnostics);
    (arranged.map(|arranged| (arranged, reads_facts_of)), diagnostics)
}

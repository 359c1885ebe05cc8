//! From an inventory and the facts of a host to its catalog. The steps: bodies are walked (`bodies`), module instances
//! expanded (`expand`), and what comes of it is put in order (`catalog`).

use std::collections::BTreeSet;
use std::sync::Arc;

use converge_model::{Catalog, HostName};

use crate::evaluate::facts::FactsOf;
use crate::source::content::Contents;
use crate::source::ids::{HostId, Id};

use crate::catalog::build::{self, Built};
use crate::catalog::entry::Parts;
use crate::catalog::selection::{Choices, Selection};
use crate::evaluate::host_scope::HostScope;
use crate::evaluate::host_settings::HostSettings;
use crate::expand::instantiate;
use crate::expand::options::Options;
use crate::expand::walk::{Bodies, Walked};
use crate::project::Data;
use crate::source::diagnostic::Diagnostics;

/// A host's catalog and what its contents are made of.
pub struct Compiled {
    /// The catalog, in final order.
    pub catalog: Catalog,
    /// Every plain content that the catalog refers to.
    pub contents: Contents,
    /// The other hosts whose facts the catalog reads.
    pub reads_facts_of: BTreeSet<HostName>,
    /// What could be chosen of it; empty where nothing was.
    pub choices: Choices,
}

/// Compiles the catalog of one host.
pub(crate) fn compile(
    data: &Arc<Data>,
    host: HostId,
    settings: &HostSettings,
    facts: &Arc<dyn FactsOf>,
    selection: &Selection,
) -> (Option<Compiled>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let world = HostScope::new(Arc::clone(data), host, Arc::clone(facts));
    let mut bodies = Bodies::new(data, &mut diagnostics);
    let setting = world.setting();
    for id in data.blocks.of(host) {
        let block = &data.reading.blocks[*id];
        let body = bodies.add(block.name());
        let mut walked = Walked {
            body,
            module: None,
            called: None,
            passed: Options::default(),
            place: vec![id.index() as u32],
            next: 0,
            maybe: false,
        };
        bodies.walk(&block.body, &setting, &mut walked);
    }
    instantiate::all(&mut bodies, &world);
    world.session.tell_noted(bodies.diagnostics);
    if bodies.full {
        return (None, diagnostics);
    }
    let parts = Parts::of(data, bodies, host, settings, world.session.used());
    let built = build::build(parts, selection, &mut diagnostics);
    let reads_facts_of = world.reads();
    let compiled = built.map(|Built { catalog, contents, choices }| Compiled {
        catalog,
        contents,
        reads_facts_of,
        choices,
    });
    (compiled, diagnostics)
}

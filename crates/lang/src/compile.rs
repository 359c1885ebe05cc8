//! From an inventory and the facts of a host to its catalog. The steps: bodies are walked (`bodies`), module instances
//! expanded (`expand`), and what comes of it is put in order (`catalog`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use converge_model::{Catalog, Digest, Facts, HostName};

use crate::bodies::{Bodies, Walked};
use crate::catalog::{self, Built, Parts};
use crate::diagnostic::Diagnostics;
use crate::expand;
use crate::options::Options;
use crate::project::Data;
use crate::selection::{Choices, Selection};
use crate::settings::HostSettings;
use crate::world::World;

/// The facts that a catalog is compiled with.
pub trait FactsOf: Send + Sync {
    /// The facts of `host`: of this run, else as last seen; none where it was never seen.
    ///
    /// For the host that is compiled, none means "not known yet": what depends on them is left to the plan.
    fn facts(&self, host: &HostName) -> Option<Arc<Facts>>;
}

/// No facts of any host: what `check` knows.
#[derive(Clone, Copy, Debug)]
pub struct NoFacts;

impl FactsOf for NoFacts {
    fn facts(&self, _: &HostName) -> Option<Arc<Facts>> {
        None
    }
}

impl FactsOf for BTreeMap<HostName, Arc<Facts>> {
    fn facts(&self, host: &HostName) -> Option<Arc<Facts>> {
        self.get(host).cloned()
    }
}

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

/// Contents by digest. Contents that hold a secret are not here: they are in the table of secrets.
#[derive(Clone, Debug, Default)]
pub struct Contents(BTreeMap<Digest, ContentSource>);

/// Where the bytes of a content are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentSource {
    /// Here: a text from an inventory, a filled-in template, a file of a built-in module.
    Bytes(Arc<[u8]>),
    /// In a file of the project, by its path; read it when it is asked for.
    File(String),
}

impl Contents {
    /// Where the bytes with `digest` are.
    pub fn get(&self, digest: &Digest) -> Option<&ContentSource> {
        self.0.get(digest)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Digest, &ContentSource)> {
        self.0.iter()
    }

    pub(crate) fn insert(&mut self, digest: Digest, source: ContentSource) {
        self.0.entry(digest).or_insert(source);
    }
}

/// Compiles the catalog of one host.
pub(crate) fn compile(
    data: &Arc<Data>,
    host: usize,
    settings: &HostSettings,
    facts: &Arc<dyn FactsOf>,
    selection: &Selection,
) -> (Option<Compiled>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let world = World::new(Arc::clone(data), host, Arc::clone(facts));
    let mut bodies = Bodies::new(data, &mut diagnostics);
    let setting = world.setting();
    for place in &data.blocks_of[host] {
        let block = &data.reading.blocks[*place];
        let body = bodies.add(block.name());
        let mut walked = Walked {
            body,
            module: None,
            called: None,
            passed: Options::default(),
            place: vec![*place as u32],
            next: 0,
            maybe: false,
        };
        bodies.walk(&block.body, &setting, &mut walked);
    }
    expand::all(&mut bodies, &world);
    world.tell_noted(bodies.diagnostics);
    if bodies.full {
        return (None, diagnostics);
    }
    let parts = Parts::of(data, bodies, host, settings, world.used());
    let built = catalog::build(parts, selection, &mut diagnostics);
    let reads_facts_of = world.reads();
    let compiled = built.map(|Built { catalog, contents, choices }| Compiled {
        catalog,
        contents,
        reads_facts_of,
        choices,
    });
    (compiled, diagnostics)
}

//! From an inventory and the facts of a host to its catalog: the types. The work is done in the folder below.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use converge_model::{Catalog, Digest, Facts, HostName};

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

/// Which resources of a catalog a run is about. Nothing chosen is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// `--tags`: resources that carry one of these.
    pub tags: Vec<String>,
    /// `--skip-tags`: and none of these.
    pub skip_tags: Vec<String>,
    /// `--only`: these addresses, or all of these modules.
    pub only: Vec<String>,
}

impl Selection {
    /// Whether it leaves everything in.
    pub fn is_everything(&self) -> bool {
        self.tags.is_empty() && self.skip_tags.is_empty() && self.only.is_empty()
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

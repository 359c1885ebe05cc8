//! What the contents of a catalog are made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use converge_model::Digest;

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

    pub(crate) fn add(&mut self, others: &Self) {
        others.iter().for_each(|(digest, source)| self.insert(*digest, source.clone()));
    }

    pub(crate) fn insert(&mut self, digest: Digest, source: ContentSource) {
        self.0.entry(digest).or_insert(source);
    }
}

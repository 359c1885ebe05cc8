//! The sources of the contents in a catalog.

use std::collections::BTreeMap;
use std::sync::Arc;

use converge_model::Digest;

/// Contents by digest. Contents that hold a secret are in the table of secrets instead.
#[derive(Clone, Debug, Default)]
pub struct Contents(BTreeMap<Digest, ContentSource>);

/// The place of the bytes of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentSource {
    /// In memory: a text of an inventory, a filled-in template, a file of a built-in module.
    Bytes(Arc<[u8]>),
    /// In a file of the project, by its path. It is read when the host requests it.
    File(String),
}

impl Contents {
    /// Returns the source of the bytes with `digest`.
    pub fn get(&self, digest: &Digest) -> Option<&ContentSource> {
        self.0.get(digest)
    }

    /// Returns all contents.
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

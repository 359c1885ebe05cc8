//! A project as an editor asks for it: what is wrong in its texts as they stand, what stands at a place, where that is
//! defined, where else it is named.
//!
//! An analysis is of one moment: a changed text needs a new one.

use std::sync::{Arc, OnceLock};

use crate::inventory::{Inventory, Loaded};
use crate::project::loader::Loader;
use crate::resolve::symbol::{Symbol, Use};
use crate::resolve::uses::Index;
use crate::source::diagnostic::{Diagnostics, FileId, Files, Span};
use crate::source::sources::{LayeredSources, MemorySources};

/// A project read and checked.
pub struct Analysis {
    inventory: Option<Inventory>,
    mistaken: Option<Inventory>,
    diagnostics: Diagnostics,
    files: Arc<Files>,
    index: OnceLock<Option<Index>>,
}

/// What stands at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// What it names.
    pub symbol: Symbol,
    /// Where the name stands.
    pub at: Span,
    /// What is known of it, in a line; empty where nothing is.
    pub doc: String,
}

impl Analysis {
    /// Reads and checks the project at `entry`, as [`Loader::load`] and [`Inventory::check`] do. The files of `open` stand
    /// before those of the loader: what an editor holds and has not saved. Who analyses again and again keeps what was
    /// parsed in the loader.
    pub fn new(loader: &Loader, entry: &str, sets: &[(String, String)], open: MemorySources) -> Self {
        loader.parsed.iter().for_each(|parsed| parsed.begin());
        let sources = LayeredSources { above: open, below: Arc::clone(&loader.sources) };
        let loader = Loader { sources: Arc::new(sources), ..loader.clone() };
        let Loaded { inventory, mistaken, mut diagnostics, files } = loader.load(entry, sets);
        if let Some(inventory) = &inventory {
            diagnostics.extend(inventory.check());
        }
        Self { inventory, mistaken, diagnostics: diagnostics.sorted(), files, index: OnceLock::new() }
    }

    /// The inventory; `None` if a mistake is in the way.
    pub fn inventory(&self) -> Option<&Inventory> {
        self.inventory.as_ref()
    }

    /// Everything that is wrong, and every note, in the order of files and lines.
    pub fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }

    /// The files that spans point into.
    pub fn files(&self) -> &Arc<Files> {
        &self.files
    }

    /// The file at `path`, as [`Files`] names it.
    pub fn file(&self, path: &str) -> Option<FileId> {
        (0..)
            .map(FileId)
            .map_while(|id| Some((id, self.files.get(id)?)))
            .find_map(|(id, file)| (file.name == path).then_some(id))
    }

    /// What stands at the byte `offset` of a file.
    pub fn meaning(&self, file: FileId, offset: usize) -> Option<Meaning> {
        let index = self.index()?;
        let is_there = |found: &&Use| {
            let Span { file: of, start, len } = found.at;
            of == file && (start..start + len.max(1)).contains(&offset)
        };
        // Of what is within something else, the inner: a name in a text that is a parameter.
        let all = index.definitions.iter().chain(&index.uses).filter(is_there);
        let Use { at, symbol } = all.min_by_key(|found| found.at.len)?;
        let doc = self.known().map(|inventory| inventory.doc(symbol)).unwrap_or_default();
        Some(Meaning { symbol: symbol.clone(), at: *at, doc })
    }

    /// Where something is defined: nowhere in the project if it comes with Converge, and at several places if it is a
    /// variable of several groups.
    pub fn definitions(&self, symbol: &Symbol) -> Vec<Span> {
        self.index().map(|index| places(&index.definitions, symbol)).unwrap_or_default()
    }

    /// Where something is named, its definitions aside.
    pub fn uses(&self, symbol: &Symbol) -> Vec<Span> {
        self.index().map(|index| places(&index.uses, symbol)).unwrap_or_default()
    }

    fn known(&self) -> Option<&Inventory> {
        self.inventory.as_ref().or(self.mistaken.as_ref())
    }

    fn index(&self) -> Option<&Index> {
        self.index.get_or_init(|| self.known().map(Inventory::index)).as_ref()
    }
}

fn places(of: &[Use], symbol: &Symbol) -> Vec<Span> {
    of.iter().filter(|found| found.symbol == *symbol).map(|found| found.at).collect()
}

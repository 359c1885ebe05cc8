//! A project for an editor: the mistakes in the current texts, the meaning of a place, its definitions and its uses.
//!
//! An analysis is a snapshot. After a text changed, make a new one.

use std::sync::{Arc, OnceLock};

use crate::inventory::{Inventory, Loaded};
use crate::project::loader::Loader;
use crate::resolve::symbol::{Symbol, Use};
use crate::resolve::uses::Index;
use crate::source::diagnostic::{Diagnostics, FileId, Files, Span};
use crate::source::sources::{LayeredSources, MemorySources};

/// A project that was read and checked.
pub struct Analysis {
    inventory: Option<Inventory>,
    mistaken: Option<Inventory>,
    diagnostics: Diagnostics,
    files: Arc<Files>,
    index: OnceLock<Option<Index>>,
}

/// The symbol at a place of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The named thing.
    pub symbol: Symbol,
    /// The span of the name.
    pub at: Span,
    /// One line of documentation; may be empty.
    pub doc: String,
}

impl Analysis {
    /// Reads and checks the project at `entry`, like [`Loader::load`] and [`Inventory::check`]. The files of `open`,
    /// which an editor has not saved yet, replace those of the loader. A caller that analyses often keeps parsed files
    /// in the loader.
    pub fn new(loader: &Loader, entry: &str, sets: &[(String, String)], open: MemorySources) -> Self {
        loader.parsed.iter().for_each(|parsed| parsed.begin());
        let sources = LayeredSources { above: open, below: Arc::clone(&loader.sources) };
        let loader = Loader { sources: Arc::new(sources), ..loader.clone() };
        let Loaded { inventory, mistaken, mut diagnostics, files, .. } = loader.load(entry, sets);
        if let Some(inventory) = &inventory {
            diagnostics.extend(inventory.check());
        }
        Self { inventory, mistaken, diagnostics: diagnostics.sorted(), files, index: OnceLock::new() }
    }

    /// Returns the inventory; `None` if a mistake prevents it.
    pub fn inventory(&self) -> Option<&Inventory> {
        self.inventory.as_ref()
    }

    /// Returns all mistakes and notes, in the order of files and lines.
    pub fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }

    /// Returns the files that spans refer to.
    pub fn files(&self) -> &Arc<Files> {
        &self.files
    }

    /// Returns the file at `path`, which is a name in [`Files`].
    pub fn file(&self, path: &str) -> Option<FileId> {
        (0..)
            .map(FileId)
            .map_while(|id| Some((id, self.files.get(id)?)))
            .find_map(|(id, file)| (file.name == path).then_some(id))
    }

    /// Returns the symbol at the byte `offset` of a file.
    pub fn meaning(&self, file: FileId, offset: usize) -> Option<Meaning> {
        let index = self.index()?;
        let is_there = |found: &&Use| {
            let Span { file: of, start, len } = found.at;
            of == file && (start..start + len.max(1)).contains(&offset)
        };
        // Of nested spans take the innermost: for example a name inside the text of a parameter.
        let all = index.definitions.iter().chain(&index.uses).filter(is_there);
        let Use { at, symbol } = all.min_by_key(|found| found.at.len)?;
        let doc = self.known().map(|inventory| inventory.doc(symbol)).unwrap_or_default();
        Some(Meaning { symbol: symbol.clone(), at: *at, doc })
    }

    /// Returns the definitions of a symbol. There is none in the project if it comes with Converge. A variable of
    /// several groups has several.
    pub fn definitions(&self, symbol: &Symbol) -> Vec<Span> {
        self.index().map(|index| places(&index.definitions, symbol)).unwrap_or_default()
    }

    /// Returns all places that name a symbol, without its definitions.
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

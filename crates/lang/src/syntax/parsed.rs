//! A cache of parsed texts. An editor reads the same files again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::source::diagnostic::{Diagnostics, FileId};
use crate::syntax::parse::{self, Node};

/// The parsed texts of the last two readings. Most of the time for reading a project is spent on parsing.
#[derive(Default)]
pub struct Parsed(Mutex<Readings>);

#[derive(Default)]
struct Readings {
    this: HashMap<FileId, Parse>,
    last: HashMap<FileId, Parse>,
}

/// The nodes of one text, with their spans in its file.
struct Parse {
    text: Arc<str>,
    nodes: Vec<Node>,
    told: Diagnostics,
}

impl Parsed {
    /// Starts a reading. Files that the previous reading did not use are dropped.
    pub(crate) fn begin(&self) {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readings.last = std::mem::take(&mut readings.this);
    }

    /// Does the same as [`parse::parse`], with the cache.
    pub(crate) fn parse(&self, file: FileId, text: &str, diagnostics: &mut Diagnostics) -> Vec<Node> {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = readings.last.remove(&file).filter(|parse| *parse.text == *text);
        let parse = known.unwrap_or_else(|| {
            let mut told = Diagnostics::default();
            let nodes = parse::parse(file, text, &mut told);
            Parse { text: text.into(), nodes, told }
        });
        diagnostics.extend(parse.told.clone());
        let nodes = parse.nodes.clone();
        readings.this.insert(file, parse);
        nodes
    }
}

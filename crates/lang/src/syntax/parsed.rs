//! What texts were parsed to: an editor reads the same files again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::source::diagnostic::{Diagnostics, FileId};
use crate::syntax::parse::{self, Node};

/// What the texts of the last two readings were parsed to. Parsing is most of what reading a project costs.
#[derive(Default)]
pub struct Parsed(Mutex<Readings>);

#[derive(Default)]
struct Readings {
    this: HashMap<FileId, Parse>,
    last: HashMap<FileId, Parse>,
}

/// The nodes of one text, with the spans that they have in its file.
struct Parse {
    text: Arc<str>,
    nodes: Vec<Node>,
    told: Diagnostics,
}

impl Parsed {
    /// Begins a reading: what the one before did not come to is forgotten.
    pub(crate) fn begin(&self) {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readings.last = std::mem::take(&mut readings.this);
    }

    /// As [`parse::parse`].
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

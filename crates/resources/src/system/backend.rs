//! Back ends: several programs that do the same work on different hosts, as apt and apk do. A table has a row for each.
//! The system that is assembled and the facts read the same table.

use std::path::Path;
use std::sync::Arc;

use super::files::Files;
use super::processes::Processes;

/// A row of a table of back ends. `O` opens the back end for a host.
pub struct Backend<O> {
    /// The name that facts and messages use.
    pub name: &'static str,
    /// Paths that tell that a host has it: one of them is enough.
    pub marks: &'static [&'static str],
    /// Opens it. None if Converge only knows its name.
    pub open: Option<O>,
}

/// What a back end works with.
#[derive(Clone)]
pub struct Parts {
    /// The files of the host.
    pub files: Arc<Files>,
    /// Its processes.
    pub processes: Arc<dyn Processes>,
}

/// Returns the first row of `table` that the host has; `has` says whether a path exists there.
pub fn recognise<O>(table: &'static [Backend<O>], has: impl Fn(&str) -> bool) -> Option<&'static Backend<O>> {
    table.iter().find(|row| row.marks.iter().any(|mark| has(mark)))
}

impl Parts {
    /// Returns the first row of `table` that this host has.
    pub fn recognise<O>(&self, table: &'static [Backend<O>]) -> Option<&'static Backend<O>> {
        recognise(table, |mark| self.files.outside(Path::new(mark)).exists())
    }
}

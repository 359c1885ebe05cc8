//! Back ends: programs that do the same work on different hosts, like apt and apk. A table has a row for each. The
//! assembled system and the facts read the same table.

use std::path::Path;
use std::sync::Arc;

use super::files::Files;
use super::processes::Processes;

/// A row of a table of back ends. `O` opens the back end for a host.
pub struct Backend<O> {
    /// The name that facts and messages use.
    pub name: &'static str,
    /// Paths that show that a host has it. One of them is enough.
    pub marks: &'static [&'static str],
    /// Opens it. None if Converge knows only its name.
    pub open: Option<O>,
}

/// The parts of a host that a back end works with.
#[derive(Clone)]
pub struct Parts {
    /// The files of the host.
    pub files: Arc<Files>,
    /// The processes of the host.
    pub processes: Arc<dyn Processes>,
}

/// Returns the first row of `table` that the host has. `has` returns whether a path exists there.
pub fn recognise<O>(table: &'static [Backend<O>], has: impl Fn(&str) -> bool) -> Option<&'static Backend<O>> {
    table.iter().find(|row| row.marks.iter().any(|mark| has(mark)))
}

impl Parts {
    /// Returns the first row of `table` that this host has.
    pub fn recognise<O>(&self, table: &'static [Backend<O>]) -> Option<&'static Backend<O>> {
        recognise(table, |mark| self.files.outside(Path::new(mark)).exists())
    }
}

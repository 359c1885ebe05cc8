//! Evaluates variables by key. Each key of a map is evaluated once, when it is first read, so that keys can use each
//! other.

use std::sync::{Arc, OnceLock};

use crate::evaluate::evaluator::Evaluator;
use crate::evaluate::session::ScopeId;
use crate::source::diagnostic::{Code, Diagnostic};
use crate::syntax::value_tree::{Entry, Tree};
use crate::template::{Found, Later, Map, Marks, ScopeError, fold};

/// The owner of variables. A map knows its owner, and the owner's scope knows its values. So the owner holds its scope
/// weakly.
pub(crate) trait Owner: Send + Sync {
    /// Returns the evaluator. None after the catalog was compiled.
    fn evaluator(&self) -> Option<Evaluator>;

    /// Returns the scope of the variables.
    fn scope(&self) -> ScopeId;

    /// Whether mistakes in variables that were never read are reported. For variables of other hosts, those hosts
    /// report them.
    fn is_told(&self) -> bool;
}

/// Returns the value of the variable or key called `path`.
pub(crate) fn variable(owner: &Arc<dyn Owner>, path: &str, entry: &Entry) -> Result<Found, ScopeError> {
    let evaluator = owner.evaluator().ok_or_else(|| {
        let message = format!("`{path}` is read after its catalog was made");
        ScopeError(Box::new(Diagnostic::error(Code::Undefined, message).label(entry.at, "defined here")))
    })?;
    let session = Arc::clone(&evaluator.session);
    if let Tree::Map(entries, at) = &entry.value {
        let made = entries.iter().map(|_| OnceLock::new()).collect();
        let keys: Arc<dyn Later> = Arc::new(Keys {
            owner: Arc::clone(owner),
            path: path.to_owned(),
            entries: Arc::clone(entries),
            made,
        });
        let names = entries.iter().map(|entry| entry.key.to_string()).collect();
        let value = Map::later(names, Arc::clone(&keys)).map_err(|clash| {
            let report = Diagnostic::error(Code::Clash, clash.to_string()).label(*at, "in this map");
            ScopeError(Box::new(report))
        })?;
        if owner.is_told() {
            session.keep(owner.scope(), Arc::downgrade(&keys));
        }
        return Ok(Found { value, marks: Marks::default() });
    }
    session.enter(owner.scope(), path, entry.at)?;
    let value = evaluator.tree(&entry.value).map_err(|report| ScopeError(Box::new(report)));
    session.leave();
    value
}

/// The keys of a map.
struct Keys {
    owner: Arc<dyn Owner>,
    path: String,
    entries: Arc<[Entry]>,
    /// The values that were read so far.
    made: Vec<OnceLock<Result<Found, ScopeError>>>,
}

impl Later for Keys {
    fn value(&self, index: usize) -> Result<Found, ScopeError> {
        if let Some(made) = self.made[index].get() {
            return made.clone();
        }
        let entry = &self.entries[index];
        let value = variable(&self.owner, &format!("{}.{}", self.path, fold(&entry.key)), entry);
        self.made[index].get_or_init(|| value).clone()
    }

    /// Returns the first mistake and notes the others, so that all are reported in one run.
    fn values(&self) -> Result<Vec<Found>, ScopeError> {
        let (mut values, mut first) = (Vec::with_capacity(self.made.len()), None);
        for index in 0..self.made.len() {
            match (self.value(index), &first) {
                (Ok(value), _) => values.push(value),
                (Err(mistake), None) => first = Some(mistake),
                (Err(mistake), Some(ScopeError(first))) => {
                    if let Some(evaluator) = self.owner.evaluator() {
                        evaluator.session.note(first, *mistake.0);
                    }
                }
            }
        }
        first.map_or(Ok(values), Err)
    }
}
